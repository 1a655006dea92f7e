"""The broker's end of ZeroMQ connections: a ROUTER, with a session for each peer.

ZeroMQ drops all that is under way when a connection breaks, or that is sent while there is none;
the sessions (see ``wire_session``) see to it that all arrives all the same, once and in order.

The socket is read through its file descriptor (``loop.add_reader``) and drained until it is empty.
The descriptor is edge-triggered, and both sending and reading ``EVENTS`` consume the edge, so code
that drains it must ask ``ready()`` after the last receive and flush, or messages sleep in the
socket (zeromq/pyzmq issue 2173).

The router never blocks: a packet for which ZeroMQ has no room is tried again with the next flush.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any

import zmq

from steerio.edge.wire.addresses import TCP
from steerio.edge.wire.contexts import Context
from steerio.edge.wire.cutting import batches, refused
from steerio.edge.wire.endpoint import NO_MEMORY, Arrival, Frames
from steerio.edge.wire.gate import HANDSHAKE_MS, Gate
from steerio.edge.wire.headers import deal_frames, decode_to_broker
from steerio.edge.wire.keys import ServerKeys
from steerio.edge.wire.packets import Assembly, decode, encode, pieces
from steerio.edge.wire.wire_session import Kind, Packet
from steerio.edge.wire.zeromq_peer import PASSING_TICKS, ZmqPeer
from steerio.edge.wire.zeromq_sockets import (
    NOBLOCK,
    QUEUED_PACKETS,
    RCVMORE,
    SNDMORE,
    Reading,
    end_message,
    give_up,
    on_wire,
    prepare,
    receive_rest,
    send_frames,
    skip_rest,
)
from steerio.errors import EncodingError, ProtocolError
from steerio.model.messages import FromBroker

PASSING = 1_000
"""Most peers that were not let in yet, or were let go; the oldest is forgotten for another."""
REPLACED = b"\0"
"""The first byte of the name that ZeroMQ gives to a connection whose peer has a newer one."""
_RESET = int(Kind.RESET)


class ZmqRouter:
    """The broker's end.

    Args:
        context: where its socket belongs; the caller ends it.
        address: to listen on; a TCP address may leave the port to the system (``:*``).
        keys: the broker's CURVE keys; ``None`` for no encryption.
        gate: bounds the number of connections, if they may be strangers'.

    Raises:
        OSError: the address cannot be listened on.
    """

    local = False
    lasting = False
    first = False
    remote: bool

    def __init__(
        self,
        context: Context,
        address: str,
        keys: ServerKeys | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.remote = address.startswith(TCP)
        self._has_keys = keys is not None
        self._gate = gate
        self._socket = socket = context.socket(zmq.ROUTER)
        try:
            prepare(socket, address)
            socket.set(zmq.ROUTER_MANDATORY, 1)
            socket.set(zmq.ROUTER_HANDOVER, 1)
            socket.set(zmq.SNDHWM, QUEUED_PACKETS)
            socket.set(zmq.RCVHWM, QUEUED_PACKETS)
            if keys is not None:
                keys.secure(socket)
            if self.remote:
                socket.set(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
            if gate is not None:
                gate.watch(socket)
            socket.bind(on_wire(address))
            bound: Any = socket.get(zmq.LAST_ENDPOINT)
            self.address: str = os.fsdecode(bound.rstrip(b"\0"))
            self._reading = Reading(socket)
        except BaseException as error:
            give_up(socket, address, error)
            raise
        self._peers: dict[bytes, ZmqPeer] = {}
        self._gone: list[bytes] = []
        self._faults: list[Arrival] = []
        """Of peers to which not all can be sent."""
        self._passing: OrderedDict[bytes, None] = OrderedDict()
        self._owing: dict[bytes, ZmqPeer] = {}
        """Peers to which something is to be sent."""
        self._shown: dict[int, str] = {}
        """The labels of the keys of connections, by descriptor, as they were heard last."""

    # -- out ------------------------------------------------------------------------------------

    def send(self, peer: bytes, message: FromBroker, frames: Frames = ()) -> None:
        to = self._peers.get(peer)
        if to is None or to.parting:
            self._gone.append(peer)
            return
        to.messages.append(message)
        if frames:
            to.frames.extend(frames)
        self._owing[peer] = to

    def flush(self) -> list[bytes]:
        gone, self._gone = self._gone, []
        if self._owing:
            owing, self._owing = self._owing, {}
            self._reading.due = True
            for identity, peer in owing.items():
                try:
                    if peer.messages and not self._pack(peer):
                        gone.append(identity)
                    self._hand_over(identity, peer)
                except MemoryError:  # for this one: it is tried again
                    self._owing[identity] = peer
                except ProtocolError as error:  # messages for it are lost: it cannot go on
                    self._drop(identity)
                    self._faults.append(Arrival(identity, (), str(error), peer.key))
        return gone

    def congested(self, peer: bytes) -> bool:
        to = self._peers.get(peer)
        return to is not None and to.session.congested

    def connected(self, peer: bytes) -> bool:
        to = self._peers.get(peer)
        return to is not None and not to.session.down

    def admit(self, peer: bytes) -> None:
        to = self._peers.get(peer)
        if to is not None and not to.parting:
            to.ticks = 0
            self._passing.pop(peer, None)

    def forget(self, peer: bytes) -> None:
        to = self._peers.get(peer)
        if to is not None and not to.parting:
            to.parting = True
            self._keep_for_a_while(peer, to)

    def _keep_for_a_while(self, identity: bytes, peer: ZmqPeer) -> None:
        peer.ticks = PASSING_TICKS
        self._passing[identity] = None
        self._passing.move_to_end(identity)
        while len(self._passing) > PASSING:
            self._drop(next(iter(self._passing)))

    def tick(self) -> None:
        for identity, peer in list(self._peers.items()):
            peer.session.tick()
            if peer.ticks:
                peer.ticks -= 1
                has_all = peer.session.settled and not peer.messages
                if not peer.ticks or (peer.parting and has_all):
                    self._drop(identity)
                    continue
            if peer.session.owes:
                self._owing[identity] = peer

    def _pack(self, peer: ZmqPeer) -> bool:
        """Turn the collected messages into packets; ``False``: one cannot be, and it is told so."""
        messages, frames = peer.messages, peer.frames
        peer.messages, peer.frames = [], []
        try:
            for batch in batches(messages, frames):
                for piece, nbytes in pieces(batch):
                    peer.session.put(piece, nbytes)
        except (EncodingError, MemoryError) as error:  # this peer cannot go on without that
            for piece, nbytes in pieces(refused(error)):
                peer.session.put(piece, nbytes)
            return False
        return True

    def _hand_over(self, identity: bytes, peer: ZmqPeer) -> None:
        """Send all that may be sent now; the rest is tried again with the next flush."""
        session = peer.session
        while (packet := session.next()) is not None:
            try:
                self._socket.send(identity, NOBLOCK | SNDMORE)
                send_frames(self._socket, encode(packet), NOBLOCK)
            except zmq.Again:
                self._owing[identity] = peer
                return
            except zmq.ZMQError as error:
                if error.errno != zmq.EHOSTUNREACH:
                    raise
                session.broke()
                return
            except MemoryError:
                end_message(self._socket)  # or the next packet would be a part of this one
                raise
            session.sent(packet)

    def _drop(self, identity: bytes) -> None:
        self._passing.pop(identity, None)
        self._owing.pop(identity, None)
        self._peers.pop(identity).waiting.close()

    # -- in -------------------------------------------------------------------------------------

    def receive(self, limit: int) -> list[Arrival]:
        arrivals, self._faults = self._faults, []
        receive = self._socket.recv
        if not self._reading.ready():  # asking costs less than a receive that fails
            return arrivals
        plain = not self._has_keys and self._gate is None
        while limit > 0:
            try:
                name: Any = receive(NOBLOCK, plain)
            except zmq.Again:
                break
            before = len(arrivals)
            identity, key = (name, "") if plain else self._recognise(name)
            try:
                first = receive() if self._socket.get(RCVMORE) else b""
                frames = receive_rest(self._socket)
                if not identity.startswith(REPLACED):
                    self._take_in(identity, key, decode(first, frames), arrivals)
            except ProtocolError as error:
                arrivals.append(Arrival(identity, (), str(error), key))
            except (MemoryError, BufferError):  # messages before it, and of others, are kept
                skip_rest(self._socket)
                arrivals.append(Arrival(identity, (), NO_MEMORY, key))
                if identity in self._peers:
                    self._peers[identity].assembly = Assembly()
            limit -= max(1, sum(len(arrival.messages) for arrival in arrivals[before:]))
        return arrivals

    def _recognise(self, name: zmq.Frame) -> tuple[bytes, str]:
        """Return a sender's name on the wire, and the label of its connection's key."""
        label = str(name.get("User-Id")) if self._has_keys else ""
        if self._gate is not None:
            with contextlib.suppress(zmq.ZMQError):  # a peer of an old ZMTP: it stays a stranger
                descriptor = int(name.get(zmq.SRCFD))
                self._gate.strangers.heard(descriptor)
                self._shown[descriptor] = label
        return name.bytes, label

    def cut(self, labels: Collection[str]) -> None:
        """End the connections that showed a key of these labels; others come in by keys again."""
        for descriptor, label in list(self._shown.items()):
            if label in labels:
                del self._shown[descriptor]
                if self._gate is not None:
                    self._gate.cut(descriptor)

    def _take_in(self, identity: bytes, key: str, packet: Packet, arrivals: list[Arrival]) -> None:
        """Take in a packet, and add the messages that are complete with it to the arrivals.

        Raises:
            ProtocolError: it is none, or its content cannot be read.
        """
        peer = self._peer_of(identity, key, packet, arrivals)
        if peer is None:
            return
        session = peer.session
        new = session.arrived(packet)
        if new:
            session.take(packet.nbytes)
            if peer.ticks and not packet.payload.whole:
                raise ProtocolError("a long message of a stranger")
            if not peer.parting:
                before = len(arrivals)
                for header, frames in peer.assembly.add(packet.payload):
                    messages = deal_frames(decode_to_broker(header), frames)
                    arrivals.append(Arrival(identity, messages, "", key))
                if len(arrivals) == before:
                    arrivals.append(Arrival(identity, (), "", key))
        if session.owes:
            self._owing[identity] = peer

    def _peer_of(
        self, identity: bytes, key: str, packet: Packet, arrivals: list[Arrival]
    ) -> ZmqPeer | None:
        """Return the peer whose packet it is, a new one perhaps; ``None``: it is of no session."""
        peer = self._peers.get(identity)
        if peer is not None and peer.key != key:
            peer.session.broke()  # ZeroMQ sends to the other one until this peer is heard again
            arrivals.append(Arrival(identity, (), "", key))
            return None
        if peer is None or peer.session.number != packet.session:
            if not packet.fresh:
                self._reset(identity, packet.session)
                return None
            if peer is not None:
                if not peer.parting:
                    arrivals.append(Arrival(identity, (), "it has begun another session", key))
                self._drop(identity)
            peer = self._peers[identity] = ZmqPeer(packet.session, key)
            self._keep_for_a_while(identity, peer)
        return peer

    def _reset(self, identity: bytes, session: int) -> None:
        """Tell a peer that its session is not known here (any more)."""
        packet = Packet(_RESET, session, 0, 0, 0)
        try:
            self._socket.send(identity, NOBLOCK | SNDMORE)
            send_frames(self._socket, encode(packet), NOBLOCK)
        except zmq.ZMQError:
            pass  # it asks again

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._reading.attach(loop, wake)

    def detach(self) -> None:
        self._reading.detach()

    def ready(self) -> bool:
        return bool(self._faults) or self._reading.ready()

    def expect(self) -> None:
        self._reading.due = True

    def fileno(self) -> int | None:
        return self._reading.fileno()

    def close(self) -> None:
        self.detach()
        if self._gate is not None:
            self._gate.let_go()
        self._socket.close()
        for peer in self._peers.values():
            peer.waiting.close()
