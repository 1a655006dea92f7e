"""One attempt of a simulated worker: a model's course of events in place of the work."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import traceback
from collections.abc import Iterator
from math import inf
from typing import Any, Protocol

from steerio.edge.snapshots import snapshot
from steerio.edge.values import ANY_VALUE, total_bytes
from steerio.model import messages as ms
from steerio.testing.agenda import Agenda, Entry
from steerio.testing.model import Fate, Script
from steerio.testing.network import SimulatedLink
from steerio.worker import context
from steerio.worker.ahead import Ahead
from steerio.worker.chance import of_task
from steerio.worker.objects import WorkerObjects


class AtWork(Protocol):
    """The worker, as its attempt knows it."""

    name: str
    run: int
    task_id: int

    def ended(self, attempt: Attempt, value: Any, error: BaseException | None) -> None:
        """Take in that the function of an attempt returned or raised."""
        ...

    def crashed(self, attempt: Attempt) -> None:
        """Take in that an attempt took the worker down."""
        ...


class Attempt:
    """One attempt: what a real worker would have on its stack.

    While its function is called it is what `report` talks to.
    """

    __slots__ = (
        "_ahead",
        "_call",
        "_granted",
        "_last_item",
        "_link",
        "_objects",
        "_pending",
        "_worker",
        "script",
    )

    def __init__(
        self, worker: AtWork, script: Script, link: SimulatedLink, objects: WorkerObjects
    ) -> None:
        self.script = script
        self._objects = objects
        self._worker = worker
        self._link = link
        self._pending: Entry | asyncio.Task[None] | None = None
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
        """Begin; the worker hears of the end.  ``unread``: nobody reads what it yields."""
        duration_s = fate.duration_s * slowness
        self._call: tuple[Any, Any, Fate] = args, kwargs, fate
        self._ahead = ahead
        if self.script.kind == "generator":
            ahead.begin(unread=unread)
            self._last_item = -inf
            self._granted = asyncio.Event()
            steps = self._yield_items(duration_s)
        elif self.script.kind == "coroutine" and not self.script.modelled:
            steps = self._run_coroutine(duration_s)
        else:
            self._pending = agenda.add(duration_s, self._finish)
            return
        name = f"{self.script.name} on {self._worker.name}"
        self._pending = asyncio.get_running_loop().create_task(steps, name=name)

    def drop(self) -> None:
        """Let nothing more come of it."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None

    def grant(self, count: int) -> None:
        """Let a generator yield so many more items."""
        if self._granted is not None:
            self._ahead.granted(count)
            self._granted.set()

    def report(self, fraction: float | None, message: str) -> None:
        """Send the progress that the task's function reports."""
        self._link.send(ms.ReportProgress(self._worker.run, fraction, message))

    def should_stop(self) -> bool:
        """Say that it may go on: the model decides when it stops."""
        return False

    def random_seed(self, bits: int) -> int:
        """Return a number that follows from the simulation's seed and the task."""
        return of_task(self.script.seed, self._worker.task_id, bits)

    def _finish(self) -> None:
        args, kwargs, fate = self._call
        if not self._failed(fate):
            context.set_current(self)
            try:
                value = self.script.function(*args, **kwargs)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the task's
                self._worker.ended(self, None, error)
            else:
                self._worker.ended(self, value, None)
            finally:
                context.set_current(None)

    def _failed(self, fate: Fate) -> bool:
        if fate.crashes:
            self._worker.crashed(self)
        elif fate.fails:
            error = RuntimeError(f"this attempt at {self.script.name} fails by its model")
            self._worker.ended(self, None, error)
        return fate.crashes or fate.fails

    async def _run_coroutine(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)
        args, kwargs, fate = self._call
        if self._failed(fate):
            return
        try:
            value = await self.script.function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - it is the task's
            self._worker.ended(self, None, error)
        else:
            self._worker.ended(self, value, None)

    async def _yield_items(self, pause_s: float) -> None:
        args, kwargs, fate = self._call
        try:
            items = self.script.function(*args, **kwargs)
            if inspect.isasyncgen(items):
                value = None
                index = 0
                async for item in items:
                    await self._yield_item(index, item, pause_s)
                    index += 1
            else:
                value = await self._yield_each(iter(items), pause_s)
        except Exception as error:  # noqa: BLE001 - it is the task's
            self._worker.ended(self, None, error)
        else:
            if not self._failed(fate):
                self._worker.ended(self, value, None)

    async def _yield_each(self, items: Iterator[Any], pause_s: float) -> Any:
        """Yield one item after the other; return what the generator returns."""
        index = 0
        while True:
            try:
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
        """Say that an item was yielded which nobody reads, as often as a real worker does."""
        now = asyncio.get_running_loop().time()
        if now - self._last_item >= context.PROGRESS_EVERY_S:
            self._last_item = now
            self._link.send(ms.YieldItem(self._worker.run, index, b"", 0))


def describe(error: BaseException) -> ms.RemoteError:
    """Describe an exception as a worker does."""
    text = "".join(traceback.format_exception(error))
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ != "builtins":
        name = f"{kind.__module__}.{name}"
    try:
        pickled = pickle.dumps(error.with_traceback(None))
        pickle.loads(pickled)
    except Exception:  # noqa: BLE001 - then it does not travel
        pickled = b""
    return ms.RemoteError(name, str(error), text, pickled)
