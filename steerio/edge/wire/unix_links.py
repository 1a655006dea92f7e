"""A client's or node's end of a Unix stream, on a loop; `edge.wire.blocking_link` has a worker's.

The stream loses nothing while both processes live, and it breaks as soon as the broker's ends. So
a link says that the broker is gone, once all that it had written has been taken.

A fork of a client closes its copy of the stream: otherwise the broker would not hear the end of
the client for as long as the fork lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet

from steerio.edge.wire.addresses import socket_path
from steerio.edge.wire.batches import Incoming, Outgoing
from steerio.edge.wire.blocking_link import as_timeval, read_messages
from steerio.edge.wire.cutting import batches
from steerio.edge.wire.endpoint import Frames
from steerio.edge.wire.headers import Receiver, reader
from steerio.edge.wire.receive_buffers import Spares
from steerio.edge.wire.unix import BUFFER_BYTES, CHUNK_BYTES, LINGER_S
from steerio.model.messages import FromBroker, ToBroker

CONNECT_S = 1.0
"""Longest wait for a broker whose queue of connections is full."""


def _connect(address: str) -> socket.socket:
    """Return a stream that does not block.

    Raises:
        OSError: no process listens there.
    """
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # a socket with a timeout of Python's would not wait at all
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, as_timeval(CONNECT_S))
        stream.connect(str(socket_path(address)))
        stream.setblocking(False)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    except BaseException:
        stream.close()
        raise
    return stream


class LocalLink:
    """A client's or node's end; it never blocks, but for a moment as it is closed.

    The loop watches a selector's descriptor and not the stream's own, of which uvloop tells no more
    once it is in error, as it is if the broker ended with something unread.

    Args:
        address: the router's.
        receiver: which kind of peer this is, so that it decodes no other's messages.

    Raises:
        OSError: no process listens there.
    """

    immediate = False

    def __init__(self, address: str, receiver: Receiver = "any") -> None:
        self._address = address
        self._read_batch = reader(receiver)
        stream = _connect(address)
        try:
            self._selector = selectors.DefaultSelector()
        except BaseException:
            stream.close()
            raise
        self._take(stream)
        self.packets = 0
        self._messages: list[ToBroker] = []
        self._frames: list[Any] = []
        self._outgoing = Outgoing()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._first: asyncio.Handle | None = None
        _open.add(self)

    def _take(self, stream: socket.socket) -> None:
        """Speak over this stream from now on."""
        self._socket = stream
        self._selector.register(stream, selectors.EVENT_READ)
        self._writes_later = False
        chunk = mmap.mmap(-1, CHUNK_BYTES)  # an idle peer has only so much of it as it used
        self._incoming = Incoming(memoryview(chunk), Spares())
        self._waiting: deque[tuple[FromBroker, Frames]] = deque()
        """Messages that have been read and were more than was asked for."""
        self._ended = False
        """Whether the stream has ended, and all of it has been read."""

    def send(self, message: ToBroker, frames: Frames = ()) -> None:
        self._messages.append(message)
        if frames:
            self._frames.extend(frames)

    def flush(self) -> None:
        if not self._messages:
            return
        messages, frames = self._messages, self._frames
        self._messages, self._frames = [], []
        try:
            for batch in batches(messages, frames):
                self._outgoing.add(batch)
        finally:
            if self._loop is None or not self._writes_later:
                self._write()

    def tick(self) -> None:
        """Do nothing: a stream loses nothing as long as it stands."""

    def renew(self) -> None:
        """Begin a new stream: the broker has let the old one go, and takes nothing in from it."""
        self._messages.clear()
        self._frames.clear()
        self._outgoing.clear()
        try:
            stream = _connect(self._address)
        except OSError:
            self._ended = True
            return
        self._selector.unregister(self._socket)
        self._socket.close()
        self._take(stream)

    def receive(self, limit: int) -> Sequence[tuple[FromBroker, Frames]]:
        waiting = self._waiting
        if not waiting:
            received = self._read()
            if len(received) <= limit:
                if not received and self._ended:
                    raise ConnectionResetError("the broker's process has ended")
                return received
            waiting.extend(received)
        return [waiting.popleft() for _ in range(min(limit, len(waiting)))]

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        def on_event() -> None:
            if self._writes_later:
                self._write()
            wake()

        self.detach()
        self._loop = loop
        loop.add_reader(self._selector.fileno(), on_event)
        if self.ready():
            self._first = loop.call_soon(wake)

    def detach(self) -> None:
        if self._first is not None:
            self._first.cancel()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._selector.fileno())
        self._loop = None

    def ready(self) -> bool:
        return bool(self._waiting) or self._ended  # the loop wakes again for the rest

    def fileno(self) -> int:
        """Return the descriptor that the loop watches."""
        return self._selector.fileno()

    def close(self) -> None:
        """Close the stream, and deliver all that was flushed, for a bounded time."""
        self.detach()
        if self._socket.fileno() < 0:
            return
        _open.discard(self)
        with contextlib.suppress(OSError):
            self._deliver()
        self._hang_up()
        self.let_go()

    def let_go(self) -> None:
        """Close this process's copy of the stream, which its parent may use."""
        self._loop = None
        self._selector.close()
        self._socket.close()

    def _read(self) -> list[tuple[FromBroker, Frames]]:
        if self._ended:
            return []
        try:
            count = self._socket.recv_into(self._incoming.room)
        except BlockingIOError:
            return []
        except OSError:
            count = 0
        if not count:
            self._ended = True
            return []
        self.packets += 1
        return read_messages(self._incoming, count, self._read_batch)

    def _write(self) -> None:
        """Write as much as goes, and the rest when there is room for it."""
        try:
            done = self._outgoing.write(self._socket)
        except OSError:
            self._outgoing.clear()
            self._hang_up()  # then reading finds the end, after all that came
            done = True
        if done is self._writes_later:
            self._writes_later = not done
            events = selectors.EVENT_READ if done else selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(self._socket, events)

    def _deliver(self) -> None:
        """Write all that waits to be written, for a bounded time.

        Raises:
            OSError: the broker does not read, or is gone.
        """
        until = time.monotonic() + LINGER_S
        while self._outgoing and (left_s := until - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            self._outgoing.write(self._socket)

    def _hang_up(self) -> None:
        """End the stream, also for copies that other processes have of it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


_open: WeakSet[LocalLink] = WeakSet()
"""The links of this process."""


def _let_go_in_child() -> None:
    for link in list(_open):
        link.let_go()
    _open.clear()


os.register_at_fork(after_in_child=_let_go_in_child)
