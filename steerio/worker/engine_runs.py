"""Attempts that an engine runs: in any thread of a process that is the engine's own.

Changes that a task makes to the process are not set back, and no word reaches a task, or comes from
it, while it runs: the items of a generator come with its end.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextvars import copy_context
from functools import partial
from pathlib import Path
from types import CoroutineType
from typing import Any, cast

import msgspec
from msgspec import Struct

from steerio.edge.encoding.references import reading
from steerio.edge.encoding.values import ANY_VALUE
from steerio.edge.store.folders import open_folder
from steerio.edge.store.opening_stores import open_store
from steerio.edge.system.machine import process_space
from steerio.edge.wire.cutting import check_frames
from steerio.edge.wire.endpoint import Frames
from steerio.errors import UsageError
from steerio.model import messages as ms
from steerio.model.objects import SHARED_MEMORY, StoreSetting
from steerio.worker import context
from steerio.worker.coroutines import CoroutineRunner
from steerio.worker.loading import LoadedType, load_file
from steerio.worker.meeting import ALONE
from steerio.worker.outcome import Outcome
from steerio.worker.random_streams import of_task
from steerio.worker.task_objects import WorkerObjects

GIVE_BACK_S = 0.1
"""Attempts that were not begun so long after their call began are given back."""
KEPT_TYPES = 256
"""Most task types that a thread of an engine keeps loaded."""
_LOADING = threading.Lock()
"""Reading shipped code notes its classes for the whole process."""


class EngineSetup(Struct, frozen=True, kw_only=True):
    """All that an engine's processes have to know of a broker.

    Attributes:
        protocol: of the messages.
        random_seed: of the run.
        store: the setting of the store, if there is one.
        objects: its folder on the broker's host.
        space: a name of that host's processes.
        host: the name of that host, for people.
        path: folders in which the session finds modules, for processes that see them, too.
        files: Python files that are loaded as modules, as module name and path.
        python: the version of Python that functions travel from.
    """

    protocol: int = ms.PROTOCOL
    random_seed: int = 0
    store: StoreSetting | None = None
    objects: str = ""
    space: str = ""
    host: str = ""
    path: list[str] = []
    files: list[tuple[str, str]] = []
    python: tuple[int, int] = sys.version_info[:2]

    def packed(self) -> bytes:
        """Return it as bytes."""
        return msgspec.msgpack.encode(self)


class _NeverStopped:
    """In place of a worker's slot: no word reaches a task of an engine while it runs."""

    asked_to_stop = False


class _RunningHere:
    """A task that an engine runs, as code in it sees it through `worker.context`."""

    def __init__(self, seed: int, task_id: int) -> None:
        self.gang = ALONE
        self.on_engine = True
        self._seed, self._task_id = seed, task_id

    def report(self, fraction: float | None, message: str) -> None:
        """Do nothing: there is no way back before the task has ended."""

    def should_stop(self) -> bool:
        """Say that it was not asked to stop."""
        return False

    def random_seed(self, bits: int) -> int:
        """Return a number that follows from the run's seed and the task."""
        return of_task(self._seed, self._task_id, bits)


