"""Kept runs: attempts that workers went on with while their node had no broker.

A node that is let in again, perhaps by another broker than before, tells which of its workers work
on which tasks.  Such a worker counts as starting until the client of its task is back as well and
submits that again; then the task is running there, without being sent.  If the attempt ends before,
its success waits for the client, and the worker is free.  A task that no client submits, or that
may not go on as it is, is given up with its worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from steerio.core.attempts import settle, take_up
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.effects import Discard, Ending
from steerio.core.lifecycle import State
from steerio.core.moved_workers import press
from steerio.core.records import KeptAttempt, KeptByNode, NodeRecord, TaskRecord, WorkerRecord
from steerio.core.worker_life import give_up, ready
from steerio.model.objects import StoredObject
from steerio.model.tasks import ReportedAs


def chosen(
    cluster: Cluster, offers: dict[str, int], keeps: Sequence[KeptByNode]
) -> tuple[dict[str, int], list[KeptByNode], list[KeptByNode]]:
    """Choose among the workers that a node has kept.

    Returns how many others it has to start for each pool, those that are kept, and those that are
    not: others have their names, or their tasks, or they are more than the node offers, or no
    broker of this place can have numbered their attempts so, or values of them may be gone.
    """
    to_start, kept, not_kept = dict(offers), list[KeptByNode](), list[KeptByNode]()
    if not keeps:  # as of nearly all nodes; the rest looks at all that is kept
        return to_start, kept, not_kept
    workers, swept, names = cluster.roster.workers, cluster.swept, set[str]()
    tasks, runs = set[int](), {run.run for run in cluster.kept.values()}
    for each in keeps:
        fits = to_start.get(each.pool, 0) > 0
        taken = (
            (each.worker in workers or each.worker in swept or each.worker in names)
            or (each.task_id in cluster.kept or each.task_id in tasks)
            or (each.run in cluster.runs or each.run in runs)
        )
        last = cluster.run if cluster.keeps_own else cluster.first_run
        if not fits or taken or not 0 < each.run <= last:
            not_kept.append(each)
            continue
        names.add(each.worker)
        tasks.add(each.task_id)
        runs.add(each.run)
        to_start[each.pool] -= 1
        kept.append(each)
    return to_start, kept, not_kept


def take_in(
    cluster: Cluster,
    node: NodeRecord,
    kept: Iterable[KeptByNode],
    not_kept: Iterable[KeptByNode],
    now: float,
) -> None:
    """Take in the workers that a node has kept, and have it end those that are of no use."""
    cluster.effects += [Discard(node, each.worker) for each in not_kept]
    for each in kept:
        worker = cluster.roster.add_worker(node, each.pool, each.worker)
        pool = cluster.roster.pools[each.pool]
        pool.to_come = max(0, pool.to_come - 1)
        until = now + cluster.settings.away_s
        submitted = each.task_id in cluster.tasks
        cluster.kept[each.task_id] = KeptAttempt(each.task_id, each.run, worker, until, submitted)
        cluster.kept_by_worker[worker] = each.task_id
        cluster.deadlines.add(until, Due.KEPT, each.task_id)


def joined(cluster: Cluster, name: str, peer: int, pid: int, now: float) -> WorkerRecord | None:
    """Take in that a kept worker is there again; ``None``: it is none."""
    worker = cluster.roster.workers.get(name)
    if worker is None or worker not in cluster.kept_by_worker:
        return None
    kept = _run_of(cluster, worker)
    if kept is None or worker.peer:  # it is being given up, or says it twice
        return None
    worker.peer, worker.pid = peer, pid
    cluster.roster.by_peer[peer] = worker
    record = cluster.tasks.get(kept.task_id)
    if record is not None and record.state == State.QUEUED and _may_go_on(kept, record):
        cluster.roster.pools[record.pool].backlog.forget(record)
        _go_on(cluster, kept, worker, record, now)
    elif record is not None or kept.submitted:  # then it has ended by now
        _give_up(cluster, kept, now)
    return worker


def claim(cluster: Cluster, record: TaskRecord, now: float) -> bool:
    """Have a task that is submitted go on as it does; ``False``: it does not."""
    kept = cluster.kept.get(record.task_id)
    if kept is None:
        return False
    worker = kept.worker
    if worker is not None and not worker.peer:  # it will say that it is there
        kept.submitted = True
        return False
    if not _may_go_on(kept, record):
        _give_up(cluster, kept, now)
        return False
    if worker is not None:
        _go_on(cluster, kept, worker, record, now)
        return True
    del cluster.kept[record.task_id]
    record.attempt += 1
    settle(cluster, record, kept.ending, now)
    _let_go(cluster, kept)
    return True


def ended(
    cluster: Cluster,
    worker: WorkerRecord,
    run: int,
    ended_as: ReportedAs,
    started: float,
    ended_at: float,
    now: float,
    body: bytes,
    frames: tuple[Any, ...],
    stored: StoredObject | None,
) -> bool:
    """A kept attempt ended before its client is back; ``False``: its value is of no use."""
    kept = _run_of(cluster, worker)
    if kept is None or kept.run != run:
        return False
    del cluster.kept_by_worker[worker]
    kept.worker = None
    ready(cluster, worker, worker.peer, worker.pid, now)
    cluster.to_assign.append(worker)
    if ended_as != "succeeded":  # another attempt may go better
        del cluster.kept[kept.task_id]
        return False
    kept.ending = Ending("succeeded", body, frames, None, "", started, ended_at, stored)
    if stored is not None:  # the client's task is to have it
        cluster.holdings.hold_for_task(stored)
    return True


def cancel(cluster: Cluster, task_id: int, now: float) -> None:
    """Give up an attempt whose task is not wanted any more."""
    kept = cluster.kept.get(task_id)
    if kept is not None:
        _give_up(cluster, kept, now)


def leave(cluster: Cluster, worker: WorkerRecord, now: float) -> None:
    """Give up the attempt of a kept worker, if it is one, whose node is left."""
    kept = _run_of(cluster, worker)
    if kept is not None:
        _give_up(cluster, kept, now)


def look(cluster: Cluster, task_id: int, now: float) -> None:
    """Give up an attempt whose client has not come back in time."""
    kept = cluster.kept.get(task_id)
    if kept is not None and now >= kept.until:  # else it is another attempt, kept since
        _give_up(cluster, kept, now)


def _run_of(cluster: Cluster, worker: WorkerRecord) -> KeptAttempt | None:
    kept = cluster.kept.get(cluster.kept_by_worker.get(worker, -1))
    return kept if kept is not None and kept.worker is worker else None


def _may_go_on(kept: KeptAttempt, record: TaskRecord) -> bool:
    """Say whether a task that is submitted again is as its attempt was.

    Nothing tells which versions the attempt was given, and the items of a generator are gone. Of a
    gang only one worker is told of.
    """
    latest = record.inputs is not None and bool(record.inputs.latest)
    generates = record.type.spec.kind == "generator"
    worker = kept.worker
    here = worker is None or (record.pool == worker.pool and not worker.broken)
    return here and not (latest or generates or record.options.gang > 1)


def _go_on(
    cluster: Cluster, kept: KeptAttempt, worker: WorkerRecord, record: TaskRecord, now: float
) -> None:
    del cluster.kept[kept.task_id], cluster.kept_by_worker[worker]
    ready(cluster, worker, worker.peer, worker.pid, now)
    take_up(cluster, worker, record, kept.run, now)
    press(cluster, cluster.roster.pools[worker.pool], now)  # for a move that waits for a worker


def _give_up(cluster: Cluster, kept: KeptAttempt, now: float) -> None:
    del cluster.kept[kept.task_id]
    if kept.worker is not None:
        give_up(cluster, kept.worker, now)
    else:
        _let_go(cluster, kept)


def _let_go(cluster: Cluster, kept: KeptAttempt) -> None:
    """Let go of the object that holds the value of an attempt which has ended."""
    if kept.ending.stored is not None:
        cluster.holdings.task_lets_go(kept.ending.stored.name)
