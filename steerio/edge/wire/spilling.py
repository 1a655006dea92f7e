"""A queue of pieces that wait for credit, which goes on in a file once it is long.

A peer that is slow, or away for a while, has its messages kept; there may be more of them than
memory. The file has no name, so nothing of it is left, however this process ends.
"""

from __future__ import annotations

import logging
import struct
import tempfile
from collections import deque
from typing import IO

from steerio.edge.wire.packets import Piece

SPILLED_BYTES = 64 << 20
"""Most bytes that one queue keeps in memory, as long as the file takes the rest."""

_RECORD = struct.Struct("<BIQ")
log = logging.getLogger("steerio.edge")


class Spilling:
    """A queue of pieces: first in, first out.

    Args:
        memory_bytes: most bytes in memory; the rest goes to the file.
    """

    def __init__(self, memory_bytes: int = SPILLED_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._entries: deque[tuple[Piece, int]] = deque()
        self._nbytes = 0
        self._file: IO[bytes] | None = None
        self._filed = 0
        """The number of pieces in the file, which come after those in memory."""
        self._read_at = self._write_at = 0
        self._behind: deque[tuple[Piece, int]] = deque()
        """Pieces that come after those in the file, as it takes no more."""

    def __len__(self) -> int:
        return len(self._entries) + self._filed + len(self._behind)

    def push(self, payload: Piece, nbytes: int) -> None:
        """Add a piece of so many bytes."""
        if self._behind:
            self._behind.append((payload, nbytes))
        elif not self._filed and self._nbytes < self._memory_bytes:
            self._entries.append((payload, nbytes))
            self._nbytes += nbytes
        else:
            try:
                self._write(payload, nbytes)
            except OSError as error:
                log.warning("messages for a slow peer have to wait in memory: %s", error)
                self._behind.append((payload, nbytes))

    def pop(self) -> tuple[Piece, int]:
        """Take out the oldest piece, and its length in bytes."""
        if self._entries:
            payload, nbytes = self._entries.popleft()
            self._nbytes -= nbytes
            return payload, nbytes
        if self._filed:
            return self._read()
        return self._behind.popleft()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file, self._filed, self._read_at, self._write_at = None, 0, 0, 0

    def _write(self, payload: Piece, nbytes: int) -> None:
        """Append a piece to the file.

        Raises:
            OSError: it takes no more.
        """
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when all of it is read
        views = [memoryview(part).cast("B") for part in payload.parts]
        lengths = struct.pack(f"<{len(views)}Q", *map(len, views))
        self._file.seek(self._write_at)
        self._file.write(_RECORD.pack(payload.whole, len(views), nbytes) + lengths)
        for view in views:
            self._file.write(view)
        self._file.flush()
        self._write_at = self._file.tell()
        self._filed += 1

    def _read(self) -> tuple[Piece, int]:
        file = self._file
        assert file is not None
        file.seek(self._read_at)
        whole, count, nbytes = _RECORD.unpack(file.read(_RECORD.size))
        lengths = struct.unpack(f"<{count}Q", file.read(8 * count))
        parts = [file.read(length) for length in lengths]
        self._read_at = file.tell()
        self._filed -= 1
        if not self._filed:
            self.close()
        return Piece(bool(whole), parts), nbytes
