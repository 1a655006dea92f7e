"""Files as objects: whole or not there, never too much, and never written into while read."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from steerio.edge.store.atomic_files import (
    MAPPED_BYTES,
    PRIVATE_MAPPED_BYTES,
    _mapped,
)
from steerio.edge.store.free_space import Free, Space, lies_in_memory
from steerio.edge.store.recycled_files import LEAST_BYTES, Freed
from steerio.edge.store.segments import SegmentKey, SharedMemoryConnector
from steerio.edge.store.store import SegmentStore
from steerio.edge.system.descriptors import MOST_DESCRIPTORS, allow_descriptors
from steerio.errors import StoreFailed, StoreFull, UsageError
from tests.contract.test_stores import LARGE, folder_in_memory

MEGABYTE = 2**20

DIES = """
import os, pathlib, signal, sys
from steerio.edge.store.segments import SharedMemoryConnector
folder, where = sys.argv[1:]
connector = SharedMemoryConnector(folder, maker="dead")
write, rename, flock = os.writev, pathlib.Path.rename, None

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def write_a_part(descriptor, pieces):
    write(descriptor, [pieces[0][:1000]])
    die()

if where == "written into":
    connector.evict(connector.put(b"0" * 2 * 2**20))
if where in ("write", "written into"):
    os.writev = write_a_part
else:
    pathlib.Path.rename = die
connector.put(b"1" * 2 * 2**20)
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("where", ["write", "written into", "rename"])
def test_a_writer_that_is_killed_leaves_nothing_that_can_be_read_and_is_swept(where: str) -> None:
    with folder_in_memory() as folder:
        ended = subprocess.run([sys.executable, "-c", DIES, str(folder), where], check=False)
        assert ended.returncode == -9
        (left,) = names(folder)
        connector = SharedMemoryConnector(str(folder), maker="other")
        assert left.startswith("._dead.")
        assert connector.get(SegmentKey(left)) is None
        assert connector.get(SegmentKey(left[1:])) is None
        connector.sweep(["other"])
        assert names(folder) == {left}
        connector.sweep(["dead"])
        assert names(folder) == set()


def test_what_is_freed_is_written_into_again_unless_somebody_reads_it() -> None:
    with folder_in_memory() as folder:
        connector = SharedMemoryConnector(str(folder))
        first = connector.put(b"1" * LARGE)
        inode = (folder / first.name).stat().st_ino
        connector.evict(first)
        second = connector.put(b"2" * (LARGE - 7))
        assert (folder / second.name).stat().st_ino == inode
        held = connector.get(second)
        connector.evict(second)
        third = connector.put(b"3" * LARGE)
        assert (folder / third.name).stat().st_ino != inode
        assert held == b"2" * (LARGE - 7)
        assert connector.get(third) == b"3" * LARGE


def test_a_reader_that_comes_too_late_finds_nothing_rather_than_another_object() -> None:
    with folder_in_memory() as folder:
        connector = SharedMemoryConnector(str(folder))
        first = connector.put(b"1" * LARGE)
        path = folder / first.name
        opened = os.open

        def open_and_lose(place: Any, *arguments: Any) -> int:
            descriptor = opened(place, *arguments)
            if place == path:  # between this and its lock, others are quick
                connector.evict(first)
                connector.put(b"2" * LARGE)
            return descriptor

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "open", open_and_lose)
            assert connector.get(first) is None


