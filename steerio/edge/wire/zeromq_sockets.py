"""Sockets of ZeroMQ for the endpoints: set up, watched from a loop, written and read.

A socket is read through its descriptor, which is edge-triggered (see `edge.wire.zeromq`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from steerio.edge.wire.headers import escape
from steerio.edge.wire.packets import FIRST_BYTES

LIMIT_PART_BYTES = FIRST_BYTES + (1 << 12)
"""Longest part of a message that a socket takes in; the peer is disconnected for a longer one."""
QUEUED_PACKETS = 100_000
"""Packets that a socket queues for one peer."""
ZERO_COPY_BYTES = 65536
"""Longer frames are sent without copying them into the socket."""
HEARTBEAT_MS = 5_000
"""How often ZeroMQ itself looks whether a silent TCP connection still stands."""
LINGER_MS = 500
"""How long a closed socket goes on delivering."""


# plain numbers: pyzmq's flags are enums, whose operators cost more than a receive
NOBLOCK, SNDMORE, RCVMORE = int(zmq.NOBLOCK), int(zmq.SNDMORE), int(zmq.RCVMORE)
EVENTS, POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)


class Reading:
    """The watch over a socket's descriptor from a loop."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        descriptor: Any = socket.get(zmq.FD)
        self._fd: int = descriptor
        self._loop: asyncio.AbstractEventLoop | None = None
        self._first: asyncio.Handle | None = None
        self.due = True
        """Whether the edge was seen, or may have been consumed, since the last look."""

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever the socket may have something."""

        def on_edge() -> None:
            self.due = True
            wake()

        self._loop = loop
        loop.add_reader(self._fd, on_edge)
        self._first = loop.call_soon(on_edge)

    def detach(self) -> None:
        """Call it no more."""
        if self._first is not None:
            self._first.cancel()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
        self._loop = None

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def ready(self) -> bool:
        """Say whether there is a message to receive."""
        if self.due:
            events: Any = self._socket.get(EVENTS)
            self.due = bool(events & POLLIN)
        return self.due


def prepare(socket: zmq.Socket[bytes], address: str) -> None:
    """Set the options that all sockets share."""
    socket.set(zmq.IPV6, int("[" in address))
    socket.set(zmq.LINGER, LINGER_MS)
    socket.set(zmq.MAXMSGSIZE, LIMIT_PART_BYTES)
    socket.set(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)


def send_frames(socket: zmq.Socket[bytes], frames: Sequence[Any], flags: int) -> None:
    """Send frames as one message; long ones are not copied.

    Raises:
        zmq.ZMQError: ZeroMQ does not take them.
    """
    last = len(frames) - 1
    for index, frame in enumerate(frames):
        more = flags | SNDMORE if index < last else flags
        size = frame.nbytes if isinstance(frame, memoryview) else len(frame)
        socket.send(frames[index], more, copy=size < ZERO_COPY_BYTES)


def receive_rest(socket: zmq.Socket[bytes]) -> list[Any]:
    """Take the frames that follow the header; long ones are not copied."""
    frames: list[Any] = []
    while socket.get(RCVMORE):
        frame = socket.recv(NOBLOCK, copy=False)
        frames.append(frame if len(frame) >= ZERO_COPY_BYTES else frame.bytes)
    return frames


def skip_rest(socket: zmq.Socket[bytes]) -> None:
    """Pass over the rest of a message that cannot be taken in."""
    while socket.get(RCVMORE):
        socket.recv(NOBLOCK, copy=False)


def end_message(socket: zmq.Socket[bytes]) -> None:
    """End a message of which not all frames could be sent; its receiver cannot read it."""
    with contextlib.suppress(zmq.ZMQError):
        socket.send(b"", NOBLOCK)


def on_wire(address: str) -> Any:
    """Return an address as ZeroMQ takes it, even if UTF-8 has no form for a folder's name."""
    return os.fsencode(address) if escape(address) != address else address


def give_up(socket: zmq.Socket[bytes], address: str, error: BaseException) -> None:
    """Close a socket that could not be opened, and raise the error as the system's.

    Raises:
        OSError: ZeroMQ refused.
    """
    socket.close(linger=0)
    if isinstance(error, zmq.ZMQError):
        number = error.errno or errno.EADDRNOTAVAIL
        raise OSError(number, zmq.strerror(number), address) from None
    if isinstance(error, TypeError):  # pyzmq's own, as it words an error about bytes
        number = errno.EADDRNOTAVAIL
        raise OSError(number, zmq.strerror(number), address) from None
