"""The reports of workers and nodes on attempts, and the deadlines of attempts."""

from __future__ import annotations

from math import inf
from typing import Any

from steerio.core import ahead, fitting, gangs
from steerio.core.attempts import (
    fail,
    lose,
    recall_again,
    settle,
    settle_stopped,
    stop,
    take_back,
    whole,
)
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.effects import Ending, Grant, Signal
from steerio.core.heads import Want
from steerio.core.lifecycle import State
from steerio.core.records import TaskRecord, WorkerRecord
from steerio.core.stalls import watch
from steerio.model.events import TaskProgress, TaskYielded
from steerio.model.messages import RemoteError
from steerio.model.objects import StoredObject
from steerio.model.tasks import ReportedAs

_STOPPING = State.STOPPING  # looking it up in its class would take as long as the step


def reported(
    cluster: Cluster,
    run: int,
    ended_as: ReportedAs,
    started: float,
    ended: float,
    now: float,
    body: bytes,
    frames: tuple[Any, ...],
    error: RemoteError | None,
    stored: StoredObject | None,
) -> bool:
    """An attempt ended, by its worker's word; see `Core.reported`."""
    record = cluster.runs.pop(run, None)
    if record is None:
        if stored is not None:
            cluster.holdings.refuse(stored.name)
        return False
    worker = record.worker
    assert worker is not None
    in_hand = worker.in_hand
    if in_hand[0] is record:
        in_hand.popleft()
    else:
        in_hand.remove(record)
    cluster.roster.pools[worker.pool].running -= 1
    _measure(cluster, record, ended - started)
    stopping = record.state == _STOPPING
    if record.rank >= 0:
        ending = Ending("succeeded", body, frames, error, "", started, ended, stored)
        stored = gangs.ended(cluster, record, ended_as, ending, now)
    elif ended_as == "succeeded" and (not stopping or record.out_of_time or record.preempted):
        ending = Ending("succeeded", body, frames, None, "", started, ended, stored)
        stored = None
        settle(cluster, record, ending, now)
    elif stopping:
        settle_stopped(cluster, record, now, started, ended)
    else:
        fail(cluster, record, ended_as, body, frames, error, started, ended, now)
    if stored is not None:  # the value of an attempt that counts for nothing
        cluster.holdings.refuse(stored.name)
    cluster.to_assign.append(worker)
    return True


def returned(cluster: Cluster, run: int, now: float) -> bool:
    """A worker gave a task back unstarted; ``False`` if it is not expected (late)."""
    record = cluster.runs.pop(run, None)
    if record is None:
        return False
    worker = record.worker
    assert worker is not None
    was_next = worker.in_hand[0] is record
    worker.in_hand.remove(record)
    ahead.answered(cluster, worker, run, now)
    if record.rank >= 0:
        gangs.came_back(cluster, record, now)
    else:
        take_back(cluster, record, now)
    if was_next:  # else nothing changed for the worker, and it would be handed it again
        cluster.to_assign.append(worker)
    elif len(worker.in_hand) == 1 and worker.in_hand[0].type.mean_s <= cluster.settings.hold_s:
        ahead.begun(cluster.roster.pools[worker.pool], worker)
    return True


def not_begun(cluster: Cluster, run: int, now: float) -> bool:
    """A node keeps its worker from beginning a recalled task; ``False`` if that is late.

    Of the one whose turn it is the worker itself has to say so: if it hangs, it is to be
    killed, and not to be sent others.
    """
    record = cluster.runs.get(run)
    if record is None:
        return False
    if record.reached is None:
        returned(cluster, run, now)
    return True


def yielded(
    cluster: Cluster,
    record: TaskRecord,
    index: int,
    now: float,
    *,
    has_value: bool,
    stored: StoredObject | None = None,
) -> bool:
    """An attempt yielded an item; returns whether its client is to have that.

    It may be that items are not read.  A worker that sends a value then has not heard of that.
    """
    cluster.emit(TaskYielded, now, record.task_id, record.type.spec.name, record.pool, index)
    if not record.unread:
        if stored is not None:
            cluster.holdings.hold(stored, ("client", record.client))
        return True
    if stored is not None:
        cluster.holdings.refuse(stored.name)
    if has_value:
        assert record.worker is not None
        cluster.effects.append(Grant(record.worker, record.run, 0))
    return False


def progressed(
    cluster: Cluster, record: TaskRecord, fraction: float | None, message: str, now: float
) -> None:
    """An attempt said how far it is; of a gang the first does."""
    if record.rank > 0:
        return
    spec = record.type.spec
    cluster.emit(TaskProgress, now, record.task_id, spec.name, record.pool, fraction, message)


