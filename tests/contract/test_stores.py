"""A store gives back what was put, to whoever asks, until it is told to let go of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steerio.edge.store.atomic_files import MAPPED_BYTES
from steerio.edge.store.connector_store import ConnectorStore
from steerio.edge.store.folders import open_folder
from steerio.edge.store.opening_stores import open_store, own_folders
from steerio.edge.store.segments import SharedMemoryConnector
from steerio.edge.store.store import MemoryStore, SegmentStore, Store
from steerio.errors import ObjectMissing
from steerio.model.objects import StoredObject, StoreSetting
from tests.contract.redis_servers import redis_server
from tests.own_folders import SHARED_MEMORY_VARIABLE

LARGE = 2 * 2**20
"""Long enough for whatever is done with long objects only."""

Another = Callable[[str], Store]
"""Opens a store of the same objects for another maker, as another process would."""


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    shared = os.environ.get(SHARED_MEMORY_VARIABLE)
    if shared is None:
        pytest.skip("there is no shared memory here")
    with open_folder(Path(shared)) as folder:
        yield folder.path


@contextmanager
def segments_in_memory() -> Iterator[Another]:
    with folder_in_memory() as folder:
        yield lambda maker: SegmentStore(SharedMemoryConnector(str(folder), maker=maker))


@contextmanager
def segments_on_disk() -> Iterator[Another]:
    with tempfile.TemporaryDirectory() as folder:
        yield lambda maker: SegmentStore(SharedMemoryConnector(folder, maker=maker))


@contextmanager
def memory() -> Iterator[Another]:
    first = MemoryStore()
    yield lambda maker: MemoryStore(maker, beside=first)


@contextmanager
def over(connect: Callable[[], Any]) -> Iterator[Another]:
    """Stores of workers on one node over a connector."""
    with folder_in_memory() as folder:
        yield lambda maker: ConnectorStore(connect, folder, maker)


@contextmanager
def proxystore_files() -> Iterator[Another]:
    from proxystore.connectors.file import FileConnector

    with (
        tempfile.TemporaryDirectory() as folder,
        over(lambda: FileConnector(folder, clear=False)) as another,
    ):
        yield another


@contextmanager
def proxystore_dict() -> Iterator[Another]:
    from proxystore.connectors.local import LocalConnector

    objects: dict[Any, Any] = {}
    with over(lambda: LocalConnector(store_dict=objects)) as another:
        yield another


@contextmanager
def proxystore_redis() -> Iterator[Another]:
    with redis_server() as port, folder_in_memory() as folder:
        setting = StoreSetting(kind="redis", options={"hostname": "127.0.0.1", "port": port})
        yield lambda maker: open_store(setting, folder, maker)


@contextmanager
def several() -> Iterator[Another]:
    with tempfile.TemporaryDirectory() as place, folder_in_memory() as folder, ExitStack() as own:
        setting = own_folders(
            StoreSetting(
                kind="multi",
                options={
                    "short": {"kind": "file", "options": {"folder": place}, "max_bytes": 1000},
                    "long": {"kind": "shared-memory"},
                },
            ),
            own,
        )
        yield lambda maker: open_store(setting, folder, maker)


KINDS = {
    "shared memory": segments_in_memory,
    "files": segments_on_disk,
    "memory": memory,
    "ProxyStore's files": proxystore_files,
    "ProxyStore's dict": proxystore_dict,
    "Redis": proxystore_redis,
    "multi": several,
}


@pytest.fixture(params=KINDS)
def another(request: pytest.FixtureRequest) -> Iterator[Another]:
    with ExitStack() as stack:
        make = stack.enter_context(KINDS[request.param]())

        def made(maker: str) -> Store:
            store = make(maker)
            stack.callback(store.close)
            return store

        yield made


def content(store: Store, stored: StoredObject) -> list[bytes]:
    return [bytes(frame) for frame in store.get(stored)]


@pytest.mark.parametrize("size", [0, 1, 1000, MAPPED_BYTES, LARGE])
def test_frames_come_out_as_they_went_in_for_whoever_asks(another: Another, size: int) -> None:
    frames = [os.urandom(size), b"", b"short", memoryview(os.urandom(77))]
    stored = another("one").put(frames)
    assert stored.nbytes >= size
    store = another("two")
    for _ in range(2):
        assert content(store, stored) == [bytes(frame) for frame in frames]
    assert all(frame.readonly for frame in store.get(stored))


def test_many_frames_come_out_as_they_went_in(another: Another) -> None:
    frames = [bytes([number % 256]) * (number % 100) for number in range(3000)]
    assert content(another("two"), another("one").put(frames)) == frames


def test_what_was_put_does_not_change_with_what_it_was_put_from(another: Another) -> None:
    array = np.zeros(LARGE // 8)
    store = another("one")
    stored = store.put([array])
    array[:] = 1
    assert not np.frombuffer(store.get(stored)[0]).any()


def test_what_was_evicted_is_missing_and_evicting_it_again_is_fine(another: Another) -> None:
    store = another("one")
    stored, kept = store.put([b"x" * LARGE]), store.put([b"kept"])
    another("two").evict([stored.name])
    store.evict([stored.name, b"never there"])
    for who in (store, another("three")):
        with pytest.raises(ObjectMissing, match="freed") as raised:
            who.get(stored)
        assert raised.value.name == stored.name
    assert content(store, kept) == [b"kept"]


@pytest.mark.parametrize(
    "name", [b"", b"/etc/passwd", b"../x", b".", b"freed", b"\xff\xfe", b"a\0b", b"n" * 999]
)
def test_a_name_that_nothing_has_is_missing(another: Another, name: bytes) -> None:
    store = another("one")
    with pytest.raises(ObjectMissing):
        store.get(StoredObject(name, 10))
    store.evict([name])


def test_what_somebody_holds_stays_as_it_is_when_others_are_put(another: Another) -> None:
    reader, writer = another("reader"), another("writer")
    first = writer.put([b"1" * LARGE])
    (held,) = reader.get(first)
    writer.evict([first.name])
    second = writer.put([b"2" * LARGE])
    assert held == b"1" * LARGE
    assert content(reader, second) == [b"2" * LARGE]
    reader.evict([second.name])
    reader.drop_freed()
    third = writer.put([b"3" * (LARGE - 5)])
    assert held == b"1" * LARGE
    assert content(reader, third) == [b"3" * (LARGE - 5)]


@pytest.mark.parametrize("name", ["w.1/%", "über", "w" * 300])
def test_what_a_dead_maker_left_is_swept_but_for_what_is_kept(another: Another, name: str) -> None:
    dead, other = another(name), another(f"{name}2")
    left, kept, others = dead.put([b"left"]), dead.put([b"kept"]), other.put([b"others"])
    other.sweep([name], {kept.name})
    with pytest.raises(ObjectMissing):
        other.get(left)
    assert content(other, kept) == [b"kept"]
    assert content(other, others) == [b"others"]


def test_a_maker_can_be_named_later(another: Another) -> None:
    store = another("before")
    store.maker = "after"
    stored = store.put([b"x"])
    store.sweep(["before"], set())
    assert content(store, stored) == [b"x"]
    store.sweep(["after"], set())
    with pytest.raises(ObjectMissing):
        another("reader").get(stored)
