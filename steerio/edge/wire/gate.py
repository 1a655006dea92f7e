"""The gate of a broker's TCP address: a thread that lets connections in, and keeps strangers few.

It answers ZeroMQ's questions about keys, so that a handshake takes its course while the broker's
loop stands still; and it follows the connections, by the events of ZeroMQ's monitor, and ends those
that are too many. ZeroMQ accepts as many as come, up to the process's last descriptor, and has no
bound of its own to set. It does not wait for this thread, so more may be there for a moment than
the bounds say; the last descriptors are for that moment.

A flood costs little: once many strangers came and went within a short time, the system is told to
drop requests for new connections for a while (on Linux). Those that are there do not notice.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import struct
import threading
import time
from math import inf
from typing import Any

import zmq

from steerio.edge.system.descriptors import is_scarce
from steerio.edge.system.listeners import Grip
from steerio.edge.wire.contexts import Context
from steerio.edge.wire.gatekeeper import Gatekeeper
from steerio.edge.wire.keyring import Keyring
from steerio.edge.wire.strangers import MOST_STRANGERS, Strangers

HANDSHAKE_MS = 5_000
"""How long a connection may take until ZeroMQ knows its peer; then ZeroMQ ends it."""
FLOOD = 100
"""So many strangers that went or had to go, within `FLOOD_S`, are a flood (fewer if fewer are let
in).  These are less than are let in: so one that comes in a flood has time until the next."""
FLOOD_S = 1.0
DEAF_S = 0.1
"""How long requests for new connections are dropped in a flood."""
TOLD_S = 60.0
"""Least time between two warnings."""
EVENTS = (
    zmq.EVENT_LISTENING
    | zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)

_EVENT = struct.Struct("=Hi")
_LISTENING, _ACCEPTED = int(zmq.EVENT_LISTENING), int(zmq.EVENT_ACCEPTED)
_FAILED = int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
_NO_CURVE = int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)

log = logging.getLogger("steerio.edge")


class Gate:
    """Lets connections of one TCP address in, on a thread of its own, until it is closed.

    Args:
        context: where its sockets belong.
        keyring: the keys that open; ``None``: any peer that can talk is let in.
        most_connections: most connections in all.

    Raises:
        OSError: there are no descriptors or threads left for it.
    """

    def __init__(
        self, context: Context, keyring: Keyring | None, most_connections: int = 1 << 16
    ) -> None:
        self._context = context
        self._keyring = keyring
        most_strangers = max(1, min(MOST_STRANGERS, most_connections // 2))
        self.strangers = Strangers(most_connections, most_strangers)
        self._flood_at = max(1, FLOOD * most_strangers // MOST_STRANGERS)
        self.shed = 0
        """How many connections had to go."""
        self._keeper: Gatekeeper | None = None
        self._watched: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._listener = -1
        self._flood_began = -inf
        self._flood = 0
        self._deaf_until = 0.0
        """The time until which no new connection is heard of; 0: they are."""
        self._told = -inf
        self._grip = Grip()
        self._gripping = threading.Lock()
        self._wakes, self._wakened = -1, -1
        try:
            self._wakened, self._wakes = os.pipe()
            self._keeper = None if keyring is None else Gatekeeper(context, keyring)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Gate: {self.strangers}, {self.shed} had to go>"

    def cut(self, descriptor: int) -> None:
        """End a connection, as if the network had (any thread)."""
        with self._gripping:
            self._grip.cut(descriptor)

    def watch(self, socket: zmq.Socket[bytes]) -> None:
        """Follow the connections of a socket that is not bound yet, and begin to let them in.

        Before the socket is closed it has to be told to `let_go`.

        Raises:
            OSError: there are no descriptors or threads left for it.
        """
        address = f"inproc://steerio.gate.{id(self)}"
        self._watched = socket
        socket.monitor(address, EVENTS)
        self._monitor = monitor = self._context.socket(zmq.PAIR)
        monitor.set(zmq.LINGER, 0)
        monitor.set(zmq.RCVHWM, 0)  # ZeroMQ would wait for room, and with it all connections
        monitor.connect(address)
        self._thread = threading.Thread(target=self._run, name="steerio-gate", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            raise OSError(errno.EAGAIN, "no more threads can be started") from None

    def let_go(self) -> None:
        """Follow the connections no longer; ZeroMQ would wait for a monitor that is closed."""
        watched, self._watched = self._watched, None
        if watched is not None and not watched.closed:
            watched.monitor(None, 0)

    def close(self) -> None:
        """End the thread, and let go of the sockets."""
        self.let_go()
        thread, self._thread = self._thread, None
        if thread is not None and thread.ident is not None:  # it did start
            os.write(self._wakes, b"\0")
            thread.join()
        if self._monitor is not None:
            self._monitor.close()
        if self._keeper is not None:
            self._keeper.close()
        for own in (self._wakes, self._wakened):
            with contextlib.suppress(OSError):
                os.close(own)
        self._wakes = self._wakened = -1
        self._grip.close()

    # -- on the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._wakened, zmq.POLLIN)
        assert self._monitor is not None
        poller.register(self._monitor, zmq.POLLIN)
        if self._keeper is not None:
            poller.register(self._keeper.socket, zmq.POLLIN)
        while True:
            wait_ms = None
            if self._deaf_until:
                wait_ms = max(0, round((self._deaf_until - time.monotonic()) * 1_000)) + 1
            try:
                ready: dict[Any, int] = dict(poller.poll(wait_ms))
            except zmq.ZMQError:  # its sockets were closed: an exception struck as it was made
                return
            if self._wakened in ready:
                return
            try:
                if self._keeper is not None:
                    self._keeper.serve()
                self._follow(self._monitor)
                if self._deaf_until and time.monotonic() >= self._deaf_until:
                    self._deaf_until = 0.0
                    self._grip.undeafen(self._listener)
            except Exception:  # the gate stays open, whatever one connection brings about
                log.exception("an event of a connection could not be taken in")

    def _follow(self, monitor: zmq.Socket[bytes]) -> None:
        """Take in the events of connections that have come."""
        while True:
            try:
                event, endpoint = monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            kind, descriptor = _EVENT.unpack(event)
            if kind == _ACCEPTED:
                gone = self.strangers.accepted(descriptor, scarce=is_scarce(descriptor))
                if gone is not None:
                    self._send_away(gone)
                    self._note_stranger()
            elif kind == _FAILED:
                if self._keyring is not None:
                    why = "no key" if descriptor == _NO_CURVE else "broken handshake"
                    self._keyring.refuse(why, f"at {endpoint.decode(errors='replace')}")
            elif kind == _LISTENING:
                self._listener = descriptor
                self._grip.port = int(endpoint.rpartition(b":")[2])
            elif self.strangers.closed(descriptor):
                self._note_stranger()

    def _send_away(self, descriptor: int) -> None:
        """End a connection."""
        self.cut(descriptor)
        self.shed += 1
        now = time.monotonic()
        if now > self._told + TOLD_S:
            self._told = now
            log.warning(
                "connections to this broker's port had to go: %d are there that have said nothing, "
                "and %d others; they come back by themselves, and if they are too many for this "
                "process, raise its bound (ulimit -n)",
                len(self.strangers),
                self.strangers.known,
            )

    def _note_stranger(self) -> None:
        """Note that a stranger is gone; if there were many, take no new ones for a while."""
        now = time.monotonic()
        if now > self._flood_began + FLOOD_S:
            self._flood_began, self._flood = now, 0
        self._flood += 1
        if self._flood < self._flood_at or self._deaf_until:
            return
        if self._grip.deafen(self._listener):
            self._deaf_until = now + DEAF_S
            self._flood_began = -inf
