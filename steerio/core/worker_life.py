"""Workers: how they are started, join, end, are killed and replaced.

A node watches its workers and says at once when one exited; a worker that dies is replaced on
the same node.  If the workers of its pool keep dying before they are ready, that is put off, for
longer each time; and when the pool has no other worker left it has failed, with the reason that
the last of them gave, and no task waits for it.
"""

from __future__ import annotations

from steerio.core import empty_pools, moved_workers, reports
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.effects import Expel, Signal, Start, SweepObjects
from steerio.core.lifecycle import RETIRING, STARTING
from steerio.core.node_end import look_drained
from steerio.core.orphans import ENDING_S, sweep_later
from steerio.core.records import WorkerRecord
from steerio.core.roster import Pool
from steerio.core.waiting import watch_empty
from steerio.model.events import PoolChanged, WorkerJoined, WorkerLost

SLOW = {Due.START: STARTING, Due.RETIRE: RETIRING}
"""The phases that may last so long and no longer, by the deadlines for them."""
UNSEEN = "it was to be killed, and its node did not say that it has ended"
"""The reason for which a worker is over whose end was not seen."""
FIRST_PUT_OFF_S, LONGEST_PUT_OFF_S = 1.0, 30.0
"""How long the start of a worker is put off after too many failed, doubled each time."""


def start(cluster: Cluster, worker: WorkerRecord, now: float) -> None:
    """Have a node start a worker that was just named."""
    cluster.effects.append(Start(worker.node, worker))
    cluster.deadlines.add(now + cluster.settings.start_s, Due.START, worker.number)


def worker_joined(
    cluster: Cluster, peer: int, name: str, pid: int, now: float
) -> WorkerRecord | None:
    """A worker is ready; ``None`` if none of that name is expected."""
    worker = cluster.roster.workers.get(name)
    if worker is None or worker.phase is not STARTING or worker in cluster.kept_by_worker:
        return None
    ready(cluster, worker, peer, pid, now)
    cluster.to_assign.append(worker)
    return worker


def ready(cluster: Cluster, worker: WorkerRecord, peer: int, pid: int, now: float) -> None:
    """Note that a worker has joined; the caller gives it work, or says which it has already."""
    pool = cluster.roster.worker_ready(worker, peer, pid)
    cluster.emit(WorkerJoined, now, worker.name, worker.pool, worker.node.name, pid)
    cluster.emit(PoolChanged, now, pool.name, pool.ready)


def worker_exited(cluster: Cluster, name: str, run: int, reason: str, now: float) -> None:
    """A node says that a worker's process ended while it worked on ``run``.

    ``run`` is best the last attempt that it began, whether or not it ended that one.
    """
    worker = cluster.roster.workers.get(name)
    if worker is None:
        return
    kept = worker in cluster.kept_by_worker
    if kept:  # it was no start that failed
        cluster.roster.pools[worker.pool].start_failures -= 1
    reason = worker.broken or reason
    record = cluster.runs.get(run)
    mine = record is not None and record.worker is worker
    was_ready, retired = kept or worker.phase is not STARTING, worker.phase is RETIRING
    pool = remove(cluster, worker, reason, record.task_id if record and mine else None, now)
    if not retired:
        cluster.emit(PoolChanged, now, pool.name, pool.ready)
    cluster.effects.append(SweepObjects([name]))
    if worker.node.draining:
        worker.node.away.append(worker.home)
    elif not pool.failure:
        if was_ready or cluster.roster.may_start(pool):
            start(cluster, cluster.roster.replace(worker), now)
        else:
            if pool.workers == 0:
                empty_pools.fail(cluster, pool, reason, now)
            _replace_later(cluster, worker, now)
    reports.worker_gone(cluster, worker, run, reason, now)
    moved_workers.workers_lost(cluster, [worker], now)
    look_drained(cluster, worker.node, now)


