"""Files that appear only when they are whole, written from buffers and read by mapping.

A file is written under a name that no process reads and renamed when it is whole, so no reader sees
a part of one, whichever process is killed when. ``writev`` writes it straight from its frames: that
copies once, lets other threads run meanwhile, and says so if a file system is full, while a store
into mapped memory would be a SIGBUS.  It is read by mapping it, which copies nothing.

Most of the time of a write into shared memory goes into getting the memory, page by page. So the
file of a large object that is evicted is set aside for a moment, and the next one written into it
(``Freed``).  Readers hold a shared lock for as long as they map a file; one that is locked is not
written into.

A mapping takes a descriptor for as long as there is a view of it. So short files are read, and so
are all once mappings take half of the descriptors that this process may have.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
from pathlib import Path
from weakref import WeakSet

from steerio.edge.store.recycled_files import LEAST_BYTES, Freed, same_file

MAPPED_BYTES = LEAST_BYTES
"""Shorter objects are read: a tenth slower than mapping and touching them, but no descriptor."""
PRIVATE_MAPPED_BYTES = 8 * 2**20
"""The same for objects that their reader may change: it may keep thousands of them."""
WRITTEN_AT_ONCE = 64 * 2**20
"""Longest write: a signal waits until it is done."""
WRITTEN_PIECES = 512
"""Most pieces of one write; ``writev`` takes 1024."""
_mapped: WeakSet[mmap.mmap] = WeakSet()
"""The mappings of this process that have a view."""


def write_whole(
    folder: Path, name: str, pieces: list[memoryview], total: int, freed: Freed | None
) -> None:
    """Write a file that appears only when it is whole.

    Args:
        folder: of the file.
        name: of the file.
        pieces: its content, in order.
        total: bytes of all pieces.
        freed: files to write into again, if there are any.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    fresh = folder / f".{name}"
    try:
        taken = None if freed is None else freed.take(fresh, total)
        # a file of that name is a killed writer's: no other process writes under this key
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        descriptor = os.open(fresh, flags, 0o600) if taken is None else taken
        try:
            _write_all(descriptor, pieces)
            if taken is not None:
                os.ftruncate(descriptor, total)  # it may have been longer
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)  # on a network's file system only this writes it
        fresh.rename(folder / name)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _write_all(descriptor: int, pieces: list[memoryview]) -> None:
    left = [
        piece[at : at + WRITTEN_AT_ONCE]
        for piece in pieces
        for at in range(0, piece.nbytes, WRITTEN_AT_ONCE)
    ]
    first = 0
    while first < len(left):
        last, size = first, 0
        while last < min(len(left), first + WRITTEN_PIECES) and size < WRITTEN_AT_ONCE:
            size += left[last].nbytes
            last += 1
        written = os.writev(descriptor, left[first:last])
        while first < last and written >= left[first].nbytes:
            written -= left[first].nbytes
            first += 1
        if written:
            left[first] = left[first][written:]


def read_whole(path: Path, *, mapped: bool, reused: bool, private: bool) -> memoryview | None:
    """Return a file's content, or ``None`` if there is none.

    Args:
        path: of the file.
        mapped: it may be mapped if that pays: no other host removes it.
        reused: it may be written into once it is evicted.
        private: the caller may change the content.

    Raises:
        MemoryError: it does not fit into the memory that this process may have.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        size = os.fstat(descriptor).st_size
        if reused and size >= MAPPED_BYTES:  # shorter ones are never written into
            # The mapping has a duplicate of the descriptor, and so the lock is held for as long
            # as there is a view of it, in this process or in forks of it.
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return None  # it is being written into: it was evicted since it was opened
            if not same_file(descriptor, path):
                return None
        if mapped and size >= (PRIVATE_MAPPED_BYTES if private else MAPPED_BYTES):
            found = _map(descriptor, size, private)
            if found is not None:
                return found
        return _read(descriptor, size, private)
    except OSError as error:
        if error.errno == errno.ESTALE:  # another host has removed it
            return None
        raise
    finally:
        os.close(descriptor)


def _map(descriptor: int, size: int, private: bool) -> memoryview | None:
    """Map a file; ``None``: it should be read."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and len(_mapped) >= soft // 2:
        return None
    try:
        access = mmap.ACCESS_COPY if private else mmap.ACCESS_READ
        found = mmap.mmap(descriptor, size, access=access)
    except OSError as error:
        if error.errno not in (errno.ENOMEM, errno.EMFILE):
            raise
        return None
    _mapped.add(found)
    return memoryview(found)


def _read(descriptor: int, size: int, private: bool) -> memoryview | None:
    try:
        own = bytearray(size)
    except MemoryError:
        if not private:
            raise
        raise MemoryError(
            f"an argument of {size} bytes is larger than this worker's memory allows: pass it by "
            "reference (session.put)"
        ) from None
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        if file.readinto(own) != size:
            return None
    return memoryview(own) if private else memoryview(own).toreadonly()
