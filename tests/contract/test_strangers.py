"""Connections that have said nothing yet are few: the oldest of them goes for one that comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.edge.wire.strangers import Strangers


def test_as_many_may_stay_as_the_bound_says() -> None:
    strangers = Strangers(100, 3)
    assert [strangers.accepted(number) for number in (7, 8, 9)] == [None] * 3
    assert [strangers.accepted(number) for number in (10, 11)] == [7, 8]
    assert len(strangers) == 3
    assert "3 Strangers beside 0 known" in repr(strangers)


def test_a_connection_that_was_heard_stays_whoever_comes() -> None:
    strangers = Strangers(100, 2)
    strangers.accepted(7)
    strangers.heard(7)
    strangers.heard(7)
    for number in range(8, 50):
        assert strangers.accepted(number) == (number - 2 if number > 9 else None)
    assert (len(strangers), strangers.known) == (2, 1)


def test_one_that_went_is_not_known_when_it_is_heard_late() -> None:
    strangers = Strangers(100, 1)
    strangers.accepted(7)
    assert strangers.accepted(8) == 7
    strangers.heard(7)
    assert (len(strangers), strangers.known) == (1, 0)


def test_a_descriptor_that_was_closed_may_come_again_as_a_stranger() -> None:
    strangers = Strangers(100, 2)
    strangers.accepted(7)
    strangers.heard(7)
    assert not strangers.closed(7), "it was known"
    assert not strangers.closed(7)
    assert (len(strangers), strangers.known) == (0, 0)
    strangers.accepted(7)
    strangers.accepted(8)
    strangers.accepted(7)  # though nothing said that it was closed
    assert strangers.accepted(9) == 8


@pytest.mark.parametrize("scarce", [False, True])
def test_all_together_have_a_bound_too_and_the_newcomer_goes_if_all_others_are_known(
    scarce: bool,
) -> None:
    strangers = Strangers(100 if scarce else 2)
    for number in (7, 8):
        assert strangers.accepted(number) is None
        strangers.heard(number)
    assert strangers.accepted(9, scarce=scarce) == 9
    assert not strangers.closed(9), "it was sent away before"
    strangers.closed(7)
    assert strangers.accepted(10) is None
    assert strangers.accepted(11, scarce=scarce) == 10


@given(st.lists(st.tuples(st.sampled_from(["accepted", "heard", "closed"]), st.integers(1, 9))))
def test_the_bounds_hold_whatever_happens(events: list[tuple[str, int]]) -> None:
    strangers = Strangers(4, 2)
    known: set[int] = set()
    there: set[int] = set()
    ahead: set[int] = set()
    for what, number in events:
        gone = getattr(strangers, what)(number)
        if what == "accepted":
            known = known - {number} | {number} & ahead
            ahead.discard(number)
            there.add(number)
            assert gone is None or gone in there - known, "only strangers go"
            there.discard(gone)
        elif what == "heard":
            known |= {number} & there
            ahead |= {number} - there
        else:
            assert gone is (number in there - known)
            known.discard(number)
            there.discard(number)
            ahead.discard(number)
        assert strangers.known == len(known)
        assert len(strangers) == len(there - known) <= 2
        assert len(there) <= 4 or there == known


def test_one_that_is_heard_before_it_is_said_to_be_there_is_known_from_then_on() -> None:
    strangers = Strangers(100, 1)
    strangers.heard(7)
    assert [strangers.accepted(number) for number in (7, 8, 9)] == [None, None, 8]
    assert (len(strangers), strangers.known) == (1, 1)
    strangers.closed(7)
    strangers.heard(7)  # a last word that was read late
    strangers.closed(7)
    assert strangers.accepted(7) == 9, "another connection"
