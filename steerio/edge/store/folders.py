"""The folders of stores on a machine, and the removal of those that dead processes left.

Each process that keeps a store (a campaign, a broker, a node of another host) has a folder
of its own, below one that only this user can enter.  For as long as it lives it shares the lock of
a file beside that folder; its part of the lock ends with the process, however that ends. So a
process that gets the lock for itself may remove the folder. Clients share the lock, too: if a
standing broker is killed, its folder is there for the next one, which takes it over.

File systems that hosts share may keep locks from other hosts, or have none.  So the name of a
folder says which process of which host made it. Beyond memory only folders of this host are
removed, and, if there are no locks, only those whose process is gone.

The lock is there before its folder is, and is removed after it.  A lock file that is just
made and not locked yet can be taken for a dead process's and removed; its maker sees that
and makes another.  So it needs no order among processes that start at once.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISDIR
from types import TracebackType
from typing import NamedTuple
from urllib.parse import quote

from steerio.edge.store.free_space import lies_in_memory
from steerio.edge.store.recycled_files import same_file
from steerio.edge.system.machine import process_space
from steerio.errors import UsageError

SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_VARIABLE = "STEERIO_SHARED_MEMORY"
"""The environment variable that names another folder in memory, such as one with more room."""
SPILL = "spill"
"""The link in a folder in shared memory that leads to one on disk."""
_LOCK = ".lock"
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP})


class Removed(NamedTuple):
    """A folder that a dead process had left, and its size."""

    folder: Path
    nbytes: int


class StoreFolder:
    """A folder that lasts until it is closed, or until no process lives that has it.

    Args:
        held: it, and the one on disk if there is one.
        keeps: whether it stays when it is closed, as it is another process's.
    """

    def __init__(self, held: list[_Held], *, keeps: bool = False) -> None:
        self._held = held
        self._keeps = keeps

    @property
    def path(self) -> Path:
        """Its path."""
        return self._held[0].path

    def close(self) -> None:
        """Remove it, with all that is in it, if it is this process's."""
        for held in self._held:
            held.close(keep=self._keeps)

    def __enter__(self) -> StoreFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_folder(within: Path | None = None) -> StoreFolder:
    """Make a folder for the stores of this process.

    Args:
        within: the parent folder, such as one on a shared file system; by default shared memory,
            with a second folder on disk for objects that do not fit, if the temporary folder is on
            one.

    Raises:
        UsageError: it cannot be made there, or another user has a file or folder of its name.
    """
    if within is not None:
        return StoreFolder([_make(_parent(within))])
    first, *others = _places()
    held = [_make(_parent(first))]
    for place in others:
        try:
            held.append(_make(_parent(place)))
            (held[0].path / SPILL).symlink_to(held[1].path)
        except BaseException:
            StoreFolder(held).close()
            raise
    return StoreFolder(held)


def share_folder(path: Path) -> StoreFolder:
    """Keep the folder of another process from being swept while this process uses it."""
    found = [_shared(each) for each in _with_spill(path)]
    return StoreFolder([held for held in found if held is not None], keeps=True)


def take_over_folder(path: Path) -> StoreFolder | None:
    """Have the folder that a dead process has left; ``None``: it is gone, or no lock says so."""
    found = [_shared(each) for each in _with_spill(path)]
    held = [each for each in found if each is not None and each.path.is_dir()]
    if held and held[0].path == path:
        return StoreFolder(held)
    StoreFolder(held, keeps=True).close()
    return None


def _with_spill(path: Path) -> list[Path]:
    """Return a folder in which objects are, and the one on disk behind it."""
    spill = path / SPILL
    return [path, spill.readlink()] if spill.is_symlink() else [path]


def _shared(path: Path) -> _Held | None:
    """Share the lock of a folder; ``None``: it is being removed, or there are no locks."""
    with contextlib.suppress(OSError):
        if _is_ours(path.parent):
            descriptor = _locked(_lock_of(path), fcntl.LOCK_SH, or_else=False)
            return None if descriptor is None else _Held(path, descriptor)
    return None


def sweep_stale(within: Path | None = None, *, dry_run: bool = False) -> list[Removed]:
    """Remove the folders that dead processes of this user have left, and return them.

    Folders that cannot be removed stay. On a file system that is not in memory, only those of this
    host are removed.

    Args:
        within: the folder to look in; by default those in which ``open_folder`` makes them.
        dry_run: only return them.
    """
    removed: list[Removed] = []
    for place in [within] if within is not None else _places():
        parent = _parent(place)
        with contextlib.suppress(OSError):  # it is not there, or this process may not look
            if _is_ours(parent):
                for lock in _locks(parent):
                    with contextlib.suppress(OSError):
                        removed += _sweep(lock, dry_run)
                _remove_if_empty(parent)
    return removed


