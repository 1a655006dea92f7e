"""Endpoints over Unix stream sockets, between a broker and its peers on its own host.

The broker's end is here; those of its peers are in `edge.wire.unix_links`.

ZeroMQ hands every message to an I/O thread and back, which costs most of a round trip;
on one host a plain stream reaches the other process in one system call.  A batch is the
same as over ZeroMQ (headers, then frames), with its lengths before it (``edge.wire.batches``).

The router watches its connections through one selector, whose own descriptor is
level-triggered, so nothing can sleep in a socket.  Sockets live in a directory of mode
0700, so only this user's processes can open them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import select
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable

from steerio.edge.wire.addresses import UNIX
from steerio.edge.wire.batches import Incoming
from steerio.edge.wire.cutting import batches, refused
from steerio.edge.wire.endpoint import NO_MEMORY, Arrival, Frames
from steerio.edge.wire.headers import reader
from steerio.edge.wire.receive_buffers import Spares
from steerio.edge.wire.stream_peer import StreamPeer
from steerio.edge.wire.unix_listener import UnixListener
from steerio.errors import EncodingError, ProtocolError
from steerio.model.messages import FromBroker

CHUNK_BYTES = 1 << 18
"""Most bytes that are read from a connection in one go."""
BUFFER_BYTES = 1 << 21
"""Bytes of a message that the kernel is asked to take before its reader does: waking the reader for
every 200 kB (its default) makes long frames slow."""
PARTING_TICKS = 30
"""How many ticks a peer is waited for that is let go and may not have its last messages yet."""
LINGER_S = 0.5
"""How long an endpoint that is closed goes on delivering."""


class StreamRouter:
    """The broker's end.

    Args:
        path: of the socket to listen on; its folder must be closed to others.
        first: whether it has workers only, so that it is flushed before the record is written.

    Raises:
        OSError: it cannot listen there.
    """

    local = False
    remote = False
    lasting = True

    def __init__(self, path: str, *, first: bool = True) -> None:
        self.first = first
        self.address = UNIX + path
        self._selector = selectors.DefaultSelector()
        try:
            self._listener = UnixListener(path, self._selector)
        except BaseException:
            self._selector.close()
            raise
        self._connections: dict[bytes, StreamPeer] = {}
        self._dirty: set[bytes] = set()
        self._gone: list[bytes] = []
        self._parting: dict[bytes, int] = {}
        """The ticks for which each peer is still kept that was let go."""
        self._names = itertools.count(1)
        self._room = memoryview(bytearray(CHUNK_BYTES))  # a fresh one for each read costs a mmap
        self._spares = Spares()
        self._read_batch = reader("broker")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._first: asyncio.Handle | None = None
        self._due = True
        self._held: deque[Arrival] = deque()
        """Arrivals that were more than was asked for."""
        self._more = False
        """Whether the last look left something unread."""

    def send(self, peer: bytes, message: FromBroker, frames: Frames = ()) -> None:
        connection = self._connections.get(peer)
        if connection is None:
            self._gone.append(peer)
            return
        if connection.broken or connection.parting:
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
        if self._held:
            return []  # the last words of those that are gone come first
        gone, self._gone = self._gone, []
        return list(dict.fromkeys(gone)) if gone else gone

    def receive(self, limit: int) -> list[Arrival]:
        arrivals: list[Arrival] = []
        if self._held:
            return self._take_held(limit)
        if self._listener.paused and self._listener.goes_on():
            self._due = True
        if not self._due:
            return arrivals
        self._due = self._more = False
        for key, mask in self._selector.select(0):
            if key.data is None:
                self._accept()
                continue
            connection: StreamPeer = key.data
            if mask & selectors.EVENT_WRITE:
                self._write(connection)
            if mask & selectors.EVENT_READ:
                self._read_or_drop(connection, arrivals)
        if len(arrivals) > limit:
            self._held.extend(arrivals)
            return self._take_held(limit)
        return arrivals

    def congested(self, peer: bytes) -> bool:
        connection = self._connections.get(peer)
        return connection is not None and connection.congested

    def connected(self, peer: bytes) -> bool:
        connection = self._connections.get(peer)
        return connection is not None and not connection.broken

    def admit(self, peer: bytes) -> None:
        """Do nothing: only processes of this user can connect."""

    def forget(self, peer: bytes) -> None:
        connection = self._connections.get(peer)
        if connection is not None and not connection.parting:
            connection.parting = True
            self._parting[peer] = PARTING_TICKS
            self._dirty.add(peer)

    def tick(self) -> None:
        for peer in list(self._parting):
            self._parting[peer] -= 1
            if not self._parting[peer]:
                self._drop(self._connections[peer])

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        def on_readable() -> None:
            self._due = True
            wake()

        self._loop = loop
        loop.add_reader(self.fileno(), on_readable)
        if self._held:
            self._first = loop.call_soon(wake)

    def detach(self) -> None:
        if self._first is not None:
            self._first.cancel()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self.fileno())
        self._loop = None

    def expect(self) -> None:
        self._due = True

    def ready(self) -> bool:
        if self._more or self._held:
            return True
        if self._due:  # else the descriptor becomes readable again
            self._due = bool(self._selector.select(0))
        return self._due

    def fileno(self) -> int:
        return self._selector.fileno()

    def close(self) -> None:
        self.detach()
        if self._listener.closed:
            return
        self._deliver()
        self._selector.close()
        for connection in self._connections.values():
            connection.socket.close()
            connection.clear()
        self._connections.clear()
        self._listener.close()

    def _take_held(self, limit: int) -> list[Arrival]:
        held = self._held
        return [held.popleft() for _ in range(min(limit, len(held)))]

    def _deliver(self) -> None:
        """Write all that waits to be written, for a bounded time."""
        poller, waiting = select.poll(), dict[int, StreamPeer]()
        for connection in self._connections.values():
            if connection.outgoing:
                waiting[connection.socket.fileno()] = connection
                poller.register(connection.socket, select.POLLOUT)
        until = time.monotonic() + LINGER_S
        while waiting and (left_s := until - time.monotonic()) > 0:
            for number, _ in poller.poll(left_s * 1000):
                try:
                    done = waiting[number].write()
                except (OSError, MemoryError, ProtocolError):
                    done = True
                if done:
                    poller.unregister(number)
                    del waiting[number]

    def _accept(self) -> None:
        accepted: socket.socket | None = None
        identity = b"stream-%d" % next(self._names)
        try:
            accepted = self._listener.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            connection = StreamPeer(identity, accepted, Incoming(self._room, self._spares))
            self._selector.register(accepted, selectors.EVENT_READ, connection)
        except (OSError, MemoryError) as error:
            if accepted is not None:
                accepted.close()
            if not isinstance(error, (BlockingIOError, ConnectionError)):
                self._listener.pause(error, len(self._connections))
        else:
            self._connections[identity] = connection

    def _read_or_drop(self, connection: StreamPeer, arrivals: list[Arrival]) -> bool:
        """Read as `_read` does; a peer is dropped for whose message there is no memory."""
        try:
            return self._read(connection, arrivals)
        except (MemoryError, BufferError):  # messages before it are kept
            arrivals.append(Arrival(connection.identity, (), NO_MEMORY))
            self._drop(connection)
            return False

    def _read(self, connection: StreamPeer, arrivals: list[Arrival]) -> bool:
        """Read the bytes that have come, up to a chunk; ``False`` if there are none, or no more."""
        try:
            count = connection.socket.recv_into(connection.incoming.room)
        except BlockingIOError:
            return False
        except OSError:
            count = 0
        if not count:
            self._drop(connection)
            return False
        if count == CHUNK_BYTES:
            self._due = self._more = True
        identity, read_batch = connection.identity, self._read_batch
        try:
            for header, frames in connection.incoming.feed(count):
                try:
                    arrivals.append(Arrival(identity, read_batch(header, frames)))
                except ProtocolError as error:
                    arrivals.append(Arrival(identity, (), str(error)))
        except ProtocolError as error:
            arrivals.append(Arrival(identity, (), str(error)))
            self._drop(connection)  # the begin of the next batch is not known any more
            return False
        return True

    def _write(self, connection: StreamPeer) -> None:
        messages, frames = connection.messages, connection.frames
        if messages:
            connection.messages, connection.frames = [], []
            try:
                for batch in batches(messages, frames):
                    connection.add(batch)
            except EncodingError as error:  # the peer cannot go on without that message
                connection.add(refused(error))
                self._gone.append(connection.identity)
            except MemoryError:
                self._break(connection)
        try:
            done = connection.write()
        except (OSError, MemoryError, ProtocolError):  # or messages for it are lost
            self._break(connection)
            done = True
        if done and connection.parting:
            self._drop(connection)
        elif done is connection.writes_later or connection.parting:
            connection.writes_later = not done
            events = 0 if connection.parting else selectors.EVENT_READ
            events |= 0 if done else selectors.EVENT_WRITE
            self._selector.modify(connection.socket, events, connection)

    def _break(self, connection: StreamPeer) -> None:
        """Write no more to a peer; it is gone once all that it wrote before has been read."""
        connection.broken = True
        connection.clear()
        with contextlib.suppress(OSError):
            connection.socket.shutdown(socket.SHUT_RDWR)

    def _drop(self, connection: StreamPeer) -> None:
        if self._connections.pop(connection.identity, None) is not None:
            self._selector.unregister(connection.socket)
            connection.socket.close()
            connection.clear()
            if self._parting.pop(connection.identity, None) is None:
                self._gone.append(connection.identity)
