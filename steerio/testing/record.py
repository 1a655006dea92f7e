"""The record of a simulation: in memory, and in a run directory if one is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from steerio.edge.record.record_files import RecordFiles, TaskEntry, stamped
from steerio.model.events import AnyEvent
from steerio.model.showing import in_words
from steerio.view.run_view import RunView, take_all
from steerio.view.seen_lines import events_decoder, tasks_decoder
from steerio.view.shown_view import RunFacts, snapshot_of
from steerio.view.snapshot import RunSnapshot

_encoder = msgspec.json.Encoder(enc_hook=in_words)


class MemoryRecord(RecordFiles):
    """The record as objects: those that `RecordFiles` writes as lines.

    Args:
        folder: where to write ``tasks.jsonl`` and ``events.jsonl`` as well, if anywhere.
    """

    events_within_s = 0.0  # events of a simulation are to be seen at once

    def __init__(self, folder: Path | None = None) -> None:
        self.tasks: list[TaskEntry] = []
        self.events: list[AnyEvent] = []
        self.on_events: Callable[[Sequence[AnyEvent]], None] | None = None
        """Called with events as they happen (the cluster sets it)."""
        self._on_disk = folder is not None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            super().__init__(folder)
            self.last_event, self.incarnation = 0, 1  # each simulation is a run of its own

    def write(self, entries: Sequence[TaskEntry], events: Sequence[AnyEvent]) -> None:
        self.tasks.extend(entries)
        self.events.extend(events)
        if events and self.on_events is not None:
            self.on_events(events)
        if self._on_disk:
            super().write(entries, events)

    def close(self) -> None:
        if self._on_disk:
            super().close()

    @property
    def event_log(self) -> bytes:
        """All events as in ``events.jsonl``; equal for runs with the same arguments and seed."""
        return stamped(_encoder.encode_lines(self.events), self.incarnation)

    @property
    def task_log(self) -> bytes:
        """All tasks as in ``tasks.jsonl``."""
        return _encoder.encode_lines(self.tasks)

    def seen(self, until_s: float) -> RunSnapshot:
        """Return the figures of the run as a view counts them, up to a time."""
        view = RunView(0.0)
        tasks = tasks_decoder.decode_lines(self.task_log)
        take_all(view, tasks, events_decoder.decode_lines(self.event_log))
        return snapshot_of(view, RunFacts(live=True), until_s)
