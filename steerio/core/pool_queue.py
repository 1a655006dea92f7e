"""The queue of one pool whose workers differ: who may take which task, and in what order.

Tasks of equal needs wait in a `Backlog` of their own, and those that need nothing in one
more.  A worker takes the best-ranked task among the heads of the queues that it fits, so an
operation costs as much as there are different needs, however many tasks there are; where no
task has needs there is one queue, and nothing to choose.

Theory.  A worker runs one task at a time, so nothing has to be kept free for a large task
until enough of it has come together: the next large worker that becomes free is enough, and
it goes to the best-ranked task that it fits.  Small tasks pass a large one only on workers
that it does not fit (this is what batch systems call back-filling, and the rank is the
reservation): whatever is ranked behind a large task never delays it.
"""

from __future__ import annotations

from collections.abc import Iterator

from steerio.core.backlog import Backlog
from steerio.core.records import TaskRecord
from steerio.model.places import WorkerNeeds


class PoolQueue:
    """Queued tasks of one pool.

    Invariant: ``len(self)`` is the number of tasks in all its queues, and each queue of tasks
    with needs has some.
    """

    def __init__(self, pool: str = "") -> None:
        self._pool = pool
        self._plain = Backlog(pool)
        self._choosy: dict[WorkerNeeds, Backlog] = {}
        self._live = 0

    def __len__(self) -> int:
        return self._live

    def __repr__(self) -> str:
        return f"<PoolQueue {self._live} queued, {len(self._choosy)} different needs>"

    def __iter__(self) -> Iterator[TaskRecord]:
        """Go through the queued tasks in no particular order."""
        yield from self._plain
        for queue in self._choosy.values():
            yield from queue

    @property
    def needs(self) -> list[WorkerNeeds]:
        """What queued tasks need, each once."""
        return list(self._choosy)

    def push(self, record: TaskRecord) -> None:
        """Add a task whose state is ``QUEUED``."""
        self._live += 1
        needs = record.options.needs
        if needs is None:
            self._plain.push(record)
            return
        queue = self._choosy.get(needs)
        if queue is None:
            queue = self._choosy[needs] = Backlog(self._pool)
        queue.push(record)

    def peek(self, make: WorkerNeeds | None = None) -> TaskRecord | None:
        """Return the task that a worker of this make takes next, or ``None``.

        Without a make: the one that goes next, whoever takes it.
        """
        best = self._plain.peek()
        for needs, queue in self._choosy.items() if self._choosy else ():
            if make is None or make.suffices_for(needs):
                head = queue.peek()
                if head is not None and (best is None or _rank(head) < _rank(best)):
                    best = head
        return best

    def pop(self, make: WorkerNeeds | None = None) -> TaskRecord | None:
        """Take out what `peek` returns; the caller then changes its state."""
        if not self._choosy:
            record = self._plain.pop()
            self._live -= record is not None
            return record
        record = self.peek(make)
        if record is not None:
            self._live -= 1
            needs = record.options.needs
            if needs is None:
                self._plain.pop()
            else:
                self._choosy[needs].pop()
                self._drop_empty(needs)
        return record

    def pop_with(self, needs: WorkerNeeds) -> TaskRecord | None:
        """Take out the next task of just these needs, or ``None``; to settle it."""
        queue = self._choosy.get(needs)
        record = queue.pop() if queue is not None else None
        if record is not None:
            self._live -= 1
            self._drop_empty(needs)
        return record

    def forget(self, record: TaskRecord) -> None:
        """Note that a queued task left by another way: its state or its pool is another now."""
        self._live -= 1
        needs = record.options.needs
        if needs is None:
            self._plain.forget(record)
        else:
            self._choosy[needs].forget(record)
            self._drop_empty(needs)

    def reprioritise(self, record: TaskRecord, priority: float) -> None:
        """Give a queued task a new priority."""
        needs = record.options.needs
        (self._plain if needs is None else self._choosy[needs]).reprioritise(record, priority)

    def _drop_empty(self, needs: WorkerNeeds) -> None:
        if not self._choosy[needs]:  # what its heap may still hold is queued no more
            del self._choosy[needs]


def _rank(record: TaskRecord) -> tuple[float, int]:
    return (-record.priority, record.order)
