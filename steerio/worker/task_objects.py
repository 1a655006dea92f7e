"""A worker's use of the store: values that its tasks get by reference, and those they return."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from steerio.edge.encoding import references
from steerio.edge.encoding.values import ANY_VALUE, total_bytes
from steerio.edge.store.store import Store
from steerio.edge.wire.endpoint import Frames
from steerio.model.messages import RunTask
from steerio.model.objects import StoredObject, StoreSetting, Version
from steerio.model.tasks import TaskSpec
from steerio.worker.decoded_values import DecodedValues

TIDY_S = 1.0
"""Longest time for which a worker keeps memory of an object that was freed."""
KEPT_BYTES = 2**29
"""Most bytes of values decoded from stored frames that are kept, by an estimate."""
NO_VERSIONS: dict[str, Version] = {}


class WorkerObjects:
    """One worker's way to the store, which is opened at its first use.

    Args:
        open_store: opens it.
        setting: says which values go by reference.
    """

    def __init__(self, open_store: Callable[[], Store] | None, setting: StoreSetting) -> None:
        self._open_store = open_store
        self._setting = setting
        self._store: Store | None = None
        self._versions = NO_VERSIONS
        self._tidied = 0.0
        self._decoded = DecodedValues(min(setting.cached_bytes, KEPT_BYTES), setting.check_shared)
        self.shares = False
        """Whether the task that was begun last was given a value by reference."""

    def serve(self) -> None:
        """Give all references that this thread reads their values."""
        references.resolve_all_with(self.resolve)

    def begin(self, task: RunTask, frames: Frames) -> Sequence[Any]:
        """Return the frames of a task's arguments, and give references their values from now on.

        Raises:
            ObjectMissing: they are not in the store any more.
        """
        self._versions = task.versions or NO_VERSIONS
        if self.shares:
            self._decoded.begin()
            self.shares = False
        if task.stored is None:
            return frames
        return self._opened().get(task.stored, private=True)

    def end(self) -> None:
        """Check, if the store is so set, that the task has changed no shared value.

        Raises:
            RuntimeError: it has changed one.
        """
        self._decoded.check()

    def resolve(self, what: StoredObject | str) -> Any:
        """Return the value of a reference, or of the latest version of a name.

        A value that takes long to decode is kept, and shared with the tasks that get it next.

        Raises:
            ObjectMissing: it is not in the store any more.
        """
        stored = self._versions[what].stored if isinstance(what, str) else what
        self.shares = True
        frames = self._opened().get(stored)

        def made() -> Any:
            body, *rest = frames
            return ANY_VALUE.unpack(bytes(body), rest, views=True, resolve=self.resolve)

        return self._decoded.value(frames, made)

    def put_away(self, frames: Frames, spec: TaskSpec) -> StoredObject | None:
        """Put frames into the store, if they are large enough to be worth it.

        Raises:
            StoreFull: there is no room for them.
        """
        if self._open_store is None:
            return None
        threshold = self._setting.threshold(spec.pool, spec.threshold_bytes)
        if threshold is None or total_bytes(frames) <= threshold:
            return None
        return self._opened().put(frames, spec.pool)

    def tidy(self) -> None:
        """Give back memory of freed objects, now and then; call it after each task."""
        if self._store is not None and (now := time.monotonic()) > self._tidied + TIDY_S:
            self._tidied = now
            self._store.drop_freed()

    def close(self) -> None:
        """Let go of the store."""
        self._decoded.clear()
        if self._store is not None:
            self._store.close()

    def _opened(self) -> Store:
        if self._store is None:
            assert self._open_store is not None
            self._store = self._open_store()
        return self._store
