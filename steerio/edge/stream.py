"""Endpoints over Unix stream sockets, between a broker and the workers on its own host.

ZeroMQ hands every message to an I/O thread and back, which costs most of a round trip;
on one host a plain stream reaches the other process in one system call.  A batch is the
same as over ZeroMQ (headers, then frames), behind a length for each of its frames:

    count: u32 | length: u64 * count | header | frame | frame ...

The router watches its connections through one selector, whose own descriptor is
level-triggered, so nothing can sleep in a socket.  Sockets live in a directory of mode
0700; who can open them is the user himself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import selectors
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from steerio.edge.endpoint import Arrival, Frames
from steerio.edge.headers import (
    deal_frames,
    decode_from_broker,
    decode_to_broker,
    encode_headers,
)
from steerio.edge.spares import Spares
from steerio.errors import ProtocolError
from steerio.model.messages import FromBroker, ToBroker

SCHEME = "unix://"
CHUNK_BYTES = 1 << 18
"""Most bytes that are read from a connection in one go."""
LIMIT_FRAMES = 1 << 16
"""Most frames of one batch."""
LIMIT_BATCH_BYTES = 8 << 30
"""Longest batch; who announces a longer one is disconnected."""
JOINED_BYTES = 1 << 16
"""Batches up to this are joined into one piece; longer ones are sent as they are."""
BUFFER_BYTES = 1 << 21
"""How much the kernel is asked to take of a message before its reader does: a reader that is
waked for every 200 kB (its default) makes long frames slow."""
SENT_PIECES = 64
"""Most pieces that are sent in one go."""

_COUNT = struct.Struct("=I")


class _Incoming:
    """Cuts what arrives on a connection into batches.

    Args:
        room: where to receive into, between long batches; several may share it.
        spares: where memory for the frames of long ones comes from; several may share them.
    """

    def __init__(self, room: memoryview, spares: Spares) -> None:
        self._any = room
        self._spares = spares
        self._data = bytearray()
        self._long: list[memoryview] = []
        self._missing: deque[memoryview] = deque()

    @property
    def room(self) -> memoryview:
        """Where the next bytes belong: the rest of a long frame, or room for whatever comes."""
        return self._missing[0] if self._missing else self._any

    def feed(self, count: int) -> Iterator[tuple[Any, list[Any]]]:
        """Take in so many bytes of ``room``; give out the batches that are complete.

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
        """Make room for a batch that is long, so that its rest is received where it stays.

        Returns how many of the bytes that have come are there.
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
        """Note how much has come of a long batch; whether that was all of it."""
        self._missing[0] = self._missing[0][count:]
        if not self._missing[0]:
            self._missing.popleft()
        return not self._missing


class _Outgoing:
    """What waits to be written to a connection."""

    def __init__(self) -> None:
        self._pieces: deque[memoryview] = deque()

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, batch: Sequence[Any]) -> None:
        views = [memoryview(frame).cast("B") for frame in batch]
        lengths = [len(view) for view in views]
        head = struct.pack(f"=I{len(views)}Q", len(views), *lengths)
        if sum(lengths) <= JOINED_BYTES:
            self._pieces.append(memoryview(b"".join([head, *views])))
        else:
            self._pieces.append(memoryview(head))
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
                else:  # together, or the peer is waked for each
                    written = connection.sendmsg(itertools.islice(pieces, SENT_PIECES))
            except BlockingIOError:
                return False
            while pieces and written >= len(pieces[0]):
                written -= len(pieces.popleft())
            if written:
                pieces[0] = pieces[0][written:]
        return True


class _Connection:
    """One peer of a router."""

    def __init__(self, identity: bytes, connection: socket.socket, incoming: _Incoming) -> None:
        self.identity = identity
        self.socket = connection
        self.incoming = incoming
        self.outgoing = _Outgoing()
        self.messages: list[FromBroker] = []
        self.frames: list[Any] = []


class StreamRouter:
    """The broker's end.

    Args:
        path: where to listen; its folder must be closed to others.
    """

    local = False
    first = True

    def __init__(self, path: str) -> None:
        self.address = SCHEME + path
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(1024)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._connections: dict[bytes, _Connection] = {}
        self._dirty: set[bytes] = set()
        self._gone: list[bytes] = []
        self._names = itertools.count(1)
        self._room = memoryview(bytearray(CHUNK_BYTES))  # a fresh one for each read costs a mmap
        self._spares = Spares()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = True

    def send(self, peer: bytes, message: FromBroker, frames: Frames = ()) -> None:
        connection = self._connections.get(peer)
        if connection is None:
            self._gone.append(peer)
            return
        connection.messages.append(message)
        if frames:
            connection.frames.extend(frames)
        self._dirty.add(peer)

    def flush(self) -> list[bytes]:
        if self._dirty:
            dirty, self._dirty = self._dirty, set()
            for peer in dirty:
                connection = self._connections.get(peer)
                if connection is not None:
                    self._write(connection)
        gone, self._gone = self._gone, []
        return gone

    def receive(self, limit: int) -> list[Arrival]:
        del limit  # what one look at the connections gives is bounded by CHUNK_BYTES of each
        arrivals: list[Arrival] = []
        if not self._due:
            return arrivals
        self._due = False
        for key, mask in self._selector.select(0):
            if key.data is None:
                self._accept()
                continue
            connection: _Connection = key.data
            if mask & selectors.EVENT_WRITE:
                self._write(connection)
            if mask & selectors.EVENT_READ:
                self._read(connection, arrivals)
        return arrivals

    def congested(self, peer: bytes) -> bool:
        connection = self._connections.get(peer)
        return connection is not None and bool(connection.outgoing)

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        def on_readable() -> None:
            self._due = True
            wake()

        self._loop = loop
        loop.add_reader(self.fileno(), on_readable)

    def detach(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self.fileno())
        self._loop = None

    def expect(self) -> None:
        self._due = True

    def ready(self) -> bool:
        return False  # what is there makes the selector's descriptor readable again

    def fileno(self) -> int:
        return self._selector.fileno()

    def close(self) -> None:
        self.detach()
        self._selector.close()
        for connection in self._connections.values():
            connection.socket.close()
        self._connections.clear()
        self._listener.close()
        with contextlib.suppress(OSError):
            Path(self._path).unlink()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            accepted, _ = self._listener.accept()
            accepted.setblocking(False)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            identity = b"stream-%d" % next(self._names)
            incoming = _Incoming(self._room, self._spares)
            connection = self._connections[identity] = _Connection(identity, accepted, incoming)
            self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _read(self, connection: _Connection, arrivals: list[Arrival]) -> None:
        try:
            count = connection.socket.recv_into(connection.incoming.room)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self._drop(connection)
            return
        try:
            for header, frames in connection.incoming.feed(count):
                messages = deal_frames(decode_to_broker(header), frames)
                arrivals.append(Arrival(connection.identity, messages))
        except ProtocolError as error:
            arrivals.append(Arrival(connection.identity, (), str(error)))
            self._drop(connection)  # where the next batch begins is not known any more

    def _write(self, connection: _Connection) -> None:
        if connection.messages:
            connection.outgoing.add([encode_headers(connection.messages), *connection.frames])
            connection.messages, connection.frames = [], []
        try:
            done = connection.outgoing.write(connection.socket)
        except OSError:
            self._drop(connection)
            return
        events = selectors.EVENT_READ if done else selectors.EVENT_READ | selectors.EVENT_WRITE
        if self._selector.get_key(connection.socket).events != events:
            self._selector.modify(connection.socket, events, connection)

    def _drop(self, connection: _Connection) -> None:
        if self._connections.pop(connection.identity, None) is not None:
            self._selector.unregister(connection.socket)
            connection.socket.close()
            self._gone.append(connection.identity)


class StreamLink:
    """A worker's end; it blocks, for a worker has nothing else to do than to wait.

    Args:
        address: the router's.

    Raises:
        OSError: nobody listens there.
    """

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(address.removeprefix(SCHEME))
        except OSError:
            self._socket.close()
            raise
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        self._incoming = _Incoming(memoryview(bytearray(CHUNK_BYTES)), Spares())
        self._messages: list[ToBroker] = []
        self._frames: list[Any] = []
        self._wait_s = -1.0

    def send(self, message: ToBroker, frames: Frames = ()) -> None:
        """Collect a message for the broker."""
        self._messages.append(message)
        if frames:
            self._frames.extend(frames)

    def flush(self) -> None:
        """Write what was collected; blocks while the broker does not read.

        Raises:
            OSError: the broker is gone.
        """
        if self._messages:
            outgoing = _Outgoing()
            outgoing.add([encode_headers(self._messages), *self._frames])
            self._messages, self._frames = [], []
            while not outgoing.write(self._socket):
                pass  # a signal or the time set for receiving ended the write early

    def receive_within(self, timeout_s: float) -> list[tuple[FromBroker, Frames]]:
        """Wait up to ``timeout_s`` seconds for something to arrive; take all that has arrived.

        Raises:
            OSError: the broker is gone.
        """
        flags = 0
        if timeout_s <= 0:
            flags = socket.MSG_DONTWAIT
        elif timeout_s != self._wait_s:
            # the kernel's own bound: no poll before each receive
            whole = int(timeout_s)
            bound = struct.pack("ll", whole, round((timeout_s - whole) * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bound)
            self._wait_s = timeout_s
        try:
            count = self._socket.recv_into(self._incoming.room, 0, flags)
        except BlockingIOError:
            return []
        if not count:
            raise ConnectionResetError("the broker closed the connection")
        received: list[tuple[FromBroker, Frames]] = []
        for header, frames in self._incoming.feed(count):
            received.extend(deal_frames(decode_from_broker(header), frames))
        return received

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
