"""The network of a simulated cluster: memory endpoints with delay, and hosts that can be cut off.

Messages of one link arrive in the order in which they were sent.  Messages from and to a host that
is cut off wait, and arrive after it is healed, as from the buffers of a real connection. That is
the hard case, because then all of them arrive late.  Only if the cut lasts so long that the
connection breaks are the messages under way lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from steerio.edge.wire.endpoint import Frames, MemoryLink, MemoryRouter
from steerio.model.messages import FromBroker, ToBroker
from steerio.testing.agenda import Agenda

CONGESTED_AT = 1_000
"""A peer counts as congested with more messages than this on their way (ZeroMQ's default)."""
CONNECTION_S = 30.0
"""Seconds of silence after which a connection is broken.  It is longer than any lease: otherwise
messages would be lost between peers that do not consider each other lost."""


class Host:
    """One host of the network, with its latency, and whether it is cut off."""

    def __init__(self, name: str, agenda: Agenda, latency_s: float = 0.0) -> None:
        self.name = name
        self.agenda = agenda
        self.latency_s = latency_s
        self.cut = False
        self._cut_at = 0.0
        self._lines: dict[Line, None] = {}

    def __repr__(self) -> str:
        return f"<Host {self.name!r}{': cut off' if self.cut else ''}>"

    @property
    def broken(self) -> bool:
        """Whether it has been cut off for so long that its connections are broken."""
        return self.cut and self.agenda.now >= self._cut_at + CONNECTION_S

    def line(self, deliver: Callable[[Any], None]) -> Line:
        """Return a line from or to this host."""
        line = Line(self, deliver)
        self._lines[line] = None
        return line

    def forget(self, *lines: Line) -> None:
        """Drop closed lines that have delivered all their messages."""
        for line in lines:
            if not len(line):
                self._lines.pop(line, None)

    def cut_off(self) -> None:
        """Let no message through any more."""
        if not self.cut:
            self.cut, self._cut_at = True, self.agenda.now

    def heal(self) -> None:
        """Let messages through again, first those that waited."""
        if self.broken:  # messages sent before that are lost; later ones, which peers kept, are not
            for line in self._lines:
                line.lose(self._cut_at + CONNECTION_S)
        self.cut = False
        for line in list(self._lines):
            line.run()


class Line:
    """One direction of a link: first in, first out, each after the same delay."""

    __slots__ = ("_deliver", "_host", "_under_way")

    def __init__(self, host: Host, deliver: Callable[[Any], None]) -> None:
        self._host = host
        self._deliver = deliver
        self._under_way: list[tuple[float, Any]] = []
        """Messages that have not arrived, each after the time at which it is due; mostly none."""

    def __len__(self) -> int:
        return len(self._under_way)

    @property
    def clear(self) -> bool:
        """Whether a message that is put in now arrives at once."""
        host = self._host
        return not (host.cut or host.latency_s or self._under_way)

    def put(self, item: Any) -> None:
        """Send a message."""
        if self.clear:
            self._deliver(item)
            return
        host = self._host
        self._under_way.append((host.agenda.now + host.latency_s, item))
        if not host.cut:
            host.agenda.add(host.latency_s, self.run)

    def lose(self, before: float) -> None:
        """Drop messages that would have been due before this time."""
        self._under_way = [entry for entry in self._under_way if entry[0] >= before]

    def run(self) -> None:
        """Deliver the messages that are due."""
        if self._host.cut:
            return
        under_way, now, count = self._under_way, self._host.agenda.now, 0
        while count < len(under_way) and under_way[count][0] <= now:
            self._deliver(under_way[count][1])
            count += 1
        del under_way[:count]  # only now: until the line is clear no message overtakes
        if under_way:
            self._host.agenda.add(under_way[0][0] - now, self.run)


class SimulatedLink(MemoryLink):
    """A peer's end, on a host."""

    def __init__(self, router: SimulatedRouter, identity: bytes, host: Host) -> None:
        super().__init__(router, identity)
        self._host = host
        self._to_broker = host.line(self._depart)
        self._to_peer = host.line(self._arrive)
        self._closed = False
        self._at_once: Callable[[], None] | None = None

    @property
    def broken(self) -> bool:
        """Whether its connection is broken."""
        return self._host.broken

    @property
    def congestion(self) -> int:
        """How many messages are on their way to this peer."""
        return len(self._to_peer)

    def send(self, message: ToBroker, frames: Frames = ()) -> None:
        if self._to_broker.clear:
            super().send(message, frames)
        else:
            self._to_broker.put((message, frames))

    def attach_at_once(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` as soon as a message arrives, from inside the broker's own flush.

        For peers that only note the messages, this saves a turn of the loop for each of them.
        """
        self._at_once = wake

    def take(self, messages: list[tuple[FromBroker, Frames]]) -> None:
        """Take in messages of the broker."""
        if self._to_peer.clear:
            self._arrive(messages)
        else:
            for message in messages:
                self._to_peer.put([message])

    def close(self) -> None:
        super().close()
        self._closed = True
        self._host.forget(self._to_broker, self._to_peer)

    def _depart(self, sent: tuple[ToBroker, Frames]) -> None:
        super().send(*sent)

    def _arrive(self, messages: list[tuple[FromBroker, Frames]]) -> None:
        if self._closed:
            return
        self.arrived.extend(messages)
        if self._at_once is not None:
            self._at_once()
        else:
            self.bell.ring()


class SimulatedRouter(MemoryRouter):
    """The broker's end of all links that cross the network.

    Its peers are not *local*: they can be lost, so clients send beats and are watched.
    """

    local = False

    def __init__(self) -> None:
        super().__init__()
        self._on_network: dict[bytes, SimulatedLink] = {}

    def link_from(self, host: Host) -> SimulatedLink:
        """Return a new link from a host to this router."""
        identity = b"%s-%d" % (host.name.encode(), next(self._names))
        link = self._links[identity] = self._on_network[identity] = SimulatedLink(
            self, identity, host
        )
        return link

    def unlink(self, peer: bytes) -> None:
        super().unlink(peer)
        self._on_network.pop(peer, None)

    def flush(self) -> list[bytes]:
        if not self._outgoing:
            return []
        collected, self._outgoing = self._outgoing, {}
        gone: list[bytes] = []
        for peer, messages in collected.items():
            link = self._on_network.get(peer)
            if link is None or link.broken:
                gone.append(peer)
            else:
                link.take(messages)
        return gone

    def congested(self, peer: bytes) -> bool:
        link = self._on_network.get(peer)
        return link is not None and link.congestion > CONGESTED_AT
