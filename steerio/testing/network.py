"""The network of a simulated cluster: memory endpoints with delay, over connections that break.

Each link has a session (``edge.wire.wire_session``), as over ZeroMQ, and below it connections that
fail as those of ZeroMQ do (``testing.hosts``). Packets that a peer sends while its connection is
broken wait in its socket until it is connected again; the broker knows that it cannot send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from steerio.edge.wire.endpoint import Arrival, Frames
from steerio.edge.wire.memory import MemoryLink, MemoryRouter
from steerio.edge.wire.wire_session import PACKET_COST, UNKNOWN, Packet, WireSession
from steerio.model.messages import FromBroker, Refused, ToBroker
from steerio.testing.hosts import Direction, Host, Ways

CONGESTED_AT = 1_000
"""A peer counts as congested with more batches than this on their way."""
BATCH_BYTES = 100
"""Bytes that each batch counts for."""
WINDOW_BYTES = CONGESTED_AT * (BATCH_BYTES + PACKET_COST)
TICK_S = 1.0
"""Seconds between two looks of a peer at packets that are not acknowledged."""


class SimulatedLink(MemoryLink):
    """A peer's end, on a host, and the connection from there.

    A node is woken as soon as a message arrives, from inside the broker's own flush: that saves a
    turn of the loop for each of its workers' tasks.
    """

    def __init__(
        self, router: SimulatedRouter, identity: bytes, host: Host, *, is_node: bool
    ) -> None:
        super().__init__(router, identity)
        self._is_node = is_node
        self.host = host
        self._on_network = router
        self._name = identity
        self._to_broker = Direction(host, Ways.OUT, self._depart)
        self._to_peer = Direction(host, Ways.IN, self._arrive)
        self._closed = False
        self._at_once: Callable[[], None] | None = None
        self._ticks = False
        self.forgotten = False
        """Whether the broker has let the peer go: messages of its session are not taken in."""
        self._unknown = False
        """Whether the broker is another than the one with which its session began."""
        self._near = WireSession(1, window_bytes=WINDOW_BYTES)
        self._far = WireSession(1, window_bytes=WINDOW_BYTES)
        host.add(self)

    # -- the peer's end -------------------------------------------------------------------------

    def send(self, message: ToBroker, frames: Frames = ()) -> None:
        near = self._near
        calm = self.host.clear and near.settled and not len(self._to_broker)
        if calm and near.number == self._far.number:
            near.carry(self._far, BATCH_BYTES)
            if not self.forgotten:
                super().send(message, frames)
            return
        near.put((message, frames), BATCH_BYTES)
        self._push(near, self._to_broker)
        self._tick_later()

    def renew(self) -> None:
        self._to_broker.lose()
        self._to_peer.lose()
        self.arrived.clear()
        # the broker's end begins with the first packet of it that arrives
        self._near = WireSession(self._near.number + 1, window_bytes=WINDOW_BYTES)

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        if self._is_node:
            self._at_once = wake
        else:
            super().attach(loop, wake)

    def detach(self) -> None:
        super().detach()
        self._at_once = None

    def close(self) -> None:
        super().close()
        self._closed = True
        if not len(self._to_broker):
            self.host.forget(self)

    def _tick_later(self) -> None:
        if not self._ticks:
            self._ticks = True
            self.host.agenda.add(TICK_S, self._tick)

    def _tick(self) -> None:
        """Ask after packets that are not acknowledged, as long as there are any."""
        self._ticks = False
        if self._closed:
            return
        self._near.tick()
        self._push(self._near, self._to_broker)
        if not self._near.settled:
            self._tick_later()

    def _arrive(self, packet: Packet) -> None:
        if self._closed or packet.session != self._near.number:
            return
        if self._near.arrived(packet):
            self._near.take(packet.nbytes)
            self._hear(packet.payload)
        self._push(self._near, self._to_broker)

    def _hear(self, messages: list[tuple[FromBroker, Frames]]) -> None:
        self.arrived.extend(messages)
        if self._at_once is not None:
            self._at_once()
        else:
            self.bell.ring()

    # -- the broker's end -----------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the broker can reach it, as far as it knows."""
        return not self._far.down

    @property
    def congested(self) -> bool:
        """Whether messages of the broker wait because it is slow."""
        return self._far.congested

    def take(self, messages: list[tuple[FromBroker, Frames]]) -> None:
        """Send it messages of the broker."""
        far = self._far
        calm = self.host.clear and far.settled and not far.down and not len(self._to_peer)
        if calm and far.number == self._near.number:
            if not self._closed:
                far.carry(self._near, BATCH_BYTES)
                self._hear(messages)
            return
        far.put(messages, BATCH_BYTES)
        self._push(far, self._to_peer)

    def tick_far(self) -> None:
        """Take in that a beat has passed at the broker."""
        if self.host.connected:
            self._far.tick()
            self._push(self._far, self._to_peer)

    def begin_afresh(self) -> None:
        """Take in that another broker is there, which does not know this peer's session."""
        self._unknown = True
        self._far = WireSession(0, window_bytes=WINDOW_BYTES)

    def _depart(self, packet: Packet) -> None:
        if packet.session != self._far.number and packet.fresh:
            if not (self._unknown or self.forgotten):
                self._on_network.begun_again(self._name)
            self.forgotten = self._unknown = False
            self._far = WireSession(packet.session, window_bytes=WINDOW_BYTES)
        if self._unknown:
            if not self._closed:
                self._hear([(Refused(UNKNOWN, True), ())])
            return
        if self._far.arrived(packet):
            self._far.take(packet.nbytes)
            if not self.forgotten:
                super().send(*packet.payload)
        self._push(self._far, self._to_peer)
        if self._closed and not len(self._to_broker):
            self.host.forget(self)

    # -- the connection between them ------------------------------------------------------------

    def lose(self) -> None:
        """Lose all that is under way: the connection has broken."""
        self._to_broker.lose()
        self._to_peer.lose()
        self._far.broke()
        if not self._closed and not self._near.settled:
            self._tick_later()

    def run_lines(self) -> None:
        """Let the packets go on that waited."""
        self._to_broker.run()
        self._to_peer.run()

    def _push(self, session: WireSession, line: Direction) -> None:
        while (packet := session.next()) is not None:
            if session is not self._near and session is not self._far:
                return  # the peer has begun another one, because of a packet before this
            session.sent(packet)
            line.put(packet)


