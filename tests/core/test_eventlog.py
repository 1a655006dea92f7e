from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from steerio.core.core import Core
from steerio.core.eventlog import KEPT_EVENTS, EventLog
from steerio.model.events import AnyEvent, NodeLost
from steerio.model.settings import Settings
from tests.core import invariants


def add(log: EventLog, count: int = 1) -> None:
    for _ in range(count):
        log.emit(NodeLost, 0.0, "node", "it left")


def numbers(events: list[AnyEvent]) -> list[int]:
    return [event.number for event in events]


def test_numbers_rise_by_one_from_one() -> None:
    log = EventLog()
    add(log, 5)
    events = log.take_fresh()
    invariants.check_events(events)
    assert numbers(events) == [1, 2, 3, 4, 5]
    assert len(log) == log.count == 5


def test_fresh_events_are_taken_once() -> None:
    log = EventLog()
    add(log, 2)
    assert numbers(log.take_fresh()) == [1, 2]
    assert log.take_fresh() == []
    add(log)
    assert numbers(log.take_fresh()) == [3]


def test_what_was_taken_can_be_read_again_from_any_number() -> None:
    log = EventLog()
    add(log, 5)
    log.take_fresh()
    missed, events = log.after(0)
    assert (missed, numbers(list(events))) == (0, [1, 2, 3, 4, 5])
    missed, events = log.after(3)
    assert (missed, numbers(list(events))) == (0, [4, 5])
    missed, events = log.after(5)
    assert (missed, list(events)) == (0, [])


def test_fresh_events_are_not_read_again_before_they_were_shared() -> None:
    log = EventLog()
    add(log, 2)
    log.take_fresh()
    add(log, 2)
    missed, events = log.after(0)
    assert (missed, numbers(list(events))) == (0, [1, 2])


def test_a_late_reader_is_told_how_much_is_no_longer_kept() -> None:
    log = EventLog(kept=3)
    add(log, 10)
    log.take_fresh()
    missed, events = log.after(0)
    assert (missed, numbers(list(events))) == (7, [8, 9, 10])
    missed, events = log.after(4)
    assert (missed, numbers(list(events))) == (3, [8, 9, 10])
    missed, events = log.after(7)
    assert (missed, numbers(list(events))) == (0, [8, 9, 10])


def test_an_empty_log_has_nothing_and_misses_nothing() -> None:
    log = EventLog()
    for number in (0, 7):
        missed, events = log.after(number)
        assert (missed, list(events)) == (0, [])


def test_a_number_from_the_future_reads_nothing() -> None:
    log = EventLog()
    add(log, 2)
    log.take_fresh()
    missed, events = log.after(100)
    assert (missed, list(events)) == (0, [])


def test_nothing_can_be_missed_before_the_first_event() -> None:
    log = EventLog(kept=2)
    add(log, 5)
    log.take_fresh()
    missed, events = log.after(-10)
    assert (missed, numbers(list(events))) == (3, [4, 5])


def test_the_log_is_bounded_unless_told_otherwise() -> None:
    log = EventLog()
    assert log._kept.maxlen == KEPT_EVENTS


@given(
    st.lists(st.integers(0, 6), max_size=8),
    st.integers(1, 8),
    st.integers(0, 30),
    st.integers(0, 5),
)
def test_missed_kept_and_fresh_are_all_that_came_after(
    batches: list[int], kept: int, number: int, fresh: int
) -> None:
    log = EventLog(kept=kept)
    for batch in batches:
        add(log, batch)
        log.take_fresh()
    add(log, fresh)
    shared = sum(batches)
    missed, events = log.after(number)
    assert numbers(list(events)) == list(range(number + 1 + missed, shared + 1))
    assert missed == max(0, shared - kept - number)


def test_numbers_go_on_behind_those_of_an_earlier_incarnation() -> None:
    core = Core(Settings(), {}, False)
    core.count_events_from(41)
    core.published("topic", 1, "client", 0.0)
    assert [event.number for event in core.take_events()] == [42]
