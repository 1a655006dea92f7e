"""The rule of blocks: more for tasks, fewer when idle, and pauses after failures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from steerio.core.block_rule import (
    LONGEST_PAUSE_S,
    BlockSeen,
    BlockSteps,
    Change,
    Phase,
    wanted,
)


def seen(**phases: Phase) -> list[BlockSeen]:
    """Return blocks, none of which has a busy worker."""
    return [BlockSeen(name, phase) for name, phase in phases.items()]


def test_blocks_are_wanted_for_the_tasks_that_other_workers_do_not_take() -> None:
    block = {"simulate": 4, "learn": 1}
    assert wanted({}, {}, block) == 0
    assert wanted({"simulate": 4}, {}, block) == 1
    assert wanted({"simulate": 5}, {}, block) == 2
    assert wanted({"simulate": 5}, {"simulate": 1}, block) == 1
    assert wanted({"simulate": 1, "learn": 3, "other": 99}, {}, block) == 3
    assert wanted({"simulate": 1}, {}, {}) == 0


def test_blocks_are_submitted_as_they_are_wanted_within_bounds() -> None:
    steps = BlockSteps(least=1, most=3, idle_s=60.0)
    assert steps.decide([], 0, 0.0) == Change(1)
    assert steps.decide(seen(a="waiting"), 2, 1.0) == Change(1)
    assert steps.decide(seen(a="up", b="waiting"), 99, 2.0) == Change(1)
    assert steps.decide(seen(a="up", b="up", c="up"), 99, 3.0) == Change(0)
    assert steps.decide(seen(a="leaving", b="up", c="up"), 99, 4.0) == Change(0)
    assert steps.decide(seen(b="up", c="up"), 99, 5.0) == Change(1)


def test_a_block_that_waits_is_given_up_when_it_was_not_wanted_for_a_while() -> None:
    steps = BlockSteps(least=0, most=3, idle_s=60.0)
    blocks = seen(a="waiting", b="waiting")
    assert steps.decide(blocks, 1, 0.0) == Change(0)
    assert steps.decide(blocks, 2, 50.0) == Change(0)  # wanted again, so the time begins anew
    assert steps.decide(blocks, 1, 70.0) == Change(0)
    assert steps.decide(blocks, 1, 129.0) == Change(0)
    assert steps.decide(blocks, 1, 130.0) == Change(0, ("b",))


def test_a_block_that_is_up_is_given_up_when_it_was_idle_for_a_while() -> None:
    steps = BlockSteps(least=1, most=3, idle_s=60.0)
    busy = [BlockSeen("a", "up", busy=1), *seen(b="up", c="up")]
    assert steps.decide(busy, 1, 0.0) == Change(0)
    assert steps.decide([*seen(a="up"), BlockSeen("b", "up", 1), *seen(c="up")], 1, 50.0).more == 0
    assert steps.decide(seen(a="up", b="up", c="up"), 0, 60.0) == Change(0, ("c",))
    assert steps.decide(seen(a="up", b="up"), 0, 110.0) == Change(0, ("a",))
    assert steps.decide(seen(b="up"), 0, 999.0) == Change(0), "the least stays"


def test_pauses_grow_with_failures_in_a_row() -> None:
    steps = BlockSteps(least=0, most=2, idle_s=60.0)
    assert steps.failed(0.0) == 10.0
    assert steps.decide([], 1, 9.0) == Change(0)
    assert steps.decide([], 1, 10.0) == Change(1)
    assert steps.failed(10.0) == 20.0
    assert max(steps.failed(0.0) for _ in range(20)) == LONGEST_PAUSE_S
    steps.worked()
    assert steps.failed(0.0) == 10.0


@given(
    st.lists(st.tuples(st.sampled_from(["waiting", "up", "leaving"]), st.integers(0, 2))),
    st.integers(0, 9),
    st.integers(0, 3),
    st.integers(0, 4),
    st.lists(st.floats(0, 100), min_size=1, max_size=5),
)
def test_the_bounds_hold_and_no_busy_block_is_given_up(
    blocks: list[tuple[Phase, int]], wish: int, least: int, more: int, pauses: list[float]
) -> None:
    steps = BlockSteps(least=least, most=least + more, idle_s=50.0)
    there = [BlockSeen(str(n), phase, busy) for n, (phase, busy) in enumerate(blocks)]
    now = 0.0
    for pause_s in pauses:
        now += pause_s
        change = steps.decide(there, wish, now)
        staying = [block for block in there if block.phase != "leaving"]
        assert not (change.more and change.fewer)
        assert change.more + len(there) <= max(least + more, len(there))
        if change.fewer:
            assert len(staying) - len(change.fewer) >= max(least, min(wish, least + more))
        given_up = {block.name: block for block in staying if block.name in change.fewer}
        assert len(given_up) == len(change.fewer)
        assert all(b.phase == "waiting" or not b.busy for b in given_up.values())
