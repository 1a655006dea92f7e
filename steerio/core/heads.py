"""The best-ranked of many queues for the workers of one make, without a look at all of them.

Theory. A heap has an entry for each queue that such workers fit, with the rank of its head, or one
that was its head: a head that improves is shown at once, while one that is taken or cancelled is
found when its entry comes up, and the entry then sinks to its place. So an entry is never
ranked behind the head of its queue, and the first whose rank is that of its queue's head is the
best. Tasks that take different times are in heaps of their own, for the time that a worker has
left is another one each time; of these there are few (`LIMIT_TYPES`, in `core.pool_queue`).
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush, heapreplace
from math import inf
from typing import NamedTuple

from steerio.core.backlog import Backlog, Rank, rank
from steerio.core.records import TypeRecord
from steerio.model.places import WorkerNeeds

MARGIN = 1.5
"""The time that a task is given to be done in time, in mean durations of its type."""
_SLACK = 64
"""Dead entries that are tolerated, however few queues there are."""

LAST = (inf, inf)


class Want(NamedTuple):
    """The workers that a task wants: their number, and the least make of each."""

    needs: WorkerNeeds | None
    gang: int

    def __str__(self) -> str:
        if self.gang == 1:
            return str(self.needs)
        each = "" if self.needs is None else f", each with {self.needs}"
        return f"{self.gang} workers at once{each}"


class Sort(NamedTuple):
    """The properties that tasks of one queue share."""

    needs: WorkerNeeds | None
    type: TypeRecord | None = None
    at_most_s: float = inf
    gang: int = 1

    @property
    def want(self) -> Want:
        """The workers that its tasks want."""
        return Want(self.needs, self.gang)

    def takes_s(self) -> float:
        """Return how long a task of it takes; 0 if that is not known."""
        if self.type is None or self.type.mean_s < 0:
            return 0.0
        return min(self.type.mean_s * MARGIN, self.at_most_s)


class SortQueue(Backlog):
    """The queue of the tasks of one sort."""

    def __init__(self, pool: str, sort: Sort) -> None:
        super().__init__(pool)
        self.sort = sort
        self.times = sort.type, sort.at_most_s
        """The time that its tasks take depends on these."""

    def clear(self) -> None:
        """Forget all tasks: others may still know this queue, and its tasks may come to another."""
        self._heap.clear()

    @property
    def rank(self) -> Rank:
        """The rank of its head; behind all others if there is none."""
        head = self.peek()
        return LAST if head is None else rank(head)


class Heads:
    """The heads of those queues that workers of one make fit.

    Args:
        make: of the workers.
        lines: all queues there are.

    Invariant: of each queue that workers of this make fit it has an entry that counts, with the
    rank in ``_shown``, and that is not ranked behind the head of the queue.
    """

    def __init__(self, make: WorkerNeeds, lines: Iterable[SortQueue]) -> None:
        self._make = make
        self._heaps: dict[tuple[TypeRecord | None, float], list[tuple[Rank, int, SortQueue]]] = {}
        """The entries, by the times that tasks take."""
        self._shown: dict[SortQueue, Rank] = {}
        self._entries = 0
        self._order = 0
        for line in lines:
            self.show(line, line.rank)

    def __repr__(self) -> str:
        return f"<Heads of {len(self._shown)} queues for {self._make}>"

    def worn(self, lines: int) -> bool:
        """Say whether most entries count no more, given the number of queues there are."""
        return self._entries > 2 * lines + _SLACK

    def show(self, line: SortQueue, ranked: Rank) -> None:
        """Take in that a queue has another head, of this rank."""
        needs, shown = line.sort.needs, self._shown.get(line)
        if shown == ranked:
            return
        if shown is None and needs is not None and not self._make.suffices_for(needs):
            return
        self._shown[line] = ranked
        self._order += 1
        self._entries += 1
        heap = self._heaps.get(line.times)
        if heap is None:
            heap = self._heaps[line.times] = []
        heappush(heap, (ranked, self._order, line))

    def best(self, left_s: float) -> SortQueue | None:
        """Return the queue whose head goes next to a worker that has so much time left."""
        best, best_rank = None, LAST
        for times, heap in list(self._heaps.items()):
            if heap[0][2].sort.takes_s() > left_s:
                continue
            if not self._settle(heap):
                del self._heaps[times]
                continue
            ranked, _, line = heap[0]
            if best is None or ranked < best_rank:
                best, best_rank = line, ranked
        return best

    def _settle(self, heap: list[tuple[Rank, int, SortQueue]]) -> bool:
        """Bring the best of a heap to its top; returns whether there is any."""
        while heap:
            ranked, order, line = heap[0]
            if self._shown.get(line) == ranked:
                now_ranked = line.rank
                if now_ranked == ranked:
                    return True
                if now_ranked < LAST:
                    self._shown[line] = now_ranked
                    heapreplace(heap, (now_ranked, order, line))
                    continue
                del self._shown[line]
            heappop(heap)
            self._entries -= 1
        return False
