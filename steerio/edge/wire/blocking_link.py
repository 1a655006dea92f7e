"""A worker's end of a Unix stream, which blocks; `edge.wire.unix_links` has those of others.

A worker that is forked sees to its copy of the stream itself.
"""

from __future__ import annotations

import mmap
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

from steerio.edge.wire.addresses import socket_path
from steerio.edge.wire.batches import QUIETLY, Incoming, Outgoing, as_piece
from steerio.edge.wire.cutting import batches
from steerio.edge.wire.endpoint import NO_MEMORY_HERE, Frames
from steerio.edge.wire.headers import Dealt, Receiver, reader
from steerio.edge.wire.receive_buffers import Spares
from steerio.edge.wire.unix import BUFFER_BYTES, CHUNK_BYTES
from steerio.errors import ProtocolError
from steerio.model.messages import FromBroker, ToBroker


class StreamLink:
    """A worker's end; it blocks, for a worker has nothing to do but wait.

    Args:
        address: the router's.
        receiver: which kind of peer this is, so that it decodes no other's messages.

    Raises:
        OSError: no process listens there.
    """

    def __init__(self, address: str, receiver: Receiver = "any") -> None:
        self._read_batch = reader(receiver)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(socket_path(address)))
        except BaseException:
            self._socket.close()
            raise
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        chunk = mmap.mmap(-1, CHUNK_BYTES)  # an idle worker has only so much of it as it used
        self._incoming = Incoming(memoryview(chunk), Spares())
        self._messages: list[ToBroker] = []
        self._frames: list[Any] = []
        self._wait_s = -1.0

    def send(self, message: ToBroker, frames: Frames = ()) -> None:
        """Collect a message for the broker."""
        self._messages.append(message)
        if frames:
            self._frames.extend(frames)

    def flush(self) -> None:
        """Write the collected messages; blocks while the broker does not read.

        Raises:
            OSError: the broker is gone.
            EncodingError: a message is too long; those before it were written.
        """
        if self._messages:
            messages, frames = self._messages, self._frames
            self._messages, self._frames = [], []
            for batch in batches(messages, frames):
                piece = as_piece(batch)
                if piece is not None:  # mostly: an `Outgoing` would cost as much as the rest
                    self._socket.sendall(piece, QUIETLY)
                    continue
                outgoing = Outgoing()
                outgoing.add(batch)
                while not outgoing.write(self._socket):
                    pass  # a signal or the time set for receiving ended the write early

    def receive_within(self, timeout_s: float) -> list[tuple[FromBroker, Frames]]:
        """Wait up to ``timeout_s`` seconds for a message; take all that have arrived.

        Raises:
            OSError: the broker is gone.
            ProtocolError: its messages cannot be read.
        """
        flags = 0
        if timeout_s <= 0:
            flags = socket.MSG_DONTWAIT
        elif timeout_s != self._wait_s:
            # the kernel's own bound: no poll before each receive
            bound = as_timeval(timeout_s)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bound)
            self._wait_s = timeout_s
        try:
            count = self._socket.recv_into(self._incoming.room, 0, flags)
        except BlockingIOError:
            return []
        if not count:
            raise ConnectionResetError("the broker closed the connection")
        return read_messages(self._incoming, count, self._read_batch)

    def let_go(self) -> None:
        """Close this process's copy of the connection, which another one uses."""
        self._socket.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def read_messages(
    incoming: Incoming, count: int, read_batch: Callable[[bytes, Sequence[Any]], Dealt]
) -> list[tuple[FromBroker, Frames]]:
    """Return the messages that are complete with so many bytes that have come.

    Raises:
        ProtocolError: they cannot be read, or there is no memory for them.
    """
    received: list[tuple[FromBroker, Frames]] = []
    try:
        for header, frames in incoming.feed(count):
            received += read_batch(header, frames)
    except (MemoryError, BufferError) as error:
        raise ProtocolError(NO_MEMORY_HERE) from error
    return received


def as_timeval(seconds: float) -> bytes:
    """Return a time as the kernel takes it."""
    whole = int(seconds)
    return struct.pack("ll", whole, round((seconds - whole) * 1e6))
