"""The files of ledgers: one for each detached client of a standing broker, in its run directory.

A file is one segment of a journal (``edge.record.frames``) that its broker appends to, so that the
next one there can read which tasks such a client has, and how they ended. It reaches the system
before a client hears of a result; it is not synced, so that of a machine may lose the last of it.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import traceback
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import quote, unquote

from steerio.edge.record.disk import Folder, write_all
from steerio.edge.record.frames import (
    FRAME_BYTES,
    HEAD_BYTES,
    Head,
    SegmentReader,
    write_frame_head,
    write_head,
)
from steerio.errors import JournalDamaged, UsageError
from steerio.model.showing import short

log = logging.getLogger("steerio.edge")

FOLDER = "clients"
"""The folder of these files in a run directory."""
SUFFIX = ".ledger"
NAME_BYTES = 200
"""Longest name of a file, as most file systems have it, less the ends that are added."""


class EntryPlace(NamedTuple):
    """The part of a file that has the body of an entry."""

    at: int
    length: int


class LedgerFile(Protocol):
    """The entries of one ledger, each of a kind, in order."""

    @property
    def where(self) -> str:
        """Return its path, for messages."""
        ...

    def entries(self) -> Iterator[tuple[int, EntryPlace, bytes]]:
        """Yield all entries that were there when it was opened."""
        ...

    def add(self, kind: int, body: bytes) -> EntryPlace:
        """Append an entry, which `read` finds from then on."""
        ...

    def read(self, place: EntryPlace) -> bytes:
        """Return the body of an entry."""
        ...

    def flush(self) -> None:
        """Hand all entries to the system.

        Raises:
            OSError: they could not be written, and are kept for the next time.
        """
        ...

    def close(self, *, remove: bool = False) -> None:
        """Close it, and remove it if no entry is needed any more."""
        ...


@contextlib.contextmanager
def _segment_in(descriptor: int, where: str) -> Generator[SegmentReader | None, None, None]:
    """Read a file, without having all of it in memory; ``None``: it is empty."""
    if not os.fstat(descriptor).st_size:
        yield None
        return
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as data:
        try:
            yield SegmentReader(data, where, last=True)
        except JournalDamaged as error:
            traceback.clear_frames(error.__traceback__)  # which keep the map from being closed
            raise damaged(where, error.offset, error.reason) from None


class FileOnDisk:
    """A ledger as a file.

    Args:
        path: of the file, which is made if it is not there.

    Raises:
        JournalDamaged: it cannot be read.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._length = path, 0
        self._disk = Folder(path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._waiting: list[bytes] = []
        """Pieces that are not written yet."""
        self._unwritten: dict[int, bytes] = {}
        """The bodies among them, by their places."""
        try:
            self._length, self._number, self._salt = self._begin()
        except BaseException:
            os.close(self._descriptor)
            raise
        self._found = self._written = self._length

    def __repr__(self) -> str:
        return f"<FileOnDisk {self._path}, {self._length} bytes>"

    @property
    def where(self) -> str:
        """Return its path."""
        return str(self._path)

    def _begin(self) -> tuple[int, int, int]:
        """Return the length of the good part, the number of the next entry, and the salt."""
        with _segment_in(self._descriptor, self.where) as reader:
            if reader is not None and reader.head is not None:
                for _ in reader.frames():
                    pass
                if torn := reader.torn.nbytes:
                    log.warning("%s: the last %d bytes were cut off", self._path, torn)
                    os.ftruncate(self._descriptor, reader.good_bytes)
                return reader.good_bytes, reader.next_number, reader.salt
        os.ftruncate(self._descriptor, 0)
        head, salt = write_head(Head(1, 1))
        write_all(self._disk, self._descriptor, [head], 0)
        return HEAD_BYTES, 1, salt

    def entries(self) -> Iterator[tuple[int, EntryPlace, bytes]]:
        """Yield all entries that were there when it was opened."""
        at = HEAD_BYTES
        with _segment_in(self._descriptor, self.where) as reader:
            for frame in reader.frames() if reader is not None else ():
                if at >= self._found:
                    return
                yield frame.kind, EntryPlace(at + FRAME_BYTES, len(frame.body)), frame.body
                at += FRAME_BYTES + len(frame.body)

    def add(self, kind: int, body: bytes) -> EntryPlace:
        """Append an entry, to be written by the next `flush`."""
        # none is known to be synced, so a torn end is cut off however long it is
        place = EntryPlace(self._length + FRAME_BYTES, len(body))
        head = write_frame_head(self._salt, self._number, kind, body, self._number)
        self._waiting += (head, body)
        self._unwritten[place.at] = body
        self._number += 1
        self._length += FRAME_BYTES + len(body)
        return place

    def read(self, place: EntryPlace) -> bytes:
        """Return the body of an entry.

        Raises:
            OSError: it cannot be read.
        """
        body = self._unwritten.get(place.at)  # perhaps for long: the disk may be full
        return os.pread(self._descriptor, place.length, place.at) if body is None else body

    def flush(self) -> None:
        """Hand all entries to the system."""
        if self._waiting:
            write_all(self._disk, self._descriptor, self._waiting, self._written)
            self._waiting.clear()
            self._unwritten.clear()
            self._written = self._length

    def take_place(self, path: Path) -> None:
        """Put it in the place of another file, once all that was added is on the disk.

        Raises:
            OSError: that cannot be; the other one stays.
        """
        self.flush()
        self._disk.sync(self._descriptor)
        self._path.replace(path)
        self._path, self._found = path, self._length
        with contextlib.suppress(OSError):  # after a crash of the machine it is one or the other
            self._disk.sync_folder()

    def close(self, *, remove: bool = False) -> None:
        """Close it, and remove it if no entry is needed any more."""
        with contextlib.suppress(OSError):
            self.flush()
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)
        if remove:
            with contextlib.suppress(OSError):  # an empty one is removed by the next broker
                self._path.unlink()


