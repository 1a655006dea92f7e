"""Batches as bytes of a stream: cut out of arriving bytes, joined into leaving ones.

A batch is a header and frames, behind a length for each of them:

    count: u32 | length: u64 * count | header | frame | frame ...

Short ones are copied together, so that they take one call of the system and wake their reader once;
a long frame is received into its final memory, which is taken when its turn has come: a peer that
only announces much costs little.
"""

from __future__ import annotations

import itertools
import socket
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from steerio.edge.wire.receive_buffers import Spares
from steerio.errors import ProtocolError

LIMIT_FRAMES = 1 << 16
"""Most frames of one batch."""
LIMIT_BATCH_BYTES = 8 << 30
"""Longest batch; a peer that announces a longer one is disconnected."""
JOINED_BYTES = 1 << 16
"""Batches up to this are joined into one piece; longer ones are sent as they are."""
SENT_PIECES = 64
"""Most pieces that are sent in one go."""

_COUNT = struct.Struct("=I")
_ONE = struct.Struct("=IQ")
"""The beginning of a batch that has a header and no frame, as most have."""
QUIETLY: int = getattr(socket, "MSG_NOSIGNAL", 0)
"""Keeps SIGPIPE away from a process that has its ordinary effect, which is to end it."""

Batch = tuple[Any, Sequence[Any]]
"""A header, and its frames."""


def head(parts: Sequence[Any]) -> bytes:
    """Return the lengths that go before a batch of these parts."""
    return struct.pack(f"=I{len(parts)}Q", len(parts), *map(len, parts))


class Incoming:
    """Cuts the bytes that arrive on a connection into batches.

    Args:
        room: memory to receive into, between long batches; several may share it.
        spares: the source of memory for the frames of long ones; several may share it.
    """

    def __init__(self, room: memoryview, spares: Spares) -> None:
        self._any = room
        self._spares = spares
        self._data = bytearray()
        self._long: list[memoryview] = []
        """The frames of the long batch that comes."""
        self._missing: memoryview | None = None
        """The rest of the last of them."""
        self._ahead: deque[int] = deque()
        """The lengths of those after it."""

    @property
    def room(self) -> memoryview:
        """The memory for the next bytes: the rest of a long frame, or room for any batch."""
        return self._any if self._missing is None else self._missing

    def feed(self, count: int) -> Iterable[Batch]:
        """Take in this many bytes of ``room``; return the batches that are complete.

        Iterate over them once, before the next bytes are received.

        Raises:
            ProtocolError: the bytes are no batch, as is found while iterating.
        """
        if count >= _ONE.size and not self._data and self._missing is None:
            parts, length = _ONE.unpack_from(self._any)
            if parts == 1 and count == _ONE.size + length:
                return ((bytes(self._any[_ONE.size : count]), ()),)
        return self._cut(count)

    def _cut(self, count: int) -> Iterator[Batch]:
        if self._missing is not None:
            if self._fill(count):
                whole, self._long = self._long, []
                yield whole[0], whole[1:]
            return
        data = self._data
        data += self._any[:count]
        at = 0
        try:
            while len(data) - at >= 4:
                (count,) = _COUNT.unpack_from(data, at)
                if not 0 < count <= LIMIT_FRAMES:
                    raise ProtocolError(f"a batch of {count} frames")
                start = at + 4 + 8 * count
                if len(data) < start:
                    break
                lengths = struct.unpack_from(f"={count}Q", data, at + 4)
                end = start + sum(lengths)
                if end - start > LIMIT_BATCH_BYTES:
                    raise ProtocolError(f"a batch of {end - start} bytes")
                if len(data) < end:
                    at += self._begin_long(memoryview(data)[at:], lengths)
                    break
                frames: list[bytes] = []
                for length in lengths:
                    frames.append(bytes(memoryview(data)[start : start + length]))
                    start += length
                yield frames[0], frames[1:]
                at = end
        finally:
            del data[:at]

    def _begin_long(self, begun: memoryview, lengths: Sequence[int]) -> int:
        """Make room for a batch that is long, so that its rest is received in its final place.

        Returns how many of the bytes that have come it placed there.
        """
        if sum(lengths) <= JOINED_BYTES:
            return 0
        with begun:  # else the data could not be resized
            rest = begun[4 + 8 * len(lengths) :]
            self._ahead.extend(lengths)
            self._take_memory()
            while len(rest) and self._missing is not None:
                part = rest[: len(self._missing)]
                self._missing[: len(part)] = part
                self._fill(len(part))
                rest = rest[len(part) :]
            return len(begun)

    def _fill(self, count: int) -> bool:
        """Note the bytes that came of a long frame, and say whether its batch is complete."""
        assert self._missing is not None
        self._missing = self._missing[count:]
        return not (len(self._missing) or self._take_memory())

    def _take_memory(self) -> bool:
        """Take memory for the next frame that is not empty; ``False``: there is none."""
        self._missing = None
        while self._ahead:
            frame = self._spares.take(self._ahead.popleft())
            self._long.append(frame)
            if len(frame):
                self._missing = frame
                return True
        return False


def as_piece(batch: Sequence[Any]) -> bytes | None:
    """Return a short batch without frames as it is written; ``None`` for others."""
    if len(batch) > 1 or len(batch[0]) > JOINED_BYTES:
        return None
    header: bytes = batch[0]
    return _ONE.pack(1, len(header)) + header


class Outgoing:
    """The batches that wait to be written to a connection."""

    def __init__(self) -> None:
        self._pieces: deque[memoryview | bytes] = deque()
        self.nbytes = 0
        """Bytes that are still to be written."""

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, batch: Sequence[Any]) -> None:
        """Have a batch written: its header, and its frames."""
        piece = as_piece(batch)
        if piece is not None:
            self.nbytes += len(piece)
            self._pieces.append(piece)
            return
        views = [memoryview(frame).cast("B") for frame in batch]
        nbytes = sum(map(len, views))
        lengths = head(views)
        self.nbytes += len(lengths) + nbytes
        if nbytes <= JOINED_BYTES:
            self._pieces.append(b"".join([lengths, *views]))
        else:
            self._pieces.append(lengths)
            self._pieces.extend(view for view in views if len(view))

    def clear(self) -> None:
        """Drop all of them."""
        self._pieces.clear()
        self.nbytes = 0

    def write(self, connection: socket.socket) -> bool:
        """Write as much as goes; ``True`` once all is written.

        Raises:
            OSError: the connection is gone.
        """
        pieces = self._pieces
        while pieces:
            try:
                if len(pieces) == 1:
                    written = connection.send(pieces[0], QUIETLY)
                else:  # together, or each would wake the peer
                    together = itertools.islice(pieces, SENT_PIECES)
                    written = connection.sendmsg(together, (), QUIETLY)
            except BlockingIOError:
                return False
            self.nbytes -= written
            while pieces and written >= len(pieces[0]):
                written -= len(pieces.popleft())
            if written:
                pieces[0] = memoryview(pieces[0])[written:]
        return True
