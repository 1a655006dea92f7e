"""The orders of clients about tasks: to take them in, move, re-rank, cancel or feed them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from math import isfinite

from steerio.core import gangs, kept_runs
from steerio.core.assigning import offer
from steerio.core.attempts import settle, stop
from steerio.core.cluster import Cluster
from steerio.core.effects import Ending, Grant
from steerio.core.lifecycle import State
from steerio.core.records import TaskRecord
from steerio.core.roster import Pool
from steerio.model.events import TaskQueued

_QUEUED = int(State.QUEUED)  # looked at for each of many tasks; in its class it would take longer


def submit(cluster: Cluster, record: TaskRecord, now: float) -> bool:
    """Take in a task; ``False`` if a task of that id is here already."""
    task_id, kind, inputs = record.task_id, record.type, record.inputs
    if task_id in cluster.tasks:
        if inputs is not None and inputs.frames is not None:
            cluster.holdings.refuse(inputs.frames.name)
        return False
    if inputs is not None:
        if inputs == cluster.same_inputs:
            record.inputs = cluster.same_inputs
        else:
            cluster.same_inputs = inputs
        for stored in inputs.all:
            cluster.holdings.hold_for_task(stored)
    spec = kind.spec
    pool = cluster.roster.pools.get(spec.pool) or cluster.roster.pool(spec.pool)
    record.pool = spec.pool
    cluster.tasks[task_id] = record
    of_client = cluster.tasks_of.get(record.client)
    if of_client is None:
        of_client = cluster.tasks_of[record.client] = {}
    of_client[task_id] = record
    kind.tasks += 1
    cluster.emit(TaskQueued, now, task_id, spec.name, spec.pool)
    if pool is None:
        reason = f"no pool is named {spec.pool!r}"
        settle(cluster, record, Ending("lost", reason=reason), now)
    elif inputs is not None and (unknown := cluster.versions.missing(inputs.latest)) is not None:
        reason = f"it takes the latest {unknown!r}, of which no version was published yet"
        settle(cluster, record, Ending("lost", reason=reason), now)
    elif not (cluster.kept and kept_runs.claim(cluster, record, now)):
        offer(cluster, record, pool, now)
    return True


def reassign(cluster: Cluster, task_ids: Iterable[int], pool: Pool, now: float) -> int:
    """Have queued tasks wait in another pool; returns how many of them were queued."""
    count = 0
    for task_id in task_ids:
        record = cluster.tasks.get(task_id)
        if record is None or record.state != _QUEUED:
            continue
        count += 1
        if record.pool != pool.name:
            left, record.pool = record.pool, pool.name
            cluster.roster.pools[left].backlog.forget(record)
            cluster.emit(TaskQueued, now, task_id, record.type.spec.name, pool.name)
            offer(cluster, record, pool, now)
    return count


def cancel(
    cluster: Cluster, task_id: int, reason: str, now: float, *, queued_only: bool = False
) -> bool:
    """Cancel a task wherever it is, or only if it is still queued.

    With ``queued_only`` a task in hand goes on, but is not queued again: no retry.
    Returns ``False`` if it has ended already.
    """
    record = cluster.tasks.get(task_id)
    if record is None:
        kept_runs.cancel(cluster, task_id, now)
        return False
    if record.state == _QUEUED:
        settle(cluster, record, Ending("cancelled", reason=reason), now)
        cluster.roster.pools[record.pool].backlog.forget(record)
    elif queued_only:
        record.not_again = reason
    elif record.state == State.STOPPING:
        record.out_of_time = record.preempted = False
        record.stop_reason = reason
        gangs.cancelled(cluster, record)
    else:
        stop(cluster, record, reason, now)
    return True


def reprioritise(cluster: Cluster, changes: Iterable[tuple[int, float]]) -> int:
    """Re-rank tasks; return how many of them were still there to be re-ranked.

    A number that is not finite ranks nothing and is passed over.
    """
    count = 0
    queued: defaultdict[str, list[tuple[TaskRecord, float]]] = defaultdict(list)
    for task_id, priority in changes:
        record = cluster.tasks.get(task_id)
        if record is None or not isfinite(priority):
            continue
        count += 1
        if record.state == _QUEUED:
            queued[record.pool].append((record, priority))
        else:
            record.priority = priority
    for pool, of_pool in queued.items():
        cluster.roster.pools[pool].backlog.reprioritise(of_pool)
    return count


def grant(cluster: Cluster, task_id: int, count: int) -> bool:
    """Let a generator task yield ``count`` more items; 0: its items are not read.

    That holds for its later attempts as well.  Returns ``False`` if the task
    has ended already.
    """
    record = cluster.tasks.get(task_id)
    if record is None:
        return False
    record.unread = record.unread or count <= 0
    if record.worker is not None:
        cluster.effects.append(Grant(record.worker, record.run, 0 if record.unread else count))
    return True