FORKS = """
import os, sys
from steerio.edge.store.segments import SharedMemoryConnector
connector = SharedMemoryConnector(sys.argv[1])
first = connector.put(b"1" * 2 * 2**20)
held = connector.get(first)
asked, ask = os.pipe()
child = os.fork()
if child == 0:
    os.close(ask)
    os.read(asked, 1)
    os._exit(held != b"1" * 2 * 2**20)
del held
connector.evict(first)
assert connector.get(connector.put(b"2" * 2 * 2**20)) == b"2" * 2 * 2**20
os.close(ask)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_what_a_fork_still_reads_is_not_written_into() -> None:
    with folder_in_memory() as folder:
        subprocess.run([sys.executable, "-c", FORKS, str(folder)], check=True)


def test_a_fork_does_not_use_its_parents_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        connector = SharedMemoryConnector(folder, maker="one")
        before = connector.new_key()
        monkeypatch.setattr(os, "getpid", lambda: 1)
        after = connector.new_key()
        assert before.name.rpartition(".")[0] != after.name.rpartition(".")[0]
        assert after.name.startswith("_one.")


def test_freed_memory_is_given_back_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    with folder_in_memory() as folder:
        connector = SharedMemoryConnector(str(folder))
        store = SegmentStore(connector)
        store.evict([store.put([b"x" * LARGE]).name])
        kept = Freed(folder / "freed")
        store.drop_freed()
        assert kept.nbytes() > LARGE
        monkeypatch.setattr("steerio.edge.store.recycled_files.KEPT_S", -60.0)
        store.drop_freed()
        assert kept.nbytes() == 0


def test_short_objects_are_freed_at_once() -> None:
    with folder_in_memory() as folder:
        connector = SharedMemoryConnector(str(folder))
        connector.evict(connector.put(b"x" * (LEAST_BYTES - 1)))
        assert Freed(folder / "freed").nbytes() == 0


# -- too little room ---------------------------------------------------------------------------


@contextmanager
def small_mount(nbytes: int) -> Iterator[Path]:
    """A file system in memory that is soon full."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={nbytes}", "tmpfs", folder]
        if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("nothing can be mounted here")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def fill(path: Path) -> None:
    """Write to a file until nothing more fits."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(MEGABYTE // 8 - 1))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def test_what_exceeds_the_limit_is_refused_with_the_numbers(tmp_path: Path) -> None:
    connector = SharedMemoryConnector(str(tmp_path), limit_bytes=3 * MEGABYTE)
    first = connector.put(bytes(2 * MEGABYTE))
    with pytest.raises(StoreFull, match=f"{2 * MEGABYTE} bytes does not fit.*limit_bytes") as full:
        connector.put(bytes(2 * MEGABYTE))
    assert (full.value.asked, full.value.free) == (2 * MEGABYTE, MEGABYTE)
    assert names(tmp_path) == {first.name}
    connector.evict(first)
    connector.put(bytes(2 * MEGABYTE))


def test_freed_files_count_against_the_limit_and_go_first() -> None:
    with folder_in_memory() as folder:
        connector = SharedMemoryConnector(str(folder), limit_bytes=5 * MEGABYTE)
        connector.evict(connector.put(bytes(2 * MEGABYTE)))
        connector.put(bytes(4 * MEGABYTE))
        assert Freed(folder / "freed").nbytes() == 0


def test_what_does_not_fit_is_spilt_where_there_is_a_folder_for_it(tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    connector = SharedMemoryConnector(
        str(tmp_path / "objects"), spill=str(spill), limit_bytes=3 * MEGABYTE, maker="one"
    )
    other = SharedMemoryConnector.from_config(connector.config())
    kept = connector.put(b"1" * 2 * MEGABYTE)
    spilt = connector.put(b"2" * 2 * MEGABYTE)
    assert names(spill) == {spilt.name}
    assert other.get(spilt) == b"2" * 2 * MEGABYTE
    assert other.exists(spilt)
    other.evict(spilt)
    assert not connector.exists(spilt)
    connector.put(b"3" * 2 * MEGABYTE)
    connector.sweep(["one"], {kept.name.encode()})
    assert (names(tmp_path / "objects"), names(spill)) == ({kept.name}, set())


def test_a_full_file_system_is_an_error_and_not_a_signal() -> None:
    with small_mount(4 * MEGABYTE) as folder:
        connector = SharedMemoryConnector(str(folder))
        with pytest.raises(StoreFull, match=str(folder)):
            connector.put(bytes(5 * MEGABYTE))
        assert names(folder) == set()
        connector.put(bytes(3 * MEGABYTE))


@pytest.mark.parametrize("spills", [False, True])
def test_a_file_system_that_others_fill_meanwhile_is_found_full(
    tmp_path: Path, *, spills: bool
) -> None:
    with small_mount(8 * MEGABYTE) as folder:
        spill = str(tmp_path / "spill") if spills else ""
        connector = SharedMemoryConnector(str(folder), spill=spill)
        connector.put(b"first")
        fill(folder / "others")
        content = b"x" * (MEGABYTE // 4)  # so little that it is not looked what is free
        if spills:
            assert connector.get(connector.put(content)) == content
            assert len(names(tmp_path / "spill")) == 1
        else:
            with pytest.raises(StoreFull, match=f"{len(content)} bytes does not fit"):
                connector.put(content)
        assert not any(name.startswith(".") for name in names(folder))


def machine(root: Path, *, cgroup: str, files: dict[str, int | str]) -> Path:
    """Write what a machine says of its memory."""
    lines = {
        "proc/mounts": f"/dev/sda / ext4 rw 0 0\ntmpfs {root}/shm\\040x tmpfs rw 0 0\n",
        "proc/meminfo": "MemTotal:       1000000 kB\nMemAvailable:    450000 kB\n",
        "proc/self/cgroup": cgroup,
        **{f"sys/fs/cgroup/{name}": str(value) for name, value in files.items()},
    }
    for name, text in lines.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    folder = root / "shm x"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("cgroup", "files", "free", "where"),
    [
        ("", {}, 400000 * 1024, "this machine"),
        (
            "0::/job/step\n",
            {
                "job/memory.max": 1000,
                "job/memory.current": 900,
                "job/memory.stat": "anon 5\ninactive_file 200\n",
                "job/step/memory.max": "max",
                "job/step/memory.current": 5,
            },
            250,
            "cgroup/job",
        ),
        (
            "4:memory:/job\n",
            {
                "memory/memory.limit_in_bytes": 2**63 - 4096,
                "memory/memory.usage_in_bytes": 10,
                "memory/job/memory.limit_in_bytes": 1000,
                "memory/job/memory.usage_in_bytes": 980,
                "memory/job/memory.stat": "total_inactive_file 10\n",
            },
            0,
            "memory/job",
        ),
        (
            "4:memory:/../outside\n",
            {"memory/memory.limit_in_bytes": 1000, "memory/memory.usage_in_bytes": 500},
            450,
            "cgroup/memory",
        ),
    ],
)
def test_memory_bounds_what_is_in_memory(
    tmp_path: Path, cgroup: str, files: dict[str, int | str], free: int, where: str
) -> None:
    folder = machine(tmp_path, cgroup=cgroup, files=files)
    found = Space(folder, tmp_path).free()
    assert found.nbytes == free
    assert where in found.where


def test_memory_does_not_bound_what_is_on_disk(tmp_path: Path) -> None:
    machine(tmp_path, cgroup="", files={})
    assert not lies_in_memory(tmp_path, tmp_path)
    assert Space(tmp_path, tmp_path).free().where == str(tmp_path)
    assert not lies_in_memory(tmp_path, tmp_path / "says nothing")


def test_too_little_memory_refuses_what_the_file_system_would_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with folder_in_memory() as folder:
        connector = SharedMemoryConnector(str(folder))
        monkeypatch.setattr(
            "steerio.edge.store.free_space._memory",
            lambda _: iter([Free(1000, "this machine's memory")]),
        )
        with pytest.raises(StoreFull, match="1000 bytes are free in this machine's memory"):
            connector.put(bytes(2000))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        SharedMemoryConnector(str(tmp_path / "nowhere" / "objects"))


# -- under ProxyStore --------------------------------------------------------------------------

RESOLVES = """
import pickle, sys
proxy = pickle.load(sys.stdin.buffer)
assert proxy.sum() == 499500, proxy
print(type(proxy).__name__)
"""


def test_proxystore_puts_and_resolves_through_our_connector_in_any_process() -> None:
    import pickle

    import numpy as np
    from proxystore.connectors.protocols import Connector, DeferrableConnector
    from proxystore.store import Store

    with folder_in_memory() as folder:
        connector = SharedMemoryConnector(str(folder))
        assert isinstance(connector, Connector)
        assert isinstance(connector, DeferrableConnector)
        with Store("segments", connector, register=True) as store:
            proxy = store.proxy(np.arange(1000))
            subprocess.run([sys.executable, "-c", RESOLVES], input=pickle.dumps(proxy), check=True)
            key = store.put({"a": [1, 2]})
            assert store.exists(key)
            assert store.get(key) == {"a": [1, 2]}
            assert [store.get(k) for k in store.put_batch(["one", b"two"])] == ["one", b"two"]
            store.evict(key)
            assert store.get(key) is None
            future = store.future()
            future.set_result("later")
            assert future.result() == "later"
            assert not store.exists(key)


def test_our_stores_import_nothing_of_proxystore() -> None:
    code = (
        "import sys; import steerio.edge.store.opening_stores, steerio.edge.store.folders;"
        "assert not [m for m in sys.modules if m.startswith(('proxystore', 'pandas', 'redis'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_file_that_cannot_be_removed_does_not_keep_the_others(tmp_path: Path) -> None:
    connector = SharedMemoryConnector(str(tmp_path), maker="dead")
    store = SegmentStore(connector)
    stored = [store.put([b"x"]) for _ in range(3)]
    first = tmp_path / stored[0].name.decode()
    first.unlink()
    first.mkdir()  # cannot be unlinked, by root neither
    with pytest.raises(StoreFailed, match="1 of 3 objects: "):
        store.evict(one.name for one in stored)
    assert list(tmp_path.iterdir()) == [first]
    left = store.put([b"x"])
    with pytest.raises(StoreFailed, match="1 of 2 files: "):
        store.sweep(["dead"], set())
    assert not (tmp_path / left.name.decode()).exists()
    first.rmdir()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("private", [False, True])
def test_files_on_a_file_system_are_read_for_others_may_remove_them(
    tmp_path: Path, private: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steerio.edge.store.segments.Space.free", lambda _: Free(2**40, "a disk"))
    monkeypatch.setattr("steerio.edge.store.free_space._IN_MEMORY", frozenset())
    connector = SharedMemoryConnector(str(tmp_path))
    key = connector.put(b"1" * 10 * LARGE)
    before = descriptors()
    found = connector.get_private(key) if private else connector.get(key)
    assert found is not None
    assert descriptors() == before
    assert found.readonly is not private
    assert found == b"1" * 10 * LARGE


def test_what_another_host_has_just_removed_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = SharedMemoryConnector(str(tmp_path))
    key = connector.put(b"x")

    def stale(*_: Any) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", stale)
        assert connector.get(key) is None
    assert connector.get(key) == b"x"


@contextmanager
def limited(what: int, soft: int) -> Iterator[None]:
    before, hard = resource.getrlimit(what)
    resource.setrlimit(what, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (before, hard))


@pytest.mark.parametrize("private", [False, True])
def test_past_half_of_the_descriptors_objects_are_copied(private: bool) -> None:
    with folder_in_memory() as folder:
        connector = SharedMemoryConnector(str(folder))
        content = b"1" * (PRIVATE_MAPPED_BYTES if private else MAPPED_BYTES)
        key = connector.put(content)
        before, most = len(_mapped), 2 * (descriptors() + 20)
        with limited(resource.RLIMIT_NOFILE, most):
            get = connector.get_private if private else connector.get
            held = [get(key) for _ in range(most // 2 + 10)]
            assert len(_mapped) == most // 2
            assert all(found == content for found in held)
        del held
        assert len(_mapped) == before


def test_a_process_may_have_as_many_descriptors_as_it_may_allow_itself() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    with limited(resource.RLIMIT_NOFILE, min(256, most)):
        allow_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, hard)
    with limited(resource.RLIMIT_NOFILE, hard):
        allow_descriptors()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


TOO_LARGE = """
import resource, sys
from steerio.edge.store.segments import SharedMemoryConnector
connector = SharedMemoryConnector(sys.argv[1])
key = connector.put(bytes(64 * 2**20))
resource.setrlimit(resource.RLIMIT_DATA, (32 * 2**20, -1))
assert connector.get(key).nbytes == 64 * 2**20  # what is shared is not counted
try:
    connector.get_private(key)
except MemoryError as error:
    print(error)
"""


def test_an_argument_that_is_larger_than_its_worker_may_be_says_what_to_do() -> None:
    with folder_in_memory() as folder:
        command = [sys.executable, "-c", TOO_LARGE, str(folder)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert said == (
            f"an argument of {64 * MEGABYTE} bytes is larger than this worker's memory allows: "
            "pass it by reference (session.put)\n"
        )
