"""The calls by which a journal changes its folder, and the folder of a real file system.

There are few, so that tests can put a file system in their place that crashes at each of them and
loses all that was not synced. Names are those of files in the one folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from steerio.edge.store.free_space import lies_in_memory

_SYNC = getattr(os, "fdatasync", os.fsync)
"""Enough for a file's bytes and its length; some systems have only ``fsync``."""
_NO_FOLDERS = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})
"""Errors of file systems that sync no folders; their servers keep names by themselves."""
_OPENED = os.O_NOFOLLOW | os.O_CLOEXEC


class Disk(Protocol):
    """One folder, as a journal needs it. Each call may raise ``OSError``."""

    @property
    def where(self) -> str:
        """Return the folder's path, for messages."""
        ...

    def names(self) -> list[str]:
        """Return the names of all files."""
        ...

    def exists(self, name: str) -> bool:
        """Say whether there is a file of that name."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        ...

    def read_at(self, name: str, at: int, length: int) -> bytes:
        """Return a part of a file's content, up to its end if that comes first."""
        ...

    def create(self, name: str) -> int:
        """Make a file that was not there, and return its descriptor, to write to."""
        ...

    def write(self, descriptor: int, pieces: Sequence[bytes], offset: int) -> int:
        """Write at a position, and return the number of bytes that were written."""
        ...

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut a file to a length."""
        ...

    def sync(self, descriptor: int) -> None:
        """Wait until a file's content and length are on the disk; its name may not be."""
        ...

    def sync_folder(self) -> None:
        """Wait until all names are on the disk."""
        ...

    def link(self, name: str, to: str) -> None:
        """Give a file a second name, which was not there before."""
        ...

    def rename(self, name: str, to: str) -> None:
        """Give a file another name, in place of the file that had it."""
        ...

    def unlink(self, name: str) -> None:
        """Remove a name."""
        ...

    def named(self, descriptor: int) -> bool:
        """Say whether an open file still has a name."""
        ...

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        ...


class Folder:
    """A folder of a real file system.

    Args:
        path: of the folder, which is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def where(self) -> str:
        """Return the folder's path."""
        return str(self.path)

    def names(self) -> list[str]:
        """Return the names of all files."""
        return os.listdir(self.path)  # noqa: PTH208 - the names alone

    def exists(self, name: str) -> bool:
        """Say whether there is a file of that name, or a link."""
        try:
            (self.path / name).lstat()
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """Return a file's content; a link is not followed."""
        descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NONBLOCK | _OPENED)
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    def read_at(self, name: str, at: int, length: int) -> bytes:
        """Return a part of a file's content; a link is not followed."""
        descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NONBLOCK | _OPENED)
        try:
            return os.pread(descriptor, length, at)
        finally:
            os.close(descriptor)

    def create(self, name: str) -> int:
        """Make a file that only its owner can read, as the record of a run has its values."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPENED
        return os.open(self.path / name, flags, 0o600)

    def write(self, descriptor: int, pieces: Sequence[bytes], offset: int) -> int:
        """Write at a position, by one call of the system."""
        return os.pwritev(descriptor, pieces, offset)

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut a file to a length."""
        os.ftruncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        """Wait until a file's content and length are on the disk."""
        _SYNC(descriptor)

    def sync_folder(self) -> None:
        """Wait until all names are on the disk."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_FOLDERS:
                raise
        finally:
            os.close(descriptor)

    def link(self, name: str, to: str) -> None:
        """Give a file a second name."""
        (self.path / to).hardlink_to(self.path / name)

    def rename(self, name: str, to: str) -> None:
        """Give a file another name."""
        (self.path / name).replace(self.path / to)

    def unlink(self, name: str) -> None:
        """Remove a name."""
        (self.path / name).unlink()

    def named(self, descriptor: int) -> bool:
        """Say whether an open file still has a name."""
        return os.fstat(descriptor).st_nlink > 0

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)


def is_volatile(path: Path) -> bool:
    """Say whether files there are gone when the machine is: they are in memory (tmpfs, ramfs)."""
    return lies_in_memory(path)


def write_all(disk: Disk, descriptor: int, pieces: Sequence[bytes], offset: int) -> None:
    """Write pieces to a file, with as few calls as the system takes them in.

    Raises:
        OSError: a part was perhaps written.
    """
    if len(pieces) == 1 and disk.write(descriptor, pieces, offset) == len(pieces[0]):
        return  # the usual case; if a part was taken, it is written again
    left, first = list(pieces), 0
    while first < len(left):
        written = disk.write(descriptor, left[first : first + PIECES_AT_ONCE], offset)
        offset += written
        while first < len(left) and written >= len(left[first]):
            written -= len(left[first])
            first += 1
        if written:
            left[first] = left[first][written:]


PIECES_AT_ONCE = 1024
"""The pieces that one call of the system takes."""


def write_new(disk: Disk, name: str, pieces: Sequence[bytes]) -> None:
    """Make a file of this content, on the disk when this returns; its name may not be.

    Raises:
        OSError: it was not made.
    """
    descriptor = disk.create(name)
    try:
        write_all(disk, descriptor, pieces, 0)
        disk.sync(descriptor)
    except BaseException:
        disk.close(descriptor)
        with contextlib.suppress(OSError):
            disk.unlink(name)
        raise
    disk.close(descriptor)


def write_whole(disk: Disk, name: str, content: bytes) -> None:
    """Make or replace a file, which is on the disk under its name when this returns.

    Raises:
        OSError: it was perhaps not; an earlier file is there whole, or this one.
    """
    fresh = f".{name}.{os.urandom(4).hex()}"
    write_new(disk, fresh, [content])
    try:
        disk.rename(fresh, name)
    except OSError:
        with contextlib.suppress(OSError):
            disk.unlink(fresh)
        raise
    disk.sync_folder()
