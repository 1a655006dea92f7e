"""The queue of a triggered method: results and events gathered into calls, which wait in order."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter, deque
from collections.abc import Mapping
from itertools import chain
from typing import Any, Protocol

from msgspec import Struct

from steerio.campaign.gathering import Gathered
from steerio.campaign.trigger_marks import Trigger
from steerio.errors import StateError
from steerio.model.bounds import MOST_BEHIND
from steerio.session.chains import HANDLER, Behind, KnownChains, chain_behind
from steerio.session.current_agent import results_behind
from steerio.session.task import Task

log = logging.getLogger("steerio.campaign")

BEHIND_CALLS = 10
BEHIND_S = 30.0
"""A method is behind, which is warned of, when so many calls have waited for so many seconds."""


class CallsState(Struct):
    """The results and events that one trigger's calls hold.

    Attributes:
        name: of the agent; ``place``: of the trigger among those of that agent.
        in_batches: whether each call is made with several.
        collected: those of a call to come; ``queue``: the calls that wait.
    """

    name: str
    place: int
    in_batches: bool
    collected: list[Any]
    queue: list[Any]


class QueueHome(Protocol):
    """One run of a campaign, as seen by the queues of its methods."""

    chains: KnownChains

    recorded_ids: Mapping[int, int]
    """The ids under which results are in the record, of those that have another now."""

    @property
    def held(self) -> asyncio.Future[None] | None:
        """Done when calls that would begin need be held no more; ``None``: they need not be."""
        ...


class CallQueue:
    """The calls of one triggered method that were not begun yet.

    Args:
        home: the run of the campaign.
        name: of the method.
        trigger: says which results or events make a call.
    """

    def __init__(self, home: QueueHome, name: str, trigger: Trigger) -> None:
        self.trigger = trigger
        self.name = name
        self._queue_home = home
        self._gathered = Gathered(trigger.gathering)
        self._timer: asyncio.TimerHandle | None = None
        """Rings when those gathered may be due; later than that, it is set again."""
        self.unheard: list[Task[Any]] = []
        """Tasks whose failures are gathered for a call to come, and go to no other call."""
        self._queue: deque[Any] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._echoes: Counter[int] = Counter()
        """Identities of queued items that an ``on_idle`` published."""
        self._echo = False
        """Whether an ``on_idle`` published the last that was gathered."""
        self._behind: deque[tuple[tuple[int, ...], Behind]] = deque()
        """For each queued call with events: the results behind the event that completed it, and
        their chain."""
        self._behind_last: tuple[tuple[int, ...], Behind] = (), HANDLER
        self._behind_since = 0.0
        self._told_behind = False
        self.paused: asyncio.Future[None] | None = None
        """Done when calls are made again; ``None``: they are."""

    @property
    def pending(self) -> int:
        """How many calls are queued."""
        return len(self._queue)

    def feed(self, item: Any, *, unheard: Task[Any] | None = None, echo: bool = False) -> None:
        """Take in one result or event; enough of them make a call.

        ``unheard`` is the task of a failure that no other call will handle; an ``echo`` is an event
        that an ``on_idle`` published.
        """
        wish = self.trigger.gathering
        if self.trigger.kind == "event":
            chain = Behind(chain_behind.get().types, grows=False)
            self._behind_last = results_behind.get(), chain
        if wish.at_once:
            if wish.latest and self._queue:
                self._take_out()
            if echo:
                self._echoes[id(item)] += 1
            self._put(item)
            return
        if self._queue and (wish.coalesce or wish.latest):
            if wish.debounce_s is None:
                self._join_waiting(item, unheard, echo=echo)
                return
            first_at = self._gathered.first_at
            self._gathered.take_back(self._take_out(), first_at)
        now = asyncio.get_running_loop().time() if wish.by_time else 0.0
        self._gathered.add(item, now)
        self._echo = echo
        if unheard is not None:
            self.unheard.append(unheard)
        due_at = self._gathered.due_at
        if due_at <= now:
            self._call()
        elif due_at < math.inf and self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(due_at, self._ring)

    def _ring(self) -> None:
        """Make a call of those gathered, if they are due by now; else wait on."""
        self._timer = None
        due_at, loop = self._gathered.due_at, asyncio.get_running_loop()
        if due_at <= loop.time():
            self._call()
        elif due_at < math.inf:
            self._timer = loop.call_at(due_at, self._ring)

    def _call(self) -> None:
        """Queue a call with those gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        call = self._gathered.take()
        for task in self.unheard:
            task.awaited = True
        self.unheard.clear()
        if self._echo:
            self._echoes[id(call)] += 1
        self._put(call)

    def call_rest(self) -> bool:
        """Queue a call with those that wait for time alone: no more will come; whether it did."""
        rest = self._gathered.may_be_rest
        if rest:
            self._call()
        return rest

    def close(self) -> None:
        """Queue no call by time any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take_out(self) -> Any:
        """Take the last call out of the queue: a newer one takes its place."""
        call = self._queue.pop()
        if self._behind:
            self._behind.pop()
        self._echoes.pop(id(call), None)
        return call

    def _join_waiting(self, item: Any, unheard: Task[Any] | None, *, echo: bool) -> None:
        """Add an item to the waiting call."""
        waiting = self._queue[-1]
        waiting.append(item)
        if self._behind:
            self._behind[-1] = self._behind_last
        if unheard is not None:
            unheard.awaited = True
        if not echo:
            self._echoes.pop(id(waiting), None)

    def _put(self, item: Any) -> None:
        self._queue.append(item)
        if self.trigger.kind == "event":
            self._behind.append(self._behind_last)
        if len(self._queue) >= BEHIND_CALLS:
            self._look_if_behind(len(self._queue))
        self._wake_next()

    def _wake_next(self) -> None:
        """Have code that waits for a call look for one."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _look_if_behind(self, count: int) -> None:
        """Warn, once, of a method that is called more often than it can answer."""
        now = asyncio.get_running_loop().time()
        if count == BEHIND_CALLS:
            self._behind_since = now
        elif not self._told_behind and now >= self._behind_since + BEHIND_S:
            self._told_behind = True
            log.warning(
                "%s is behind: %d calls of it wait, and have been more than %d for %g s; have it "
                "do less, let more run at a time (concurrent=), or have it take all that waits in "
                "one call (coalesce=True)",
                self.name,
                count,
                BEHIND_CALLS,
                BEHIND_S,
            )

    async def _take(self) -> Any:
        """Wait for the next call and take it: in half the time of an ``asyncio.Queue``."""
        while not self._queue or self.paused is not None or self._queue_home.held is not None:
            if self._queue:
                await self._held()
                continue
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        if len(self._queue) >= BEHIND_CALLS:
            self._look_if_behind(len(self._queue))
        return self._queue.popleft()

    async def _held(self) -> None:
        """Wait until calls may begin: it is paused, or a snapshot is being taken."""
        while (held := self.paused or self._queue_home.held) is not None:
            await asyncio.wait([held])

    def pause(self) -> None:
        """Make no new call until `resume`."""
        if self.paused is None:
            self.paused = asyncio.get_running_loop().create_future()

    def resume(self) -> None:
        """Make calls again."""
        paused, self.paused = self.paused, None
        if paused is not None:
            paused.set_result(None)

    def state(self, place: int) -> CallsState | None:
        """Return the results and events that it holds, if there are any.

        Raises:
            StateError: it holds failures that no call was made of yet.
        """
        if self.unheard:
            raise StateError(f"{self.name} has collected failures, but not enough for a call")
        if self.trigger.kind == "idle" or not (self._gathered.items or self._queue):
            return None
        in_batches = self.trigger.every is not None
        items = list(self._gathered.items)
        return CallsState(self.name, place, in_batches, items, list(self._queue))

    def restore(self, state: CallsState) -> None:
        """Hold the results and events that a snapshot has; ``every`` may be another by now."""
        as_it_was = state.in_batches == (self.trigger.every is not None)
        if as_it_was and not self.trigger.gathering.latest:
            for call in state.queue:
                self._put(call)
            rest = state.collected
        else:
            queued = chain(*state.queue) if state.in_batches else state.queue
            rest = [*queued, *state.collected]
        for item in rest:
            self.feed(item)

    def _behind_of(self, results: Any) -> tuple[tuple[int, ...], Behind]:
        """Return the ids that the results of a call have in the record, and their chain."""
        recorded, chains = self._queue_home.recorded_ids, self._queue_home.chains
        if self.trigger.every is None:
            number = results.task_id
            return (recorded.get(number, number),), chains.behind_call([results])
        some = results[:MOST_BEHIND]
        ids = tuple([recorded.get(it.task_id, it.task_id) for it in some])
        return ids, chains.behind_call(some)
