"""Boards that feed the same workers get their shares of the tasks, by their weights."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.campaign.shares import next_in_turn, share_out

weights_of_boards = st.lists(
    st.one_of(st.integers(1, 9), st.floats(0.01, 100)), min_size=1, max_size=6
)


@given(weights_of_boards, st.integers(1, 300))
def test_each_has_its_share_within_one_task_at_any_time(weights: list[float], tasks: int) -> None:
    lags, counts = [0.0] * len(weights), [0] * len(weights)
    for number in range(1, tasks + 1):
        counts[next_in_turn(weights, lags)] += 1
        for count, weight in zip(counts, weights, strict=True):
            assert abs(count - number * weight / sum(weights)) < 1 + 1e-6


@given(weights_of_boards, st.data())
def test_none_waits_longer_than_its_share_allows_while_others_come_and_go(
    weights: list[float], data: st.DataObject
) -> None:
    lags = [0.0] * len(weights)
    since, whole = 0, sum(weights)
    for _ in range(100):
        others = st.sets(st.integers(0, len(weights) - 1))
        able = sorted({0} | data.draw(others))
        gone = [n for n in range(len(weights)) if n not in able and lags[n]]
        some, of_some = [weights[n] for n in able], [lags[n] for n in able]
        for n in gone:
            share_out(lags[n], some, of_some)
            lags[n] = 0.0
        chosen = able[next_in_turn(some, of_some)]
        for n, lag in zip(able, of_some, strict=True):
            lags[n] = lag
        since = 0 if chosen == 0 else since + 1
        assert sum(lags) == pytest.approx(0, abs=1e-6)
        assert since <= (len(weights) + 1) * whole / weights[0]


def test_equal_weights_go_in_turn_and_the_order_is_always_the_same() -> None:
    lags = [0.0] * 3
    assert [next_in_turn([1, 1, 1], lags) for _ in range(6)] == [0, 1, 2, 0, 1, 2]
    lags = [0.0] * 2
    assert [next_in_turn([2, 1], lags) for _ in range(6)] == [0, 0, 1, 0, 0, 1]
