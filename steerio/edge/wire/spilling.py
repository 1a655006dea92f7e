"""A queue of pieces that wait for credit, which goes on in files once it is long.

A peer that is slow, or away for a while, has its messages kept; there may be more of them than
memory. The files have no names, so nothing of them is left, however this process ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import tempfile
from collections import deque

from steerio.edge.wire.packets import Piece
from steerio.edge.wire.wire_session import PACKET_COST
from steerio.errors import ProtocolError

SPILLED_BYTES = 64 << 20
"""Most bytes that one queue keeps in memory, as long as files take the rest."""
FILE_BYTES = 256 << 20
"""Length from which on a queue goes on in another file: one that was read is let go."""

_RECORD = struct.Struct("<BIQ")
log = logging.getLogger("steerio.edge")


class _File:
    """A file without a name, written at its end and read from its beginning."""

    def __init__(self) -> None:
        self.count = 0
        """Pieces in it that were not read."""
        self.nbytes = 0
        self._read_at = 0
        # unbuffered: bytes that the disk has no room for would be written again by a later call
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `close` closes it

    def write(self, payload: Piece, nbytes: int) -> None:
        """Append a piece; one that is not written whole counts for nothing."""
        views = [memoryview(part).cast("B") for part in payload.parts]
        lengths = struct.pack(f"<{len(views)}Q", *map(len, views))
        head = _RECORD.pack(payload.whole, len(views), nbytes)
        rest = memoryview(b"".join([head, lengths, *views]))
        at = self.nbytes
        while len(rest):
            written = os.pwrite(self._file.fileno(), rest, at)
            at += written
            rest = rest[written:]
        self.nbytes = at
        self.count += 1

    def read(self) -> tuple[Piece, int]:
        """Take out the oldest piece, and its length in bytes."""
        whole, count, nbytes = _RECORD.unpack(self._take(_RECORD.size))
        lengths = struct.unpack(f"<{count}Q", self._take(8 * count))
        parts = [self._take(length) for length in lengths]
        self.count -= 1
        return Piece(bool(whole), parts), nbytes

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def _take(self, nbytes: int) -> bytes:
        data = b""
        while len(data) < nbytes:
            more = os.pread(self._file.fileno(), nbytes - len(data), self._read_at)
            if not more:
                raise OSError(f"{nbytes - len(data)} bytes are missing")
            data += more
            self._read_at += len(more)
        return data


class Spilling:
    """A queue of pieces: first in, first out.

    Args:
        memory_bytes: most bytes in memory; the rest goes to files.
    """

    def __init__(self, memory_bytes: int = SPILLED_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._entries: deque[tuple[Piece, int]] = deque()
        self._nbytes = 0
        self._files: deque[_File] = deque()
        """Their pieces come after those in memory."""
        self._behind: deque[tuple[Piece, int]] = deque()
        """Pieces that come after those in files, as the disk takes no more."""

    def __len__(self) -> int:
        return len(self._entries) + sum(file.count for file in self._files) + len(self._behind)

    def push(self, payload: Piece, nbytes: int) -> None:
        """Add a piece of so many bytes."""
        if self._behind:
            self._behind.append((payload, nbytes))
        elif not self._files and self._nbytes < self._memory_bytes:
            self._entries.append((payload, nbytes))
            self._nbytes += nbytes + PACKET_COST
        else:
            try:
                self._write(payload, nbytes)
            except OSError as error:
                log.warning("messages for a slow peer have to wait in memory: %s", error)
                self._behind.append((payload, nbytes))

    def pop(self) -> tuple[Piece, int]:
        """Take out the oldest piece, and its length in bytes.

        Raises:
            ProtocolError: it cannot be read back from its file.
        """
        if self._entries:
            payload, nbytes = self._entries.popleft()
            self._nbytes -= nbytes + PACKET_COST
            return payload, nbytes
        if not self._files:
            return self._behind.popleft()
        file = self._files[0]
        try:
            return file.read()
        except OSError as error:
            raise ProtocolError(f"messages that waited for it are lost: {error}") from error
        finally:
            if not file.count:
                self._files.popleft().close()

    def close(self) -> None:
        """Let go of the files."""
        while self._files:
            self._files.popleft().close()

    def _write(self, payload: Piece, nbytes: int) -> None:
        """Append a piece to the last file.

        Raises:
            OSError: the disk takes no more.
        """
        if not self._files or self._files[-1].nbytes >= FILE_BYTES:
            self._files.append(_File())
        try:
            self._files[-1].write(payload, nbytes)
        finally:
            if not self._files[-1].count:
                self._files.pop().close()
