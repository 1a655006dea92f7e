"""Sessions: whatever a connection loses, everything arrives once and in order."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.edge.wire import spilling
from steerio.edge.wire.packets import PACKET_BYTES, Assembly, Piece, decode, encode, pieces
from steerio.edge.wire.spilling import Spilling
from steerio.edge.wire.wire_session import PACKET_COST, Kind, Packet, WireSession
from steerio.errors import ProtocolError

COST = 100


class Pair:
    """Two ends, and a connection between them that keeps order and loses what it is told to."""

    def __init__(self, window_bytes: int = 1 << 20) -> None:
        self.ends = [WireSession(7, window_bytes=window_bytes) for _ in range(2)]
        self.lines: list[deque[Packet]] = [deque(), deque()]
        """The packets on their way from each end."""
        self.heard: list[list[Any]] = [[], []]
        """The payloads that have arrived at each end."""
        self.said = [0, 0]
        self.handed = 0

    def say(self, end: int, count: int = 1) -> None:
        """Put the next numbers in at an end."""
        for _ in range(count):
            self.ends[end].put(self.said[end], COST)
            self.said[end] += 1
        self.push(end)

    def push(self, end: int) -> None:
        """Hand all that an end may send to the connection."""
        session = self.ends[end]
        while (packet := session.next()) is not None:
            session.sent(packet)
            self.lines[end].append(packet)
            self.handed += 1

    def carry(self, end: int, *, take: bool = True) -> None:
        """Let the oldest packet of an end arrive at the other."""
        packet, other = self.lines[end].popleft(), 1 - end
        session = self.ends[other]
        if session.arrived(packet):
            self.heard[other].append(packet.payload)
            if take:
                session.take(packet.nbytes)
        self.push(other)

    def carry_all(self) -> None:
        """Let everything arrive."""
        while any(self.lines):
            for end in (0, 1):
                if self.lines[end]:
                    self.carry(end)

    def lose(self, end: int) -> None:
        """Lose all that is on its way from an end."""
        self.lines[end].clear()

    def tick(self) -> None:
        """Let a beat pass at both ends."""
        for end in (0, 1):
            self.ends[end].tick()
            self.push(end)

    def settle(self, most: int = 12) -> int:
        """Let beats pass until all is acknowledged; return how many that took."""
        for beats in range(most):
            self.carry_all()
            if all(session.settled for session in self.ends):
                return beats
            self.tick()
        raise AssertionError(f"still not settled after {most} beats: {self.ends}")

    def check(self) -> None:
        """Assert that each end has heard all that the other said, once and in order."""
        assert self.heard == [list(range(self.said[1])), list(range(self.said[0]))]


def test_what_is_put_in_arrives_in_order_and_is_acknowledged_by_what_comes_back() -> None:
    pair = Pair()
    pair.say(0, 3)
    pair.carry_all()
    assert not pair.ends[0].settled
    pair.say(1)
    pair.carry_all()
    assert pair.ends[0].settled
    pair.settle()
    pair.check()


def test_what_was_lost_last_is_asked_for_at_the_next_beat_but_one() -> None:
    pair = Pair()
    pair.say(0, 3)
    pair.lose(0)
    pair.tick()
    pair.carry_all()
    assert pair.heard[1] == [], "it may be on its way"
    pair.tick()
    pair.carry_all()
    pair.check()


def test_a_gap_is_told_at_once_and_only_once() -> None:
    pair = Pair()
    pair.say(0, 2)
    pair.lose(0)
    pair.say(0, 50)
    handed = pair.handed
    pair.carry_all()
    pair.check()
    assert pair.handed - handed <= 52 + 2, "all of them again, and one answer for the gap"


def test_an_answer_about_an_earlier_round_is_no_cause_to_send_again() -> None:
    pair = Pair()
    pair.say(0, 1)
    pair.lose(0)
    for _ in range(3):
        pair.tick()  # the second and the third ask
    assert [packet.kind for packet in pair.lines[0]].count(Kind.PROBE) == 2
    handed = pair.handed
    pair.carry_all()
    pair.check()
    data = pair.handed - handed - 2  # two answers
    assert data == 1, "sent again once"


def test_an_end_without_a_connection_sends_nothing_until_it_hears_or_tries() -> None:
    pair = Pair()
    pair.say(0, 2)
    pair.carry(0)
    pair.lose(0)
    pair.ends[0].broke()
    pair.say(0)
    assert not pair.lines[0]
    pair.say(1)  # the peer is connected again
    pair.carry(1)
    assert [packet.number for packet in pair.lines[0]] == [1, 2], "all that may be lost"
    pair.settle()
    pair.check()
    pair.ends[0].broke()
    pair.say(0)
    pair.ends[0].tick()
    pair.push(0)
    pair.settle()
    pair.check()


def test_what_comes_twice_is_taken_once_and_its_sender_is_told() -> None:
    pair = Pair()
    pair.say(0)
    again = pair.lines[0][0]
    pair.carry(0)
    pair.lose(1)
    pair.lines[0].append(again)
    pair.carry_all()
    assert pair.ends[0].settled
    pair.check()


def test_no_more_is_under_way_than_there_is_credit_for() -> None:
    each = COST + PACKET_COST
    pair = Pair(window_bytes=10 * each)
    pair.say(0, 100)
    assert len(pair.lines[0]) == 10
    assert pair.ends[0].congested
    while pair.lines[0]:
        pair.carry(0, take=False)
    assert pair.heard[1] == list(range(10)), "they came, and were not taken in"
    pair.lines[0].clear()
    for _ in range(3):
        pair.tick()
        pair.lines[1].clear()
    for _ in range(10):
        pair.ends[1].take(COST)
    pair.push(1)
    pair.settle(most=30)
    pair.check()
    assert not pair.ends[0].congested


def test_credit_that_was_lost_on_its_way_is_asked_for() -> None:
    each = COST + PACKET_COST
    pair = Pair(window_bytes=4 * each)
    pair.say(0, 8)
    while pair.lines[0]:
        pair.carry(0)
    pair.lose(1)
    pair.settle()
    pair.check()


@pytest.mark.parametrize(
    "packet",
    [
        Packet(Kind.NOTE, 7, 0, 1, 0),
        Packet(Kind.NOTE, 7, 0, 0, 1),
        Packet(Kind.RESET, 7, 0, 0, 0),
        Packet(99, 7, 0, 0, 0),
    ],
)
def test_what_no_sound_end_says_is_refused(packet: Packet) -> None:
    with pytest.raises(ProtocolError):
        WireSession(7).arrived(packet)


def play(rng: random.Random, steps: int) -> None:
    """Have both ends speak over connections that break at random, and check what they heard."""
    pair = Pair(window_bytes=rng.choice([1_000, 5_000, 1 << 20]))
    for _ in range(steps):
        end = rng.randrange(2)
        draw = rng.random()
        if draw < 0.45:
            pair.say(end)
        elif draw < 0.85:
            if pair.lines[end]:
                pair.carry(end)
        elif draw < 0.92:
            pair.tick()
        else:  # the connection breaks: of what is on its way only the oldest may have arrived
            for each in (0, 1):
                for _ in range(rng.randrange(len(pair.lines[each]) + 1)):
                    pair.lines[each].pop()
            if rng.random() < 0.5:
                pair.ends[0].broke()
    pair.settle(most=30 + pair.said[0] + pair.said[1])
    pair.check()


@given(st.integers(0, 2**32), st.integers(1, 300))
def test_whatever_breaks_everything_arrives_once_and_in_order(seed: int, steps: int) -> None:
    play(random.Random(seed), steps)


@pytest.mark.stress
def test_ten_thousand_broken_sessions_lose_nothing() -> None:
    for seed in range(10_000):
        play(random.Random(seed), 400)


# -- packets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes",
    [
        [0],
        [10],
        [PACKET_BYTES],
        [PACKET_BYTES + 1],
        [5, 3, 0, 7],
        [5, PACKET_BYTES - 5],
        [5, PACKET_BYTES],
        [5, 3 * PACKET_BYTES + 17, 0, 9, PACKET_BYTES],
        [1] * 5_000,
    ],
)
def test_a_batch_of_any_size_comes_out_of_its_packets_as_it_was(sizes: list[int]) -> None:
    rng = random.Random(len(sizes))
    batch = [rng.randbytes(size) for size in sizes]
    assembly = Assembly()
    came: list[list[bytes]] = []
    for number, (piece, nbytes) in enumerate(pieces(batch)):
        assert nbytes <= PACKET_BYTES
        sent = Packet(Kind.DATA, 2**64 - 1, number, 3, 2**40, 5, True, piece, nbytes)
        first, *rest = encode(sent)
        packet = decode(bytes(first), [bytes(part) for part in rest])
        assert packet[:7] == sent[:7]
        assert packet.nbytes == nbytes
        for header, frames in assembly.add(packet.payload):
            came.append([bytes(header), *map(bytes, frames)])
    assert came == [batch]


def test_a_packet_that_is_too_short_is_refused() -> None:
    with pytest.raises(ProtocolError):
        decode(b"short", [])


# -- queues that go on in a file ----------------------------------------------------------------


def test_a_long_queue_goes_on_in_a_file_and_comes_back_in_order() -> None:
    queue = Spilling(memory_bytes=1_000)
    put: list[list[bytes]] = []
    got: list[list[bytes]] = []
    rng = random.Random(0)
    for number in range(2_000):
        parts = [b"%d" % number, rng.randbytes(rng.randrange(50))]
        put.append(parts)
        queue.push(Piece(number % 2 == 0, parts), sum(map(len, parts)))
        if rng.random() < 0.4:
            piece, nbytes = queue.pop()
            assert nbytes == sum(map(len, piece.parts))
            got.append([bytes(part) for part in piece.parts])
    while len(queue):
        got.append([bytes(part) for part in queue.pop()[0].parts])
    assert got == put


def test_a_queue_that_never_empties_goes_on_in_other_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spilling, "FILE_BYTES", 1_000)
    queue = Spilling(memory_bytes=0)
    for number in range(500):
        queue.push(Piece(True, [bytes(100), b"%d" % number]), 100)
        if number >= 5:
            assert queue.pop()[0].parts[1] == b"%d" % (number - 5)
        assert len(queue._files) <= 2
    queue.close()


def test_a_file_that_takes_no_more_leaves_the_rest_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = Spilling(memory_bytes=10)
    for number in range(20):
        if number == 10:

            def refuse(*_: object) -> None:
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(queue, "_write", refuse)
        queue.push(Piece(True, [b"%d" % number]), 5)
    assert [queue.pop()[0].parts[0] for _ in range(20)] == [b"%d" % n for n in range(20)]
    queue.close()
