"""A node fetches an object once for all its workers, and keeps what was used last."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from steerio.edge.store.connector_store import ConnectorStore, Notes, noted
from steerio.edge.store.multi_store import MultiStore, Part
from steerio.edge.store.node_cache import NodeCache
from steerio.errors import ObjectMissing, StoreFailed, StoreFull
from steerio.model.objects import StoredObject
from tests.contract.test_stores import LARGE, folder_in_memory


class Key(NamedTuple):
    number: int


class Remote:
    """A connector that cannot make keys beforehand, and counts what is fetched."""

    def __init__(self) -> None:
        self.objects: dict[Key, bytes] = {}
        self.fetched: list[Key] = []
        self.closed = 0

    def put(self, obj: bytes) -> Key:
        key = Key(len(self.objects))
        self.objects[key] = obj
        return key

    def get(self, key: Key) -> bytes | None:
        self.fetched.append(key)
        return self.objects.get(key)

    def evict(self, key: Key) -> None:
        self.objects.pop(key, None)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_in_memory() as made:
        yield made


def put_several(store: ConnectorStore, count: int, nbytes: int) -> list[StoredObject]:
    return [store.put([bytes([number]) * nbytes]) for number in range(count)]


def test_workers_of_a_node_fetch_an_object_once(folder: Path) -> None:
    remote = Remote()
    one, two = (ConnectorStore(lambda: remote, folder, maker) for maker in ("one", "two"))
    stored = one.put([b"x" * LARGE])
    for store in (two, one, two):
        assert store.get(stored) == [b"x" * LARGE]
    two.prefetch([stored, StoredObject(b"nonsense", 1)])
    assert remote.fetched == [Key(0)]


FETCHES = """
import os, sys
from pathlib import Path
from steerio.edge.store.node_cache import NodeCache
folder, log = map(Path, sys.argv[1:])

def fetch(name):
    with log.open("ab", buffering=0) as file:
        file.write(b"x")
    return name * 2**20

cache = NodeCache(folder / "fetched", 2**30)
sys.stdin.read()
for name in range(20):
    assert cache.get(b"%02d" % name, fetch) == b"%02d" % name * 2**20
