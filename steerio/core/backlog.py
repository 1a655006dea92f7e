"""A queue of tasks of one pool: highest priority first, then order of submission.

A binary heap with lazy deletion.  An entry is live while its task is ``QUEUED`` in this
pool, under the priority that the entry was made with; cancelling and re-ranking just leave
the old entry to be skipped, so every operation is O(log n) and none looks for anything.
Dead entries are swept out when they outnumber the live ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush

from steerio.core.lifecycle import State
from steerio.core.records import TaskRecord

_QUEUED = int(State.QUEUED)
_SLACK = 64
"""Dead entries that are tolerated, however short the queue is."""
_STEPS = 32
"""The cost of a push at most, in entries of a heap that is built anew."""

Rank = tuple[float, float]


def rank(record: TaskRecord) -> Rank:
    """Return the place of a task in the order in which tasks are chosen: the least goes first.

    A `Backlog` spells it out in its entries, for a call costs more than the push of one.
    """
    return (-record.priority, record.order)


class Backlog:
    """Queued tasks of one pool, any of which goes to any worker that takes one of them.

    Invariant: ``len(self)`` is the number of tasks that were pushed and neither popped
    nor forgotten, and the heap has at least one live entry for each.
    """

    def __init__(self, pool: str = "") -> None:
        self._pool = pool
        self._heap: list[tuple[float, int, TaskRecord]] = []
        self._live = 0

    def __len__(self) -> int:
        return self._live

    def __repr__(self) -> str:
        return f"<Backlog {self._live} queued>"

    def __iter__(self) -> Iterator[TaskRecord]:
        """Go through the queued tasks in no particular order, as far as the caller goes."""
        seen: set[int] = set()
        for entry in self._heap:
            task_id = entry[2].task_id
            if task_id not in seen and self._is_live(entry):
                seen.add(task_id)
                yield entry[2]

    def push(self, record: TaskRecord) -> None:
        """Add a task whose state is ``QUEUED``."""
        heappush(self._heap, (-record.priority, record.order, record))
        self._live += 1

    def peek(self) -> TaskRecord | None:
        """Return the task that goes next, or ``None``."""
        heap = self._heap
        while heap and not self._is_live(heap[0]):
            heappop(heap)
        return heap[0][2] if heap else None

    def pop(self) -> TaskRecord | None:
        """Take out the task that goes next, or ``None``; the caller then changes its state."""
        heap = self._heap
        while heap:
            entry = heappop(heap)
            if self._is_live(entry):
                live = self._live = self._live - 1
                if len(heap) > 2 * live + _SLACK:
                    self._heapify(without=entry[2])
                return entry[2]
        return None

    def pop_all(self) -> list[TaskRecord]:
        """Take out all tasks, the next one first; the caller then changes their states."""
        records = [entry[2] for entry in sorted(self._live_entries())]
        self._heap, self._live = [], 0
        return records

    def forget(self, record: TaskRecord) -> None:
        """Note that a queued task left by another way: its state or its pool is another now."""
        del record
        self._live -= 1
        self._sweep()

    def reprioritise(self, changes: Iterable[tuple[TaskRecord, float]]) -> None:
        """Give queued tasks new priorities; of many at once each costs less than one alone."""
        entries: list[tuple[float, int, TaskRecord]] = []
        for record, priority in changes:
            if record.priority != priority:
                record.priority = priority
                entries.append((-priority, record.order, record))
        if len(entries) > len(self._heap) // _STEPS:
            self._heap += entries
            self._heapify()
        else:
            for entry in entries:
                heappush(self._heap, entry)
            self._sweep()

    def _is_live(self, entry: tuple[float, int, TaskRecord]) -> bool:
        record = entry[2]
        return (
            record.state == _QUEUED and record.priority == -entry[0] and record.pool == self._pool
        )

    def _live_entries(
        self, without: TaskRecord | None = None
    ) -> list[tuple[float, int, TaskRecord]]:
        """Return one live entry for each task: `_is_live`, spelled out for the sake of speed.

        ``without`` is one that is taken out, and whose state tells nothing of that yet.
        """
        pool = self._pool
        entries = {
            record.task_id: entry
            for entry in self._heap
            if (record := entry[2]).state == _QUEUED
            and record.priority == -entry[0]
            and record.pool == pool
            and record is not without
        }
        return list(entries.values())

    def _sweep(self) -> None:
        if len(self._heap) > 2 * self._live + _SLACK:
            self._heapify()

    def _heapify(self, without: TaskRecord | None = None) -> None:
        self._heap = self._live_entries(without)
        heapify(self._heap)
