"""What a worker has made of a stored value is kept for its next tasks, within bounds."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steerio.edge.encoding.values import ANY_VALUE
from steerio.edge.store.segments import SharedMemoryConnector
from steerio.edge.store.store import SegmentStore
from steerio.model.messages import RunTask
from steerio.model.objects import StoredObject, StoreSetting, Version
from steerio.worker import decoded_values
from steerio.worker.task_objects import WorkerObjects

pytestmark = pytest.mark.borders

TASK = RunTask(1, 1, 1, 1, b"", 0)


class Place:
    """A worker's way to a store, and another one to put objects there."""

    def __init__(self, folder: Path, setting: StoreSetting) -> None:
        self.store = SegmentStore(SharedMemoryConnector(str(folder)), setting.cached_bytes)
        read = SegmentStore(SharedMemoryConnector(str(folder)), setting.cached_bytes)
        self.worker = WorkerObjects(lambda: read, setting)
        self.read = read

    def put(self, value: Any) -> StoredObject:
        body, frames = ANY_VALUE.pack(value)
        return self.store.put([body, *frames])

    @property
    def kept(self) -> decoded_values.DecodedValues:
        return self.worker._decoded


@contextmanager
def opened(**setting: Any) -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), StoreSetting(**setting))
        yield place
        place.worker.close()
        place.store.close()


VALUES: dict[str, Any] = {
    "numbers": list(range(100_000)),
    "a dict": {str(n): float(n) for n in range(50_000)},
    "bytes": bytes(20_000_000),
    "a bytearray": bytearray(20_000_000),
    "text": "x" * 5_000_000,
    "arrays in a list": [np.arange(10.0) for _ in range(10_000)],
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_takes_long_to_make_is_made_once(name: str) -> None:
    with opened() as place:
        stored = place.put(VALUES[name])
        first = place.worker.resolve(stored)
        assert type(first) is type(VALUES[name])
        assert len(first) == len(VALUES[name])
        place.worker.begin(TASK, ())
        assert place.worker.resolve(stored) is first
        versioned = RunTask(2, 1, 2, 1, b"", 0, versions={"model": Version(1, stored)})
        place.worker.begin(versioned, ())
        assert place.worker.resolve("model") is first


def test_what_is_made_at_once_is_each_tasks_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_values, "KEPT_FROM_S", float("inf"))
    with opened() as place:
        stored = place.put({"a": [1, 2]})
        place.worker.resolve(stored)["a"].append(3)
        assert place.worker.resolve(stored) == {"a": [1, 2]}
        assert len(place.kept) == 0


def test_what_is_kept_goes_with_the_object_that_it_was_made_from() -> None:
    with opened() as place:
        stored, other = place.put(VALUES["numbers"]), place.put(VALUES["a dict"])
        for one in (stored, other):
            place.worker.resolve(one)
        assert len(place.kept) == 2
        place.store.evict([stored.name])
        place.read.drop_freed()
        gc.collect()
        assert len(place.kept) == 1
        place.worker.resolve(other)
        place.store.evict([other.name])
        place.read.drop_freed()
        gc.collect()
        assert (len(place.kept), place.kept.nbytes) == (0, 0)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_values, "KEPT_FROM_S", 0.0)
    with opened(cache_bytes=10_000_000) as place:
        kept = [place.put(list(range(number, number + 100_000))) for number in range(10)]
        for stored in kept:
            assert place.worker.resolve(stored)[0] == kept.index(stored)
            assert place.kept.nbytes <= 10_000_000
        assert 1 <= len(place.kept) < 10
        too_large = place.put(list(range(1_000_000)))
        assert len(place.worker.resolve(too_large)) == 1_000_000
        assert place.kept.nbytes <= 10_000_000


def test_a_change_of_what_is_shared_is_found_where_that_is_looked_for() -> None:
    with opened(check_shared=True) as place:
        stored = place.put(VALUES["a dict"])
        value: Any = None
        for number in range(3):
            place.worker.begin(TASK, ())
            value = place.worker.resolve(stored)
            assert value == VALUES["a dict"]
            if number < 2:
                place.worker.end()
        value["new"] = 1.0
        with pytest.raises(RuntimeError, match=r"changed a value \(dict\) .* by reference"):
            place.worker.end()
        place.worker.begin(TASK, ())
        assert place.worker.resolve(stored) == VALUES["a dict"], "it is made anew"
        place.worker.resolve(stored).clear()  # by a task that fails
        place.worker.begin(TASK, ())
        assert place.worker.resolve(stored) == VALUES["a dict"]


def test_nothing_is_looked_for_by_default() -> None:
    with opened() as place:
        value = place.worker.resolve(place.put(VALUES["a dict"]))
        value["new"] = 1.0
        place.worker.end()
