"""The writing of the record: tasks before their results leave, events now and then."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from math import inf

from steerio.broker.settled_tasks import SettledTasks
from steerio.edge.record.record_files import RecordFiles, TaskEntry
from steerio.model.events import AnyEvent

log = logging.getLogger("steerio.broker")

EVENTS_UNWRITTEN = 1_000
"""Most events that wait to be written together."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a disk that may have room later."""
RETRY_S = 1.0
"""Seconds after which a full disk is tried again."""


class RecordWriter:
    """Writes the record of one broker.

    Args:
        files: the record.
        settled: holds results back until their entries are written.
        fail: called with the reason if the record cannot be written any more.
    """

    def __init__(
        self, files: RecordFiles, settled: SettledTasks, fail: Callable[[str], object]
    ) -> None:
        self._files = files
        self._settled = settled
        self._fail = fail
        self._unwritten: list[AnyEvent] = []
        self._events_at = self._try_at = inf

    def __repr__(self) -> str:
        return f"<RecordWriter to {self._files.folder}, {len(self._unwritten)} events wait>"

    @property
    def next_at(self) -> float:
        """When to write again at the latest."""
        return min(self._events_at, self._try_at)

    def record(self, fresh: list[AnyEvent], now: float) -> None:
        """Write the tasks that ended, and events now and then: each write is a system call."""
        if fresh:
            self._unwritten += fresh
        entries = self._settled.entries
        if entries and self._write(entries, [], now):
            self._settled.recorded()
        if not self._unwritten:
            return
        if self._events_at == inf:
            self._events_at = now + self._files.events_within_s
        if now >= self._events_at or len(self._unwritten) >= EVENTS_UNWRITTEN:
            self._write_events(now)

    def close(self, now: float) -> None:
        """Write the rest, and close the record."""
        self._write_events(now)
        self._files.close()

    def _write_events(self, now: float) -> None:
        self._events_at = inf
        if self._write([], self._unwritten, now):
            self._unwritten.clear()

    def _write(self, entries: list[TaskEntry], events: list[AnyEvent], now: float) -> bool:
        """Write, and return whether that worked.

        Results whose entries are not written are held back, so that no client has a result that is
        not there when the run is looked at, or taken up, again; if writing works later they leave
        then. On a full disk that is tried again and again. If the record cannot be written for
        another reason the broker has to end: going on would lose results without a word, raising
        would hang all peers.
        """
        try:
            self._files.write(entries, events)
        except OSError as error:
            if error.errno in FULL:
                self._wait_for_room(error, now)
            else:
                self._fail(f"the record in {self._files.folder} cannot be written: {error}")
            return False
        if self._try_at < inf:
            self._try_at = inf
            log.warning("the record has room again")
        return True

    def _wait_for_room(self, error: OSError, now: float) -> None:
        if self._try_at == inf:
            log.warning(
                "the record in %s cannot be written: %s. No result is given out until there is "
                "room",
                self._files.folder,
                error.strerror,
            )
        self._try_at = now + RETRY_S
