"""The ``@agent`` methods of one run, which last: those that run, have ended, or are parked.

An agent is *parked* while it waits in ``checkpoint`` for a snapshot.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from types import FrameType
from typing import Any

from steerio.campaign.calls import Calls
from steerio.campaign.conditions import Conditions
from steerio.campaign.ending import Latecomers
from steerio.campaign.held_handles import unread_handle
from steerio.campaign.snapshot_taker import SnapshotTaker
from steerio.errors import UsageError
from steerio.session.current_agent import current_agent


class LastingAgents:
    """The ``@agent`` methods of one run.

    Args:
        latecomers: cuts them short at the end.
        conditions: those that agents wait for.
    """

    def __init__(self, latecomers: Latecomers, conditions: Conditions) -> None:
        self.running = 0
        """How many run, parked ones included."""
        self.ended: set[str] = set()
        """The names of those that have ended."""
        self._latecomers = latecomers
        self._conditions = conditions
        self._tasks: set[asyncio.Task[Any] | None] = set()
        self._parked = 0

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

    async def serve(self, calls: Calls) -> None:
        """Run an agent, which is among `running` already, to its end."""
        current_agent.set(calls.name)
        me = asyncio.current_task()
        self._tasks.add(me)
        self._conditions.own_tasks[me] = calls
        try:
            with self._latecomers.may_cut(calls.name):
                await calls.call()
        finally:
            self._tasks.discard(me)
            del self._conditions.own_tasks[me]
            self.running -= 1
        self.ended.add(calls.name)

    async def checkpoint(
        self, snapshots: SnapshotTaker | None, until: Callable[[], Any] | None
    ) -> None:
        """Park the agent that awaits this, for a snapshot, if one is due, or until a condition.

        Raises:
            UsageError: no agent awaits it, or it is no condition.
        """
        if not self.runs_this:
            raise UsageError(
                "checkpoint() is for the code of an @agent: a method with another trigger begins "
                "anew with each call, so it has no place to go on from"
            )
        may_park = snapshots is not None and (snapshots.due or until is not None)
        if may_park and snapshots is not None and not _refused(snapshots, inspect.currentframe()):
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