"""


def test_processes_that_want_the_same_at_once_fetch_it_once(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", FETCHES, str(folder), str(log)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert log.read_bytes() == b"x" * 20


def test_threads_that_want_the_same_at_once_fetch_it_once(folder: Path) -> None:
    cache = NodeCache(folder / "fetched", 2**30)
    fetched: list[bytes] = []
    all_here = threading.Barrier(4)

    def fetch(name: bytes) -> bytes:
        fetched.append(name)
        return name * 1000

    def want() -> None:
        all_here.wait()
        cache.get(b"one", fetch)

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == [b"one"]


def test_what_was_used_last_is_kept_up_to_the_bound(folder: Path) -> None:
    remote = Remote()
    store = ConnectorStore(lambda: remote, folder, "one", cache_bytes=3500)
    stored = put_several(store, 4, 900)
    copies = folder / "fetched"

    def age(seconds: int) -> None:
        for path in copies.iterdir():
            if path.is_file():
                there = path.stat()
                os.utime(path, (there.st_atime, there.st_mtime - seconds))

    for which in (0, 1, 2):
        age(10)
        store.get(stored[which])
    age(10)
    other = ConnectorStore(lambda: remote, folder, "two", cache_bytes=3500)
    other.get(stored[0])
    age(10)
    other.get(stored[3])
    assert remote.fetched == [Key(0), Key(1), Key(2), Key(3)]
    third = ConnectorStore(lambda: remote, folder, "three", cache_bytes=3500)
    for which in (0, 2, 3):
        third.get(stored[which])
    assert len(remote.fetched) == 4
    third.get(stored[1])
    assert remote.fetched[4:] == [Key(1)]


def test_what_a_worker_was_killed_over_is_fetched_by_the_next(folder: Path) -> None:
    copies = folder / "fetched"
    cache = NodeCache(copies, 2**30)
    cache.get(b"one", lambda name: name * 1000)
    (copy,) = (path for path in copies.iterdir() if path.is_file())
    copy.rename(copies / f".{copy.name}")
    (copies / f".{copy.name}").write_bytes(b"half" * 1000)
    assert cache.get(b"one", lambda name: name * 1000) == b"one" * 1000
    assert [path.name for path in copies.iterdir() if path.is_file()] == [copy.name]


def test_workers_forget_what_the_node_has_dropped(folder: Path) -> None:
    remote = Remote()
    store = ConnectorStore(lambda: remote, folder, "one")
    stored = store.put([b"x" * 1000])
    store.get(stored)
    for path in (folder / "fetched").iterdir():
        if path.is_file():
            path.unlink()
    store.get(stored)
    assert len(remote.fetched) == 1
    store.drop_freed()
    store.get(stored)
    assert len(remote.fetched) == 2


def test_where_there_is_no_room_it_is_fetched_by_each(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote()
    small = ConnectorStore(lambda: remote, folder, "one", cache_bytes=100)
    stored = small.put([b"x" * 1000])
    assert small.get(stored) == [b"x" * 1000]
    store = ConnectorStore(lambda: remote, folder, "one")

    def full(*_: Any) -> None:
        raise StoreFull(1, 0, "memory")

    monkeypatch.setattr("steerio.edge.store.segments.SharedMemoryConnector.set", full)
    assert store.get(stored) == [b"x" * 1000]
    assert len(remote.fetched) == 2


def test_after_a_fork_a_store_connects_anew(folder: Path) -> None:
    remotes: list[Remote] = []

    def connect() -> Remote:
        remotes.append(Remote())
        return remotes[-1]

    store = ConnectorStore(connect, folder, "parent")
    assert remotes == []
    store.put([b"x"])
    store.maker = "child"
    store.put([b"x"])
    store.close()
    store.close()
    assert [remote.closed for remote in remotes] == [0, 1]


# -- what a killed worker has put --------------------------------------------------------------


def test_the_last_names_are_noted_and_a_torn_note_is_passed_over(tmp_path: Path) -> None:
    notes = Notes(tmp_path, "one")
    names = [b"%d" % number for number in range(3 * Notes.FULL + 10)]
    for name in names:
        notes.write(name)
    files = sorted(tmp_path.iterdir())
    found = {name for file in files for name in noted(file)}
    assert found == set(names[2 * Notes.FULL :])
    with files[0].open("ab") as file:
        file.write(b"\0\0\0\x09torn")
    assert {name for file in files for name in noted(file)} == found
    assert noted(tmp_path / "nowhere") == []


def test_what_was_put_and_never_told_is_swept(folder: Path) -> None:
    remote = Remote()
    dead = ConnectorStore(lambda: remote, folder, "dead")
    kept, _ = put_several(dead, 2, 10)
    node = ConnectorStore(lambda: remote, folder, "node")
    others: Sequence[StoredObject] = put_several(node, 1, 10)
    node.sweep(["dead"], {kept.name})
    assert set(remote.objects) == {Key(0), Key(2)}
    assert node.get(others[0])
    with pytest.raises(ObjectMissing):
        node.get(StoredObject(kept.name.replace(b"K\x00", b"K\x01"), kept.nbytes))
    node.sweep(["dead"], set())
    assert set(remote.objects) == {Key(0), Key(2)}, "what was kept then is known elsewhere"


def test_what_was_put_on_another_host_is_named_by_that_once(folder: Path) -> None:
    remote = Remote()
    dead = ConnectorStore(lambda: remote, folder, "dead")
    put = put_several(dead, 2, 10)
    put_several(ConnectorStore(lambda: remote, folder, "dead-2"), 1, 10)
    node = MultiStore([Part(name="far", store=ConnectorStore(lambda: remote, folder))], "host")
    assert node.take_noted("dead") == [b"far:" + stored.name for stored in put]
    assert node.take_noted("dead") == []
    assert len(node.take_noted("dead-2")) == 1


def test_a_name_that_a_peer_sent_imports_nothing(folder: Path) -> None:
    """Whoever joins sends names, and the broker's process evicts what they name."""
    store = ConnectorStore(Remote, folder, "broker")
    for name in (
        b"cthis\nnothing\n.",
        b"cantigravity\nx\n(tR.",
        b"csys\nflags\n(tR.",
        b"not pickled",
    ):
        store.evict([name])
        with pytest.raises(ObjectMissing):
            store.get(StoredObject(name, 10))
    assert not {"this", "antigravity"} & set(sys.modules)


def test_a_key_of_another_package_than_the_connectors_is_none(folder: Path) -> None:
    class Other(NamedTuple):
        number: int

    Other.__module__, Other.__qualname__ = "json", "loaded"
    store = ConnectorStore(Remote, folder, "broker")
    stored = store.put([b"x"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("json.loaded", Other, raising=False)
        with pytest.raises(ObjectMissing):
            store.get(StoredObject(pickle.dumps(Other(0)), stored.nbytes))
    assert store.get(stored) == [b"x"]


class Stubborn(Remote):
    """A connector that does not remove some objects at first."""

    def __init__(self, *stays: int) -> None:
        super().__init__()
        self.stays = set(stays)

    def evict(self, key: Key) -> None:
        if key.number in self.stays:
            raise ConnectionError("try later")
        super().evict(key)


def test_what_cannot_be_removed_does_not_keep_the_rest(folder: Path) -> None:
    remote = Stubborn(1)
    store = ConnectorStore(lambda: remote, folder, "one")
    names = [stored.name for stored in put_several(store, 4, 10)]
    with pytest.raises(StoreFailed, match=r"remove 1 of 4 objects: ConnectionError: try later"):
        store.evict(names)
    assert set(remote.objects) == {Key(1)}
    remote.stays.clear()
    store.evict(names)
    assert remote.objects == {}


def test_notes_stay_until_all_that_they_tell_of_is_removed(folder: Path) -> None:
    remote = Stubborn(1)
    put_several(ConnectorStore(lambda: remote, folder, "dead"), 3, 10)
    node = ConnectorStore(lambda: remote, folder, "node")
    with pytest.raises(StoreFailed, match="1 of 1 files: ConnectionError"):
        node.sweep(["dead"], set())
    assert set(remote.objects) == {Key(1)}
    remote.stays.clear()
    node.sweep(["dead"], set())
    assert remote.objects == {}
