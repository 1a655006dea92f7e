"""Which moves follow from wishes: hysteresis, one move between two pools, undoing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from steerio.session.allocation import Steps


def test_a_wish_has_to_hold_before_anybody_moves() -> None:
    steps = Steps(settle_s=1.0)
    have, wish = {"a": 10, "b": 0}, {"a": 6, "b": 4}
    assert steps.decide(have, wish, {}, 0.0) == ({}, [])
    assert steps.due == 1.0
    assert steps.decide(have, wish, {}, 0.9) == ({}, [])
    assert steps.decide(have, wish, {}, 1.0) == ({("a", "b"): 4}, [])


def test_a_timer_that_calls_within_the_resolution_of_its_clock_is_not_too_early() -> None:
    steps = Steps(settle_s=1.0)
    have, wish = {"a": 10, "b": 0}, {"a": 6, "b": 4}
    assert steps.decide(have, wish, {}, 7.1) == ({}, [])
    assert steps.decide(have, wish, {}, steps.due - 1e-9) == ({("a", "b"): 4}, [])


def test_a_wish_that_changes_its_mind_begins_anew() -> None:
    steps = Steps(settle_s=1.0)
    have = {"a": 5, "b": 5}
    for tick in range(100):
        wish = {"a": 9, "b": 1} if tick % 2 else {"a": 1, "b": 9}
        assert steps.decide(have, wish, {}, 0.6 * tick) == ({}, [])


def test_no_more_go_than_were_wished_all_the_time() -> None:
    steps = Steps(settle_s=1.0, slack=0.0)
    have = {"a": 100, "b": 0}
    for now, wanted in ((0.0, 50), (0.5, 3), (0.9, 40)):
        assert steps.decide(have, {"a": 100 - wanted, "b": wanted}, {}, now) == ({}, [])
    assert steps.decide(have, {"a": 20, "b": 80}, {}, 1.0) == ({("a", "b"): 3}, [])


def test_what_is_under_way_counts_where_it_goes() -> None:
    steps = Steps(settle_s=0.0)
    have, wish = {"a": 10, "b": 0}, {"a": 6, "b": 4}
    assert steps.decide(have, wish, {("a", "b"): 4}, 0.0) == ({}, [])
    assert steps.decide(have, wish, {("a", "b"): 1}, 1.0) == ({}, []), "one move at a time"
    assert steps.decide({"a": 9, "b": 1}, wish, {}, 2.0) == ({("a", "b"): 3}, [])


def test_a_move_that_is_no_longer_wished_is_undone() -> None:
    steps = Steps(settle_s=1.0)
    have, wish = {"a": 10, "b": 0}, {"a": 10, "b": 0}
    assert steps.decide(have, wish, {("a", "b"): 4}, 0.0) == ({}, [])
    assert steps.decide(have, wish, {("a", "b"): 4}, 1.0) == ({}, [("a", "b")])
    assert steps.decide(have, wish, {}, 1.0) == ({}, [])


def test_what_was_little_long_ago_does_not_count_for_ever() -> None:
    steps = Steps(settle_s=1.0, slack=0.1)
    have = {"a": 100, "b": 50}
    for now, wanted in ((0.0, 3), (1.0, 3), (1.1, 50), (2.0, 50)):
        assert steps.decide(have, {"a": 100 - wanted, "b": 50 + wanted}, {}, now) == ({}, [])
    assert steps.due == 3.0
    assert steps.decide(have, {"a": 50, "b": 100}, {}, 3.0) == ({("a", "b"): 50}, [])


def test_small_differences_are_left_alone_and_the_last_worker_is_not() -> None:
    steps = Steps(settle_s=0.0, slack=0.05)
    assert steps.decide({"a": 500, "b": 500}, {"a": 520, "b": 480}, {}, 0.0) == ({}, [])
    steps = Steps(settle_s=0.0, slack=0.05)
    assert steps.decide({"a": 500, "b": 500}, {"a": 530, "b": 470}, {}, 1.0)[0]
    assert steps.decide({"a": 999, "b": 1}, {"a": 1000, "b": 0}, {}, 2.0)[0] == {("b", "a"): 1}


def test_a_move_takes_no_more_than_a_step() -> None:
    steps = Steps(settle_s=0.0, step=5)
    assert steps.decide({"a": 10, "b": 0}, {"a": 0, "b": 10}, {}, 0.0)[0] == {("a", "b"): 5}


SIZES = st.lists(st.integers(0, 20), min_size=4, max_size=4)


@given(have=SIZES, order=st.permutations(range(4)), slack=st.sampled_from([0.0, 0.05, 0.3]))
def test_what_is_made_leads_to_what_is_wished(
    have: list[int], order: list[int], slack: float
) -> None:
    now = dict(zip("abcd", have, strict=True))
    wish = dict(zip("abcd", [have[n] for n in order], strict=True))
    made, undone = Steps(settle_s=0.0, slack=slack).decide(now, wish, {}, 0.0)
    assert not undone
    for (source, target), count in made.items():
        assert count > 0
        now[source] -= count
        now[target] += count
    for pool, size in now.items():
        assert abs(size - wish[pool]) <= slack * max(size, wish[pool]) + 3 * (slack > 0)
