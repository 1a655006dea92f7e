"""The queue of one pool whose workers differ, sorted by the workers that may take a task.

Tasks of one *sort* (equal needs and, if nodes have walltimes, one task type) wait in a `Backlog` of
their own, and plain tasks in one more. A worker takes the best-ranked task among the heads of the
queues that it fits, so the cost of an operation grows with the number of different sorts, however
many tasks there are; if all tasks are plain there is one queue, and nothing to choose.

Theory. A worker runs one task at a time, so no room has to be gathered for a large task: the next
large worker that becomes free is enough, and it goes to the best-ranked task that it fits.  Small
tasks pass a large one only on workers that it does not fit (batch systems call this back-filling,
and the rank is the reservation): a task that is ranked behind a large one never delays it.  Time is
one more need: short tasks pass long ones on nodes that end before these were done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil, inf, log2
from typing import NamedTuple

from steerio.core.backlog import Backlog
from steerio.core.records import TaskRecord, TypeRecord
from steerio.model.places import WorkerNeeds

MARGIN = 1.5
"""The time that a task is given to be done in time, in mean durations of its type."""
LIMIT_TYPES = 64
"""Most task types of a pool whose durations are looked at; tasks of others go to any worker."""


class Sort(NamedTuple):
    """The properties that tasks of one queue share."""

    needs: WorkerNeeds | None
    type: TypeRecord | None = None
    at_most_s: float = inf

    def takes_s(self) -> float:
        """Return how long a task of it takes; 0 if that is not known."""
        if self.type is None or self.type.mean_s < 0:
            return 0.0
        return min(self.type.mean_s * MARGIN, self.at_most_s)

    def fits(self, make: WorkerNeeds, left_s: float) -> bool:
        """Say whether a worker of this make, with so much time left, can take it."""
        return self.takes_s() <= left_s and (self.needs is None or make.suffices_for(self.needs))


class PoolQueue:
    """Queued tasks of one pool.

    Args:
        pool: its name.
        timed: whether workers may be short of time.

    Invariant: ``len(self)`` is the number of tasks in all its queues, and each queue of tasks
    that are told apart has some.
    """

    def __init__(self, pool: str = "", *, timed: bool = False) -> None:
        self._pool = pool
        self._plain = Backlog(pool)
        self._choosy: dict[Sort, Backlog] = {}
        self._live = 0
        self._timed = timed
        self._types: set[TypeRecord] = set()
        """The types that are told apart."""

    def __len__(self) -> int:
        return self._live

    def __repr__(self) -> str:
        return f"<PoolQueue {self._live} queued, {len(self._choosy)} different sorts>"

    def __iter__(self) -> Iterator[TaskRecord]:
        """Go through the queued tasks in no particular order."""
        yield from self._plain
        for queue in self._choosy.values():
            yield from queue

    @property
    def needs(self) -> list[WorkerNeeds]:
        """The needs of queued tasks, each once."""
        return list(dict.fromkeys(s.needs for s in self._choosy if s.needs is not None))

    def tell_types_apart(self) -> None:
        """Look at the durations of tasks from now on: some worker may be short of time."""
        queued = list(self)
        self._timed = True
        self._plain, self._choosy, self._live = Backlog(self._pool), {}, 0
        for record in queued:
            self.push(record)

    def takes_s(self, record: TaskRecord) -> float:
        """Return how long a task takes, as far as that is known and matters, in seconds."""
        return self._sort(record).takes_s() if self._timed else 0.0

    def push(self, record: TaskRecord) -> None:
        """Add a task whose state is ``QUEUED``."""
        self._live += 1
        if record.options.needs is None and not self._timed:
            self._plain.push(record)
            return
        self._queue(record).push(record)

    def peek(self, make: WorkerNeeds | None = None, left_s: float = inf) -> TaskRecord | None:
        """Return the next task for a worker of this make, with so much time left, or ``None``.

        Without a make: the next of all tasks.
        """
        return self._best(make, left_s)[0] if self._choosy else self._plain.peek()

    def pop(self, make: WorkerNeeds | None = None, left_s: float = inf) -> TaskRecord | None:
        """Take out the task that `peek` returns; the caller then changes its state."""
        if not self._choosy:
            record = self._plain.pop()
        else:
            record, sort = self._best(make, left_s)
            if sort is None:
                self._plain.pop()
            else:
                queue = self._choosy[sort]
                queue.pop()
                if not queue:  # tasks that its heap may still have are queued no more
                    del self._choosy[sort]
        self._live -= record is not None
        return record

    def _best(
        self, make: WorkerNeeds | None, left_s: float
    ) -> tuple[TaskRecord | None, Sort | None]:
        """Return the best task that a worker fits, and its sort unless it is plain."""
        best, its_sort = self._plain.peek(), None
        for sort, queue in self._choosy.items():
            if make is None or sort.fits(make, left_s):
                head = queue.peek()
                if head is not None and (best is None or _rank(head) < _rank(best)):
                    best, its_sort = head, sort
        return best, its_sort

    def pop_with(self, needs: WorkerNeeds) -> TaskRecord | None:
        """Take out a task of just these needs, or return ``None``; to settle it."""
        queue = next((queue for sort, queue in self._choosy.items() if sort.needs == needs), None)
        record = None if queue is None else queue.pop()
        if queue is not None and record is not None:
            self._live -= 1
            self._drop_empty(record, queue)
        return record

    def forget(self, record: TaskRecord) -> None:
        """Note that a queued task left by another way: its state or its pool is another now."""
        self._live -= 1
        queue = self._queue(record)
        queue.forget(record)
        if queue is not self._plain:
            self._drop_empty(record, queue)

    def reprioritise(self, changes: Iterable[tuple[TaskRecord, float]]) -> None:
        """Give queued tasks new priorities."""
        if self._choosy:
            for change in changes:
                self._queue(change[0]).reprioritise([change])
        else:
            self._plain.reprioritise(changes)

    def forget_type(self, kind: TypeRecord) -> None:
        """Take in that no task of a type will come any more; none is queued."""
        self._types.discard(kind)

    def _sort(self, record: TaskRecord) -> Sort:
        """Return the key of a task's queue."""
        options, kind = record.options, record.type
        if not self._timed:
            return Sort(options.needs)
        if kind not in self._types:
            if len(self._types) >= LIMIT_TYPES:
                return Sort(options.needs)
            self._types.add(kind)
        return Sort(options.needs, kind, _rounded_up(options.timeout_s))

    def _queue(self, record: TaskRecord) -> Backlog:
        if (
            record.options.needs is None and not self._timed
        ):  # most tasks, for which nothing is made
            return self._plain
        sort = self._sort(record)
        if sort.needs is None and sort.type is None:
            return self._plain
        queue = self._choosy.get(sort)
        if queue is None:
            queue = self._choosy[sort] = Backlog(self._pool)
        return queue

    def _drop_empty(self, record: TaskRecord, queue: Backlog) -> None:
        if not queue:
            del self._choosy[self._sort(record)]


def _rounded_up(seconds: float | None) -> float:
    """Round up to a power of two, so that there are few different ones, whatever users ask for."""
    return inf if seconds is None else 2.0 ** ceil(log2(seconds))


def _rank(record: TaskRecord) -> tuple[float, int]:
    return (-record.priority, record.order)
