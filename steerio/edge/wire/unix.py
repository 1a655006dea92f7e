"""Endpoints over Unix stream sockets, between a broker and the workers on its own host.

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
import errno
import itertools
import logging
import mmap
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

from steerio.edge.system.descriptors import is_scarce
from steerio.edge.wire.batches import Incoming, Outgoing
from steerio.edge.wire.cutting import batches, refused
from steerio.edge.wire.endpoint import Arrival, Frames
from steerio.edge.wire.headers import (
    Receiver,
    deal_frames,
    decode_from_broker,
    decode_to_broker,
)
from steerio.edge.wire.receive_buffers import Spares
from steerio.errors import EncodingError, ProtocolError
from steerio.model.messages import FromBroker, ToBroker

SCHEME = "unix://"
CHUNK_BYTES = 1 << 18
"""Most bytes that are read from a connection in one go."""
BUFFER_BYTES = 1 << 21
"""Bytes of a message that the kernel is asked to take before its reader does: waking the reader for
every 200 kB (its default) makes long frames slow."""


_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
PAUSE_S = 1.0
"""How long no connection is accepted once descriptors have run out."""
TOLD_S = 60.0
"""Least time between two warnings of that."""

log = logging.getLogger("steerio.edge")


class _Connection:
    """One peer of a router."""

    def __init__(self, identity: bytes, connection: socket.socket, incoming: Incoming) -> None:
        self.identity = identity
        self.socket = connection
        self.incoming = incoming
        self.outgoing = Outgoing()
        self.messages: list[FromBroker] = []
        self.frames: list[Any] = []


class StreamRouter:
    """The broker's end.

    Args:
        path: of the socket to listen on; its folder must be closed to others.

    Raises:
        OSError: it cannot listen there.
    """

    local = False
    remote = False
    first = True

    def __init__(self, path: str) -> None:
        self.address = SCHEME + path
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.bind(path)
            self._listener.listen(1024)
            self._listener.setblocking(False)
            self._selector = selectors.DefaultSelector()
            self._selector.register(self._listener, selectors.EVENT_READ)
        except BaseException:
            self._listener.close()
            raise
        self._connections: dict[bytes, _Connection] = {}
        self._dirty: set[bytes] = set()
        self._gone: list[bytes] = []
        self._names = itertools.count(1)
        self._room = memoryview(bytearray(CHUNK_BYTES))  # a fresh one for each read costs a mmap
        self._spares = Spares()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = True
        self._paused = 0.0
        """The time until which no connection is accepted, for want of descriptors; 0: none."""
        self._told = -inf

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
        del limit  # one look at the connections gives at most CHUNK_BYTES of each
        arrivals: list[Arrival] = []
        if self._paused and time.monotonic() >= self._paused:
            self._go_on_accepting()
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

    def connected(self, peer: bytes) -> bool:
        return peer in self._connections

    def forget(self, peer: bytes) -> None:
        """Do nothing: the peer closes its stream."""

    def tick(self) -> None:
        """Do nothing: a stream loses nothing as long as it stands."""

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
        return False  # waiting data makes the selector's descriptor readable again

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
            try:
                if _are_scarce(self._listener):
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                accepted, _ = self._listener.accept()
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._pause_accepting(error)
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            identity = b"stream-%d" % next(self._names)
            incoming = Incoming(self._room, self._spares)
            connection = self._connections[identity] = _Connection(identity, accepted, incoming)
            self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _pause_accepting(self, error: OSError) -> None:
        """Let connecting workers wait; trying again at once would keep this process busy."""
        self._selector.unregister(self._listener)
        self._paused = time.monotonic() + PAUSE_S
        if self._paused > self._told + TOLD_S:
            self._told = self._paused
            log.warning(
                "no worker can connect: %s, and %d are connected; raise the bound of this process "
                "(ulimit -n) or have fewer workers",
                error.strerror,
                len(self._connections),
            )

    def _go_on_accepting(self) -> None:
        self._paused = 0.0
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._due = True

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
            self._drop(connection)  # the begin of the next batch is not known any more

    def _write(self, connection: _Connection) -> None:
        messages, frames = connection.messages, connection.frames
        if messages:
            connection.messages, connection.frames = [], []
            try:
                for batch in batches(messages, frames):
                    connection.outgoing.add(batch)
            except EncodingError as error:  # the peer cannot go on without that message
                connection.outgoing.add(refused(error))
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


def _are_scarce(listener: socket.socket) -> bool:
    """Say whether the next descriptor is one of the last.

    Raises:
        OSError: there is none at all.
    """
    probe = os.dup(listener.fileno())
    os.close(probe)
    return is_scarce(probe)


class StreamLink:
    """A worker's end; it blocks, for a worker has nothing to do but wait.

    Args:
        address: the router's.
        receiver: which kind of peer this is, so that it decodes no other's messages.

    Raises:
        OSError: no process listens there.
    """

    def __init__(self, address: str, receiver: Receiver = "any") -> None:
        self._receiver: Receiver = receiver
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(address.removeprefix(SCHEME))
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
            received.extend(deal_frames(decode_from_broker(header, self._receiver), frames))
        return received

    def let_go(self) -> None:
        """Close this process's copy of the connection, which another one uses."""
        self._socket.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
