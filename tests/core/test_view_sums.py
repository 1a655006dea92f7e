"""Times in bins, levels, percentiles, rows and notes: bounded, and right after any doubling."""

from __future__ import annotations

import math
from collections import deque

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.view.bins import MOST_BINS, Ages, BinAxis, Level, Peaks, Sums
from steerio.view.gantt_rows import MOST_ROWS, GanttRows
from steerio.view.seen_lines import SeenEvent, SeenTask
from steerio.view.sketch import Sketch
from steerio.view.snapshot import NO_TYPE, TimeAxis
from steerio.view.things_noted import MOST_POINTS, MarksSeen, NotesSeen

TIMES = st.floats(0.0, 5_000.0)


@given(st.lists(st.tuples(TIMES, TIMES, st.integers(1, 5)), max_size=30))
def test_sums_keep_all_seconds_however_often_the_bins_double(
    spans: list[tuple[float, float, int]],
) -> None:
    axis = BinAxis(0.0)
    sums = Sums(axis)
    for begin, end, weight in spans:
        sums.spread(begin, end, weight)
    expected = sum(max(0.0, end - begin) * weight for begin, end, weight in spans)
    assert sum(sums.values) == pytest.approx(expected)
    assert sums.total == pytest.approx(expected)
    assert len(sums.values) == MOST_BINS


@given(st.lists(st.tuples(st.floats(0.0, 50.0), st.integers(-3, 4)), max_size=40), st.data())
def test_a_level_is_its_integral_by_bin(
    steps: list[tuple[float, int]], data: st.DataObject
) -> None:
    axis = BinAxis(100.0)
    level, now, value, spans = Level(axis, 100.0), 100.0, 0, list[tuple[float, float, int]]()
    for after, by in steps:
        spans.append((now, now + after, value))
        now += after
        value = max(0, value + by)
        level.step(now, by)
        if data.draw(st.booleans()):
            level.to(now)
    assert level.value == value
    assert level.total == pytest.approx(sum((end - begin) * much for begin, end, much in spans))
    assert level.above_s == pytest.approx(sum(end - begin for begin, end, much in spans if much))
    whole = Sums(axis)
    for begin, end, much in spans:
        whole.spread(begin, end, much)
    assert level.values == pytest.approx(whole.values)


def test_times_before_the_beginning_count_in_the_first_bin() -> None:
    axis = BinAxis(10.0)
    sums, peaks = Sums(axis), Peaks(axis)
    sums.add(3.0)
    sums.spread(9.0, 10.01)
    peaks.add(3.0, 7.0)
    assert sums.values[0] == pytest.approx(2.01)
    assert (peaks.values[0], sum(peaks.values)) == (7.0, 7.0)


def test_peaks_stay_when_bins_double() -> None:
    axis = BinAxis(0.0)
    peaks = Peaks(axis)
    for at, value in ((1.0, 5.0), (1.01, 3.0), (2.0, 4.0), (10_000.0, 1.0)):
        peaks.add(at, value)
    assert max(peaks.values) == 5.0
    assert axis.index(10_000.0) < MOST_BINS
    assert peaks.values[axis.index(10_000.0)] == 1.0


@given(st.lists(st.tuples(st.floats(0.01, 30.0), st.booleans()), min_size=1, max_size=60))
def test_the_age_of_the_oldest_is_the_greatest_of_each_bin(steps: list[tuple[float, bool]]) -> None:
    axis = BinAxis(0.0)
    ages, waiting, now = Ages(axis, 0.0), deque[float](), 0.0
    spans: list[tuple[float, float, float]] = []
    for past_s, comes in steps:
        if waiting:
            spans.append((now, now + past_s, waiting[0]))
        now += past_s
        if comes:
            waiting.append(now)
        elif waiting:
            if now >= ages.ends:
                ages.to(now, waiting[0])
            ages.add(now, now - waiting.popleft())
    shown = ages.ahead(now, waiting[0] if waiting else None)
    width = axis.width_s
    for index in range(axis.index(now) + 1):
        begin, end = index * width, (index + 1) * width
        least, most = (
            max((min(end, t) - s for at, t, s in spans if at < end and t > begin + by), default=0.0)
            for by in (1e-6, -1e-6)  # it may end between two bins
        )
        assert least - 1e-6 < shown[index] < most + 1e-6
    assert not any(shown[axis.index(now) + 1 :])


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=200), st.sampled_from([0.1, 0.5, 0.9]))
def test_percentiles_are_right_within_two_percent(numbers: list[float], share: float) -> None:
    sketch = Sketch()
    for number in numbers:
        sketch.add(number)
    spread = sketch.spread()
    exact = sorted(numbers)[math.floor(share * (len(numbers) - 1))]
    told = {0.1: spread.p10, 0.5: spread.p50, 0.9: spread.p90}[share]
    assert told == pytest.approx(exact, rel=0.02)
    assert (spread.count, sum(spread.counts)) == (len(numbers), len(numbers))
    assert len(spread.edges) == len(spread.counts) + 1 <= 42
    assert (spread.least, spread.most) == pytest.approx((min(numbers), max(numbers)), rel=1e-3)


def test_what_is_not_positive_counts_as_zero() -> None:
    sketch = Sketch()
    sketch.take_all([-1.0, -0.0, 0.0, 1000.0])
    spread = sketch.spread()
    assert (spread.count, spread.least, spread.p50, spread.most) == (4, 0.0, 0.0, 1000.0)
    assert sum(spread.counts) == 4
    assert Sketch().spread().count == 0


