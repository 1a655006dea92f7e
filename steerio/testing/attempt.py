"""One attempt of a simulated worker: its course follows a model, in place of the work."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator, Sequence
from math import inf
from typing import Any, Protocol, assert_never

from msgspec import UNSET

from steerio.edge.encoding.snapshots import snapshot
from steerio.edge.encoding.values import ANY_VALUE, total_bytes
from steerio.edge.wire.endpoint import Frames
from steerio.edge.wire.memory_streams import StreamEnd
from steerio.model import messages as ms
from steerio.testing.agenda import Agenda, DueCall
from steerio.testing.course import Course
from steerio.testing.model import Fate, Script
from steerio.testing.report_times import Said, Told, planned
from steerio.worker import context
from steerio.worker.items_ahead import Ahead
from steerio.worker.meeting import ALONE
from steerio.worker.random_streams import of_task
from steerio.worker.task_objects import WorkerObjects

Packed = tuple[bytes, Frames]
"""A value on the wire."""
FAILING = Course(0.0, fails=True)
"""The end of an attempt that fails by a `Model`."""


class AtWork(Protocol):
    """The worker, as its attempt sees it."""

    name: str
    run: int
    task_id: int

    def ended(
        self, attempt: SimulatedAttempt, packed: Packed | None, error: BaseException | None
    ) -> None:
        """Take in that the function of an attempt returned or raised."""
        ...

    def crashed(self, attempt: SimulatedAttempt) -> None:
        """Take in that an attempt crashes the worker."""
        ...


class SimulatedAttempt:
    """One attempt: the counterpart of a real worker's call of the task.

    While the task's function is called, `report` reaches this object.
    """

    __slots__ = (
        "_ahead",
        "_fate",
        "_granted",
        "_last_item",
        "_link",
        "_objects",
        "_pending",
        "_said",
        "_told",
        "_worker",
        "gang",
        "obeys",
        "on_engine",
        "script",
    )

    def __init__(
        self, worker: AtWork, script: Script, link: StreamEnd, objects: WorkerObjects
    ) -> None:
        self.script = script
        self.obeys = script.obeys
        self.gang = ALONE
        self.on_engine = False
        self._objects = objects
        self._worker = worker
        self._link = link
        self._pending: list[DueCall | asyncio.Task[None]] = []
        self._said: list[Said] = []
        self._told: Told | None = None
        self._granted: asyncio.Event | None = None

    def begin(
        self,
        args: Any,
        kwargs: Any,
        fate: Fate,
        slowness: float,
        agenda: Agenda,
        ahead: Ahead,
        *,
        unread: bool = False,
    ) -> None:
        """Begin; the worker is told of the end.

        Args:
            args: the task's arguments by position.
            kwargs: those by name.
            fate: the duration and the failure that were drawn.
            slowness: factor on the duration.
            agenda: takes the calls to come.
            ahead: how far a generator may be ahead of its reader.
            unread: whether the items that it yields are not read.
        """
        duration_s = fate.duration_s * slowness
        self._fate = fate
        self._ahead = ahead
        course = fate.course
        if course is not None:
            self.obeys = course.obeys or self.obeys
            if course.value is not UNSET and course.items is UNSET:
                self._end_later(course, duration_s, agenda)
                return
        match self.script.kind:
            case "generator":
                ahead.begin(unread=unread)
                self._last_item = -inf
                self._granted = asyncio.Event()
                if course is not None and course.items is not UNSET:
                    steps = self._yield_drawn(course, course.items, slowness)
                else:
                    steps = self._yield_items(args, kwargs, duration_s)
            case "coroutine" if not self.script.modelled:
                steps = self._run_coroutine(args, kwargs, duration_s)
            case "function" | "coroutine":
                self._call(args, kwargs, duration_s, agenda)
                return
            case _:
                assert_never(self.script.kind)
        loop = asyncio.get_running_loop()
        self._told = Told(self._send_report, loop)
        name = f"{self.script.name} on {self._worker.name}"
        self._pending.append(loop.create_task(steps, name=name))

    def drop(self) -> None:
        """Cancel the rest of the attempt, and its reports."""
        for each in self._pending:
            each.cancel()
        self._pending.clear()
        if self._told is not None:
            self._told.drop()

    def grant(self, count: int) -> None:
        """Let a generator yield ``count`` more items."""
        if self._granted is not None:
            self._ahead.granted(count)
            self._granted.set()

    def report(self, fraction: float | None, message: str) -> None:
        """Take in a report of the task's function."""
        said = Said(fraction, message)
        if self._told is None:
            self._said.append(said)
        elif self._pending:
            self._told.say(said)

    def _send_report(self, said: Said) -> None:
        self._link.send(ms.ReportProgress(self._worker.run, said.fraction, said.message))

    def should_stop(self) -> bool:
        """Return False: the model, not the function, decides when an attempt stops."""
        return False

    def random_seed(self, bits: int) -> int:
        """Return a number that follows from the simulation's seed and the task."""
        return of_task(self.script.seed, self._worker.task_id, bits)

    def _call(self, args: Any, kwargs: Any, duration_s: float, agenda: Agenda) -> None:
        """Call a function that takes no virtual time; its outcome is told after ``duration_s``."""
        if self._doomed:
            self._pending.append(agenda.add(duration_s, self._fail))
            return
        packed, error = None, None
        try:
            with context.running_as(self):
                value = self.script.function(*args, **kwargs)
            packed = self._packed(value)
        except (Exception, SystemExit, asyncio.CancelledError) as raised:  # noqa: BLE001 - the task's own
            error = _as_a_failure(raised)
        for at_s, said in planned(self._said, duration_s):
            self._pending.append(agenda.add(at_s, self._send_report, said))
        self._pending.append(agenda.add(duration_s, self._worker.ended, self, packed, error))

    def _end_later(self, course: Course, duration_s: float, agenda: Agenda) -> None:
        """Let an attempt end after ``duration_s`` with the value that was drawn."""
        if self._doomed:
            self._pending.append(agenda.add(duration_s, self._fail))
        else:
            self._pending.append(agenda.add(duration_s, self._end, course.value, None))

    def _packed(self, value: Any) -> Packed:
        """Pack a value, as it is now."""
        codec = self.script.loaded.codec.result
        body, frames = codec.pack(value, f"the value returned by {self.script.name}")
        return body, snapshot(frames) if frames else ()

    def _end(self, value: Any, error: BaseException | None) -> None:
        """End an attempt that took virtual time."""
        packed = None
        if error is None:
            try:
                packed = self._packed(value)
            except Exception as unsendable:  # noqa: BLE001 - pickling may raise anything
                error = unsendable
        if self._pending and self._told is not None:
            self._told.tell_waiting()
        self._worker.ended(self, packed, error)

    @property
    def _doomed(self) -> bool:
        return self._fate.crashes or self._fate.fails

    def _fail(self) -> None:
        """Fail or crash, as the model says."""
        if self._fate.crashes:
            self._worker.crashed(self)
        else:
            course = self._fate.course or FAILING
            self._worker.ended(self, None, course.error(self.script.name))

    async def _run_coroutine(self, args: Any, kwargs: Any, duration_s: float) -> None:
        await asyncio.sleep(duration_s)
        if self._doomed:
            self._fail()
            return
        try:
            with context.running_as(self):
                value = await self.script.function(*args, **kwargs)
        except (Exception, SystemExit, asyncio.CancelledError) as raised:
            if _is_cancelled():
                raise
            self._end(None, _as_a_failure(raised))
        else:
            self._end(value, None)

    async def _yield_items(self, args: Any, kwargs: Any, pause_s: float) -> None:
        try:
            with context.running_as(self):
                items = self.script.function(*args, **kwargs)
            value = None
            if inspect.isasyncgen(items):
                await self._yield_awaited(items, pause_s)
            else:
                value = await self._yield_each(iter(items), pause_s)
        except (Exception, SystemExit, asyncio.CancelledError) as raised:
            if _is_cancelled():
                raise
            self._end(None, _as_a_failure(raised))
        else:
            if self._doomed:
                self._fail()
            else:
                self._end(value, None)

    async def _yield_drawn(
        self, course: Course, items: Sequence[tuple[float, Any]], slowness: float
    ) -> None:
        """Yield the items of a course, each at its time; a reader that is late delays the rest."""
        over_s = 0.0
        for index, (at_s, item) in enumerate(items):
            await self._yield_item(index, item, (at_s - over_s) * slowness)
            over_s = at_s
        await asyncio.sleep((course.duration_s - over_s) * slowness)
        if self._doomed:
            self._fail()
        else:
            self._end(None if course.value is UNSET else course.value, None)

    async def _yield_awaited(self, items: AsyncIterator[Any], pause_s: float) -> None:
        """Yield the items of an async generator, which cannot return a value."""
        index = 0
        while True:
            try:
                with context.running_as(self):
                    item = await anext(items)
            except StopAsyncIteration:
                return
            await self._yield_item(index, item, pause_s)
            index += 1

    async def _yield_each(self, items: Iterator[Any], pause_s: float) -> Any:
        """Yield one item after the other; return the generator's return value."""
        index = 0
        while True:
            try:
                with context.running_as(self):
                    item = next(items)
            except StopIteration as end:
                return end.value
            await self._yield_item(index, item, pause_s)
            index += 1

    async def _yield_item(self, index: int, item: Any, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        assert self._granted is not None
        if self._ahead.unread:
            self._tell_of_item(index)
            return
        body, frames = ANY_VALUE.pack(item, f"item {index} of a generator task")
        stored = self._objects.put_away(frames, self.script.loaded.spec) if frames else None
        frames = () if stored else snapshot(frames)
        nbytes = stored.nbytes if stored else len(body) + total_bytes(frames)
        self._ahead.yielded(nbytes)
        self._link.send(ms.YieldItem(self._worker.run, index, body, len(frames), stored), frames)
        while self._ahead.full:
            self._granted.clear()
            await self._granted.wait()

    def _tell_of_item(self, index: int) -> None:
        """Tell that an item was yielded that is not read, as often as a real worker does."""
        now = asyncio.get_running_loop().time()
        if now - self._last_item >= context.PROGRESS_EVERY_S:
            self._last_item = now
            self._link.send(ms.YieldItem(self._worker.run, index, b"", 0))


def _is_cancelled() -> bool:
    """Whether this attempt was cancelled, so that the task itself did not raise the error."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _as_a_failure(raised: BaseException) -> BaseException:
    """Return the error of a task in the form in which a real worker reports it."""
    if not isinstance(raised, SystemExit):
        return raised
    failure = RuntimeError(f"the task called sys.exit({raised.code!r})")
    failure.__cause__ = raised
    return failure
