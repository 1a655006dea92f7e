"""What is freed is removed in the end, also from a store that fails now and then."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

import pytest

from steerio.broker import store_sweeper
from steerio.broker.store_sweeper import TRIES, StoreSweeper
from steerio.edge.store.multi_store import MultiStore, Part
from steerio.edge.store.store import MemoryStore
from steerio.errors import StoreFailed


class Failing(MemoryStore):
    """A store that fails to remove anything, as often as it is told to."""

    def __init__(self, times: int) -> None:
        super().__init__("one")
        self.left = times
        self.asked = 0
        self.tidied = threading.Event()

    def evict(self, names: Iterable[bytes]) -> None:
        self.asked += 1
        if self.left:
            self.left -= 1
            raise StoreFailed("the store", "remove", ConnectionError("gone"))
        super().evict(names)

    def drop_freed(self) -> None:
        self.tidied.set()

    def close(self) -> None:
        if self.left:
            raise OSError("does not close")


def test_what_failed_is_tried_again_when_the_store_does_something_else() -> None:
    store = Failing(1)
    names = [store.put([b"x"]).name for _ in range(2)]
    sweeper = StoreSweeper(store)
    for name in names:
        sweeper.free([name])
    sweeper.close()
    assert store.objects == {}


def test_what_failed_is_tried_again_when_the_store_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store_sweeper, "TIDY_S", 0.0)
    store = Failing(2)
    sweeper = StoreSweeper(store)
    sweeper.free([store.put([b"x"]).name])
    assert store.tidied.wait(60)
    sweeper.close()
    assert store.objects == {}


def test_what_fails_too_often_is_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_sweeper, "TIDY_S", 0.0)
    store = Failing(1000)
    sweeper = StoreSweeper(store)
    with caplog.at_level(logging.WARNING, "steerio.broker"):
        sweeper.free([store.put([b"x"]).name])
        sweeper.close()
    assert 2 <= store.asked <= TRIES
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("1 object could not be removed from the store: the store did not")


def test_one_of_several_stores_that_fails_does_not_keep_the_others() -> None:
    failing, well = Failing(1), MemoryStore("one")
    several = MultiStore(
        [Part(name="a", store=failing, max_bytes=10), Part(name="b", store=well)], ""
    )
    names = [several.put([bytes(length)]).name for length in (1, 100)]
    with pytest.raises(StoreFailed, match=r"remove objects from 1 of 2 stores: "):
        several.evict(names)
    assert (len(failing.objects), len(well.objects)) == (1, 0)
    failing.left, failing.maker, well.maker = 1, "two", "two"
    failing.put([b"x"])
    well.put([b"x"])
    with pytest.raises(StoreFailed, match="1 of 2 stores"):
        several.sweep(["two"], set())
    assert (len(failing.objects), len(well.objects)) == (2, 0)
    failing.left = 1
    with pytest.raises(StoreFailed, match=r"close 1 of 2 stores: OSError: does not close"):
        several.close()
