"""Gangs: several workers of one pool that run one task together, all or none.

Theory. A gang begins only when as many of its pool's workers as it takes have nothing in hand, all
at once; so no gang holds workers while it waits for others, and two of them cannot block each
other. While it waits, the workers that fit it and become free are kept for it (`assigning`), so it
is not starved: every task ends some time. It is passed over while the pool has too few workers for
it, for then no wait would help.

Each worker of a gang has a record of its own in hand, with its own run, so all that is known of a
worker's hands holds for it as well. The task ends when the last of these has ended: well, if all
have; else by the first failure, for which the others were stopped. A worker that died by itself
counts before an error, as the others fail when it does not answer.
"""

from __future__ import annotations

from math import inf

from steerio.core.attempts import fail, lose, needed, settle, settle_stopped, stop, teach
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.effects import Ending, SendTask, TellPort
from steerio.core.lifecycle import RETIRING, Fact, State, Turn, advance, turn
from steerio.core.records import GangRecord, RankRun, TaskRecord, WorkerRecord
from steerio.core.roster import Pool
from steerio.model.events import TaskStarted
from steerio.model.messages import RemoteError
from steerio.model.objects import StoredObject
from steerio.model.tasks import GangPlace, ReportedAs

HERE = "127.0.0.1"
"""The address of a gang whose workers are all on one host."""

# -- beginning ----------------------------------------------------------------------------------


def could_run(cluster: Cluster, pool: Pool, record: TaskRecord, now: float) -> bool:
    """Say whether a pool has workers enough for a gang, free or not."""
    needs, size = record.options.needs, record.options.gang
    if not pool.leaving and not cluster.roster.timed and not cluster.moves:
        makes = pool.makes_ready.items()
        fit = sum(n for make, n in makes if needs is None or make.suffices_for(needs))
        return fit + pool.workers - pool.ready >= size  # those that start may fit
    takes_s, fit = pool.backlog.takes_s(record), 0
    for node in [cluster.roster.nodes[name] for name in pool.by_node]:
        if node.draining or node.until - now < takes_s:
            continue
        fit += sum(
            worker.pool == pool.name
            and not worker.goes_home
            and worker.phase is not RETIRING
            and (needs is None or worker.make.suffices_for(needs))
            for worker in node.workers.values()
        )
    return fit >= size


def start(
    cluster: Cluster, task: TaskRecord, workers: list[WorkerRecord], pool: Pool, now: float
) -> None:
    """Begin an attempt at a queued task on these workers, which have nothing in hand."""
    hosts = {worker.node.host for worker in workers}
    gang = GangRecord(task, len(workers), HERE if len(hosts) == 1 else workers[0].node.host)
    cluster.gangs[task.task_id] = gang
    task.attempt += 1
    task.worker, task.sent, task.reached = workers[0], now, now
    if task.inputs is not None and task.inputs.latest:
        task.versions = cluster.versions.take(task.inputs.latest)
    advance(task, Fact.SENT)
    gang.others = [RankRun(worker.name, worker.node.name) for worker in workers[1:]]
    names = tuple(worker.name for worker in workers[1:])
    kind, attempt = task.type, task.attempt
    cluster.emit(
        TaskStarted,
        now,
        task.task_id,
        kind.spec.name,
        task.pool,
        attempt,
        workers[0].name,
        names,
    )
    for rank, worker in enumerate(workers):
        _hand(cluster, gang, rank, worker, pool, now)


def _hand(
    cluster: Cluster, gang: GangRecord, rank: int, worker: WorkerRecord, pool: Pool, now: float
) -> None:
    """Give a worker its part."""
    task, kind = gang.task, gang.task.type
    cluster.run = run = cluster.run + 1
    record = TaskRecord(
        task.task_id,
        task.client,
        kind,
        task.body,
        task.frames,
        task.options,
        task.created,
        task.queued,
        task.order,
        task.priority,
        attempt=task.attempt,
        run=run,
        worker=worker,
        sent=now,
        reached=now,
        pool=task.pool,
        inputs=task.inputs,
        versions=task.versions,
        rank=rank,
    )
    turn(worker, Turn.TAKEN)
    gang.ranks[run] = cluster.runs[run] = record
    pool.running += 1
    worker.in_hand.append(record)
    advance(record, Fact.SENT)
    if task.inputs is not None:
        cluster.fetching.used(needed(record), worker.node)
    if task.options.timeout_s is not None:
        cluster.look_later(now + task.options.timeout_s, Due.TIMEOUT, run)
    teach(cluster, worker, kind)
    place = GangPlace(rank, gang.size, gang.address)
    cluster.effects.append(SendTask(worker, record, place))