class _Held:
    """A folder and its lock."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def close(self, *, keep: bool = False) -> None:
        if self._descriptor < 0:
            return
        if not keep:
            _remove(self.path)
        os.close(self._descriptor)
        self._descriptor = -1
        if not keep:
            _remove_if_empty(self.path.parent)


def _places() -> list[Path]:
    """Return the parent folders: for objects, and on disk for those that do not fit."""
    named = os.environ.get(SHARED_MEMORY_VARIABLE)
    memory = Path(named).absolute() if named else SHARED_MEMORY
    temporary = Path(tempfile.gettempdir())
    if not (named or (memory.is_dir() and os.access(memory, os.W_OK))):
        return [temporary]
    # spilling into memory would free none
    return [memory] if lies_in_memory(temporary) else [memory, temporary]


def _parent(place: Path) -> Path:
    return place / f"steerio-store-{os.getuid()}"


def _make(parent: Path) -> _Held:
    while True:
        try:
            parent.mkdir(mode=0o700)
        except FileExistsError:
            pass  # it is looked at below; it may be gone already, or no folder
        except OSError as error:
            raise UsageError(
                f"the stores' folder {parent} cannot be made: {error.strerror}; its parent folder "
                "must be there, and yours to write to"
            ) from None
        try:
            ours = _is_ours(parent)
        except FileNotFoundError:
            continue  # the last process in it has just removed it
        if not ours:
            raise UsageError(
                f"{parent} is not a folder that only you can enter, so no store can "
                "be kept there: remove it, or have its owner remove it"
            )
        # from the first moment on the name says whose it is; the content of a file would be late
        path = parent / f"{os.urandom(6).hex()}.{os.getpid()}-{_space()}.{_host()}"
        descriptor = _locked(_lock_of(path), fcntl.LOCK_SH, os.O_CREAT | os.O_EXCL, or_else=True)
        if descriptor is not None:
            held = _Held(path, descriptor)
            try:
                path.mkdir(mode=0o700)
            except BaseException:
                held.close()
                raise
            return held


def _locked(lock: Path, how: int, flags: int = 0, *, or_else: bool) -> int | None:
    """Open a lock file and lock it; ``None``: another process has it, or it was removed.

    ``or_else`` says whether this process has it if there are no locks.
    """
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | flags, 0o600)
    except FileNotFoundError:
        return None
    ours = False
    try:
        ours = _lock(descriptor, how, or_else=or_else)
        ours = ours and same_file(descriptor, lock)
    finally:
        if not ours:
            os.close(descriptor)
    return descriptor if ours else None


def _lock(descriptor: int, how: int, *, or_else: bool) -> bool:
    """Lock a file, and return whether that worked, or ``or_else`` if there are no locks."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return or_else
    return True


def _runs(lock: Path) -> bool:
    """Say whether the process that a lock file names is there, if it is one of this host.

    A process of another container, or of a host of the same name, counts as there.
    """
    pid, _, space = lock.name.split(".")[1].partition("-")
    if space not in ("", _space()):
        return True
    try:
        os.kill(int(pid), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


def _space() -> str:
    """Return a short name for the space in which this process's number counts."""
    return hashlib.blake2b(process_space().encode(), digest_size=4).hexdigest()


def _host() -> str:
    return quote(socket.gethostname(), safe="").replace(".", "%2E")


def _locks(parent: Path) -> list[Path]:
    """Return the lock files of folders that this host may remove."""
    # others may share this memory, but then they share its locks, whatever they call the host
    whose = "" if lies_in_memory(parent) else f".{_host()}"
    return sorted(path for path in parent.iterdir() if path.name.endswith(whose + _LOCK))


def _sweep(lock: Path, dry_run: bool) -> Iterator[Removed]:
    descriptor = _locked(lock, fcntl.LOCK_EX, or_else=not _runs(lock))
    if descriptor is None:
        return
    folder = lock.with_name(lock.name.removesuffix(_LOCK))
    try:
        for there in (folder, _gone(folder)):
            if there.exists():
                yield Removed(there, _nbytes(there))
        if not dry_run:
            _remove(folder)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    """Remove a folder whose lock this process has, and the lock."""
    # A worker that has not noticed yet may still be writing there; it will not find the new name.
    gone = _gone(folder)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
    if not gone.exists():  # else the next start tries again
        _lock_of(folder).unlink(missing_ok=True)


def _gone(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-gone")


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + _LOCK)


def _is_ours(parent: Path) -> bool:
    there = parent.lstat()
    return S_ISDIR(there.st_mode) and there.st_uid == os.getuid() and not there.st_mode & 0o077


def _remove_if_empty(parent: Path) -> None:
    with contextlib.suppress(OSError):  # there are others' in it
        parent.rmdir()


def _nbytes(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += Path(place, name).lstat().st_size
    return total
