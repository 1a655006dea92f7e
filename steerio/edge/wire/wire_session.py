"""A session: it keeps messages whole and in order while the connections below it break.

A connection that breaks loses all that was under way, and neither end can tell how much. So each
end numbers its packets and keeps them until the other end has acknowledged them, and the receiver
takes each number once. A session outlives any number of connections.

An end learns of losses in three ways. A packet whose number is too high tells the receiver, and it
says so. A connection that is known to have broken (a router's send says that there is none) gives
all that is not acknowledged again, once the peer is heard. Otherwise packets stay unacknowledged
from one `WireSession.tick` to the next, and the sender asks: a connection keeps order, so the
answer to a *probe* says for certain which packets before it have not come.

Credit is counted in bytes. The receiver says how many it has taken in so far, and the sender has at
most a window more of them under way; all else waits at the sender, in a queue that may be a file.

The sessions here are pure: they are told of all that is to be sent and that arrives, and that
time passes; they say which packet is next. ZeroMQ endpoints and the simulated network share them.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from steerio.edge.wire.end_states import STEPS, EndFact, EndState
from steerio.errors import ProtocolError

WINDOW_BYTES = 32 << 20
"""Most bytes of packets under way that the receiver has not taken in."""
PACKET_COST = 256
"""Bytes that each packet counts for beside its own: the memory that keeping it takes."""
UNKNOWN = "the broker does not know this peer any more"
"""The reason that a peer gives itself if the broker knows no session of it."""
TELL_SHARE = 4
"""The receiver says at the latest after this share of a window how much it has taken in."""


class Kind(IntEnum):
    """The use of a packet."""

    DATA = 1
    NOTE = 2
    """Says only how far its sender is."""
    PROBE = 3
    """Asks for an answer."""
    ANSWER = 4
    """Says what has come; after a probe, and when there is a gap."""
    RESET = 5
    """The sender knows no such session."""


_DATA, _NOTE, _PROBE, _ANSWER = (int(kind) for kind in list(Kind)[:4])  # enums compare slowly


class Packet(NamedTuple):
    """A thing that crosses a connection in one piece.

    Attributes:
        kind: its use (a `Kind`).
        session: the session that it is of.
        number: of data: its own; of a probe, and its answer: one more than that of the last data
            before it.
        expected: the number of the next data that its sender waits for: all before have come.
        taken: bytes that its sender has taken in of the other's, from the beginning.
        round: how often its sender has begun to send again; of an answer: as in the packet that is
            answered, for an answer about an earlier round holds no more.
        fresh: whether its sender has not heard the other end yet, so that the session may be new.
        payload: of data; `nbytes` is its length.
    """

    kind: int
    session: int
    number: int
    expected: int
    taken: int
    round: int = 0
    fresh: bool = False
    payload: Any = None
    nbytes: int = 0


class WaitingPayloads(Protocol):
    """A queue of payloads that wait for credit: first in, first out."""

    def __len__(self) -> int:
        """Return how many wait."""
        ...

    def push(self, payload: Any, nbytes: int) -> None:
        """Add a payload."""
        ...

    def pop(self) -> tuple[Any, int]:
        """Take out the oldest, and its length in bytes."""
        ...


class InMemory:
    """A queue of payloads in memory."""

    def __init__(self) -> None:
        self._entries: deque[tuple[Any, int]] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, payload: Any, nbytes: int) -> None:
        """Add a payload."""
        self._entries.append((payload, nbytes))

    def pop(self) -> tuple[Any, int]:
        """Take out the oldest, and its length in bytes."""
        return self._entries.popleft()


class WireSession:
    """One end of a session.

    Args:
        number: of the session; the end that begins it draws one.
        waiting: where payloads wait for credit; in memory by default.
        window_bytes: most bytes under way that the receiver has not taken in.
    """

    def __init__(
        self, number: int, waiting: WaitingPayloads | None = None, window_bytes: int = WINDOW_BYTES
    ) -> None:
        self.number = number
        self.state = EndState.FRESH
        self.heard = False
        """Whether the other end has said anything."""
        self._waiting = InMemory() if waiting is None else waiting
        self._window = window_bytes
        # outgoing
        self._tail: deque[tuple[int, Any, int]] = deque()
        """Packets that are numbered and not acknowledged."""
        self._unsent: deque[tuple[int, Any, int]] = deque()
        """Those of them that are to be sent (again), in order."""
        self._end = 0
        """The next number to be given."""
        self._bytes = 0
        """Bytes of all that was numbered."""
        self._others_taken = 0
        self._round = 0
        # incoming
        self._expected = 0
        self._taken = 0
        self._told_taken = 0
        self._gap_told = -1
        """The round of the other end in which it was told of a gap."""
        # to be said beside data
        self._answers = -1
        """The number to answer to; -1: none."""
        self._answered_round = 0
        self._probes = False
        self._notes = False
        self._acknowledged_at_tick = -1

    def __repr__(self) -> str:
        return (
            f"<WireSession {self.number:x}: {self._end - len(self._tail)} of {self._end} "
            f"acknowledged, {len(self._waiting)} waiting, {self._expected} received>"
        )

    @property
    def down(self) -> bool:
        """Whether there is no connection, as far as is known: then no packet is next."""
        return self.state is EndState.DOWN

    @property
    def congested(self) -> bool:
        """Whether payloads wait for credit."""
        return len(self._waiting) > 0

    @property
    def settled(self) -> bool:
        """Whether all that was put in has been acknowledged."""
        return not self._tail and not len(self._waiting)

    @property
    def owes(self) -> bool:
        """Whether a packet is to be sent, if there is a connection."""
        return bool(self._unsent) or self._answers >= 0 or self._probes or self._notes

    # -- out ------------------------------------------------------------------------------------

    def put(self, payload: Any, nbytes: int) -> None:
        """Send a payload of so many bytes, now or when there is credit."""
        if self._bytes - self._others_taken < self._window and not len(self._waiting):
            self._give_number(payload, nbytes)
        else:
            self._waiting.push(payload, nbytes)

    def next(self) -> Packet | None:
        """Return the packet that is to be sent next, or ``None``; `sent` takes it off."""
        if self.state is EndState.DOWN:
            return None
        kind, number, round_, payload, nbytes = _NOTE, self._end, self._round, None, 0
        if self._answers >= 0:  # first, for the other end waits for it
            kind, number, round_ = _ANSWER, self._answers, self._answered_round
        elif self._unsent:
            kind = _DATA
            number, payload, nbytes = self._unsent[0]
        elif self._probes:
            kind = _PROBE
        elif not self._notes:
            return None
        return Packet(
            kind,
            self.number,
            number,
            self._expected,
            self._taken,
            round_,
            not self.heard,
            payload,
            nbytes,
        )

    def sent(self, packet: Packet) -> None:
        """Note that the packet that was next was handed to a connection."""
        kind = packet.kind
        if kind == _DATA:
            self._unsent.popleft()
        elif kind == _ANSWER:
            self._answers = -1
        elif kind == _PROBE:
            self._probes = False
        self._notes = False
        self._told_taken = self._taken

    def broke(self) -> None:
        """Note that there is no connection; on the next one all is sent again that may be lost."""
        self.state = STEPS[self.state, EndFact.BROKE]

    def carry(self, other: WireSession, nbytes: int) -> None:
        """Count a payload that reached the other end at once, by a way that cannot break."""
        cost = nbytes + PACKET_COST
        self._end += 1
        self._bytes += cost
        self._others_taken += cost
        for end in (self, other):
            if end.state is not EndState.OPEN:
                end._hear()
        other._expected += 1
        other._taken += cost
        other._told_taken += cost

    def tick(self) -> None:
        """Take in that some time has passed: ask if since the last call nothing was acknowledged.

        The time from call to call is to be longer than a packet and its answer take, as a rule.
        Without a connection it tries: the other end may have made one and have nothing to say.
        """
        if self.state is EndState.DOWN and not self.settled:
            self.state = STEPS[self.state, EndFact.TRIED]
            self._send_again()
        acknowledged = self._end - len(self._tail)
        if not self.settled and acknowledged == self._acknowledged_at_tick:
            self._probes = True
        self._acknowledged_at_tick = -1 if self.settled else acknowledged
        self._notes = self._notes or self._taken != self._told_taken

    # -- in -------------------------------------------------------------------------------------

    def arrived(self, packet: Packet) -> bool:
        """Take a packet of this session in; say whether its payload is the next one.

        Raises:
            ProtocolError: no such packet can come from a sound end.
        """
        self._acknowledge(packet)
        if self.state is not EndState.OPEN:
            self._hear()
        kind = packet.kind
        if kind == _DATA:
            return self._is_next(packet)
        if kind == _PROBE:
            self._answer(packet)
        elif kind == _ANSWER:
            if packet.expected < packet.number and packet.round == self._round:
                self._send_again()
        elif kind != _NOTE:
            raise ProtocolError(f"a packet of kind {kind}")
        return False

    def take(self, nbytes: int) -> None:
        """Note that a payload that arrived was taken in: its sender gets credit for another."""
        self._taken += nbytes + PACKET_COST
        if self._taken - self._told_taken >= self._window // TELL_SHARE:
            self._notes = True

    def _is_next(self, packet: Packet) -> bool:
        if packet.number == self._expected:
            self._expected += 1
            return True
        if packet.number < self._expected:  # it came before, and the sender does not know
            self._notes = True
        elif self._gap_told != packet.round:
            self._gap_told = packet.round
            self._answer(packet)
        return False

    def _answer(self, packet: Packet) -> None:
        self._answers, self._answered_round = packet.number, packet.round

    def _acknowledge(self, packet: Packet) -> None:
        tail, expected = self._tail, packet.expected
        if expected > self._end or packet.taken > self._bytes:
            raise ProtocolError(
                f"{expected} packets of {packet.taken} bytes are acknowledged, of {self._end} and "
                f"{self._bytes} that were sent"
            )
        while tail and tail[0][0] < expected:
            tail.popleft()
        while self._unsent and self._unsent[0][0] < expected:
            self._unsent.popleft()
        self._others_taken = max(self._others_taken, packet.taken)
        while len(self._waiting) and self._bytes - self._others_taken < self._window:
            self._give_number(*self._waiting.pop())

    def _give_number(self, payload: Any, nbytes: int) -> None:
        entry = (self._end, payload, nbytes)
        self._end += 1
        self._bytes += nbytes + PACKET_COST
        self._tail.append(entry)
        self._unsent.append(entry)

    def _hear(self) -> None:
        """Take in that there is a connection: all that was lost with the last one is sent again."""
        self.heard = True
        if self.state is EndState.DOWN:
            self._send_again()
        self.state = STEPS[self.state, EndFact.HEARD]

    def _send_again(self) -> None:
        self._unsent = deque(self._tail)
        self._round += 1
