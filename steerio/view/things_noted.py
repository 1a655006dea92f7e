"""Failures, marks, versions and noted quantities of a run, each within bounds."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque

import msgspec
from msgspec import Struct, structs

from steerio.view.bins import BinAxis, Sums
from steerio.view.seen_lines import SeenEvent, SeenTask, details_of, numbers_of
from steerio.view.sketch import Sketch, shown
from steerio.view.snapshot import (
    FailureGroup,
    FailureView,
    Mark,
    NoteSeries,
    VersionView,
)
from steerio.view.task_figures import OTHERS

NOTES_TOPIC = "note"
"""The topic of published events whose numbers are quantities to draw."""
LAST_FAILURES, MOST_GROUPS, SHOWN_GROUPS = 50, 200, 50
MOST_MARKS = 200
MOST_QUESTIONS = 1_000
MOST_NOTES, MOST_POINTS = 40, 512
MOST_VERSIONS, KEPT_VERSIONS, SHOWN_VERSIONS = 40, 4_096, 64
SHOWN_CHARACTERS = 2_000
"""Of longer arguments and values the rest is not shown."""
_numbers = re.compile(r"0x[0-9a-fA-F]+|\d+")


class FailuresSeen:
    """Tasks that did not end well."""

    def __init__(self) -> None:
        self._last: deque[tuple[SeenTask, bytes]] = deque(maxlen=LAST_FAILURES)
        self._groups: dict[tuple[str, str, str], FailureGroup] = {}

    def __repr__(self) -> str:
        return f"<FailuresSeen in {len(self._groups)} groups>"

    def add(self, task: SeenTask, line: bytes) -> None:
        """Take one in, with its line."""
        self._last.append((task, line))
        error = _numbers.sub("#", (task.error or task.reason or "").partition("\n")[0][:200])
        key = (task.task_type, task.ended_as, error)
        if key not in self._groups and len(self._groups) >= MOST_GROUPS:
            key = (OTHERS, "", "")
        group = self._groups.get(key)
        at = task.received
        if group is None:
            group = FailureGroup(*key, count=0, first_at=at, last_at=at, last_task=0)
        self._groups[key] = structs.replace(
            group, count=group.count + 1, last_at=at, last_task=task.task_id
        )

    def last(self) -> tuple[FailureView, ...]:
        """Return the last ones, the newest first."""
        return tuple(failure_of(task, line) for task, line in reversed(self._last))

    def groups(self) -> tuple[FailureGroup, ...]:
        """Return those that are alike, the most frequent first."""
        groups = sorted(self._groups.values(), key=lambda group: -group.count)
        return tuple(groups[:SHOWN_GROUPS])


def failure_of(task: SeenTask, line: bytes) -> FailureView:
    """Return a task that did not end well as it is shown."""
    details = details_of(line) if line else None
    error = task.error or task.reason or task.ended_as.replace("_", " ")
    kind, _, message = (task.error or "").partition(": ")
    run_s = None
    if task.started is not None and task.ended is not None:
        run_s = task.ended - task.started
    return FailureView(
        task_id=task.task_id,
        task_type=task.task_type,
        pool=task.pool,
        ended_as=task.ended_as,
        error=error,
        error_type=kind,
        message=message if task.error else task.reason or "",
        traceback=(details.traceback or "") if details else "",
        args=raw_text(details.args) if details else "",
        worker=task.worker or "",
        node=task.node or "",
        cause=task.cause,
        because=tuple(task.because or ()),
        tags=(details.tags or {}) if details else {},
        attempts=task.attempt,
        at=task.received,
        run_s=run_s,
    )


def raw_text(raw: msgspec.Raw) -> str:
    """Return a value as JSON text, cut; empty if there is none."""
    text = bytes(raw).decode(errors="replace")
    if text == "null":
        return ""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} ..."


class QuestionsSeen:
    """Questions that were asked and not answered, as long as the campaign that asked is there."""

    def __init__(self) -> None:
        self._open: set[tuple[str, int]] = set()

    def __repr__(self) -> str:
        return f"<QuestionsSeen: {len(self)} open>"

    def __len__(self) -> int:
        return len(self._open)

    def asked(self, event: SeenEvent) -> None:
        """Take a question in."""
        if len(self._open) < MOST_QUESTIONS:
            self._open.add((event.client, event.question))

    def closed(self, event: SeenEvent) -> None:
        """Take in that a question was answered, or closed without an answer."""
        self._open.discard((event.client, event.question))

    def left(self, event: SeenEvent) -> None:
        """Take in that a campaign has left: it waits for no answer."""
        self._open = {key for key in self._open if key[0] != event.client}

    def forget(self) -> None:
        """Forget all: another process goes on, which asks again."""
        self._open.clear()


class MarksSeen:
    """Things that happened at one time; those that are alike and in one bin become one."""

    def __init__(self, axis: BinAxis) -> None:
        self.axis = axis
        self._marks: dict[tuple[int, str, str, str], Mark] = {}
        axis.follow(self)

    def __repr__(self) -> str:
        return f"<MarksSeen: {len(self._marks)}>"

    def add(self, at: float, kind: str, pool: str, source: str = "", text: str = "") -> None:
        """Note something."""
        key = (self.axis.index(at), kind, pool, source)
        _put(self._marks, key, Mark(at, kind, pool, source, 1, text))

    def halve(self) -> None:
        """Make one bin of each two neighbours."""
        self._marks = _halved(self._marks)

    def view(self) -> tuple[Mark, ...]:
        """Return the marks in order; if there are too many, of several bins together."""
        marks = self._marks
        while len(marks) > MOST_MARKS and any(index for index, *_ in marks):
            marks = _halved(marks)
        return tuple(sorted(marks.values(), key=lambda mark: mark.at)[:MOST_MARKS])


_Marks = dict[tuple[int, str, str, str], Mark]
"""Marks by their bin, kind, pool and source."""


def _put(marks: _Marks, key: tuple[int, str, str, str], mark: Mark) -> None:
    there = marks.get(key)
    if there is not None:
        mark = structs.replace(there, count=there.count + mark.count)
    marks[key] = mark


def _halved(marks: _Marks) -> _Marks:
    """Return the marks with each two neighbours of their bins together."""
    halved: _Marks = {}
    for (index, kind, pool, source), mark in marks.items():
        _put(halved, (index // 2, kind, pool, source), mark)
    return halved


class _Published:
    """The versions of one name."""

    def __init__(self, axis: BinAxis) -> None:
        self.numbers: list[int] = []
        self.times: list[float] = []
        self.nbytes = 0
        self.uses = 0
        self.lag, self.age = Sketch(), Sketch()
        self.lag_sums, self.used = Sums(axis), Sums(axis)


class VersionsSeen:
    """Published versions and their use."""

    def __init__(self, axis: BinAxis) -> None:
        self.axis = axis
        self._names: dict[str, _Published] = {}

    def __repr__(self) -> str:
        return f"<VersionsSeen of {len(self._names)} names>"

    def published(self, event: SeenEvent) -> None:
        """Note a version that was published."""
        seen = self._name(event.name)
        if seen is None or (seen.numbers and event.version <= seen.numbers[-1]):
            return
        seen.numbers.append(event.version)
        seen.times.append(event.at)
        seen.nbytes = event.nbytes
        if len(seen.numbers) > KEPT_VERSIONS:
            del seen.numbers[: KEPT_VERSIONS // 2], seen.times[: KEPT_VERSIONS // 2]

    def used(self, versions: dict[str, int], given: float, ended: float) -> None:
        """Note which versions an attempt was given, and when."""
        for name, number in versions.items():
            seen = self._name(name)
            if seen is None:
                continue
            seen.uses += 1
            place = bisect_right(seen.times, given)
            newest = seen.numbers[place - 1] if place else number
            lag = max(0, newest - number)
            seen.lag.add(lag)
            seen.used.add(ended)
            seen.lag_sums.add(ended, lag)
            at = bisect_right(seen.numbers, number) - 1
            if at >= 0 and seen.numbers[at] == number:
                seen.age.add(given - seen.times[at])

    def settle(self) -> None:
        """Count in percentiles all uses that came since."""
        for seen in self._names.values():
            seen.lag.settle()
            seen.age.settle()

    def view(self, count: int) -> tuple[VersionView, ...]:
        """Return them by name, with so many bins."""
        return tuple(
            VersionView(
                name=name,
                newest=seen.numbers[-1] if seen.numbers else 0,
                nbytes=seen.nbytes,
                published=tuple(
                    zip(
                        seen.numbers[-SHOWN_VERSIONS:],
                        seen.times[-SHOWN_VERSIONS:],
                        strict=True,
                    )
                ),
                uses=seen.uses,
                lag=seen.lag.spread(),
                lag_bins=tuple(
                    shown(lag / used) if used else 0.0
                    for lag, used in zip(
                        seen.lag_sums.values[:count], seen.used.values[:count], strict=True
                    )
                ),
                age_s=seen.age.spread(),
            )
            for name, seen in sorted(self._names.items())
        )

    def _name(self, name: str) -> _Published | None:
        seen = self._names.get(name)
        if seen is None and len(self._names) < MOST_VERSIONS:
            seen = self._names[name] = _Published(self.axis)
        return seen


class _Point(Struct, gc=False):
    at: float
    tasks: int
    worker_s: float
    value: float
    low: float
    high: float


class _Noted:
    """One quantity; each point stands for as many notes as ``stride`` says."""

    def __init__(self) -> None:
        self.points: list[_Point] = []
        self.count = self.in_last = 0
        self.stride = 1
        self.least, self.most = float("inf"), float("-inf")

    def add(self, at: float, tasks: int, worker_s: float, value: float) -> None:
        self.count += 1
        self.least, self.most = min(self.least, value), max(self.most, value)
        if self.points and self.in_last < self.stride:
            last = self.points[-1]
            low, high = min(last.low, value), max(last.high, value)
            self.points[-1] = _Point(at, tasks, worker_s, value, low, high)
            self.in_last += 1
            return
        if len(self.points) >= MOST_POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [
                structs.replace(b, low=min(a.low, b.low), high=max(a.high, b.high))
                for a, b in pairs
            ]
            self.stride *= 2
        self.points.append(_Point(at, tasks, worker_s, value, value, value))
        self.in_last = 1


class NotesSeen:
    """The quantities that a campaign noted."""

    def __init__(self) -> None:
        self._names: dict[str, _Noted] = {}

    def __repr__(self) -> str:
        return f"<NotesSeen of {len(self._names)} quantities>"

    def add(self, event: SeenEvent, tasks: int, worker_s: float) -> None:
        """Take a note in; values that are no numbers are passed over."""
        try:
            values = numbers_of(event.value)
        except msgspec.DecodeError:
            return
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            noted = self._names.get(name)
            if noted is None:
                if len(self._names) >= MOST_NOTES:
                    continue
                noted = self._names[name] = _Noted()
            noted.add(event.at, tasks, worker_s, float(value))

    def view(self) -> tuple[NoteSeries, ...]:
        """Return them in the order in which they came first."""
        return tuple(
            NoteSeries(
                name=name,
                count=noted.count,
                last=noted.points[-1].value,
                least=noted.least,
                most=noted.most,
                at=tuple(round(point.at, 3) for point in noted.points),
                tasks=tuple(point.tasks for point in noted.points),
                worker_s=tuple(round(point.worker_s, 3) for point in noted.points),
                value=tuple(point.value for point in noted.points),
                low=tuple(point.low for point in noted.points),
                high=tuple(point.high for point in noted.points),
            )
            for name, noted in self._names.items()
        )
