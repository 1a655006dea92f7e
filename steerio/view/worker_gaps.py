"""The gaps between the tasks of a worker: the part of them that is known once a task has its line.

A worker idles from the end of a task, as the broker knows it, to the next that reaches it. The line
of that one tells when it was queued, and because of which results, and when its function began.
"""

from __future__ import annotations

from msgspec import Struct

from steerio.view.pool_figures import PoolFigures
from steerio.view.seen_lines import SeenAttempt, SeenTask
from steerio.view.sketch import Sketch
from steerio.view.task_figures import TypeFigures
from steerio.view.workers_seen import WorkersSeen


class OpenTask(Struct, gc=False):
    """A task that is queued or running.

    Attributes:
        pool, kind: of its type.
        queued: when it was queued last.
        reached: when a worker was to begin it, ``worker``; ``None`` while it is queued.
        gap: since when that worker had had no task.
        before: when the function of the task before it ended there, once it has ended.
        first_gap: the gap of the first attempt, and when the task was queued then.
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
    first_gap: tuple[float, float] | None = None
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

    def __repr__(self) -> str:
        return f"<WorkerGaps: {self._dispatch.spread().count} tasks on their way>"

    def leave(self, task: OpenTask, at: float) -> None:
        """Note that a worker has a task no more."""
        pool = task.pool
        pool.running.step(at, -1)
        if task.others:
            self._leave_gang(task, at)
        worker = self._cluster.workers.get(task.worker or "")
        if worker is not None:
            if worker.pool != pool.name:
                pool = self._cluster.pool(worker.pool, at)
            queued = pool.queued
            queued.to(at)
            worker.free_at, worker.queue_s = at, queued.above_s
            task.before, worker.ended = worker.ended, None

    def _leave_gang(self, task: OpenTask, at: float) -> None:
        """Note that the other workers of a gang have it no more."""
        others, task.others = task.others or [], None
        task.pool.running.step(at, -len(others))
        for name in others:
            worker = self._cluster.workers.get(name)
            if worker is not None:
                self._cluster.free(worker, self._cluster.pool(worker.pool, at), at)
                worker.ended = None

    def before(self, task: SeenTask, seen: OpenTask, known: float | None) -> None:
        """Say why the worker of a task had been idle before it, and how long it was in transit."""
        pool, reached, queued = seen.pool, seen.reached, seen.queued
        if seen.first_gap is not None:
            gap, first = seen.first_gap
            if known is not None and known < first and gap < first:
                pool.policy_busy.spread(max(gap, known), first)
            if seen.earlier:
                pool.dispatched(max(gap, first), seen.earlier[0][0])
        if reached is None:
            return
        if seen.gap is not None and reached > queued:
            pool.dispatched(max(seen.gap, queued), reached)
        if task.started is None or task.ended is None:
            return
        self._transit(task, seen, reached, task.started, task.ended)

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
