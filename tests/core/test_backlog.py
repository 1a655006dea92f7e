from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.core.backlog import Backlog
from steerio.core.lifecycle import Fact, State, advance
from steerio.core.records import TaskRecord, TypeRecord
from steerio.model.tasks import TaskOptions, TaskSpec

SLACK = 64
KIND = TypeRecord(1, TaskSpec("energy", "simulate"))


def task(order: int, priority: float = 0.0) -> TaskRecord:
    return TaskRecord(order, 1, KIND, b"", (), TaskOptions(), 0.0, 0.0, order, priority)


def drained(backlog: Backlog) -> list[int]:
    ids = []
    while (record := backlog.pop()) is not None:
        advance(record, Fact.SENT)
        ids.append(record.task_id)
    return ids


def cancel(backlog: Backlog, record: TaskRecord) -> None:
    advance(record, Fact.SETTLED)
    backlog.forget(record)


def test_an_empty_backlog_has_nothing_to_give() -> None:
    backlog = Backlog()
    assert len(backlog) == 0
    assert not backlog
    assert backlog.peek() is None
    assert backlog.pop() is None
    assert list(backlog) == []


def test_equal_priorities_go_in_order_of_submission() -> None:
    backlog = Backlog()
    for order in (1, 2, 3):
        backlog.push(task(order))
    assert drained(backlog) == [1, 2, 3]


def test_the_highest_priority_goes_first() -> None:
    backlog = Backlog()
    for order, priority in ((1, 0.0), (2, -1.0), (3, 5.0), (4, 5.0)):
        backlog.push(task(order, priority))
    assert drained(backlog) == [3, 4, 1, 2]


def test_what_was_returned_goes_before_what_was_submitted_after_it() -> None:
    backlog = Backlog()
    first, second = task(1), task(2)
    backlog.push(first)
    backlog.push(second)
    assert backlog.pop() is first
    backlog.push(first)
    assert drained(backlog) == [1, 2]


def test_peeking_takes_nothing_out() -> None:
    backlog = Backlog()
    record = task(1)
    backlog.push(record)
    assert backlog.peek() is record
    assert backlog.peek() is record
    assert len(backlog) == 1


def test_peeking_passes_over_what_was_cancelled_or_ranked_down() -> None:
    backlog = Backlog()
    records = [task(order) for order in range(100)]
    for record in records:
        backlog.push(record)
    cancel(backlog, records[0])
    backlog.reprioritise([(records[1], -1.0)])
    assert len(backlog._heap) == 101, "nothing was swept out"
    assert backlog.peek() is records[2]
    assert drained(backlog) == [*range(2, 100), 1]


def test_a_forgotten_task_is_skipped() -> None:
    backlog = Backlog()
    first, second = task(1), task(2)
    backlog.push(first)
    backlog.push(second)
    cancel(backlog, first)
    assert len(backlog) == 1
    assert list(backlog) == [second]
    assert drained(backlog) == [2]
    assert len(backlog) == 0


def test_a_new_priority_moves_a_task_both_ways() -> None:
    backlog = Backlog()
    records = [task(order) for order in (1, 2, 3)]
    for record in records:
        backlog.push(record)
    backlog.reprioritise([(records[2], 1.0)])
    backlog.reprioritise([(records[0], -1.0)])
    assert len(backlog) == 3
    assert drained(backlog) == [3, 2, 1]


def test_few_of_many_get_new_priorities() -> None:
    backlog = Backlog()
    records = [task(order) for order in range(100)]
    for record in records:
        backlog.push(record)
    backlog.reprioritise([(records[50], 1.0), (records[7], -1.0)])
    assert len(backlog._heap) == 102
    order = drained(backlog)
    assert (order[0], order[1], order[-1]) == (50, 0, 7)
    assert len(order) == 100


def test_the_same_priority_again_adds_no_entry() -> None:
    backlog = Backlog()
    record = task(1, 2.0)
    backlog.push(record)
    backlog.reprioritise([(record, 2.0)])
    assert len(backlog._heap) == 1


def test_a_priority_given_back_leaves_the_task_there_once() -> None:
    backlog = Backlog()
    record, other = task(1), task(2)
    backlog.push(record)
    backlog.push(other)
    backlog.reprioritise([(record, 3.0)])
    backlog.reprioritise([(record, 0.0)])
    assert sorted(r.task_id for r in backlog) == [1, 2]
    assert drained(backlog) == [1, 2]


def test_a_task_that_comes_back_is_there_once_in_spite_of_its_old_entries() -> None:
    backlog = Backlog()
    record = task(1)
    backlog.push(record)
    backlog.reprioritise([(record, 3.0)])
    backlog.reprioritise([(record, 0.0)])
    assert backlog.pop() is record
    advance(record, Fact.SENT)
    advance(record, Fact.RETRIED)
    backlog.push(record)
    assert len(backlog) == 1
    assert drained(backlog) == [1]


