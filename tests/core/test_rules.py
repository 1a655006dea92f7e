"""Rules as functions: how many workers each pool should have, without any process."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio import (
    FirstThen,
    KeepIdle,
    PoolLoad,
    Priority,
    Proportional,
    Rule,
    UsageError,
    at_least,
    at_most,
)
from steerio.session.rules import apportion, within


def load(workers: int, tasks: int = 0) -> PoolLoad:
    """Return a pool that has so many workers, and tasks enough for them or not."""
    running = min(workers, tasks)
    return PoolLoad(workers, workers - running, tasks - running, running, at_home=workers)


def view(**pools: tuple[int, int]) -> dict[str, PoolLoad]:
    """Return pools given as (workers, tasks)."""
    return {name: load(*numbers) for name, numbers in pools.items()}


POOLS = ("a", "b", "c")
VIEWS = st.fixed_dictionaries(
    {name: st.builds(load, st.integers(0, 50), st.integers(0, 500)) for name in POOLS}
)
RULES: list[Rule] = [
    Proportional(*POOLS),
    Proportional(*POOLS, weights={"a": 0.1, "b": 7.0}),
    Priority(*POOLS),
    KeepIdle("a", 3, source="b"),
    FirstThen("a", "b", workers=4),
    at_least({"a": 2}, Proportional(*POOLS)),
    at_most({"a": 2}, Priority(*POOLS)),
    at_most({"b": 9}, at_least({"a": 1, "c": 1}, Proportional(*POOLS))),
]


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
@given(seen=VIEWS)
def test_wished_sizes_add_up_to_what_there_is(rule: Rule, seen: Mapping[str, PoolLoad]) -> None:
    wish = rule(seen)
    assert min(wish.values()) >= 0
    assert sum(wish.values()) == sum(seen[pool].at_home for pool in wish)


@given(seen=VIEWS)
def test_what_a_rule_wishes_it_does_not_wish_otherwise_once_it_is_so(
    seen: Mapping[str, PoolLoad],
) -> None:
    for rule in RULES[:5]:  # a bound may take a worker that is then missed
        wish = rule(seen)
        after = {
            name: load(wish.get(name, pool.at_home), pool.queued + pool.running)
            for name, pool in seen.items()
        }
        if any(pool.queued + pool.running for pool in seen.values()):
            assert rule(after) == wish, rule


def test_tasks_decide_how_workers_are_shared_out() -> None:
    rule = Proportional("a", "b")
    assert rule(view(a=(8, 30), b=(2, 10))) == {"a": 8, "b": 2}  # 7.5 and 2.5
    assert rule(view(a=(5, 10), b=(5, 10))) == {"a": 5, "b": 5}
    assert rule(view(a=(10, 5), b=(0, 0))) == {"a": 10, "b": 0}


def test_a_pool_with_one_task_among_thousands_has_a_worker() -> None:
    assert Proportional("a", "b")(view(a=(10, 100_000), b=(0, 1))) == {"a": 9, "b": 1}


def test_without_tasks_all_stay_where_they_are() -> None:
    assert Proportional("a", "b")(view(a=(7, 0), b=(3, 0))) == {"a": 7, "b": 3}


def test_a_weight_says_that_tasks_take_longer() -> None:
    rule = Proportional("a", "b", weights={"b": 3})
    assert rule(view(a=(4, 10), b=(4, 10))) == {"a": 2, "b": 6}


def test_the_first_pool_has_what_it_needs_before_the_second_has_any() -> None:
    rule = Priority("a", "b", "c")
    assert rule(view(a=(0, 4), b=(0, 9), c=(10, 99))) == {"a": 4, "b": 6, "c": 0}
    assert rule(view(a=(5, 1), b=(5, 2), c=(0, 0))) == {"a": 1, "b": 2, "c": 7}


def test_some_are_kept_idle_for_what_is_urgent() -> None:
    rule = KeepIdle("urgent", 2, source="rest")
    assert rule(view(urgent=(0, 0), rest=(10, 99))) == {"urgent": 2, "rest": 8}
    assert rule(view(urgent=(2, 5), rest=(8, 99))) == {"urgent": 7, "rest": 3}
    assert rule(view(urgent=(7, 0), rest=(3, 99))) == {"urgent": 2, "rest": 8}


def test_when_training_ends_its_workers_go_to_inference() -> None:
    rule = FirstThen("learn", "infer", workers=4)
    assert rule(view(learn=(4, 1), infer=(2, 0))) == {"learn": 4, "infer": 2}
    assert rule(view(learn=(4, 0), infer=(2, 50))) == {"learn": 0, "infer": 6}
    assert rule(view(learn=(0, 1), infer=(6, 50))) == {"learn": 4, "infer": 2}


def test_bounds_take_from_those_that_can_spare() -> None:
    seen = view(a=(10, 100), b=(0, 0), c=(2, 20))
    assert at_least({"b": 3}, Proportional(*POOLS))(seen) == {"a": 7, "b": 3, "c": 2}
    assert at_most({"a": 4}, Proportional(*POOLS))(seen) == {"a": 4, "b": 2, "c": 6}


def test_bounds_for_which_there_are_too_few_share_out_what_there_is() -> None:
    rule = at_least({"a": 4, "b": 8}, Proportional("a", "b"))
    assert rule(view(a=(6, 1), b=(0, 0))) == {"a": 2, "b": 4}


def test_workers_that_no_pool_may_have_are_spoken_of_by_nobody() -> None:
    assert within({"a": 9, "b": 1}, {}, {"a": 4, "b": 2}) == {"a": 4, "b": 2}


@given(
    st.integers(0, 10_000),
    st.lists(st.floats(0, 1e6), min_size=1, max_size=8).filter(lambda weights: sum(weights) > 0),
)
def test_shares_are_within_one_of_their_quota(seats: int, weights: list[float]) -> None:
    shares = apportion(seats, {str(n): weight for n, weight in enumerate(weights)})
    assert sum(shares.values()) == seats
    for number, weight in enumerate(weights):
        assert abs(shares[str(number)] - seats * weight / sum(weights)) < 1 + 1e-6


def test_a_rule_of_five_lines_is_as_good_as_those_built_in() -> None:
    def nights(seen: Mapping[str, PoolLoad]) -> dict[str, int]:
        both = seen["day"].at_home + seen["night"].at_home
        wanted = both if seen["night"].queued > 100 else both // 2
        return {"night": wanted, "day": both - wanted}

    assert at_least({"day": 1}, nights)(view(day=(5, 0), night=(5, 999))) == {"night": 9, "day": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Proportional("a"),
        lambda: Proportional("a", "a"),
        lambda: Proportional("a", "b", weights={"c": 1}),
        lambda: Proportional("a", "b", weights={"b": -1}),
        lambda: Priority("a"),
        lambda: KeepIdle("a", 0, source="b"),
        lambda: KeepIdle("a", 1, source="a"),
        lambda: FirstThen("a", "b", workers=0),
        lambda: at_least({"a": -1}, Priority("a", "b")),
        lambda: at_most({"c": 1}, Priority("a", "b"))(view(a=(1, 0), b=(1, 0))),
        lambda: apportion(3, {"a": 0}),
    ],
)
def test_a_rule_that_cannot_be_is_refused(wrong: Rule) -> None:
    with pytest.raises(UsageError):
        wrong()  # type: ignore[call-arg]
