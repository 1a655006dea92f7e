"""The writer of a journal: it appends batches of frames to segments, and syncs them.

A batch is appended as a whole or not at all. A sync that failed is never tried again: the system
may have thrown the bytes away and would call the second one a success (Rebello et al. 2020,
https://www.usenix.org/conference/atc20/presentation/rebello).
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Sequence
from typing import NoReturn

from steerio.edge.record.disk import Disk, write_all
from steerio.edge.record.frames import (
    END,
    HEAD_BYTES,
    Head,
    write_frame,
    write_frames,
    write_head,
)
from steerio.edge.record.journal_segments import Segment
from steerio.edge.record.owners import Owner
from steerio.errors import JournalFailed, JournalFenced, JournalFull, SteerioError, UsageError

SEGMENT_BYTES = 16 << 20
"""Length of a segment, beyond which only a single batch makes it."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class JournalWriter:
    """Appends to a journal that it owns.

    All methods but `sync` are for one thread; that one may be another's.

    Args:
        disk: the folder.
        owner: the right to write there.
        next_number: the number of the first frame; all before it are synced.
        segment_bytes: length of a segment.

    Raises:
        JournalFull, JournalFailed, JournalFenced: its first segment cannot be made.
    """

    def __init__(
        self, disk: Disk, owner: Owner, next_number: int, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self.written_to = next_number - 1
        """The last number that was handed to the system."""
        self.synced_to = next_number - 1
        """The last number that is on the disk, and that no other process can have missed."""
        self.batch_bytes = 0
        """The length of the frames that were appended last."""
        self.full = False
        """The last batch did not fit."""
        self.failed: SteerioError | None = None
        """The reason why it refuses to go on."""
        self._disk, self._owner, self._segment_bytes = disk, owner, segment_bytes
        self._pid = os.getpid()
        self._syncing = threading.Lock()
        """Held while the file is synced, and while it is replaced by the next."""
        self._descriptor = -1
        self._length = self._salt = 0
        self._unclear = False
        """A write was begun behind the end of the file, and its end was not noted."""
        self._closed = False
        self.segment = self._begin(next_number, 0)
        """The segment that it appends to."""

    def append(self, entries: Sequence[tuple[int, bytes]]) -> int:
        """Hand a batch to the system, all of it or nothing, and return its last number.

        Args:
            entries: a kind and a body for each frame.

        Raises:
            JournalFull: it does not fit: try the same again when there is room.
            JournalFailed, JournalFenced: the writer cannot go on, now and in future.
            UsageError: a kind or body is out of bounds.
        """
        self._must_be_usable()
        if not entries:
            return self.written_to
        pieces = self._encode(entries)
        nbytes = sum(map(len, pieces))
        if self._unclear:  # an exception came out of the middle, such as that of a signal
            self._cut_back("cut an interrupted write back")
        if self._length > HEAD_BYTES and self._length + nbytes > self._segment_bytes:
            self._rotate(nbytes)
            pieces = self._encode(entries)  # whose checksums go on from the new segment's
        self._write(pieces, nbytes)
        self.written_to += len(entries)
        self.batch_bytes = nbytes
        self.full = False
        return self.written_to

    def sync(self) -> int:
        """Wait until all that was appended is on the disk, and return its last number.

        Raises:
            JournalFailed, JournalFenced: the writer cannot go on, now and in future. Frames that
                were not said to be synced may be there or not.
        """
        with self._syncing:
            return self._sync()

    def check(self) -> None:
        """Look whether another process has taken over.

        Raises:
            JournalFenced: one has.
            JournalFailed: the folder cannot be read.
        """
        try:
            self._owner.check()
            if self._descriptor >= 0 and not self._disk.named(self._descriptor):
                self._owner.refuse()
        except JournalFenced as error:
            self.failed = error
            raise
        except OSError as error:
            self._fail("look for other owners", error)

    def close(self) -> None:
        """Sync, and give the right to write up. A writer that failed syncs no more.

        Raises:
            JournalFailed, JournalFenced: as `sync`.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self.failed is None and self._pid == os.getpid():
                self.sync()
                self._end()
        finally:
            self._disk.close(self._descriptor)
            self._descriptor = -1  # whose number another file may get
            if self._pid == os.getpid():
                with contextlib.suppress(OSError, JournalFenced):
                    self._owner.release()

    def _end(self) -> None:
        """Note that all is synced, if there is room to."""
        frame = write_frame(self._salt, self.written_to, END, b"", 0)
        with contextlib.suppress(JournalFull):
            self._write([frame], len(frame))
            with self._syncing:
                self._sync(anyway=True)

    def _encode(self, entries: Sequence[tuple[int, bytes]]) -> list[bytes]:
        return write_frames(self._salt, self.written_to, self.synced_to, entries)

    def _write(self, pieces: Sequence[bytes], nbytes: int) -> None:
        self._unclear = True
        try:
            write_all(self._disk, self._descriptor, pieces, self._length)
        except OSError as error:
            if error.errno not in _FULL:
                self._fail("write", error)
            self._cut_back("cut a part of a batch back")
            self._refuse_full(nbytes, error)
        self._length += nbytes
        self._unclear = False

    def _cut_back(self, what: str) -> None:
        """Remove the begun part, for certain: else a crash could bring it back behind others."""
        try:
            self._disk.truncate(self._descriptor, self._length)
            self._disk.sync(self._descriptor)
        except OSError as error:
            self._fail(what, error)
        self._unclear = False

    def _sync(self, *, anyway: bool = False) -> int:
        self._must_be_usable()
        target = self.written_to
        if anyway or target > self.synced_to:
            try:
                self._disk.sync(self._descriptor)
            except OSError as error:
                self._fail("sync", error)
        # only now: a successor that is not there yet will read all that is synced
        self.check()
        self.synced_to = target
        return target

    def _rotate(self, asked: int) -> None:
        with self._syncing:
            self._sync()  # so that only the last segment can have a torn end
            before = self._descriptor
            self.segment = self._begin(self.written_to + 1, asked)
            self._disk.close(before)

    def _begin(self, first: int, asked: int) -> Segment:
        """Make a segment, with its head and name on the disk, and write to it from now on."""
        segment = Segment(first, self._owner.incarnation)
        data, salt = write_head(Head(segment.incarnation, first))
        try:
            descriptor = self._make(segment.name, data)
        except OSError as error:
            if error.errno in _FULL:
                self._refuse_full(asked, error)
            self._fail(f"make {segment.name}", error)
        try:
            self.check()
        except SteerioError:
            self._disk.close(descriptor)
            with contextlib.suppress(OSError):
                self._disk.unlink(segment.name)
            raise
        self._descriptor, self._length, self._salt = descriptor, len(data), salt
        return segment

    def _make(self, name: str, data: bytes) -> int:
        descriptor = self._disk.create(name)
        try:
            write_all(self._disk, descriptor, [data], 0)
            self._disk.sync(descriptor)
            self._disk.sync_folder()
        except BaseException:
            self._disk.close(descriptor)
            self._disk.unlink(name)
            raise
        return descriptor

    def _must_be_usable(self) -> None:
        if self.failed is not None:
            raise self.failed.with_traceback(None)
        if self._descriptor < 0:
            raise UsageError(f"the journal in {self._disk.where} was closed")
        if self._pid != os.getpid():
            raise UsageError(
                f"the journal in {self._disk.where} belongs to process {self._pid}, and not to its "
                "forks: send that process the entries"
            )

    def _fail(self, what: str, error: OSError) -> NoReturn:
        self.failed = JournalFailed(self._disk.where, what, error.strerror or str(error))
        raise self.failed from error

    def _refuse_full(self, asked: int, error: OSError) -> NoReturn:
        self.full = True
        raise JournalFull(self._disk.where, asked, error.strerror or str(error)) from error
