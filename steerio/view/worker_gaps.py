"""The gaps between the tasks of a worker: the part of them that is known once a task has its line.

A worker idles from the end of a task, as the broker knows it, to the next that reaches it. The line
of that one tells when it was queued, and because of which results, and when its function began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from msgspec import Struct

from steerio.view.pool_figures import PoolFigures
from steerio.view.seen_lines import SeenAttempt, SeenTask
from steerio.view.sketch import Sketch
from steerio.view.task_figures import TypeFigures
from steerio.view.workers_seen import WorkersSeen

STALLS = 64
"""Most stalls of the event loop that are remembered, for the tasks that were submitted later."""


class OpenTask(Struct, gc=False):
    """A task that is queued or running.

    Attributes:
        pool, kind: of its type.
        queued: when it was queued last.
        reached: when a worker was to begin it, ``worker``; ``None`` while it is queued.
        gap: since when that worker had had no task.
        before: when the function of the task before it ended there, once it has ended.
        first_gap: since when its pool had an idle worker at the first attempt, since when the
            worker of that was idle, and when the task was queued then.
        earlier: when earlier attempts began and ended, as the broker knows.
        others: the other workers that are at it, if a gang is.
    """

    pool: PoolFigures
    kind: TypeFigures
    queued: float
    reached: float | None = None
    worker: str | None = None
    gap: float | None = None
    before: float | None = None
    first_gap: tuple[float, float, float] | None = None
    earlier: list[tuple[float, float]] | None = None
    others: list[str] | None = None


class WorkerGaps:
    """Says of the idle time of workers before tasks why it passed.

    Args:
        cluster: knows the workers.
        dispatch: counts how long tasks were on their way to workers.
    """

    def __init__(self, cluster: WorkersSeen, dispatch: Sketch) -> None:
        self._cluster = cluster
        self._dispatch = dispatch
        self._stalls: deque[tuple[float, float]] = deque(maxlen=STALLS)
        """Begin and end of the last stalls of the event loop, apart from each other."""

    def __repr__(self) -> str:
        return f"<WorkerGaps: {self._dispatch.spread().count} tasks on their way>"

    def loop_stalled(self, begin: float, end: float) -> None:
        """Note that no agent could react for a while, as one held the event loop."""
        while self._stalls and self._stalls[-1][1] >= begin:  # of another campaign at the broker
            earlier, later = self._stalls.pop()
            begin, end = min(begin, earlier), max(end, later)
        self._stalls.append((begin, end))

    def leave(self, task: OpenTask, at: float) -> None:
        """Note that a worker has a task no more, or those of a gang."""
        pool = task.pool
        pool.running.step(at, -1)
        worker = self._cluster.workers.get(task.worker or "")
        if task.others:
            self._leave_gang(task, at)
            if worker is not None and worker.began != task.reached:
                return
        if worker is not None:
            if worker.pool != pool.name:
                pool = self._cluster.pool(worker.pool, at)
            self._cluster.free(worker, pool, at)
            task.before, worker.ended = worker.ended, None

    def _leave_gang(self, task: OpenTask, at: float) -> None:
        """Note that the other workers of a gang have it no more.

        Each is free once its own part has ended, so it may have begun another task meanwhile.
        """
        others, task.others = task.others or [], None
        task.pool.running.step(at, -len(others))
        for name in others:
            worker = self._cluster.workers.get(name)
            if worker is not None and worker.began == task.reached:
                self._cluster.free(worker, self._cluster.pool(worker.pool, at), at)
                worker.ended = None

    def before(self, task: SeenTask, seen: OpenTask, known: float | None) -> None:
        """Say why the worker of a task had been idle before it, and how long it was in transit."""
        pool, reached, queued = seen.pool, seen.reached, seen.queued
        if seen.first_gap is not None:
            idle, gap, first = seen.first_gap
            if idle < first:
                decided = first if known is None else min(max(idle, known), first)
                pool.policy_busy.spread(decided, first)
                for begin, end in self._stalled(idle, decided):
                    pool.policy_busy.spread(begin, end)
            if seen.earlier:
                pool.dispatched(max(gap, first), seen.earlier[0][0])
        if reached is None:
            return
        if seen.gap is not None and reached > queued:
            pool.dispatched(max(seen.gap, queued), reached)
        if task.started is None or task.ended is None:
            return
        self._transit(task, seen, reached, task.started, task.ended)

    def _stalled(self, begin: float, end: float) -> Iterator[tuple[float, float]]:
        """Yield the parts of a time in which no agent could react."""
        for stalled, over in self._stalls:
            since, until = max(begin, stalled), min(end, over)
            if since < until:
                yield since, until

    def _transit(
        self, task: SeenTask, seen: OpenTask, reached: float, started: float, ended: float
    ) -> None:
        """Say how long a task was on its way, and the end of it, while its worker had no other."""
        in_transit, before = seen.pool.in_transit, seen.before
        worker = self._cluster.workers.get(seen.worker or "")
        if worker is not None and worker.free_at == task.received:
            worker.ended = ended
        begin = reached if before is None or before < reached else before
        if begin < started:
            in_transit.spread(begin, started)
        self._dispatch.add(started - begin)
        if before is not None and started < (seen.gap or 0.0):
            # it began before the end of the task before it was known
            in_transit.spread(max(started, before), seen.gap or 0.0, -1.0)
        if ended < task.received:
            in_transit.spread(ended, task.received)

    def of_earlier(
        self, pool: PoolFigures, attempt: SeenAttempt, reached: float, at: float
    ) -> None:
        """Say how long an attempt before the last was on its way, now that its times are known."""
        if attempt.started is not None and attempt.ended is not None:
            pool.in_transit.spread(reached, attempt.started)
            pool.in_transit.spread(attempt.started, reached, -1.0)
            pool.in_transit.spread(attempt.ended, at)