class SimulatedRouter(MemoryRouter):
    """The broker's end of all links that cross the network.

    Its peers are not *local*: they can be lost, so clients send beats and are watched.
    """

    local = False
    lasting = False

    def __init__(self) -> None:
        super().__init__()
        self._on_network: dict[bytes, SimulatedLink] = {}
        self._faults: list[Arrival] = []

    def link_from(self, host: Host, *, is_node: bool = False) -> SimulatedLink:
        """Return a new link from a host to this router."""
        identity = b"%s-%d" % (host.name.encode(), next(self._names))
        link = self._links[identity] = self._on_network[identity] = SimulatedLink(
            self, identity, host, is_node=is_node
        )
        return link

    def die(self) -> None:
        """Lose all connections, and all that the broker had not taken in: its process is gone."""
        self._arrived.clear()
        self._faults.clear()
        self._outgoing.clear()
        for link in list(self._on_network.values()):
            link.host.refuse()

    def return_to_life(self) -> None:
        """Let peers connect to another broker, which knows none of them."""
        for link in list(self._on_network.values()):
            link.begin_afresh()
            link.host.accept()

    def unlink(self, peer: bytes) -> None:
        super().unlink(peer)
        self._on_network.pop(peer, None)

    def send(self, peer: bytes, message: FromBroker, frames: Frames = ()) -> None:
        link = self._on_network.get(peer)
        if link is not None and not link.forgotten:
            super().send(peer, message, frames)

    def forget(self, peer: bytes) -> None:
        link = self._on_network.get(peer)
        if link is not None:
            link.forgotten = True

    def begun_again(self, peer: bytes) -> None:
        """Take in that a peer has begun another session while the broker had it in the last one."""
        self._faults.append(Arrival(peer, (), "it has begun another session"))
        self._bell.ring()

    def receive(self, limit: int) -> list[Arrival]:
        faults, self._faults = self._faults, []
        return faults + super().receive(limit)

    def ready(self) -> bool:
        return bool(self._faults) or super().ready()

    def flush(self) -> list[bytes]:
        if not self._outgoing:
            return []
        collected, self._outgoing = self._outgoing, {}
        for peer, messages in collected.items():
            link = self._on_network.get(peer)
            if link is not None:
                link.take(messages)
        return []

    def congested(self, peer: bytes) -> bool:
        link = self._on_network.get(peer)
        return link is not None and link.congested

    def connected(self, peer: bytes) -> bool:
        link = self._on_network.get(peer)
        return link is not None and link.connected

    def tick(self) -> None:
        for link in list(self._on_network.values()):
            link.tick_far()
