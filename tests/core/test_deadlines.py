from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from steerio.core.deadlines import Deadlines


def test_without_deadlines_there_is_no_next_one() -> None:
    deadlines = Deadlines()
    assert deadlines.next is None
    assert len(deadlines) == 0
    assert list(deadlines.due(1e9)) == []


def test_the_next_deadline_is_the_earliest() -> None:
    deadlines = Deadlines()
    deadlines.add(5.0, "late", 1)
    deadlines.add(2.0, "early", 2)
    assert deadlines.next == 2.0
    assert len(deadlines) == 2


def test_what_is_due_comes_earliest_first_and_only_once() -> None:
    deadlines = Deadlines()
    deadlines.add(3.0, "third", 3)
    deadlines.add(1.0, "first", 1)
    deadlines.add(2.0, "second", 2)
    assert list(deadlines.due(2.0)) == [("first", 1), ("second", 2)]
    assert list(deadlines.due(2.0)) == []
    assert deadlines.next == 3.0


def test_deadlines_of_one_moment_come_in_the_order_they_were_set() -> None:
    deadlines = Deadlines()
    for about in (3, 1, 2):
        deadlines.add(1.0, "z" if about == 3 else "a", about)
    assert [about for _, about in deadlines.due(1.0)] == [3, 1, 2]


def test_a_deadline_set_while_others_are_looked_at_is_looked_at_too() -> None:
    deadlines = Deadlines()
    deadlines.add(1.0, "first", 1)
    seen = []
    for what, about in deadlines.due(1.0):
        seen.append(about)
        if what == "first":
            deadlines.add(1.0, "second", 2)
            deadlines.add(1.5, "third", 3)
    assert seen == [1, 2]
    assert deadlines.next == 1.5


def test_few_deadlines_are_not_swept() -> None:
    deadlines = Deadlines()
    deadlines.add(1.0, "timeout", 1)
    deadlines.sweep(lambda what, about: False)
    assert len(deadlines) == 1


def test_many_deadlines_that_no_longer_hold_are_swept_out() -> None:
    deadlines = Deadlines()
    for about in range(100_000):
        deadlines.add(3600.0 + about, "timeout", about)
        deadlines.sweep(lambda what, number, last=about: number > last - 10)  # type: ignore[misc]
        assert len(deadlines) < 3000
    assert [about for _, about in deadlines.due(1e9)][-1] == 99_999


def test_a_sweep_costs_little_for_each_deadline_that_was_set() -> None:
    deadlines, asked = Deadlines(), 0

    def holds(what: str, about: int) -> bool:
        nonlocal asked
        asked += 1
        return True

    for about in range(20_000):
        deadlines.add(float(about), "timeout", about)
        deadlines.sweep(holds)
    assert len(deadlines) == 20_000
    assert asked < 2 * 20_000


def test_a_sweep_in_the_middle_of_looking_at_what_is_due_loses_nothing() -> None:
    deadlines = Deadlines()
    for about in range(4000):
        deadlines.add(1.0, "timeout", about)
    seen = []
    for _, about in deadlines.due(1.0):
        seen.append(about)
        deadlines.sweep(lambda what, number: number % 2 == 0)
    assert seen == [0, *range(2, 4000, 2)]


@given(st.lists(st.floats(0, 10)), st.floats(0, 10))
def test_due_takes_out_exactly_what_has_come_up(times: list[float], now: float) -> None:
    deadlines = Deadlines()
    for about, when in enumerate(times):
        deadlines.add(when, "x", about)
    came = [times[about] for _, about in deadlines.due(now)]
    assert came == sorted(when for when in times if when <= now)
    later = [when for when in times if when > now]
    assert len(deadlines) == len(later)
    assert deadlines.next == (min(later) if later else None)
