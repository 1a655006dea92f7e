"""The reader of a run: follows its run directory, and gives snapshots of its view."""

from __future__ import annotations

import time
from math import inf
from pathlib import Path

from steerio.edge.record.export_files import record_of
from steerio.edge.record.record_files import EVENTS_FILE, TASKS_FILE
from steerio.edge.record.record_head import read_head
from steerio.edge.record.record_lines import check_schema
from steerio.errors import UsageError
from steerio.session.recorded_runs import is_run
from steerio.view.run_files import FollowedFile, began_of, facts_of
from steerio.view.run_view import RunView
from steerio.view.seen_lines import EventLines, SeenTask, SeenTaskEvent, tasks_decoder
from steerio.view.shown_view import RunFacts, snapshot_of
from steerio.view.snapshot import RunSnapshot

LOOK_S = 0.5
"""Seconds after which the state of a run is looked at again, at the earliest."""
SILENT_S = 60.0
"""Seconds without a line after which a run that may be alive elsewhere is drawn as if over."""
OTHER_CLOCK_S = 86_400.0
"""Lines that are so much older than the record are of a simulation, on a clock of its own."""


class RunReader:
    """Follows the record of one run.

    Call `read` now and then, and `snapshot` whenever one is wanted. Of a run that is over one
    `read_all` is enough.

    Args:
        folder: the run directory.

    Raises:
        UsageError: it has no record, or one of a later version.
    """

    def __init__(self, folder: Path) -> None:
        record, joined = record_of(folder)
        if not is_run(folder) and not (record / TASKS_FILE).is_file():
            why = "it has no record of a run" if folder.is_dir() else "there is no such folder"
            raise UsageError(
                f"{folder} cannot be looked at: {why}; name a run directory, such as runs/NAME-TIME"
            )
        check_schema(record)
        self.folder = folder
        self.record = record
        """The folder of the record: the broker's, if the campaign has joined one."""
        self.tasks: FollowedFile[SeenTask] = FollowedFile(record / TASKS_FILE, tasks_decoder)
        self.events: FollowedFile[SeenTaskEvent] = FollowedFile(record / EVENTS_FILE, EventLines())
        self.view: RunView | None = None
        self._joined = joined
        self._facts = RunFacts(run=folder.name)
        self._looked_at = -inf
        self._ahead = -inf
        """The time up to which lines of tasks have been read."""
        self._at_end = False
        """Whether all was read that was there."""

    def __repr__(self) -> str:
        return f"<RunReader of {self.folder}: {self.view!r}>"

    def facts(self, *, fresh: bool = False) -> RunFacts:
        """Return the facts in the other files, looked at again every half a second at most.

        Raises:
            UsageError: they cannot be read.
        """
        now = time.monotonic()
        if fresh or now >= self._looked_at + LOOK_S:
            try:
                self._facts = facts_of(self.folder, self._joined)
            except OSError as error:
                raise UsageError(f"{self.folder} cannot be read: {error}") from None
            self._looked_at = now
        return self._facts

    @property
    def live(self) -> bool:
        """Whether the run may go on, by the last look."""
        return self._facts.live

    def read(self) -> bool:
        """Take in the next part of the record; say whether there was any.

        It reads some megabytes at most, so that those who draw can draw between.

        Raises:
            UsageError: the record cannot be read.
        """
        try:
            more = self._read()
        except OSError as error:
            raise UsageError(f"{self.record} cannot be read: {error}") from None
        self._at_end = not more
        return more

    def read_all(self) -> None:
        """Take in all of the record that is there now.

        Raises:
            UsageError: it cannot be read.
        """
        self.facts(fresh=True)  # first: whatever is written before an end is read then
        while self.read():
            pass
        if self.view is not None:
            self.view.settle(over=not self.live)

    def snapshot(self, *, gantt: bool = False) -> RunSnapshot:
        """Return the snapshot of all that was read.

        Raises:
            UsageError: the run directory cannot be read any more.
        """
        facts, now = self.facts(), time.time()
        view = self.view or RunView(began_of(self.record))
        over = not facts.live or (facts.state != "running" and now > view.last_at + SILENT_S)
        head = read_head(self.record)
        if over or (head is not None and view.last_at < head.began - OTHER_CLOCK_S):
            now = view.last_at
        view.settle(over=over and self._at_end)
        unread = self.tasks.unread + self.events.unread
        return snapshot_of(view, facts, now, gantt=gantt, unread=unread)

    def _read(self) -> bool:
        events, _ = self.events.read()
        until = events[-1].at if events else inf
        any_task = False
        while self._ahead < until:  # whatever has ended by then is written by now
            tasks, lines = self.tasks.read()
            if not tasks:
                break
            any_task = True
            began = events[0].at if events else min(tasks[0].created or inf, tasks[0].received)
            self._view(began).take_tasks(tasks, lines)
            self._ahead = tasks[-1].received
            if not events:
                break
        if events:
            self._view(events[0].at).take_events(events)
        if self.view is not None and (events or any_task):
            self.view.settle(over=False)
        return bool(events) or any_task

    def _view(self, began: float) -> RunView:
        if self.view is None:
            self.view = RunView(began)
        return self.view
