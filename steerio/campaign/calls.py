"""The calls of a campaign's triggered methods: queued in order, made one at a time or a few."""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Protocol, assert_never

import anyio

from steerio.campaign.agent_errors import heed, was_cancelled
from steerio.campaign.call_queue import CallQueue, QueueHome
from steerio.campaign.conditions import Resting
from steerio.campaign.ending import Latecomers
from steerio.campaign.trigger_marks import Trigger
from steerio.session.chains import HANDLER, chain_behind
from steerio.session.current_agent import current_agent, results_behind

is_echo: contextvars.ContextVar[bool] = contextvars.ContextVar("steerio_echo", default=False)
"""Whether this code runs because of an ``on_idle``: in it, or in a handler of its events."""


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


class SeenConditions(Protocol):
    """The conditions that agents of a campaign wait for, as seen by its calls."""

    used: bool
    """Whether an agent has waited for one, so that the steps of agents count."""
    own_tasks: dict[asyncio.Task[Any] | None, Resting]
    """The tasks of asyncio in which the campaign runs agents, and whose calls they make."""

    def happens(self) -> None:
        """Take in that something has happened that may have made a condition true."""
        ...


class CallsHome(QueueHome, Protocol):
    """One run of a campaign, as seen by the calls of its methods."""

    stopping: str
    latecomers: Latecomers

    @property
    def idleness(self) -> IdleMethods:
        """The campaign's ``on_idle`` methods."""
        ...

    @property
    def conditions(self) -> SeenConditions:
        """The conditions that agents wait for."""
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


class Calls(CallQueue):
    """The calls of one triggered method: queued in order, made one at a time or a few."""

    def __init__(
        self, home: CallsHome, name: str, trigger: Trigger, method: Callable[..., Any]
    ) -> None:
        super().__init__(home, name, trigger)
        self._home = home
        self.method = method
        """The method; a simulation puts one in its place whose calls have a cost."""
        self.busy = 0
        self.resting = 0
        """How many calls wait for a condition, for as long as it takes."""
        self.in_line = 0
        """How many of those under way wait for their turn."""
        self.turn: asyncio.Semaphore | None = None
        """Keeps the calls of one method one at a time if it has several triggers."""
        self.asked_at = -1
        """The count of happenings at which an ``on_idle`` was called last."""
        self.asked_with = 0
        """How many workers were idle at that call."""

    def __repr__(self) -> str:
        return f"<Calls of {self.name}: {self.pending} queued, {self.busy} under way>"

    async def serve(self) -> None:
        """Make the calls, until the campaign ends."""
        current_agent.set(self.name)
        chain_behind.set(HANDLER)
        is_echo.set(self.trigger.kind == "idle")
        match self.trigger.kind:
            case "idle":
                serving = self._serve_idle
            case "period":
                serving = self._serve_period
            case "success" | "failure" | "result" | "event" | "item":
                serving = self._serve_queue
            case "agent":
                raise AssertionError(f"{self.name} is called once, and not served")
            case _:
                assert_never(self.trigger.kind)
        me = asyncio.current_task()
        self._home.conditions.own_tasks[me] = self
        try:
            await self._serve_again(serving)
        finally:
            del self._home.conditions.own_tasks[me]

    async def _serve_again(self, serving: Callable[[], Awaitable[None]]) -> None:
        """Make the calls; go on with the next if one was cut short."""
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
            ids, chain = self._behind.popleft() if self._behind else self._behind_of(item)
            results_behind.set(ids)
            chain_behind.set(chain)
            await self._make_call(item)
            self._home.look_if_quiet()

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
        call = self.method(*args)
        stepped: list[Callable[[], None]] = []
        if self._home.conditions.used or self.trigger.kind == "agent":
            stepped.append(self._home.conditions.happens)
        idleness = self._home.idleness
        if idleness and self.trigger.kind != "idle":
            stepped.append(idleness.echoes if is_echo.get() else idleness.happens)
        if stepped:
            call = in_steps(call, stepped)
        await heed(self.name, call, was_cancelled, self._home.explains)

    async def _make_call(self, *args: Any) -> None:
        """Make one call, for which the end of the campaign waits."""
        self._home.latecomers.call_begins(self.name)
        self.busy += 1
        try:
            if self.turn is None:
                await self.call(*args)
            else:
                self.in_line += 1
                try:
                    await self.turn.acquire()
                finally:
                    self.in_line -= 1
                try:
                    await self.call(*args)
                finally:
                    self.turn.release()
        finally:
            self.busy -= 1
            self._home.conditions.happens()


@types.coroutine
def in_steps(
    call: Awaitable[Any], stepped: Sequence[Callable[[], None]]
) -> Generator[Any, Any, Any]:
    """Await a call; call ``stepped`` whenever it has gone on to its next wait, or its end."""
    steps = call.__await__()
    try:
        awaited = next(steps)
        while True:
            for each in stepped:
                each()
            try:
                yield awaited
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - the call has to handle it
                awaited = steps.throw(error)
            else:
                awaited = next(steps)
    except StopIteration as end:
        for each in stepped:
            each()
        return end.value
    finally:
        steps.close()
