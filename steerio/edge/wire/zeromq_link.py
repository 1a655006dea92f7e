"""A peer's end of a ZeroMQ connection: a DEALER, with a session.

See ``edge.wire.zeromq`` for the other end, and for how the socket is watched.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from steerio.edge.encoding.snapshots import snapshot
from steerio.edge.wire.contexts import Context
from steerio.edge.wire.cutting import batches
from steerio.edge.wire.endpoint import NO_MEMORY_HERE, Frames
from steerio.edge.wire.headers import Receiver, deal_frames, decode_from_broker
from steerio.edge.wire.keys import ClientKeys
from steerio.edge.wire.packets import FIRST_BYTES, PACKET_BYTES, Assembly, decode, encode, pieces
from steerio.edge.wire.spilling import Spilling
from steerio.edge.wire.wire_session import UNKNOWN, WINDOW_BYTES, Kind, Packet, WireSession
from steerio.edge.wire.zeromq_sockets import (
    NOBLOCK,
    QUEUED_PACKETS,
    Reading,
    give_up,
    on_wire,
    prepare,
    receive_rest,
    send_frames,
)
from steerio.errors import ProtocolError
from steerio.model import messages as ms
from steerio.model.messages import FromBroker, ToBroker

CONNECT_MS = 2_000
"""How long a request to connect is waited for before the next: the system asks ever more seldom,
and a broker that is flooded drops most."""
RECONNECT_MS = 2_000
"""Longest time between two tries to connect again."""
_RESET = int(Kind.RESET)


class ZmqLink:
    """A peer's end.

    Args:
        context: where its socket belongs; the caller ends it.
        address: the broker's address.
        identity: this peer's name on the wire, unique at the broker.
        keys: CURVE keys for addresses that want them.
        receiver: which kind of peer this is, so that it decodes no other's messages.
        copies: whether frames may be changed once they are flushed, so that they have to be copied.

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
        *,
        copies: bool = True,
    ) -> None:
        self.packets = 0
        self._copies = copies
        self._receiver: Receiver = receiver
        self._socket = socket = context.socket(zmq.DEALER)
        try:
            prepare(socket, address)
            socket.set(zmq.IDENTITY, identity)
            socket.set(zmq.SNDHWM, 0)
            socket.set(zmq.RCVHWM, QUEUED_PACKETS)
            socket.set(zmq.RECONNECT_IVL_MAX, RECONNECT_MS)
            socket.set(zmq.CONNECT_TIMEOUT, CONNECT_MS)
            if keys is not None:
                keys.secure(socket)
            socket.connect(on_wire(address))
            self._reading = Reading(socket)
        except BaseException as error:
            give_up(socket, address, error)
            raise
        self._messages: list[ToBroker] = []
        self._frames: list[Any] = []
        self._waiting = Spilling()
        self._session = WireSession(_new_number(), self._waiting, WINDOW_BYTES)
        self._assembly = Assembly()

    def renew(self) -> None:
        """Begin a new session: the broker does not know the old one any more."""
        self._messages.clear()
        self._frames.clear()
        self._waiting.close()
        self._waiting = Spilling()
        self._session = WireSession(_new_number(), self._waiting, WINDOW_BYTES)
        self._assembly = Assembly()

    # -- out ------------------------------------------------------------------------------------

    def send(self, message: ToBroker, frames: Frames = ()) -> None:
        self._messages.append(message)
        if frames:
            self._frames.extend(frames)

    def flush(self) -> None:
        messages, frames = self._messages, self._frames
        if messages:
            self._messages, self._frames = [], []
            if self._copies:  # they are written later: a program may have changed its array by then
                frames = list(snapshot(frames))
            most = PACKET_BYTES if self._session.heard else FIRST_BYTES
            try:
                for batch in batches(messages, frames):
                    for piece, nbytes in pieces(batch, most):
                        self._session.put(piece, nbytes)
            finally:
                self._hand_over()
        elif self._session.owes:
            self._hand_over()

    def tick(self) -> None:
        self._session.tick()
        self._hand_over()

    def _hand_over(self) -> None:
        session = self._session
        while (packet := session.next()) is not None:
            self._reading.due = True
            try:
                # never blocks: the queue of a DEALER with SNDHWM 0 has no end, and credit keeps
                # it short
                send_frames(self._socket, encode(packet), NOBLOCK)
            except zmq.Again:
                return
            session.sent(packet)

    # -- in -------------------------------------------------------------------------------------

    def receive(self, limit: int) -> list[tuple[FromBroker, Frames]]:
        received: list[tuple[FromBroker, Frames]] = []
        for _ in range(limit):
            try:
                first = self._socket.recv(NOBLOCK)
                self._take_in(first, receive_rest(self._socket), received)
            except zmq.Again:
                break
            except (MemoryError, BufferError) as error:
                raise ProtocolError(NO_MEMORY_HERE) from error
        if self._session.owes:
            self._hand_over()
        return received

    def _take_in(
        self, first: Any, rest: Sequence[Any], received: list[tuple[FromBroker, Frames]]
    ) -> None:
        packet: Packet = decode(first, rest)
        session = self._session
        if packet.session != session.number:
            return  # of a session that is over
        self.packets += 1
        if packet.kind == _RESET:
            received.append((ms.Refused(UNKNOWN, True), ()))
        elif session.arrived(packet):
            session.take(packet.nbytes)
            for header, frames in self._assembly.add(packet.payload):
                received.extend(deal_frames(decode_from_broker(header, self._receiver), frames))

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._reading.attach(loop, wake)

    def detach(self) -> None:
        self._reading.detach()

    def ready(self) -> bool:
        return self._reading.ready()

    def close(self) -> None:
        self.detach()
        self._socket.close()
        self._waiting.close()


def _new_number() -> int:
    return int.from_bytes(os.urandom(8), "little") | 1