class FileRead:
    """A ledger as it is in its file now, which another process may write on.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __repr__(self) -> str:
        return f"<FileRead {self._path}>"

    @property
    def where(self) -> str:
        """Return its path."""
        return str(self._path)

    def entries(self) -> Iterator[tuple[int, EntryPlace, bytes]]:
        """Yield all entries.

        Raises:
            JournalDamaged: it cannot be read.
            OSError: it cannot be opened.
        """
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        at = HEAD_BYTES
        try:
            with _segment_in(descriptor, self.where) as reader:
                for frame in reader.frames() if reader is not None else ():
                    yield frame.kind, EntryPlace(at + FRAME_BYTES, len(frame.body)), frame.body
                    at += FRAME_BYTES + len(frame.body)
        finally:
            os.close(descriptor)

    def add(self, kind: int, body: bytes) -> EntryPlace:
        """Add nothing: it is only read."""
        del kind
        return EntryPlace(0, len(body))

    def read(self, place: EntryPlace) -> bytes:
        """Return the body of an entry."""
        with self._path.open("rb") as file:
            return os.pread(file.fileno(), place.length, place.at)

    def flush(self) -> None:
        """Do nothing."""

    def close(self, *, remove: bool = False) -> None:
        """Do nothing."""


class LedgerFolder(Protocol):
    """The ledgers of all detached clients of a run directory, by the clients' names."""

    def names(self) -> list[str]:
        """Return the names of the clients that have one."""
        ...

    def open(self, name: str) -> LedgerFile:
        """Open or make the ledger of a client.

        Raises:
            UsageError: the name is too long.
            OSError: it cannot be opened.
            JournalDamaged: it cannot be read.
        """
        ...

    def replace(self, name: str, entries: Iterable[tuple[int, bytes]]) -> LedgerFile:
        """Put a file with only these entries in the place of a client's, to be opened by others."""
        ...


class FolderOnDisk:
    """Ledgers as files of a run directory.

    Args:
        run_dir: the run directory, which is there.
    """

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir / FOLDER

    def names(self) -> list[str]:
        """Return the names of the clients that have one."""
        if not self._folder.is_dir():
            return []
        return sorted(unquote(path.stem) for path in self._folder.glob(f"*{SUFFIX}"))

    def open(self, name: str) -> FileOnDisk:
        """Open or make the ledger of a client."""
        return FileOnDisk(self._path(name))

    def read(self, name: str) -> FileRead:
        """Return the ledger of a client, to be read beside the broker that may write it."""
        return FileRead(self._path(name))

    def replace(self, name: str, entries: Iterable[tuple[int, bytes]]) -> FileOnDisk:
        """Put a file with only these entries in the place of a client's, to be opened by others.

        Raises:
            OSError: it cannot be written; the one that was there stays.
        """
        path = self._path(name)
        fresh = path.with_suffix(".fresh")
        fresh.unlink(missing_ok=True)
        with contextlib.ExitStack() as undo:
            undo.callback(fresh.unlink, missing_ok=True)
            file = FileOnDisk(fresh)
            undo.callback(file.close)
            for kind, body in entries:
                file.add(kind, body)
                file.flush()
            file.take_place(path)
            undo.pop_all()
        return file

    def _path(self, name: str) -> Path:
        file = quoted(name)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return self._folder / f"{file}{SUFFIX}"


def damaged(where: str, at: int, reason: str) -> JournalDamaged:
    """Return the error that says that a ledger cannot be read, and what to do."""
    way_out = "copy; or move it away: the next session of its name begins without its tasks"
    return JournalDamaged(where, at, reason, way_out)


def quoted(name: str) -> str:
    """Return the name of a client as that of a file, which no two share.

    Raises:
        UsageError: it is too long for that.
    """
    file = quote(name, safe=" ").replace(".", "%2E")
    if len(file) > NAME_BYTES:
        raise UsageError(
            f"the name of a detached session is too long for a file: {short(name)}, of which a "
            f"letter of plain text takes 1 byte, any other up to 12, and {NAME_BYTES} may be taken"
        )
    return file
