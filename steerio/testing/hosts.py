"""The hosts of a simulated network, and their connections to the broker's, which may break.

While a host is cut off its messages wait, as in the buffers of TCP, and arrive when it is healed;
the same if only one of the two ways is cut. A cut that lasts longer than `BREAK_S` breaks the
connections, and so does a reset: all that was under way is lost, in both directions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Flag, auto
from typing import Protocol

from steerio.edge.wire.wire_session import Packet
from steerio.testing.agenda import Agenda, DueCall

BREAK_S = 7.0
"""Seconds of a cut after which a connection is broken: ZeroMQ's heartbeat takes 5 to 10."""
CONNECT_S = 0.5
"""Seconds that a peer takes to connect again."""


class Ways(Flag):
    """The ways of messages between a host and the broker."""

    OUT = auto()
    """From the host."""
    IN = auto()
    BOTH = OUT | IN


class HostLink(Protocol):
    """A link from a host, as the host sees it."""

    def lose(self) -> None:
        """Lose all that is under way: the connection has broken."""
        ...

    def run_lines(self) -> None:
        """Let the packets go on that waited."""
        ...


class Host:
    """One host of the network, with its latency, and the ways on which it is cut off."""

    def __init__(self, name: str, agenda: Agenda, latency_s: float = 0.0) -> None:
        self.name = name
        self.agenda = agenda
        self.latency_s = latency_s
        self.cut = Ways(0)
        self.connected = True
        """Whether its connections stand."""
        self._refused = False
        """Whether no broker is there to connect to."""
        self._breaking: DueCall | None = None
        self._connecting: DueCall | None = None
        self._links: dict[HostLink, None] = {}

    def __repr__(self) -> str:
        return f"<Host {self.name!r}{': cut off' if self.cut else ''}>"

    @property
    def clear(self) -> bool:
        """Whether a message that is sent now arrives at once."""
        return self.connected and not (self.cut or self.latency_s)

    def add(self, link: HostLink) -> None:
        """Note a link from this host."""
        self._links[link] = None

    def forget(self, link: HostLink) -> None:
        """Drop a closed link that has delivered all its messages."""
        self._links.pop(link, None)

    def cut_off(self, ways: Ways = Ways.BOTH) -> None:
        """Let no message through on these ways any more."""
        if not self.cut:  # an end that hears nothing gives its connection up, whichever it is
            self._breaking = self.agenda.add(BREAK_S, self._break)
        self.cut |= ways

    def heal(self) -> None:
        """Let messages through again, first those that waited, if they are not lost by now."""
        if not self.cut:
            return
        self.cut = Ways(0)
        if self._breaking is not None:
            self._breaking.cancel()
        if self.connected:
            self._run_lines()
        elif self._connecting is None:
            self._connect_soon()

    def reset(self) -> None:
        """Break all connections at once; they are made again, unless the host is cut off."""
        self._break()
        if not self.cut and self._connecting is None:
            self._connect_soon()

    def refuse(self) -> None:
        """Break all connections; none is made before `accept`: the broker's process is gone."""
        self._refused = True
        self._break()

    def accept(self) -> None:
        """Let connections be made again: a broker is there."""
        self._refused = False
        if not self.cut and self._connecting is None:
            self._connect_soon()

    def _break(self) -> None:
        self.connected = False
        for link in list(self._links):
            link.lose()

    def _connect_soon(self) -> None:
        self._connecting = self.agenda.add(CONNECT_S, self._connect)

    def _connect(self) -> None:
        self._connecting = None
        if not (self.cut or self._refused):
            self.connected = True
            self._run_lines()

    def _run_lines(self) -> None:
        for link in list(self._links):
            link.run_lines()


class Direction:
    """One direction of a connection: first in, first out, each after the same delay."""

    __slots__ = ("_deliver", "_host", "_under_way", "_way")

    def __init__(self, host: Host, way: Ways, deliver: Callable[[Packet], None]) -> None:
        self._host = host
        self._way = way
        self._deliver = deliver
        self._under_way: deque[tuple[float, Packet]] = deque()
        """Packets that have not arrived, each with the time at which it is due; mostly none."""

    def __len__(self) -> int:
        return len(self._under_way)

    def put(self, packet: Packet) -> None:
        """Send a packet."""
        host = self._host
        if host.clear and not self._under_way:
            self._deliver(packet)
            return
        self._under_way.append((host.agenda.now + host.latency_s, packet))
        host.agenda.add(host.latency_s, self.run)

    def lose(self) -> None:
        """Drop all that is under way."""
        self._under_way.clear()

    def run(self) -> None:
        """Deliver the packets that are due."""
        host, now = self._host, self._host.agenda.now
        while self._under_way and self._way not in host.cut and host.connected:
            first = due, packet = self._under_way[0]
            if due > now:
                host.agenda.add(due - now, self.run)
                return
            # it stays until it is delivered: no packet overtakes it before
            self._deliver(packet)
            if self._under_way and self._under_way[0] is first:  # else the peer begins anew
                self._under_way.popleft()
