"""The calls of a campaign's triggered methods: queued in order, made one at a time or a few."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import types
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Generator, Mapping
from itertools import chain
from typing import Any, Protocol, assert_never

import anyio
from msgspec import Struct

from steerio.campaign.agent_errors import heed, was_cancelled
from steerio.campaign.ending import Latecomers
from steerio.campaign.triggers import Trigger
from steerio.errors import StateError
from steerio.model.bounds import MOST_BEHIND
from steerio.session.current_agent import current_agent, results_behind
from steerio.session.task import Task

log = logging.getLogger("steerio.campaign")

BEHIND_CALLS = 10
BEHIND_S = 30.0
"""A method is behind, which is warned of, when so many calls have waited for so many seconds."""


is_echo: contextvars.ContextVar[bool] = contextvars.ContextVar("steerio_echo", default=False)
"""Whether this code runs because of an ``on_idle``: in it, or in a handler of its events."""


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


class IdleMethods(Protocol):
    """The ``on_idle`` methods of a campaign, as seen by the calls of its other agents."""

    happened: int
    """Counts the happenings that may change the answer of an ``on_idle``."""

    def __bool__(self) -> bool: ...

    def happens(self) -> None:
        """Take in that an agent has gone on."""
        ...

    def echoes(self) -> None:
        """Take in that an agent has gone on because of an ``on_idle``."""
        ...


class CallsHome(Protocol):
    """One run of a campaign, as seen by the calls of its methods."""

    stopping: str
    latecomers: Latecomers
    recorded_ids: Mapping[int, int]
    """The ids under which results are in the record, of those that have another now."""

    @property
    def held(self) -> asyncio.Future[None] | None:
        """Done when calls that would begin need be held no more; ``None``: they need not be."""
        ...

    @property
    def idleness(self) -> IdleMethods:
        """The campaign's ``on_idle`` methods."""
        ...

    def idle_workers(self, pool: str) -> int:
        """Return how many workers of a pool have nothing to do."""
        ...

    def look_if_quiet(self) -> None:
        """End the campaign if nothing can happen any more."""
        ...

    def explains(self, error: BaseException) -> bool:
        """Whether an agent raised this only because the campaign ends, so that it is no error."""
        ...


