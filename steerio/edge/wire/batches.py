"""Batches as bytes of a stream: cut out of arriving bytes, joined into leaving ones.

A batch is a header and frames, behind a length for each of them:

    count: u32 | length: u64 * count | header | frame | frame ...

Short ones are copied together, so that they take one call of the system and wake their reader once;
a long frame is received into its final memory.
"""

from __future__ import annotations

import itertools
import socket
import struct
from collections import deque
from collections.abc import Iterator, Sequence
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
        self._missing: deque[memoryview] = deque()

    @property
    def room(self) -> memoryview:
        """The memory for the next bytes: the rest of a long frame, or room for any batch."""
        return self._missing[0] if self._missing else self._any

    def feed(self, count: int) -> Iterator[tuple[Any, list[Any]]]:
        """Take in this many bytes of ``room``; give out the batches that are complete.

        Each is a header and its frames.

        Raises:
            ProtocolError: the bytes are no batch.
        """
        if self._missing:
            if self._have_received(count):
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
            for length in lengths:
                frame = self._spares.take(length)
                self._long.append(frame)
                part, rest = rest[:length], rest[length:]
                frame[: len(part)] = part
                if len(part) < length:
                    self._missing.append(frame[len(part) :])
            return len(begun)

    def _have_received(self, count: int) -> bool:
        """Note the bytes that came of a long batch, and say whether it is complete."""
        self._missing[0] = self._missing[0][count:]
        if not self._missing[0]:
            self._missing.popleft()
        return not self._missing


class Outgoing:
    """The batches that wait to be written to a connection."""

    def __init__(self) -> None:
        self._pieces: deque[memoryview] = deque()

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, batch: Sequence[Any]) -> None:
        """Have a batch written: its header, and its frames."""
        views = [memoryview(frame).cast("B") for frame in batch]
        if sum(map(len, views)) <= JOINED_BYTES:
            self._pieces.append(memoryview(b"".join([head(views), *views])))
        else:
            self._pieces.append(memoryview(head(views)))
            self._pieces.extend(view for view in views if len(view))

    def write(self, connection: socket.socket) -> bool:
        """Write as much as goes; ``True`` once all is written.

        Raises:
            OSError: the connection is gone.
        """
        pieces = self._pieces
        while pieces:
            try:
                if len(pieces) == 1:
                    written = connection.send(pieces[0])
                else:  # together, or each would wake the peer
                    written = connection.sendmsg(itertools.islice(pieces, SENT_PIECES))
            except BlockingIOError:
                return False
            while pieces and written >= len(pieces[0]):
                written -= len(pieces.popleft())
            if written:
                pieces[0] = pieces[0][written:]
        return True
