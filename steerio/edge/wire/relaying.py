"""The ends of a relay: a node on another host passes on the batches of its workers, unread.

A batch of a worker travels in an envelope, `WorkerSaid` or `TellWorker`, whose frames are those of
the batch; and envelopes travel in the batches of their node.  Batches that a worker has written one
by one, and its node has read together, go on as one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from steerio.edge.wire.cutting import MOST_FRAMES, batches, refused
from steerio.edge.wire.endpoint import Arrival, Frames
from steerio.edge.wire.headers import Dealt, reader
from steerio.edge.wire.unix import StreamRouter
from steerio.errors import EncodingError, ProtocolError
from steerio.model import messages as ms

LONG_HEADER_BYTES = 1 << 14
"""Longer headers are frames of their envelopes, so that they are copied less; none is joined."""
_FEW, _LIST_16 = 15, 0xDC
"""In msgpack, the longest list with its length in its first byte, and that byte of longer ones."""


def said_by(worker: str, header: bytes, frames: Sequence[Any]) -> tuple[ms.WorkerSaid, Frames]:
    """Return the envelope for a batch of a worker, and its frames."""
    if len(header) <= LONG_HEADER_BYTES:
        return ms.WorkerSaid(worker, header, len(frames)), tuple(frames)
    return ms.WorkerSaid(worker, b"", len(frames) + 1), (header, *frames)


def joined(batches_of_one: Sequence[tuple[bytes, Frames]]) -> list[tuple[bytes, Frames]]:
    """Return the batches of one worker as few: their messages in order, and their frames.

    A header is a list in msgpack: its length, and then its messages, which need not be read.
    """
    found: list[tuple[bytes, Frames]] = []
    parts: list[bytes] = []
    frames: list[Any] = []
    count = nbytes = 0
    for header, its in batches_of_one:
        first = header[0] if header else 0
        short = 0x90 <= first <= 0x90 | _FEW and len(header) <= LONG_HEADER_BYTES
        full = len(header) + nbytes > LONG_HEADER_BYTES or len(frames) + len(its) > MOST_FRAMES
        if parts and (full or not short):
            found.append((_listed(count, parts), tuple(frames)))
            parts, frames, count, nbytes = [], [], 0, 0
        if short:
            count += first & _FEW
            nbytes += len(header)
            parts.append(header[1:])
            frames += its
        else:
            found.append((header, its))
    if parts:
        found.append((_listed(count, parts), tuple(frames)))
    return found


def _listed(count: int, parts: list[bytes]) -> bytes:
    """Return a header of so many messages."""
    if count <= _FEW:
        return b"".join((bytes((0x90 | count,)), *parts))
    return b"".join((struct.pack(">BH", _LIST_16, count), *parts))


def told_to(
    worker: str, batch: list[Any], runs: list[int], tasks: list[int]
) -> tuple[ms.TellWorker, Frames]:
    """Return the envelope for a batch to a worker, and its frames.

    ``runs`` are the attempts that the worker is sent in it, at these ``tasks``.
    """
    header = batch[0]
    if len(header) > LONG_HEADER_BYTES:
        return ms.TellWorker(worker, b"", len(batch), runs, tasks), tuple(batch)
    return ms.TellWorker(worker, header, len(batch) - 1, runs, tasks), tuple(batch[1:])


def batches_or_refusal(messages: Sequence[Any], frames: Sequence[Any]) -> list[list[Any]]:
    """Return the batches for a worker, which is refused if one of its messages is too long."""
    found: list[list[Any]] = []
    try:
        found.extend(batches(messages, frames))
    except EncodingError as error:  # it cannot go on without that message
        found.append(refused(error))
    return found


def opened(envelope: ms.WorkerSaid | ms.TellWorker, frames: Frames) -> list[Any]:
    """Return the batch in an envelope: its header, and its frames."""
    return [envelope.header, *frames] if envelope.header or not frames else list(frames)


def arrival_of(envelope: ms.WorkerSaid, frames: Frames) -> Arrival:
    """Return the batch in a worker's envelope as it would have arrived from the worker itself."""
    peer = envelope.worker.encode()
    if envelope.fault:
        return Arrival(peer, (), envelope.fault)
    header: Any = envelope.header
    its: Sequence[Any] = frames
    if frames and not header:
        header, *its = frames
    try:
        return Arrival(peer, reader("behind")(header, its))
    except ProtocolError as error:
        return Arrival(peer, (), str(error))


def _unread(header: bytes, frames: Sequence[Any]) -> Dealt:
    return [(header, tuple(frames))]


class WorkerStreams(StreamRouter):
    """A node's end of the streams of its workers, which gives batches as they come.

    The messages of its arrivals are headers, undecoded, with their frames.

    Args:
        path: of the socket to listen on; its folder must be closed to others.

    Raises:
        OSError: it cannot listen there.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._read_batch = _unread

    def pass_on(self, peer: bytes, batch: Sequence[Any]) -> bool:
        """Have a batch written with the next flush; ``False`` if the worker's stream has ended."""
        connection = self._connections.get(peer)
        if connection is None:
            return False
        try:
            connection.add(list(batch))
        except MemoryError:
            self._break(connection)
            return False
        self._dirty.add(peer)
        return True

    def take_rest(self, peer: bytes) -> list[Arrival]:
        """Take all that a worker has written by now."""
        rest: list[Arrival] = []
        connection = self._connections.get(peer)
        while connection is not None and self._read_or_drop(connection, rest):
            connection = self._connections.get(peer)
        return rest

    def hang_up(self, peer: bytes) -> None:
        """End the stream of a process that is no worker of this node."""
        connection = self._connections.get(peer)
        if connection is not None:
            self._drop(connection)
