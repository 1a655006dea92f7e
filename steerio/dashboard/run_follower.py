"""A run directory that is watched: read in steps, with a snapshot only if there is news."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from math import inf
from pathlib import Path

from msgspec import structs

from steerio.view.answers import SpanWindow, TaskStory
from steerio.view.questions import spans_of, story_of
from steerio.view.run_reader import RunReader
from steerio.view.snapshot import GanttView, RunSnapshot

STEP_S = 0.25
"""How long one step reads at most, so that questions are answered between."""
ROUNDED = 1.1
"""More than the percentiles of a snapshot may be amiss."""
LIVE_S = 1.0
"""Between two snapshots of a run that goes on, while nothing is heard of it but the time."""


class RecordWatch:
    """A run that is watched by its record.

    Args:
        folder: the run directory.

    Raises:
        UsageError: it has no record, or one of a later version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reader = RunReader(folder)
        self._facts = self._reader.facts(fresh=True)
        self._number = 1
        self._changed_at = time.monotonic()
        self._made: RunSnapshot | None = None

    def advance(self, *, last: bool = False) -> bool:
        """Read on for `STEP_S` at most; return whether there is more to read at once."""
        facts = self._reader.facts(fresh=last)  # first: all that is written before an end is read
        until = time.monotonic() + STEP_S
        read = more = self._reader.read()
        while more and time.monotonic() < until:
            more = self._reader.read()
        now = time.monotonic()
        if read or facts != self._facts or (facts.live and now >= self._changed_at + LIVE_S):
            self._facts, self._changed_at = facts, now
            self._number += 1
        return more

    def snapshot(self) -> RunSnapshot:
        """Return the newest snapshot, without the Gantt; equal numbers are the same one."""
        if self._made is None or self._made.number != self._number:
            self._made = structs.replace(self._reader.snapshot(), number=self._number)
        return self._made

    def gantt(self) -> GanttView:
        """Return the newest Gantt."""
        gantt = self._reader.snapshot(gantt=True).gantt
        assert gantt is not None
        return gantt

    def spans(self, begin: float, end: float, most: int) -> SpanWindow:
        """Return the attempts in a window of time."""
        return spans_of(self.folder, begin, end, most, longest_s=_longest_s(self._made))

    def story(self, task_id: int) -> TaskStory:
        """Return the story of a task."""
        return story_of(self.folder, task_id)


def _longest_s(snapshot: RunSnapshot | None) -> float:
    """Return how long a task takes at most, from its first attempt to its end.

    Endless if it had several attempts, or none that ended, as its line tells of these late.
    """
    if snapshot is None:
        return inf
    ends = snapshot.ends
    if ends.retried or ends.cancelled or ends.timed_out or ends.lost:
        return inf
    return ROUNDED * (snapshot.run.most + snapshot.report.most) + STEP_S


@contextlib.contextmanager
def watch(folder: Path) -> Generator[RecordWatch]:
    """Watch a run directory, for the length of a context."""
    yield RecordWatch(folder)