def opened(cluster: Cluster, record: TaskRecord, port: int, token: bytes) -> bool:
    """Tell the others the port and token of a gang's first; ``False``: it is not that."""
    if record.rank != 0:
        return False
    for other in cluster.gangs[record.task_id].ranks.values():
        if other is not record:
            assert other.worker is not None
            cluster.effects.append(TellPort(other.worker, other.run, port, token))
    return True


# -- ending -------------------------------------------------------------------------------------


def ended(
    cluster: Cluster, record: TaskRecord, ended_as: ReportedAs, ending: Ending, now: float
) -> StoredObject | None:
    """A worker of a gang has ended its part; returns its value in the store if that is not used."""
    gang = _leave(cluster, record, ending.started, ending.ended)
    task, unused = gang.task, ending.stored
    if record.rank == 0:
        gang.times = ending.started, ending.ended
    if ended_as == "succeeded":
        gang.succeeded += 1
        if record.rank == 0:
            gang.first, unused = ending, None
            if ending.stored is not None:  # it may be a while until the others have ended
                cluster.holdings.hold_for_task(ending.stored)
    elif task.state == State.RUNNING or (
        ended_as == "failed" and gang.failure and _is_earlier(ending, gang.failure)
    ):
        error = ending.error or RemoteError("CancelledError", "the task cancelled itself", "")
        where = f"(on worker {record.worker.name if record.worker else ''}, {_rank(gang, record)})"
        trace = f"{where}\n{error.traceback}"
        error = RemoteError(error.type, error.message, trace, error.pickled)
        gang.failure = Ending(
            "failed", ending.body, ending.frames, error, "", ending.started, ending.ended
        )
        if task.state == State.RUNNING:
            stop(cluster, task, f"{_rank(gang, record)} failed", now)
    _look_over(cluster, gang, now)
    return unused


def lost(cluster: Cluster, record: TaskRecord, reason: str, guilty: bool, now: float) -> None:
    """The worker of a part is lost, or how that ended; ``guilty``: the worker itself died."""
    gang = _leave(cluster, record)
    running = gang.task.state == State.RUNNING
    if running or (gang.failure is not None and record.run not in gang.signalled):
        gang.failure, gang.loss = None, (f"{_rank(gang, record)}: {reason}", guilty)
    if running:
        stop(cluster, gang.task, f"{_rank(gang, record)} was lost", now)
    _look_over(cluster, gang, now)


def came_back(cluster: Cluster, record: TaskRecord, now: float) -> None:
    """A part was not begun; so the others have to stop, and the task is queued again."""
    assert record.worker is not None
    cluster.roster.pools[record.worker.pool].running -= 1
    gang = _leave(cluster, record)
    if gang.task.state == State.RUNNING:
        gang.task.preempted = True
        stop(cluster, gang.task, "preempted: not all of its workers began it", now)
    _look_over(cluster, gang, now)


def cancelled(cluster: Cluster, task: TaskRecord) -> None:
    """A gang that is being stopped ends because its task is cancelled, and for no other reason."""
    gang = cluster.gangs.get(task.task_id)
    if gang is not None:
        gang.failure = gang.loss = None


def _leave(
    cluster: Cluster,
    record: TaskRecord,
    started: float | None = None,
    ended_at: float | None = None,
) -> GangRecord:
    """Take the part of a worker out of its gang."""
    gang = cluster.gangs[record.task_id]
    del gang.ranks[record.run]
    advance(record, Fact.SETTLED)
    if record.rank > 0:
        other = gang.others[record.rank - 1]
        gang.others[record.rank - 1] = RankRun(other.worker, other.node, started, ended_at)
    return gang


def _look_over(cluster: Cluster, gang: GangRecord, now: float) -> None:
    """End the attempt once all parts have."""
    if gang.ranks:
        return
    task, first = gang.task, gang.first
    del cluster.gangs[task.task_id]
    task.others = gang.others
    well = gang.succeeded == gang.size and (
        task.state == State.RUNNING or task.out_of_time or task.preempted
    )
    if well:
        settle(cluster, task, first, now)
    elif gang.loss is not None:
        lose(cluster, task, *gang.loss, now)
    elif gang.failure is not None:
        bad = gang.failure
        fail(cluster, task, "failed", bad.body, bad.frames, bad.error, *gang.times, now)
    else:
        settle_stopped(cluster, task, now, *gang.times)
    if first is not None and first.stored is not None:
        cluster.holdings.task_lets_go(first.stored.name)


def _is_earlier(ending: Ending, other: Ending) -> bool:
    return (ending.ended or 0.0) < (other.ended if other.ended is not None else inf)


def _rank(gang: GangRecord, record: TaskRecord) -> str:
    return f"rank {record.rank} of {gang.size}"
