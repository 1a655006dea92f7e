"""When results make a call, by the options of a trigger: decided by numbers and times alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.campaign.gathering import Gathered, Gathering, checked_gathering
from steerio.errors import UsageError


def wish(
    every: int | None = None,
    coalesce: bool = False,
    latest: bool = False,
    debounce_s: float | None = None,
    within_s: float | None = None,
    quorum: int | None = None,
) -> Gathering:
    return checked_gathering(every, coalesce, latest, debounce_s, within_s, quorum)


def test_so_many_are_a_call_and_fewer_are_none() -> None:
    gathered = Gathered(wish(every=3))
    gathered.add("a")
    gathered.add("b")
    assert gathered.due_at == math.inf
    assert not gathered.may_be_rest
    gathered.add("c")
    assert gathered.due_at == -math.inf
    assert gathered.take() == ["a", "b", "c"]
    assert gathered.due_at == math.inf


def test_fewer_are_a_call_when_the_first_has_waited() -> None:
    gathered = Gathered(wish(every=3, within_s=10))
    gathered.add("a", 1.0)
    gathered.add("b", 5.0)
    assert gathered.due_at == 11.0
    assert gathered.may_be_rest
    assert gathered.take() == ["a", "b"]
    gathered.add("c", 20.0)
    assert gathered.due_at == 30.0


def test_fewer_than_a_quorum_are_no_call_until_it_is_there() -> None:
    gathered = Gathered(wish(every=4, within_s=10, quorum=2))
    gathered.add("a", 1.0)
    assert (gathered.due_at, gathered.may_be_rest) == (math.inf, False)
    gathered.add("b", 50.0)
    assert (gathered.due_at, gathered.may_be_rest) == (11.0, True)


def test_a_burst_is_a_call_once_it_is_over_or_has_lasted() -> None:
    gathered = Gathered(wish(coalesce=True, debounce_s=2, within_s=5))
    for at in (0.0, 1.5, 3.0):
        gathered.add(at, at)
    assert gathered.due_at == 5.0
    assert gathered.take() == [0.0, 1.5, 3.0]
    gathered.add(10.0, 10.0)
    assert gathered.due_at == 12.0


def test_a_call_that_was_not_begun_is_taken_back_with_its_time() -> None:
    gathered = Gathered(wish(coalesce=True, debounce_s=2, within_s=5))
    gathered.add("a", 1.0)
    call = gathered.take()
    gathered.take_back(call, gathered.first_at)
    gathered.add("b", 4.5)
    assert gathered.items == ["a", "b"]
    assert gathered.due_at == 6.0


def test_of_the_latest_the_newest_alone_is_left() -> None:
    gathered = Gathered(wish(latest=True, debounce_s=2))
    gathered.add("a", 0.0)
    gathered.add("b", 1.0)
    assert gathered.due_at == 3.0
    call = gathered.take()
    assert call == "b"
    gathered.take_back(call, 0.0)
    gathered.add("c", 4.0)
    assert gathered.items == ["c"]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.integers(2, 5), st.integers(1, 4))
def test_none_is_lost_or_late_and_none_told_twice(
    gaps: list[float], every: int, quorum: int
) -> None:
    quorum = min(quorum, every - 1)
    gathered = Gathered(wish(every=every, within_s=15, quorum=quorum))
    told: list[int] = []
    at = 0.0
    for number, gap in enumerate(gaps):
        at += gap
        if gathered.due_at <= at:
            told += gathered.take()
        gathered.add(number, at)
        assert len(gathered.items) <= every
        if gathered.due_at <= at:
            told += gathered.take()
        assert len(gathered.items) < quorum or gathered.first_at + 15 > at
    assert told + gathered.items == list(range(len(gaps)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"latest": True, "every": 2}, "latest=True gives the newest alone.*take one of them"),
        ({"latest": True, "coalesce": True}, "latest=True gives the newest alone"),
        ({"debounce_s": 1, "every": 2}, r"every= calls by number.*within_s= says how long"),
        ({"debounce_s": 1}, r"goes with coalesce=True .* or with latest=True"),
        ({"within_s": 1}, r"within_s= says how long .* with every=, of 2 or more"),
        ({"within_s": 1, "coalesce": True}, "within_s= says how long"),
        ({"within_s": 1, "every": 1}, "of 2 or more"),
        ({"within_s": 1, "latest": True}, "within_s= says how long"),
        ({"within_s": 2, "debounce_s": 2, "latest": True}, "must be more than debounce_s=2"),
        ({"quorum": 1}, "quorum= is the least number"),
        ({"quorum": 2, "every": 4}, "goes with within_s= and every="),
        ({"quorum": 4, "every": 4, "within_s": 1}, "quorum=4 cannot be"),
        ({"quorum": 0, "every": 4, "within_s": 1}, "quorum must be a whole number above 0"),
        ({"latest": 1}, "latest is True or False, not 1"),
        ({"coalesce": "yes"}, "coalesce is True or False"),
        ({"every": True}, "every must be a whole number"),
        ({"debounce_s": 0, "latest": True}, "debounce_s must be above 0"),
        ({"debounce_s": math.inf, "latest": True}, "debounce_s must be above 0"),
        ({"within_s": "1", "every": 2}, "within_s must be a number"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        wish(**options)
