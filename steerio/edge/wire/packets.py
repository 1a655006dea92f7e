"""Packets as the parts of a ZeroMQ message: a batch is one packet, or cut into several.

Each packet begins with the same fixed fields. A batch that is short follows them as it is: its
header, and its frames as further parts. A longer one is cut: its bytes (lengths first, as on a
stream, see ``edge.wire.batches``) go in packets of at most ``PACKET_BYTES``, and are put together
in the final memory of its frames. So no peer has to let another announce more than that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from steerio.edge.wire.batches import Incoming, head
from steerio.edge.wire.receive_buffers import Spares
from steerio.edge.wire.wire_session import Packet
from steerio.errors import ProtocolError

PACKET_BYTES = 1 << 17
"""Most bytes of a packet, beside its fields.  Only a whole one is a sign of life, and ZeroMQ breaks
a connection that gave none for five seconds: so one has to pass a bad link in less."""
FIRST_BYTES = 1 << 20
"""Most bytes of those that a peer sends before it was heard: of strangers none is put together."""
ROOM_BYTES = 1 << 16
"""Memory into which the lengths of a batch that was cut are received."""

_FIELDS = struct.Struct("<BBIQQQQ")
FIELDS_BYTES = _FIELDS.size
_FRESH, _WHOLE = 1, 2


class Piece(NamedTuple):
    """A batch, or a part of one: the payload of a packet."""

    whole: bool
    parts: Sequence[Any]


def pieces(batch: Sequence[Any], most: int = PACKET_BYTES) -> Iterator[tuple[Piece, int]]:
    """Cut a batch, its header and frames, into pieces; each with its length in bytes.

    Args:
        batch: the header and the frames.
        most: bytes that go whole.
    """
    if len(batch) == 1 and len(batch[0]) <= most:
        yield Piece(True, batch), len(batch[0])
        return
    views = [memoryview(part).cast("B") for part in batch]
    nbytes = sum(map(len, views))
    if nbytes <= most:
        yield Piece(True, batch), nbytes
        return
    room, parts = PACKET_BYTES, list[memoryview]()
    for view in (memoryview(head(views)), *views):
        while len(view):
            part, view = view[:room], view[room:]
            parts.append(part)
            room -= len(part)
            if not room:
                yield Piece(False, parts), PACKET_BYTES
                room, parts = PACKET_BYTES, []
    if parts:
        yield Piece(False, parts), PACKET_BYTES - room


def encode(packet: Packet) -> list[Any]:
    """Return the parts of the ZeroMQ message for a packet."""
    kind, session, number, expected, taken, round_, fresh, payload, _ = packet
    flags = _FRESH if fresh else 0
    if payload is None:
        return [_FIELDS.pack(kind, flags, round_, session, number, expected, taken)]
    if payload.whole:
        flags |= _WHOLE
        fields = _FIELDS.pack(kind, flags, round_, session, number, expected, taken)
        return [fields + payload.parts[0], *payload.parts[1:]]
    return [_FIELDS.pack(kind, flags, round_, session, number, expected, taken), *payload.parts]


def decode(first: Any, rest: Sequence[Any]) -> Packet:
    """Return the packet of a ZeroMQ message.

    Raises:
        ProtocolError: it is too short for one.
    """
    if len(first) < FIELDS_BYTES:
        raise ProtocolError(f"a packet of {len(first)} bytes")
    kind, flags, round_, session, number, expected, taken = _FIELDS.unpack_from(first)
    nbytes = len(first) - FIELDS_BYTES + sum(map(len, rest))
    if flags & _WHOLE:
        payload = Piece(True, [memoryview(first)[FIELDS_BYTES:], *rest])
    else:
        payload = Piece(False, rest)
    return Packet(
        kind, session, number, expected, taken, round_, bool(flags & _FRESH), payload, nbytes
    )


class Assembly:
    """Puts the batches of one peer together again."""

    def __init__(self) -> None:
        self._incoming: Incoming | None = None

    def add(self, piece: Piece) -> Iterator[tuple[Any, Sequence[Any]]]:
        """Take in the next piece; give out the batches that are complete: header and frames.

        Raises:
            ProtocolError: the bytes are no batch.
        """
        if piece.whole:
            yield piece.parts[0], piece.parts[1:]
            return
        if self._incoming is None:  # most peers send no long batch
            self._incoming = Incoming(memoryview(bytearray(ROOM_BYTES)), Spares())
        for part in piece.parts:
            view = memoryview(part).cast("B")
            while len(view):
                room = self._incoming.room[: len(view)]
                room[:] = view[: len(room)]
                view = view[len(room) :]
                yield from self._incoming.feed(len(room))