def workers_gone(cluster: Cluster, workers: list[WorkerRecord], reason: str, now: float) -> None:
    """These workers were lost with their nodes; they are out of the roster."""
    for worker in workers:
        _end_attempts(cluster, worker, 0, reason, False, now)


def worker_gone(cluster: Cluster, worker: WorkerRecord, run: int, reason: str, now: float) -> None:
    """A worker ended while it worked on ``run`` (0: on nothing); it is out of the roster."""
    _end_attempts(cluster, worker, run, reason, True, now)


def _end_attempts(
    cluster: Cluster, worker: WorkerRecord, run: int, reason: str, guilty: bool, now: float
) -> None:
    """Queue again, retry or settle the tasks of a worker that ended while it worked on ``run``.

    It began its tasks in the order in which they were sent.  So those behind ``run``
    were not begun and are queued again, free of charge; ``run`` itself, and those
    before it whose reports did not make it here, are retried or settled as lost.
    The first in hand always counts as begun: the worker may have died of it before it
    could say so, or after it said so.  ``guilty``: the worker itself died (not its
    node), so the task may be why.
    """
    pool = cluster.roster.pools[worker.pool]
    in_hand = worker.in_hand
    last = max(run, in_hand[0].run) if in_hand else run
    cluster.some_void |= bool(in_hand)  # decisions of this very step about these tasks
    for record in in_hand:
        del cluster.runs[record.run]
        if record.run > last:
            take_back(cluster, record, now)
            continue
        pool.running -= 1
        if record.rank >= 0:
            gangs.lost(cluster, record, reason, guilty, now)
        elif record.state == _STOPPING:
            settle_stopped(cluster, record, now)
        else:
            lose(cluster, record, reason, guilty and record.run == last, now)
    in_hand.clear()
    if pool.backlog and not pool.running:
        watch(cluster, now)


# -- deadlines ---------------------------------------------------------------------------------


def look_timeout(cluster: Cluster, run: int, now: float) -> None:
    """Stop an attempt that has run for as long as it may."""
    record = cluster.runs.get(run)
    if record is not None and (record := whole(cluster, record)).state == State.RUNNING:
        record.out_of_time = True
        stop(cluster, record, "timeout", now)


def look_term(cluster: Cluster, run: int, now: float) -> None:
    """Signal an attempt that was asked to stop, and has not."""
    record = cluster.runs.get(run)
    if record is not None:
        assert record.worker is not None
        if record.rank >= 0:  # if the worker ends now, the signal may be why
            cluster.gangs[record.task_id].signalled.add(run)
        cluster.effects.append(Signal(record.worker, run, "term"))
        cluster.look_later(now + record.options.cancel_grace_s, Due.KILL, run)


def look_kill(cluster: Cluster, run: int, now: float) -> None:
    """Kill the worker of an attempt that was signalled, and has not ended, until it has."""
    record = cluster.runs.get(run)
    if record is not None:
        assert record.worker is not None
        cluster.effects.append(Signal(record.worker, run, "kill"))
        cluster.look_later(now + cluster.settings.beat_s, Due.KILL, run)


def look_recalled(cluster: Cluster, run: int, now: float) -> None:
    """Recall an attempt again that has neither come back nor had its turn."""
    record = cluster.runs.get(run)
    if record is not None and record.reached is None:
        recall_again(cluster, record, now)


def look_unfit(cluster: Cluster, about: int, now: float) -> None:
    """Give up the tasks that no worker of their pool fits, and for which none came."""
    del about
    for pool, unfit in fitting.look(cluster, now):
        for record in pool.backlog.take_all(unfit):
            reason = unfit[Want(record.options.needs, record.options.gang)]
            settle(cluster, record, Ending("lost", reason=reason), now)


def _measure(cluster: Cluster, record: TaskRecord, run_s: float) -> None:
    """Note how long an attempt took."""
    kind = record.type
    if not 0 <= run_s < inf:  # a worker's word: one NaN would spoil the mean for good
        return
    if kind.mean_s < 0:
        kind.mean_s = run_s
        ahead.measured(cluster, kind)
    elif run_s > kind.mean_s:  # believe bad news sooner than good
        kind.mean_s += (run_s - kind.mean_s) * 0.5  # to hold behind a long task wastes a worker
    else:
        kind.mean_s += (run_s - kind.mean_s) * 0.1
        if cluster.roster.timed:  # others of its kind may be done in time now, in any pool
            cluster.to_feed.update(dict.fromkeys(cluster.roster.pools.values()))