class EngineRuns:
    """Runs the attempts of one broker in one thread of an engine."""

    def __init__(self, setup: EngineSetup) -> None:
        self._setup = setup
        sys.path += [folder for folder in setup.path if folder not in sys.path]
        self._opened = contextlib.ExitStack()
        self._objects = self._store()
        self._types: OrderedDict[bytes, LoadedType] = OrderedDict()
        self._specs: dict[int, ms.DefineTask] = {}
        self._coroutines = CoroutineRunner(_NeverStopped())

    def close(self) -> None:
        """Let go of the store."""
        self._objects.close()
        self._opened.close()

    def _store(self) -> WorkerObjects:
        """Return the way to the store from here."""
        setting, its = self._setup.store, self._setup
        if setting is None:
            return WorkerObjects(None, StoreSetting(threshold_bytes=None))
        if its.space == process_space() and Path(its.objects).is_dir():
            return WorkerObjects(partial(open_store, setting, Path(its.objects), ""), setting)
        if setting.kind == SHARED_MEMORY:
            return _OutOfReach(its.host)

        def opened() -> Any:
            folder = self._opened.enter_context(open_folder()).path
            return open_store(setting, folder, "")

        return WorkerObjects(opened, setting)

    def run(
        self, messages: Sequence[tuple[ms.ToWorker, Frames]]
    ) -> Iterable[tuple[ms.ToBroker, Frames]]:
        """Run the attempts among messages, and yield the words about each."""
        began, unread = time.monotonic(), set[int]()
        attempts: list[tuple[ms.RunTask, Frames]] = []
        for message, frames in messages:
            match message:
                case ms.DefineTask():
                    self._specs[message.type_id] = message
                case ms.RunTask():
                    attempts.append((message, frames))
                case ms.GrantRun():
                    unread.add(message.run)
                case _:  # none of these is sent on to an engine
                    pass
        for number, (task, frames) in enumerate(attempts):
            if number and time.monotonic() > began + GIVE_BACK_S:
                yield ms.ReturnTask(task.run), ()
                continue
            items: list[tuple[ms.YieldItem, Frames]] = []
            outcome = Outcome()
            attempt = partial(self._attempt, task, frames, outcome, items)
            reading(attempt, self._objects.resolve)
            if task.run not in unread:
                yield from items
            yield _report(task.run, outcome)
        self._specs.clear()
        self._coroutines.close()  # the thread is the engine's, and may end
        self._objects.tidy()

    def _attempt(
        self,
        task: ms.RunTask,
        frames: Frames,
        outcome: Outcome,
        items: list[tuple[ms.YieldItem, Frames]],
    ) -> None:
        try:
            arrived = self._objects.begin(task, frames)
            kind = self._load(task.type_id)
            args, kwargs = kind.codec.unpack(task.body, arrived)
            outcome.started = time.monotonic()
            with context.running_as(_RunningHere(self._setup.random_seed, task.task_id)):
                value = copy_context().run(self._call, task.run, kind, args, kwargs, items)
            outcome.ended = time.monotonic()
            if self._objects.shares:
                self._objects.end()
            outcome.pack(value, kind, self._objects)
        except BaseException as raised:  # noqa: BLE001 - a task may raise anything
            outcome.ended = time.monotonic()
            outcome.failed(raised, shares=self._objects.shares)

    def _load(self, type_id: int) -> LoadedType:
        known = self._specs[type_id]
        key = msgspec.msgpack.encode(known.spec)
        with _LOADING:
            for name, path in self._setup.files:
                load_file(name, path)
            kind = self._types.get(key)
            if kind is None:
                kind = self._types[key] = LoadedType(known.spec)
                if len(self._types) > KEPT_TYPES:
                    self._types.popitem(last=False)
            else:
                self._types.move_to_end(key)
                if kind.read is not None:
                    kind.renew()
            if kind.read is not None:
                kind.read.settle()
        return kind

    def _call(
        self,
        run: int,
        kind: LoadedType,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        items: list[tuple[ms.YieldItem, Frames]],
    ) -> Any:
        value: Any = kind.function(*args, **kwargs)
        if inspect.isasyncgen(value):
            return self._coroutines.run(self._all_async(value, run, kind, items))
        if kind.kind == "generator":
            return self._all(value, run, kind, items)
        if type(value) is CoroutineType:
            return self._coroutines.run(cast("Any", value))
        return value

    def _all(self, value: Iterable[Any], run: int, kind: LoadedType, items: list[Any]) -> Any:
        """Pack the items of a generator, and return its value."""
        iterator = iter(value)
        while True:
            try:
                item = next(iterator)
            except StopIteration as end:
                return end.value
            items.append(self._packed_item(run, len(items), item, kind))

    async def _all_async(
        self, value: AsyncIterator[Any], run: int, kind: LoadedType, items: list[Any]
    ) -> None:
        async for item in value:
            items.append(self._packed_item(run, len(items), item, kind))

    def _packed_item(
        self, run: int, index: int, item: Any, kind: LoadedType
    ) -> tuple[ms.YieldItem, Frames]:
        what = f"item {index} of a generator task"
        body, frames = ANY_VALUE.pack(item, what)
        stored = self._objects.put_away(frames, kind.spec) if frames else None
        if stored is not None:
            return ms.YieldItem(run, index, body, 0, stored), ()
        check_frames(frames, what)
        frames = tuple(map(bytes, frames))  # as it is now: the generator goes on
        return ms.YieldItem(run, index, body, len(frames)), frames


class _OutOfReach(WorkerObjects):
    """In place of a store in another host's memory: values that are there cannot be had.

    Args:
        host: the name of that host.
    """

    def __init__(self, host: str) -> None:
        super().__init__(None, StoreSetting(threshold_bytes=None))
        self._host = host

    def begin(self, task: ms.RunTask, frames: Frames) -> Sequence[Any]:
        """Return the frames of a task's arguments, which came with it.

        Raises:
            UsageError: they are in the store.
        """
        if task.stored is not None:
            raise self._missing()
        return super().begin(task, frames)

    def resolve(self, what: Any) -> Any:
        """Return the value of no reference.

        Raises:
            UsageError: in any case.
        """
        del what
        raise self._missing()

    def _missing(self) -> UsageError:
        return UsageError(
            f"the value is in the shared memory of {self._host}, which the engine's processes do "
            "not reach: use a store of kind 'file' on a file system that all hosts share, or "
            "'redis' (store=StoreSetting(...))"
        )


def _report(run: int, outcome: Outcome) -> tuple[ms.Report, Frames]:
    body, packed = outcome.packed
    frames = tuple(map(bytes, packed))  # as they are now: a later task may change them
    report = ms.Report(
        run,
        outcome.ended_as,
        outcome.started,
        outcome.ended,
        body,
        len(frames),
        outcome.error,
        outcome.stored,
    )
    return report, frames
