"""The ``@agent`` methods of one run, which last: those that run, have ended, or are parked.

An agent is *parked* while it waits in ``checkpoint`` for a snapshot.  There a loop that is to go
ends, too: an agent says by ``checkpoint`` that its method may be called again from its start.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import defaultdict
from collections.abc import Callable
from types import FrameType
from typing import Any

import anyio

from steerio.campaign.agent_loops import AgentLoop, changes_to, loop_name, may_come, size_of
from steerio.campaign.calls import Calls
from steerio.campaign.conditions import Conditions
from steerio.campaign.ending import Latecomers
from steerio.campaign.held_handles import unread_handle
from steerio.campaign.snapshot_taker import SnapshotTaker
from steerio.campaign.trigger_marks import takes_index
from steerio.errors import UsageError
from steerio.model.status import PoolLoad
from steerio.session.current_agent import current_agent

log = logging.getLogger("steerio.campaign")

TASKS_LEAVING = 100
"""A loop that submits so many tasks after it was to go is warned of."""


class LastingAgents:
    """The ``@agent`` methods of one run.

    Args:
        latecomers: cuts them short at the end.
        conditions: those that agents wait for.
        start: runs `serve` for a loop.
        load_of: returns the load of a pool, by the last news.
        goes_on: says whether the campaign has not begun to end.
    """

    def __init__(
        self,
        latecomers: Latecomers,
        conditions: Conditions,
        start: Callable[[AgentLoop], None],
        load_of: Callable[[str], PoolLoad | None],
        goes_on: Callable[[], bool],
    ) -> None:
        self.running = 0
        """How many loops run, parked ones included; a method is one, or has several."""
        self.ended: set[str] = set()
        """The names of those that have ended."""
        self._latecomers = latecomers
        self._conditions = conditions
        self._start, self._load_of, self._goes_on = start, load_of, goes_on
        self._tasks: dict[asyncio.Task[Any] | None, AgentLoop] = {}
        self._loops: defaultdict[Calls, dict[int, AgentLoop]] = defaultdict(dict)
        """The loops of each method that run, by index."""
        self._parked = 0
        self._leaving = 0
        """How many are to go."""

    def __repr__(self) -> str:
        return f"<LastingAgents: {self.running} running, {self._parked} of them parked>"

    @property
    def all_parked(self) -> bool:
        """Whether all that run are parked, or none runs."""
        return self._parked == self.running

    @property
    def some_parked(self) -> bool:
        """Whether one is parked, or none runs."""
        return self._parked > 0 or not self.running

    @property
    def runs_this(self) -> bool:
        """Whether the code that asks is that of an agent, and not of a task that one started."""
        return asyncio.current_task() in self._tasks

    def begin(self, calls: Calls) -> None:
        """Begin the loops of a method that have not ended."""
        self._loops[calls] = {}
        self._change(calls)

    def follow_pools(self) -> None:
        """Have the loops that follow a pool follow it: its workers may be others."""
        for calls in self._loops:
            if calls.trigger.subject is not None and self._goes_on():
                self._change(calls)

    def under_way(self, calls: Calls) -> int:
        """Return how many loops of a method run."""
        return len(self._loops.get(calls, ()))

    def uses(self, pool: str) -> bool:
        """Whether a method whose loops follow a pool has not ended."""
        return any(
            calls.trigger.subject == pool and not self._is_over(calls) for calls in self._loops
        )

    @property
    def may_begin(self) -> bool:
        """Whether loops may begin by themselves, as workers come."""
        return any(
            calls.trigger.subject is not None
            and not loops
            and not self._is_over(calls)
            and may_come(self._load_of(calls.trigger.subject))
            for calls, loops in self._loops.items()
        )

    def _is_over(self, calls: Calls) -> bool:
        """Whether a loop of a method has returned, and none runs."""
        return not self._loops[calls] and bool(self._ended_of(calls))

    def _change(self, calls: Calls) -> None:
        """Begin loops of a method, or have some go, as there should be more or fewer."""
        trigger, loops = calls.trigger, self._loops[calls]
        size = trigger.concurrent
        if trigger.subject is not None:
            size *= size_of(self._load_of(trigger.subject))
        running = {index: loop.leaving for index, loop in loops.items()}
        changes = changes_to(size, running, self._ended_of(calls))
        for index in changes.begin:
            loops[index] = AgentLoop(calls, index, self._named(calls, index))
            self.running += 1
            self._start(loops[index])
        for index in changes.go:
            loops[index].leaving = True
            self._leaving += 1
            self._let_go(loops[index])
        for index in changes.stay:
            scope = loops[index].scope
            if scope is None or not scope.cancel_called:  # else it begins again once it has ended
                loops[index].leaving = False
                loops[index].submitted = 0
                self._leaving -= 1

    def _let_go(self, loop: AgentLoop) -> None:
        """Have a loop that is to go end, if it waits at a checkpoint."""
        if loop.at_checkpoint and loop.scope is not None:
            loop.scope.cancel()

    def _named(self, calls: Calls, index: int) -> str:
        return loop_name(calls.name, index, several=calls.trigger.has_loops)

    def _ended_of(self, calls: Calls) -> set[int]:
        if not calls.trigger.has_loops:
            return {0} if calls.name in self.ended else set()
        begin = f"{calls.name}["
        return {int(name[len(begin) : -1]) for name in self.ended if name.startswith(begin)}

    async def serve(self, loop: AgentLoop) -> None:
        """Run a loop of an agent, which is among `running` already, to its end."""
        calls = loop.calls
        current_agent.set(calls.name)
        me = asyncio.current_task()
        self._tasks[me] = loop
        self._conditions.own_tasks[me] = calls
        given = (loop.index,) if calls.trigger.has_loops and takes_index(calls.method) else ()
        went = False
        try:
            with self._latecomers.may_cut(calls.name) as loop.scope:
                await calls.call(*given)
            went = loop.leaving and loop.scope.cancel_called
        finally:
            del self._tasks[me]
            del self._conditions.own_tasks[me]
            self.running -= 1
            del self._loops[calls][loop.index]
            self._leaving -= loop.leaving
        if not went:
            self.ended.add(loop.name)
        elif self._goes_on():
            self._change(calls)  # a worker may have come since

    def task_submitted(self) -> None:
        """Warn if the code that runs is a loop that is to go, and comes to no checkpoint."""
        if not self._leaving:
            return
        loop = self._tasks.get(asyncio.current_task())
        if loop is not None and loop.leaving:
            loop.submitted += 1
            if loop.submitted == TASKS_LEAVING:
                log.warning(
                    "a loop of %s goes on although its worker has left the pool %s: it ends when "
                    "it calls 'await self.checkpoint()', which says that nothing is half done",
                    loop.calls.name,
                    loop.calls.trigger.subject,
                )

    async def checkpoint(
        self, snapshots: SnapshotTaker | None, until: Callable[[], Any] | None
    ) -> None:
        """Park the agent that awaits this, for a snapshot, if one is due, or until a condition.

        Raises:
            UsageError: no agent awaits it, or it is no condition.
        """
        loop = self._tasks.get(asyncio.current_task())
        if loop is None:
            raise UsageError(
                "checkpoint() is for the code of an @agent: a method with another trigger begins "
                "anew with each call, so it has no place to go on from"
            )
        loop.at_checkpoint = True
        try:
            if loop.leaving:
                self._let_go(loop)
                await anyio.sleep_forever()  # it is cancelled
            await self._wait(snapshots, until, inspect.currentframe())
        finally:
            loop.at_checkpoint = False

    async def _wait(
        self,
        snapshots: SnapshotTaker | None,
        until: Callable[[], Any] | None,
        here: FrameType | None,
    ) -> None:
        may_park = snapshots is not None and (snapshots.due or until is not None)
        if may_park and snapshots is not None and not _refused(snapshots, here):
            await self._park(snapshots, until)
        elif until is not None:
            await self._conditions.until(until, None)

    async def _park(self, snapshots: SnapshotTaker, until: Callable[[], Any] | None) -> None:
        """Wait in a place from which the agent may be called again."""
        self._parked += 1
        try:
            snapshots.look()
            while True:
                if until is not None:
                    await self._conditions.until(until, None)
                if (held := snapshots.held) is None:
                    return
                await asyncio.wait([held])
                if until is None:
                    return
        finally:
            self._parked -= 1


def _refused(snapshots: SnapshotTaker, me: FrameType | None) -> bool:
    """Return whether no snapshot may be taken, as the agent has a handle that it has not read.

    Args:
        snapshots: told of it, if one is due.
        me: the innermost frame of the agent.
    """
    found = unread_handle(me and me.f_back)
    if found is not None and snapshots.due:
        name, task = found
        snapshots.refuse(
            f"{current_agent.get()} calls checkpoint() with {task!r} in the variable {name}, "
            "and its result would be lost. Await it before, or have an @on_result take it and "
            "keep no handle"
        )
    return found is not None