def remove(
    cluster: Cluster, worker: WorkerRecord, reason: str, task_id: int | None, now: float
) -> Pool:
    """Take a worker that is gone out of the roster, and say so; return the pool that it was in.

    The caller then says how many that has.
    """
    retired = worker.phase is RETIRING
    task = cluster.kept_by_worker.pop(worker, None)
    if task is not None and task in cluster.kept and cluster.kept[task].worker is worker:
        del cluster.kept[task]
    pool = cluster.roster.remove_worker(worker)
    if not retired:
        cluster.emit(WorkerLost, now, worker.name, pool.name, worker.node.name, reason, task_id)
    if pool.workers == 0:
        watch_empty(cluster, pool, now)
    return pool


def break_off(cluster: Cluster, worker: WorkerRecord, reason: str, now: float) -> None:
    """Have a worker killed that has said what cannot be read; its node says when it has ended."""
    if not worker.broken:  # it may have said more by now
        worker.broken = reason
        cluster.effects.append(Expel(worker.peer, reason))
        _kill(cluster, worker, Due.BROKEN, now)


def give_up(cluster: Cluster, worker: WorkerRecord, now: float) -> None:
    """Have a starting worker killed; its node says when it has ended, and another is started."""
    if not worker.broken:
        _kill(cluster, worker, Due.START, now)


# -- deadlines ---------------------------------------------------------------------------------


def look_starting(cluster: Cluster, number: int, now: float) -> None:
    """Have a worker killed that is still starting."""
    _look_slow(cluster, number, Due.START, now)


def look_retiring(cluster: Cluster, number: int, now: float) -> None:
    """Have a worker killed that should have ended in good order."""
    _look_slow(cluster, number, Due.RETIRE, now)


def look_broken(cluster: Cluster, number: int, now: float) -> None:
    """Give up a broken worker whose node has not said that it has ended."""
    worker = cluster.roster.by_number.get(number)
    if isinstance(worker, WorkerRecord):
        _kill(cluster, worker, Due.BROKEN, now)


def replace(cluster: Cluster, number: int, now: float) -> None:
    """Start the worker whose start was put off, unless its node or its pool is given up."""
    gone = cluster.take_put_off(number)
    if gone is None:
        return
    if gone.node.draining:
        gone.node.away.append(gone.home)
    elif not cluster.roster.pools[gone.home].failure:
        fresh = cluster.roster.add_worker(gone.node, gone.home)
        fresh.put_off_s = gone.put_off_s
        start(cluster, fresh, now)


def _replace_later(cluster: Cluster, worker: WorkerRecord, now: float) -> None:
    """Start another at home in a while, if that has not failed: the cause may pass."""
    worker.put_off_s = min(max(2 * worker.put_off_s, FIRST_PUT_OFF_S), LONGEST_PUT_OFF_S)
    cluster.replace_later(worker, now + worker.put_off_s)


def _look_slow(cluster: Cluster, number: int, due: Due, now: float) -> None:
    """Have a worker killed that is still in a phase that may last so long and no longer."""
    worker = cluster.roster.by_number.get(number)
    if isinstance(worker, WorkerRecord) and worker.phase is SLOW[due] and not worker.broken:
        _kill(cluster, worker, due, now)


def _kill(cluster: Cluster, worker: WorkerRecord, due: Due, now: float) -> None:
    """Have a worker killed, with each beat until its node says that it has ended.

    Orders may be lost, the one to start it among them.  If the node has said nothing for long
    enough, the worker is over.
    """
    if worker.pressed is not due:
        worker.pressed, worker.over_at = due, now + cluster.settings.lease_s + ENDING_S
    elif now >= worker.over_at:
        run = worker.in_hand[0].run if worker.in_hand else 0
        worker_exited(cluster, worker.name, run, UNSEEN, now)
        sweep_later(cluster, [worker.name], now)  # until then it may put objects
        return
    cluster.effects.append(Signal(worker, 0, "kill"))
    again = min(now + cluster.settings.beat_s, worker.over_at)
    cluster.deadlines.add(again, due, worker.number)