class Calls:
    """The calls of one triggered method: queued in order, made one at a time or a few."""

    def __init__(
        self, home: CallsHome, name: str, trigger: Trigger, method: Callable[..., Any]
    ) -> None:
        self.trigger = trigger
        self.name = name
        self._home = home
        self._method = method
        self._collected: list[Any] = []
        self.unheard: list[Task[Any]] = []
        """Tasks whose failures are collected for a call to come, and go to no other call."""
        self._queue: deque[Any] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._echoes: Counter[int] = Counter()
        """Identities of queued items that an ``on_idle`` published."""
        self._behind: deque[tuple[int, ...]] = deque()
        """For each queued call with events: the results behind the event that completed it."""
        self._behind_since = 0.0
        self._told_behind = False
        self.busy = 0
        self.paused: asyncio.Future[None] | None = None
        """Done when calls are made again; ``None``: they are."""
        self.turn: asyncio.Semaphore | None = None
        """Keeps the calls of one method one at a time if it has several triggers."""
        self.asked_at = -1
        """The count of happenings at which an ``on_idle`` was called last."""
        self.asked_with = 0
        """How many workers were idle at that call."""

    def __repr__(self) -> str:
        return f"<Calls of {self.name}: {self.pending} queued, {self.busy} under way>"

    @property
    def pending(self) -> int:
        """How many calls are queued."""
        return len(self._queue)

    def feed(self, item: Any, *, unheard: Task[Any] | None = None, echo: bool = False) -> None:
        """Take in one result or event; enough of them make a call.

        ``unheard`` is the task of a failure that no other call will handle; an ``echo`` is an event
        that an ``on_idle`` published.
        """
        every = self.trigger.every
        if every is None:
            if echo:
                self._echoes[id(item)] += 1
            self._put(item)
            return
        if self.trigger.coalesce and self._queue:
            self._join_waiting(item, unheard, echo=echo)
            return
        self._collected.append(item)
        if unheard is not None:
            self.unheard.append(unheard)
        if len(self._collected) == every:
            batch, self._collected = self._collected, []
            for task in self.unheard:
                task.awaited = True
            self.unheard.clear()
            if echo:
                self._echoes[id(batch)] += 1
            self._put(batch)

    def _join_waiting(self, item: Any, unheard: Task[Any] | None, *, echo: bool) -> None:
        """Add an item to the waiting call."""
        waiting = self._queue[-1]
        waiting.append(item)
        if self._behind:
            self._behind[-1] = results_behind.get()
        if unheard is not None:
            unheard.awaited = True
        if not echo:
            self._echoes.pop(id(waiting), None)

    def _put(self, item: Any) -> None:
        self._queue.append(item)
        if self.trigger.kind == "event":
            self._behind.append(results_behind.get())
        if len(self._queue) >= BEHIND_CALLS:
            self._look_if_behind(len(self._queue))
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
        while not self._queue or self.paused is not None or self._home.held is not None:
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
        while (held := self.paused or self._home.held) is not None:
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
        if self.trigger.kind == "idle" or not (self._collected or self._queue):
            return None
        in_batches = self.trigger.every is not None
        return CallsState(self.name, place, in_batches, self._collected, list(self._queue))

    def restore(self, state: CallsState) -> None:
        """Hold the results and events that a snapshot has; ``every`` may be another by now."""
        if state.in_batches == (self.trigger.every is not None):
            for call in state.queue:
                self._put(call)
            rest = state.collected
        else:
            queued = chain(*state.queue) if state.in_batches else state.queue
            rest = [*queued, *state.collected]
        for item in rest:
            self.feed(item)

    async def serve(self) -> None:
        """Make the calls, until the campaign ends."""
        current_agent.set(self.name)
        is_echo.set(self.trigger.kind == "idle")
        match self.trigger.kind:
            case "idle":
                serving = self._serve_idle
            case "period":
                serving = self._serve_period
            case "success" | "failure" | "result" | "event":
                serving = self._serve_queue
            case "agent":
                raise AssertionError(f"{self.name} is called once, and not served")
            case _:
                assert_never(self.trigger.kind)
        ended = False
        while not ended:
            # one scope for many calls: to make one takes as long as a short call
            with self._home.latecomers.may_cut(self.name):
                await serving()
                ended = True
            self._home.look_if_quiet()

    async def _serve_queue(self) -> None:
        """Make the calls, in order."""
        while True:
            item = await self._take()
            if self._echoes or is_echo.get():
                is_echo.set(id(item) in self._echoes)
                self._echoes -= Counter([id(item)])
            results_behind.set(self._behind.popleft() if self._behind else self._ids_of(item))
            await self._make_call(item)
            self._home.look_if_quiet()

    def _ids_of(self, results: Any) -> tuple[int, ...]:
        """Return the ids that the results of a call have in the record."""
        recorded = self._home.recorded_ids
        if self.trigger.every is None:
            number = results.task_id
            return (recorded.get(number, number),)
        return tuple([recorded.get(it.task_id, it.task_id) for it in results[:MOST_BEHIND]])

    async def _serve_idle(self) -> None:
        """Make the calls of an ``on_idle``, with the number of workers idle at that moment."""
        while True:
            await self._take()
            self._queue.clear()
            idle = self._home.idle_workers(self.trigger.subject)
            if idle > 0 and not self._home.stopping:
                self.asked_at, self.asked_with = self._home.idleness.happened, idle
                await self._make_call(idle)
            self._home.look_if_quiet()

    async def _serve_period(self) -> None:
        """Make the calls of an ``every``."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self.trigger.seconds
        while not self._home.stopping:
            await anyio.sleep(max(0.0, due - loop.time()))
            await self._held()
            due = max(due + self.trigger.seconds, loop.time())
            await self._make_call()
            self._home.look_if_quiet()

    async def call(self, *args: Any) -> None:
        """Make one call; it is no error if the campaign's end cuts it short."""
        call = self._method(*args)
        idleness = self._home.idleness
        if idleness and self.trigger.kind != "idle":
            call = in_steps(call, idleness.echoes if is_echo.get() else idleness.happens)
        await heed(self.name, call, was_cancelled, self._home.explains)

    async def _make_call(self, *args: Any) -> None:
        """Make one call, for which the end of the campaign waits."""
        self._home.latecomers.call_begins(self.name)
        self.busy += 1
        try:
            if self.turn is None:
                await self.call(*args)
            else:
                async with self.turn:
                    await self.call(*args)
        finally:
            self.busy -= 1


@types.coroutine
def in_steps(call: Awaitable[Any], stepped: Callable[[], None]) -> Generator[Any, Any, Any]:
    """Await a call; call ``stepped`` whenever it has gone on to its next wait, or its end."""
    steps = call.__await__()
    try:
        awaited = next(steps)
        while True:
            stepped()
            try:
                yield awaited
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - the call has to handle it
                awaited = steps.throw(error)
            else:
                awaited = next(steps)
    except StopIteration as end:
        stepped()
        return end.value
    finally:
        steps.close()