def test_dead_entries_never_outnumber_the_live_ones_by_more_than_the_slack() -> None:
    backlog = Backlog()
    records = [task(order) for order in range(10)]
    for record in records:
        backlog.push(record)
    for turn in range(1, 1000):
        backlog.reprioritise([(records[turn % 10], float(turn))])
        assert len(backlog._heap) <= 2 * len(backlog) + SLACK
    assert len(drained(backlog)) == 10


@pytest.mark.borders
def test_what_was_ranked_down_long_ago_does_not_stay_behind_a_short_queue() -> None:
    backlog = Backlog()
    records = [task(order) for order in range(1000)]
    for record in records:
        backlog.push(record)
    backlog.reprioritise([(record, float(record.order)) for record in records])
    for order in range(1000, 3000):
        backlog.push(task(order, float(order)))  # each goes before all that there was
        popped = backlog.pop()
        assert popped is not None
        advance(popped, Fact.SENT)
        assert len(backlog._heap) <= 2 * len(backlog) + SLACK
        if records:
            cancel(backlog, records.pop())
    assert len(backlog) == 0


@pytest.mark.borders
def test_a_queue_that_was_worked_off_keeps_no_dead_entries() -> None:
    backlog = Backlog()
    records = [task(order, -5.0) for order in range(1000)]
    for record in records:
        backlog.push(record)
    for record in records:  # one by one, for of many at once the heap is made anew
        backlog.reprioritise([(record, float(record.order))])
    assert len(backlog._heap) > 1900
    for left in range(999, 9, -1):
        popped = backlog.pop()
        assert popped is not None
        assert popped.task_id == left
        advance(popped, Fact.SENT)
        assert len(backlog._heap) <= 2 * len(backlog) + SLACK
    assert drained(backlog) == list(range(9, -1, -1))


def test_cancelling_everything_leaves_no_more_than_the_slack() -> None:
    backlog = Backlog()
    records = [task(order) for order in range(1000)]
    for record in records:
        backlog.push(record)
    for record in reversed(records):
        cancel(backlog, record)
    assert len(backlog) == 0
    assert len(backlog._heap) <= SLACK
    assert backlog.pop() is None


def test_sweeping_keeps_the_order() -> None:
    backlog = Backlog()
    records = [task(order, float(order % 7)) for order in range(400)]
    for record in records:
        backlog.push(record)
    for record in records[:300]:
        cancel(backlog, record)
    wanted = sorted(records[300:], key=lambda record: (-record.priority, record.order))
    assert drained(backlog) == [record.task_id for record in wanted]


def test_entries_of_equal_order_do_not_break_the_queue() -> None:
    backlog = Backlog()
    for _ in range(5):
        backlog.push(task(1))
    assert len(drained(backlog)) == 5


def test_a_backlog_says_how_long_it_is() -> None:
    backlog = Backlog()
    backlog.push(task(1))
    assert repr(backlog) == "<Backlog 1 queued>"


steps = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "pop", "cancel", "rank", "rank many", "return"]),
        st.integers(0, 30),
        st.integers(-2, 2).map(float),
    ),
    max_size=120,
)


@given(steps)
def test_a_backlog_gives_what_sorting_would_give(steps: list[tuple[str, int, float]]) -> None:
    backlog = Backlog()
    queued: list[TaskRecord] = []
    taken: list[TaskRecord] = []
    for number, (step, which, priority) in enumerate(steps):
        queued.sort(key=lambda record: (-record.priority, record.order))
        if step == "push":
            queued.append(task(number, priority))
            backlog.push(queued[-1])
        elif step == "pop":
            record = backlog.pop()
            assert record is (queued.pop(0) if queued else None)
            if record is not None:
                advance(record, Fact.SENT)
                taken.append(record)
        elif step == "return" and taken:
            record = taken.pop(which % len(taken))
            advance(record, Fact.RETURNED)
            record.priority = priority
            backlog.push(record)
            queued.append(record)
        elif step == "cancel" and queued:
            cancel(backlog, queued.pop(which % len(queued)))
        elif step == "rank" and queued:
            backlog.reprioritise([(queued[which % len(queued)], priority)])
        elif step == "rank many":
            changes = [(record, priority + at % 3) for at, record in enumerate(queued[which:])]
            backlog.reprioritise([*changes, *changes[:2], *((r, p - 1) for r, p in changes[:1])])
        assert len(backlog) == len(queued)
        assert {record.task_id for record in backlog} == {record.task_id for record in queued}
        assert len(backlog._heap) <= 2 * len(backlog) + SLACK
    queued.sort(key=lambda record: (-record.priority, record.order))
    assert all(record.state == State.QUEUED for record in queued)
    assert drained(backlog) == [record.task_id for record in queued]
