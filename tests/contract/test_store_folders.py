"""A store's folder is there for as long as its process lives, and not after the next start."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from steerio.edge.store.folders import SHARED_MEMORY, Removed, open_folder, sweep_stale
from steerio.errors import UsageError

OWNER = """
import sys
from pathlib import Path
from steerio.edge.store.folders import open_folder
folder = open_folder(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
(folder.path / "object").write_bytes(bytes(1000))
print(folder.path, flush=True)
sys.stdin.read()
"""


def start_owner(*arguments: str) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def kill(process: subprocess.Popen[str]) -> None:
    with process:
        process.send_signal(signal.SIGKILL)


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not() -> None:
    dead, left = start_owner()
    living, kept = start_owner()
    try:
        kill(dead)
        with open_folder() as own:
            # others on this machine may have left something too
            assert Removed(left, 1000) in sweep_stale(dry_run=True)
            assert left.exists()
            assert Removed(left, 1000) in sweep_stale()
            assert Removed(left, 1000) not in sweep_stale()
            assert not left.exists()
            assert (kept / "object").exists()
            assert own.path.exists()
    finally:
        kill(living)
    assert Removed(kept, 1000) in sweep_stale()
    assert not kept.exists()


def test_a_folder_is_closed_to_others_and_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        assert folder.path.stat().st_mode & 0o777 == 0o700
        (folder.path / "objects").mkdir()
        (folder.path / "objects" / "one").write_bytes(b"x")
        with open_folder(tmp_path) as other:
            assert other.path.parent == folder.path.parent
    folder.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_process_that_was_killed_while_it_removed_has_left_is_removed(
    tmp_path: Path,
) -> None:
    process, path = start_owner(str(tmp_path))
    path.rename(path.with_name(f"{path.name}-gone"))
    kill(process)
    assert [removed.nbytes for removed in sweep_stale(tmp_path)] == [1000]
    assert list(tmp_path.iterdir()) == []


def test_of_many_that_start_and_sweep_at_once_each_keeps_its_own(tmp_path: Path) -> None:
    def live(_: int) -> bool:
        sweep_stale(tmp_path)
        with open_folder(tmp_path) as folder:
            sweep_stale(tmp_path)
            (folder.path / "object").write_bytes(b"x")
            sweep_stale(tmp_path)
            return (folder.path / "object").exists()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(live, range(400)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["a link", "open to others", "a file"])
def test_what_others_can_enter_is_not_used_and_not_swept(tmp_path: Path, what: str) -> None:
    parent = tmp_path / f"steerio-store-{os.getuid()}"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "one").mkdir()
    (elsewhere / "one.lock").touch()
    if what == "a link":
        parent.symlink_to(elsewhere)
    elif what == "a file":
        parent.touch()
    else:
        elsewhere.rename(parent)
        parent.chmod(0o755)
    with pytest.raises(UsageError, match=parent.name):
        open_folder(tmp_path)
    assert sweep_stale(tmp_path) == []
    if what != "a file":
        assert (parent / "one.lock").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        open_folder(tmp_path / "nowhere")
    assert sweep_stale(tmp_path / "nowhere") == []


def test_the_environment_may_name_another_folder_in_place_of_shared_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEERIO_SHARED_MEMORY", str(tmp_path))
    process, path = start_owner()
    assert path.is_relative_to(tmp_path)
    kill(process)
    assert Removed(path, 1000) in sweep_stale()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("STEERIO_SHARED_MEMORY", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="nowhere"):
        open_folder()
    monkeypatch.delenv("STEERIO_SHARED_MEMORY")
    with open_folder() as folder:
        assert not SHARED_MEMORY.is_dir() or folder.path.is_relative_to(SHARED_MEMORY)


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks, as this process sees it."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_it_is_the_process_that_counts(tmp_path: Path) -> None:
    process, path = start_owner(str(tmp_path))
    with open_folder(tmp_path) as own:
        assert sweep_stale(tmp_path) == []
        assert path.exists()
        kill(process)
        assert sweep_stale(tmp_path) == [Removed(path, 1000)]
        assert own.path.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_another_host_has_on_a_shared_file_system_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``localflock`` its locks are not seen here."""
    process, path = start_owner(str(tmp_path))
    kill(process)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "login.node")
        assert sweep_stale(tmp_path) == []
        with open_folder(tmp_path) as other:
            assert other.path.name.endswith(".login%2Enode")
    assert sweep_stale(tmp_path) == [Removed(path, 1000)]


def test_another_error_than_a_missing_lock_leaves_no_descriptor_and_stops_no_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, path = start_owner(str(tmp_path))
    kill(process)

    def fail(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", fail)
        assert sweep_stale(tmp_path) == []
        with pytest.raises(OSError, match="Input/output"):
            open_folder(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert Removed(path, 1000) in sweep_stale(tmp_path)


def test_a_command_cleans(tmp_path: Path) -> None:
    process, path = start_owner(str(tmp_path))
    kill(process)

    def clean(*options: str) -> str:
        command = [sys.executable, "-m", "steerio", "clean", "--folder", str(tmp_path), *options]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert clean("--dry-run") == (
        f"would remove {path} (1000)\nwould remove 1000 bytes in 1 folder\n"
    )
    assert clean() == f"removed {path} (1000)\nremoved 1000 bytes in 1 folder\n"
    assert clean() == "removed 0 bytes in 0 folders\n"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "objects").mkdir()  # as in a run directory
    process, path = start_owner(str(tmp_path / "objects"))
    kill(process)
    assert clean() == f"removed {path} (1000)\nremoved 1000 bytes in 1 folder\n"
