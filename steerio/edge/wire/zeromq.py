"""Endpoints over ZeroMQ: a ROUTER at the broker, a DEALER at each peer.

The sockets are read through their file descriptor (``loop.add_reader``) and drained
until they are empty.  The descriptor is edge-triggered, and both sending and reading
``EVENTS`` consume the edge, so code that drains one must ask ``ready()`` after the last receive and
flush, or messages sleep in the socket (zeromq/pyzmq issue 2173).

Routers never block: a batch for a peer whose queue is full waits here and is tried
again with the next flush; the peer is *congested* until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable
from typing import Any

import zmq

from steerio.edge.encoding.snapshots import snapshot
from steerio.edge.wire.addresses import TCP
from steerio.edge.wire.contexts import Context
from steerio.edge.wire.cutting import batches, refused
from steerio.edge.wire.endpoint import Arrival, Frames
from steerio.edge.wire.headers import (
    Receiver,
    deal_frames,
    decode_from_broker,
    decode_to_broker,
)
from steerio.edge.wire.keys import ClientKeys, ServerKeys
from steerio.edge.wire.zeromq_sockets import (
    NOBLOCK,
    RCVMORE,
    SNDMORE,
    Reading,
    give_up,
    on_wire,
    prepare,
    receive_rest,
    send_frames,
)
from steerio.errors import EncodingError, ProtocolError
from steerio.model.messages import FromBroker, ToBroker

QUEUED_BATCHES = 100_000
"""Batches that a socket queues for one peer before the peer counts as congested."""


class _Outgoing:
    """The messages for one peer until the next flush."""

    __slots__ = ("frames", "messages")

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.frames: list[Any] = []


class ZmqRouter:
    """The broker's end.

    Args:
        context: where its socket belongs; the caller ends it.
        address: to listen on; a TCP address may leave the port to the system (``:*``).
        keys: the broker's CURVE keys; ``None`` for no encryption (local IPC sockets).

    Raises:
        OSError: the address cannot be listened on.
    """

    local = False
    first = False
    remote: bool

    def __init__(self, context: Context, address: str, keys: ServerKeys | None = None) -> None:
        self.remote = address.startswith(TCP)
        self._socket = socket = context.socket(zmq.ROUTER)
        try:
            prepare(socket, address)
            socket.set(zmq.ROUTER_MANDATORY, 1)
            socket.set(zmq.ROUTER_HANDOVER, 1)
            socket.set(zmq.SNDHWM, QUEUED_BATCHES)
            socket.set(zmq.RCVHWM, QUEUED_BATCHES)
            if keys is not None:
                keys.secure(socket)
            socket.bind(on_wire(address))
            bound: Any = socket.get(zmq.LAST_ENDPOINT)
            self.address: str = os.fsdecode(bound.rstrip(b"\0"))
            self._reading = Reading(socket)
        except BaseException as error:
            give_up(socket, address, error)
            raise
        self._outgoing: dict[bytes, _Outgoing] = {}
        self._stuck: dict[bytes, deque[list[Any]]] = {}

    def send(self, peer: bytes, message: FromBroker, frames: Frames = ()) -> None:
        outgoing = self._outgoing.get(peer)
        if outgoing is None:
            outgoing = self._outgoing[peer] = _Outgoing()
        outgoing.messages.append(message)
        if frames:
            outgoing.frames.extend(frames)

    def flush(self) -> list[bytes]:
        gone: list[bytes] = []
        if self._stuck:
            self._reading.due = True
            self._retry(gone)
        if not self._outgoing:
            return gone
        collected, self._outgoing = self._outgoing, {}
        self._reading.due = True
        for peer, outgoing in collected.items():
            try:
                for batch in batches(outgoing.messages, outgoing.frames):
                    self._send_batch(peer, batch, gone)
            except EncodingError as error:  # of this peer, which cannot go on without that
                self._send_batch(peer, refused(error), gone)
                gone.append(peer)
        return gone

    def receive(self, limit: int) -> list[Arrival]:
        arrivals: list[Arrival] = []
        receive = self._socket.recv
        if not self.ready():  # asking costs less than a receive that fails
            return arrivals
        for _ in range(limit):
            try:
                peer = receive(NOBLOCK)
            except zmq.Again:
                break
            header = receive() if self._socket.get(RCVMORE) else b""
            frames = receive_rest(self._socket)
            try:
                arrivals.append(Arrival(peer, deal_frames(decode_to_broker(header), frames)))
            except ProtocolError as error:
                arrivals.append(Arrival(peer, (), str(error)))
        return arrivals

    def congested(self, peer: bytes) -> bool:
        return peer in self._stuck

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._reading.attach(loop, wake)

    def detach(self) -> None:
        self._reading.detach()

    def ready(self) -> bool:
        return self._reading.ready()

    def expect(self) -> None:
        self._reading.due = True

    def fileno(self) -> int | None:
        return self._reading.fileno()

    def close(self) -> None:
        self.detach()
        self._socket.close()

    def _send_batch(self, peer: bytes, batch: list[Any], gone: list[bytes]) -> None:
        if peer in self._stuck:
            self._stuck[peer].append(batch)
        elif peer not in gone and not self._hand_over(peer, batch, gone):
            self._stuck[peer] = deque([batch])

    def _hand_over(self, peer: bytes, batch: list[Any], gone: list[bytes]) -> bool:
        """Send a batch; ``False`` if the peer's queue is full."""
        try:
            self._socket.send(peer, NOBLOCK | SNDMORE)
            send_frames(self._socket, batch, NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            gone.append(peer)
        return True

    def _retry(self, gone: list[bytes]) -> None:
        for peer, waiting in list(self._stuck.items()):
            while waiting and self._hand_over(peer, waiting[0], gone):
                waiting.popleft()
                if gone and gone[-1] == peer:
                    waiting.clear()
            if not waiting:
                del self._stuck[peer]


class ZmqLink:
    """A peer's end.

    Args:
        context: where its socket belongs; the caller ends it.
        address: the broker's address.
        identity: this peer's name on the wire, unique at the broker.
        keys: CURVE keys for addresses that want them.
        receiver: which kind of peer this is, so that it decodes no other's messages.

    Raises:
        OSError: the address is malformed.
    """

    immediate = False

    def __init__(
        self,
        context: Context,
        address: str,
        identity: bytes,
        keys: ClientKeys | None = None,
        receiver: Receiver = "any",
    ) -> None:
        self._receiver: Receiver = receiver
        self._socket = socket = context.socket(zmq.DEALER)
        try:
            prepare(socket, address)
            socket.set(zmq.IDENTITY, identity)
            socket.set(zmq.SNDHWM, 0)
            socket.set(zmq.RCVHWM, QUEUED_BATCHES)
            socket.set(zmq.RECONNECT_IVL_MAX, 2_000)
            if keys is not None:
                keys.secure(socket)
            socket.connect(on_wire(address))
            self._reading = Reading(socket)
        except BaseException as error:
            give_up(socket, address, error)
            raise
        self._outgoing = _Outgoing()
        self._wait_s = -1.0

    def send(self, message: ToBroker, frames: Frames = ()) -> None:
        self._outgoing.messages.append(message)
        if frames:
            self._outgoing.frames.extend(frames)

    def flush(self) -> None:
        outgoing = self._outgoing
        if outgoing.messages:
            self._outgoing = _Outgoing()
            self._reading.due = True
            # the I/O thread writes frames later: a task may have changed its array by then
            frames = snapshot(outgoing.frames)
            for batch in batches(outgoing.messages, frames):
                # never blocks: the queue of a DEALER with SNDHWM 0 has no end, and the peer's
                # own bounds (leases, items, tasks in hand) keep it short
                with contextlib.suppress(zmq.Again):
                    send_frames(self._socket, batch, NOBLOCK)

    def receive(self, limit: int) -> list[tuple[FromBroker, Frames]]:
        received: list[tuple[FromBroker, Frames]] = []
        for _ in range(limit):
            try:
                header = self._socket.recv(NOBLOCK)
            except zmq.Again:
                break
            frames = receive_rest(self._socket)
            received.extend(deal_frames(decode_from_broker(header, self._receiver), frames))
        return received

    def bound_waits(self, timeout_s: float) -> None:
        """Let `receive_within` wait at most this long; for processes without a loop."""
        self._socket.set(zmq.RCVTIMEO, round(timeout_s * 1000))
        self._wait_s = timeout_s

    def receive_within(self, timeout_s: float) -> list[tuple[FromBroker, Frames]]:
        """Block until a message arrives, at most ``timeout_s``; take all that have arrived.

        Waiting inside the socket costs far less than polling it first.
        """
        received: list[tuple[FromBroker, Frames]] = []
        if timeout_s > 0:
            if timeout_s != self._wait_s:
                self.bound_waits(timeout_s)
            try:
                header = self._socket.recv()
            except zmq.Again:
                return received
            frames = receive_rest(self._socket)
            received.extend(deal_frames(decode_from_broker(header, self._receiver), frames))
        received.extend(self.receive(1_000))
        return received

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._reading.attach(loop, wake)

    def detach(self) -> None:
        self._reading.detach()

    def ready(self) -> bool:
        return self._reading.ready()

    def let_go(self) -> None:
        """Do nothing: to a fork the sockets are memory, which must not be touched."""

    def close(self) -> None:
        self.detach()
        self._socket.close()
