"""The queue of one pool whose workers differ, sorted by the workers that may take a task.

Tasks of one *sort* (equal needs and, if nodes have walltimes, one task type) wait in a `Backlog` of
their own, and plain tasks in one more. A worker takes the best-ranked task among the heads of the
queues that it fits; these are kept ranked for each make of workers (`Heads`). So an operation costs
as many heap operations as there are makes, however many sorts and tasks there are; if all tasks are
plain there is one queue, and nothing to choose.

Theory. A worker runs one task at a time, so no room has to be gathered for a large task: the next
large worker that becomes free is enough, and it goes to the best-ranked task that it fits.  Small
tasks pass a large one only on workers that it does not fit (batch systems call this back-filling,
and the rank is the reservation): a task that is ranked behind a large one never delays it.  Time is
one more need: short tasks pass long ones on nodes that end before these were done.

Tasks of gangs wait in queues of their own, which workers are not shown: `assigning` looks at them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from math import ceil, inf, log2

from steerio.core.backlog import Backlog, Rank, rank
from steerio.core.heads import LAST, Heads, Sort, SortQueue, Want
from steerio.core.records import TaskRecord, TypeRecord
from steerio.model.places import WorkerNeeds

LIMIT_TYPES = 64
"""Most task types of a pool whose durations are looked at; tasks of others go to any worker."""


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
        self._choosy: dict[Sort, SortQueue] = {}
        self.gangs: dict[Sort, SortQueue] = {}
        """The queues of tasks that several workers run together."""
        self._heads: dict[WorkerNeeds, Heads] = {}
        """For the makes of workers that have asked for a task."""
        self._live = 0
        self.closed = False
        """Whether workers are shown no task."""
        self._timed = timed
        self._types: dict[TypeRecord, bool] = {}
        """Whether each type is told apart, of those that were seen."""
        self._apart = 0
        """The number of those that are."""

    def __len__(self) -> int:
        return self._live

    def __repr__(self) -> str:
        return f"<PoolQueue {self._live} queued, {len(self._choosy)} different sorts>"

    def __iter__(self) -> Iterator[TaskRecord]:
        """Go through the queued tasks in no particular order, as far as the caller goes."""
        yield from self._plain
        for line in (*self._choosy.values(), *self.gangs.values()):
            yield from line

    @property
    def wants(self) -> list[Want]:
        """The workers that queued tasks want, each once; not any single one."""
        single = (sort.want for sort in self._choosy if sort.needs is not None)
        return list(dict.fromkeys((*single, *(sort.want for sort in self.gangs))))

    def tell_types_apart(self) -> None:
        """Look at the durations of tasks from now on: some worker may be short of time."""
        queued = list(self)
        self._timed = True
        self._plain, self._choosy, self._heads, self._live = Backlog(self._pool), {}, {}, 0
        self.gangs = {}
        for record in queued:
            self.push(record)

    def takes_s(self, record: TaskRecord) -> float:
        """Return how long a task takes, as far as that is known and matters, in seconds."""
        return self._sort(record).takes_s() if self._timed else 0.0

    def push(self, record: TaskRecord) -> None:
        """Add a task whose state is ``QUEUED``."""
        self._live += 1
        options = record.options
        # most tasks, spelled out for speed
        if options.needs is None and not self._timed and options.gang == 1:
            self._plain.push(record)
            return
        line = self._line(record)
        if line is None:
            self._plain.push(record)
        else:
            line.push(record)
            if self._heads and options.gang == 1 and line.peek() is record:
                self._show(line, rank(record))

    def peek(self, make: WorkerNeeds | None = None, left_s: float = inf) -> TaskRecord | None:
        """Return the next task for a worker of this make, with so much time left, or ``None``.

        Without a make: the next of all tasks, also if it is closed to workers.
        """
        if self.closed and make is not None:
            return None
        if make is None and self.gangs:
            return self._first()[0]
        return self._best(make, left_s)[0] if self._choosy else self._plain.peek()

    def pop(self, make: WorkerNeeds | None = None, left_s: float = inf) -> TaskRecord | None:
        """Take out the task that `peek` returns; the caller then changes its state."""
        if self.closed and make is not None:
            return None
        gangs_too = make is None and self.gangs
        if not self._choosy and not gangs_too:
            record = self._plain.pop()
        else:
            record, line = self._first() if gangs_too else self._best(make, left_s)
            if line is None:
                self._plain.pop()
            else:
                line.pop()
                self._drop_empty(line)
        if record is not None:
            self._live -= 1
        return record

    def next_gang(self, but: Container[Sort]) -> SortQueue | None:
        """Return the queue of gangs whose head is ranked best, of all but some."""
        others = (line for sort, line in self.gangs.items() if sort not in but)
        return min(others, key=lambda line: line.rank, default=None)

    def pop_gang(self, line: SortQueue) -> None:
        """Take out the head of a queue of gangs; the caller then changes its state."""
        line.pop()
        self._live -= 1
        self._drop_empty(line)

    def take_all(self, wants: Container[Want]) -> list[TaskRecord]:
        """Take out all tasks that want just these workers; to settle them."""
        taken: list[TaskRecord] = []
        for line in [*self._choosy.values(), *self.gangs.values()]:
            if line.sort.want in wants:
                taken += line.pop_all()
                self._drop_empty(line)
        self._live -= len(taken)
        return taken

    def forget(self, record: TaskRecord) -> None:
        """Note that a queued task left by another way: its state or its pool is another now."""
        self._live -= 1
        line = self._line(record)
        if line is None:
            self._plain.forget(record)
        else:
            line.forget(record)
            self._drop_empty(line)

    def reprioritise(self, changes: Iterable[tuple[TaskRecord, float]]) -> None:
        """Give queued tasks new priorities; of many at once each costs less than one alone."""
        if not self._choosy and not self.gangs:
            self._plain.reprioritise(changes)
            return
        by_line: dict[SortQueue | None, list[tuple[TaskRecord, float]]] = {}
        for change in changes:
            by_line.setdefault(self._line(change[0]), []).append(change)
        for line, some in by_line.items():
            if line is None:
                self._plain.reprioritise(some)
            else:
                line.reprioritise(some)
                if line.sort.gang == 1:
                    self._show(line, line.rank)

    def forget_type(self, kind: TypeRecord) -> None:
        """Take in that no task of a type will come any more; none is queued."""
        self._apart -= self._types.pop(kind, False)

    def forget_make(self, make: WorkerNeeds) -> None:
        """Take in that there is no worker of this make any more."""
        self._heads.pop(make, None)

    def _best(
        self, make: WorkerNeeds | None, left_s: float
    ) -> tuple[TaskRecord | None, SortQueue | None]:
        """Return the best task that a worker fits, and its queue unless it is plain."""
        plain = self._plain.peek()
        if make is None:
            best = min(self._choosy.values(), key=lambda line: line.rank)
        else:
            heads = self._heads.get(make)
            if heads is None:
                heads = self._heads[make] = Heads(make, self._choosy.values())
            found = heads.best(left_s)
            if found is None:
                return plain, None
            best = found
        head = best.peek()
        assert head is not None
        if plain is not None and rank(plain) <= rank(head):
            return plain, None
        return head, best

    def _first(self) -> tuple[TaskRecord | None, SortQueue | None]:
        """Return the best of all tasks, those of gangs included, and its queue as `_best` does."""
        record, line = self._best(None, inf) if self._choosy else (self._plain.peek(), None)
        gang = self.next_gang(())
        if gang is not None and gang.rank < (LAST if record is None else rank(record)):
            return gang.peek(), gang
        return record, line

    def _show(self, line: SortQueue, ranked: Rank) -> None:
        """Note that the head of a queue is another one, which may be ranked better."""
        for make, heads in list(self._heads.items()):
            if heads.worn(len(self._choosy)):
                del self._heads[make]  # made anew if such a worker asks
            else:
                heads.show(line, ranked)

    def _sort(self, record: TaskRecord) -> Sort:
        """Return the key of a task's queue."""
        options, kind = record.options, record.type
        if not self._timed:
            return Sort(options.needs)
        apart = self._types.get(kind)
        if apart is None:
            apart = self._types[kind] = self._apart < LIMIT_TYPES
            self._apart += apart
        return (
            Sort(options.needs, kind, _rounded_up(options.timeout_s))
            if apart
            else Sort(options.needs)
        )

    def _line(self, record: TaskRecord) -> SortQueue | None:
        """Return the queue for a task, or ``None`` if that is the plain one."""
        sort, lines = self._sort(record), self._choosy
        if record.options.gang > 1:
            sort, lines = sort._replace(gang=record.options.gang), self.gangs
        elif sort.needs is None and sort.type is None:
            return None
        line = lines.get(sort)
        if line is None:
            line = lines[sort] = SortQueue(self._pool, sort)
        return line

    def _drop_empty(self, line: SortQueue) -> None:
        if not line:  # tasks that its heap may still have are queued no more, or elsewhere
            del (self._choosy if line.sort.gang == 1 else self.gangs)[line.sort]
            line.clear()


def _rounded_up(seconds: float | None) -> float:
    """Round up to a power of two, so that there are few different ones, whatever users ask for."""
    return inf if seconds is None else 2.0 ** ceil(log2(seconds))