def test_distributions_can_be_put_together() -> None:
    one, other, both = Sketch(), Sketch(), Sketch()
    one.take_all([1.0, 2.0])
    other.take_all([4.0])
    for sketch in (one, other, Sketch()):
        both.take(sketch)
    spread = both.spread()
    assert (spread.count, spread.mean, spread.least, spread.most) == (3, 2.333, 1.0, 4.0)


@given(st.lists(st.floats(0.001, 1000.0), min_size=1, max_size=20))
def test_the_total_of_a_distribution_is_not_rounded_and_never_falls(numbers: list[float]) -> None:
    sketch, before = Sketch(), 0.0
    for number in numbers:
        sketch.add(number)
        total = sketch.spread().total
        assert total == before + number
        before = total


# -- rows -----------------------------------------------------------------------------------------


def axis_of(axis: BinAxis, until: float) -> TimeAxis:
    count = axis.index(until) + 1  # this first: it may double the width
    return TimeAxis(axis.began, axis.width_s, count)


def attempt(worker: str, node: str, *, failed: bool) -> SeenTask:
    return SeenTask(1, 0.0, worker=worker, node=node, ended_as="failed" if failed else "succeeded")


def test_a_worker_that_replaces_another_has_its_row() -> None:
    rows = GanttRows(BinAxis(0.0))
    rows.joined("a-1", "n", "a")
    rows.ran(attempt("a-1", "n", failed=True), 0.0, 2.0, 0)
    rows.left("a-1", "n", "a")
    rows.joined("a-2", "n", "a")
    rows.ran(attempt("a-2", "n", failed=False), 2.0, 4.0, 3)
    rows.ran(attempt("a-1", "n", failed=False), 0.0, 0.0, 0)
    view = rows.view(axis_of(rows.axis, 4.0), ("x", "y"))
    (row,) = view.rows
    assert (view.by, row.name, row.node, row.workers) == ("worker", "a-2", "n", 1)
    assert set(row.types[:40]) == {0}
    assert row.types[-2] == 3
    assert (row.busy[0], row.failed[0], row.failed[-2]) == (255, 255, 0)


def test_workers_that_a_resumed_run_names_as_before_leave_their_rows_again() -> None:
    rows = GanttRows(BinAxis(0.0))
    rows.joined("a-1", "n", "a")
    rows.clear()
    for name in ("a-1", "a-2", "a-3"):
        rows.joined(name, "n", "a")
        rows.left(name, "n", "a")
    (row,) = rows.view(axis_of(rows.axis, 1.0), ()).rows
    assert row.name == "a-3"


def test_many_workers_are_drawn_by_node_and_many_nodes_together() -> None:
    rows = GanttRows(BinAxis(0.0))
    for number in range(3 * MOST_ROWS):
        node = f"n-{number // 3}"
        rows.joined(f"a-{number}", node, "a")
        rows.ran(attempt(f"a-{number}", node, failed=False), 0.0, 1.0, 1)
    view = rows.view(axis_of(rows.axis, 1.0), ("x", "y"))
    assert (view.by, len(view.rows)) == ("node", MOST_ROWS)
    assert {(row.workers, row.busy[0], row.types[0]) for row in view.rows} == {(3, 255, 1)}

    rows.joined("a", "another", "a")
    view = rows.view(axis_of(rows.axis, 1.0), ("x", "y"))
    assert (view.by, len(view.rows)) == ("nodes", MOST_ROWS // 2 + 1)
    assert view.rows[0].name == "n-0 and 1 more"
    assert view.rows[0].workers == 6
    assert view.rows[-1].types[0] == NO_TYPE


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 100)), min_size=1, max_size=20))
def test_the_busy_share_of_a_row_is_that_of_its_attempts(spans: list[tuple[float, float]]) -> None:
    rows = GanttRows(BinAxis(0.0))
    rows.joined("a", "n", "a")
    now = 0.0
    for gap, run in spans:
        rows.ran(attempt("a", "n", failed=False), now + gap, now + gap + run, 0)
        now += gap + run
    axis = axis_of(rows.axis, now)
    (row,) = rows.view(axis, ("x",)).rows
    seconds = sum(row.busy) / 255 * axis.width_s
    assert seconds == pytest.approx(
        sum(run for _, run in spans), abs=axis.width_s * axis.count / 255
    )


# -- notes and marks ------------------------------------------------------------------------------


def note(at: float, text: str) -> SeenEvent:
    return SeenEvent("Published", at, topic="note", value=msgspec.Raw(text.encode()))


def test_notes_are_merged_and_keep_the_extremes() -> None:
    notes = NotesSeen()
    for number in range(10 * MOST_POINTS):
        best = 1000.0 if number == 777 else float(number % 7)
        notes.add(
            note(float(number), f'{{"best": {best}, "name": "x", "flag": true}}'), number, 1.0
        )
    notes.add(note(0.0, "3"), 0, 0.0)
    (series,) = notes.view()
    assert (series.name, series.count, series.most, series.least) == ("best", 5120, 1000.0, 0.0)
    assert MOST_POINTS / 2 <= len(series.value) <= MOST_POINTS
    assert max(series.high) == 1000.0
    assert (series.at[-1], series.last) == (5119.0, 5119 % 7)
    assert len(series.at) == len(series.low) == len(series.tasks) == len(series.worker_s)


def test_marks_that_are_alike_become_one() -> None:
    axis = BinAxis(0.0)
    marks = MarksSeen(axis)
    for number in range(1000):
        marks.add(number / 10, "moved", "b", "a", "w")
    marks.add(50.0, "lost", "b", text="w-1: killed")
    view = marks.view()
    assert len(view) <= 200
    assert sum(mark.count for mark in view if mark.kind == "moved") == 1000
    assert [mark.text for mark in view if mark.kind == "lost"] == ["w-1: killed"]
    assert [mark.at for mark in view] == sorted(mark.at for mark in view)
