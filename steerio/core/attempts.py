"""The steps that all decisions about tasks are made of: sending, stopping, retrying, settling.

Invariant: a task is in ``tasks`` until it is settled, and it is settled once; it is in
``runs`` exactly while it is in the hands of a worker.
"""

from __future__ import annotations

from typing import Any

from steerio.core import kept_results
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.effects import AskToStop, DefineType, Ending, RecallTask, SendTask, Settle
from steerio.core.lifecycle import Fact, State, advance
from steerio.core.records import Attempt, TaskRecord, TypeRecord, WorkerRecord
from steerio.core.roster import Pool
from steerio.core.waiting import wait
from steerio.model.events import TaskEnded, TaskRetried, TaskStarted
from steerio.model.messages import RemoteError
from steerio.model.objects import StoredObject
from steerio.model.showing import counted

DRAINED = "its node is drained"
"""Why a task is stopped that runs on a node which is left."""
# looking these up in their classes would take as long as the step
_HELD, _RUNNING, _STOPPING = State.HELD, State.RUNNING, State.STOPPING
_SENT, _SENT_AHEAD, _REACHED, _SETTLED = Fact.SENT, Fact.SENT_AHEAD, Fact.REACHED, Fact.SETTLED
_TIMEOUT, _RECALL = Due.TIMEOUT, Due.RECALL

# -- at a worker --------------------------------------------------------------------------------


def send(
    cluster: Cluster, worker: WorkerRecord, record: TaskRecord, pool: Pool, now: float
) -> None:
    """Begin an attempt: hand a queued task to a worker, which may be busy."""
    cluster.run = run = cluster.run + 1
    record.run = run
    record.attempt += 1
    record.worker = worker
    record.sent = now
    cluster.runs[run] = record
    if record.inputs is not None:
        _equip(cluster, record, worker)
    pool.running += 1
    in_hand = worker.in_hand
    if in_hand:
        in_hand.append(record)
        advance(record, _SENT_AHEAD)
        if _RECALL not in cluster.watched:
            cluster.watch(_RECALL, now + cluster.settings.recall_s)
    else:
        in_hand.append(record)
        advance(record, _SENT)
        _started(cluster, record, worker, now)
    kind = record.type
    if worker.last_type is not kind:  # else it knows it, and its set need not be looked at
        teach(cluster, worker, kind)
    cluster.effects.append(SendTask(worker, record))


def teach(cluster: Cluster, worker: WorkerRecord, kind: TypeRecord) -> None:
    """Tell a worker of the type of its next task, if it does not know it."""
    worker.last_type = kind
    if kind.type_id not in worker.known_types:
        worker.known_types[kind.type_id] = kind
        kind.told[worker] = None
        cluster.effects.append(DefineType(worker, kind))


def take_up(
    cluster: Cluster, worker: WorkerRecord, record: TaskRecord, run: int, now: float
) -> None:
    """Have a queued task be the attempt that a worker with nothing in hand has begun already."""
    record.run = run
    record.attempt += 1
    record.worker = worker
    record.sent = None  # by this broker
    cluster.runs[run] = record
    cluster.roster.pools[worker.pool].running += 1
    worker.in_hand.append(record)
    advance(record, _SENT)
    _started(cluster, record, worker, now)


def reach(cluster: Cluster, worker: WorkerRecord, now: float) -> None:
    """Take in that a worker goes on with the next task that it has in hand."""
    record = worker.in_hand[0]
    if record.state == _HELD:
        advance(record, _REACHED)
        _started(cluster, record, worker, now)
    elif record.state == _STOPPING and record.reached is None:
        advance(record, _REACHED)
        record.reached = now
        _press(cluster, record, now)
    if worker.node.overdue:  # it was recalled, but begun before that was heard
        preempt(cluster, record, DRAINED, now)


def _equip(cluster: Cluster, record: TaskRecord, worker: WorkerRecord) -> None:
    """Give an attempt the versions that are newest now; have the objects of a held one fetched."""
    inputs = record.inputs
    assert inputs is not None
    if inputs.latest:
        record.versions = cluster.versions.take(inputs.latest)
    if worker.in_hand:
        cluster.effects += cluster.fetching.sent_ahead(needed(record), worker.node)


def _started(cluster: Cluster, record: TaskRecord, worker: WorkerRecord, now: float) -> None:
    record.reached = now
    if record.inputs is not None:
        cluster.fetching.used(needed(record), worker.node)
    cluster.emit(
        TaskStarted,
        now,
        record.task_id,
        record.type.spec.name,
        record.pool,
        record.attempt,
        worker.name,
    )
    if record.options.timeout_s is not None:
        cluster.look_later(now + record.options.timeout_s, _TIMEOUT, record.run)


# -- stopping -----------------------------------------------------------------------------------


def recall(cluster: Cluster, worker: WorkerRecord) -> None:
    """Ask a worker for all that it holds behind the task that it runs."""
    for record in list(worker.in_hand)[1:]:
        if record.state == _HELD:
            cluster.effects.append(RecallTask(worker, record.run))


def whole(cluster: Cluster, record: TaskRecord) -> TaskRecord:
    """Return the task that a record in a worker's hands is of: itself, or that of its gang."""
    return record if record.rank < 0 else cluster.gangs[record.task_id].task


def preempt(cluster: Cluster, record: TaskRecord, reason: str, now: float) -> None:
    """Stop a running task and queue it again; that it is stopped counts for nothing."""
    record = whole(cluster, record)
    if record.state == _RUNNING:
        record.preempted = True
        stop(cluster, record, f"preempted: {reason}", now)


def stop(cluster: Cluster, record: TaskRecord, reason: str, now: float) -> None:
    """Have an attempt stopped, or given back if it was not begun.

    Orders may be lost, so they are repeated until it has ended or come back.  All of a gang are.
    """
    gang = cluster.gangs.get(record.task_id) if cluster.gangs else None
    record.stop_reason = reason
    advance(record, Fact.STOP_ASKED)
    if gang is not None and record is gang.task:
        for rank in list(gang.ranks.values()):
            stop(cluster, rank, reason, now)
        return
    worker = record.worker
    assert worker is not None
    if worker.in_hand[0] is record:
        cluster.effects.append(RecallTask(worker, record.run))
        _press(cluster, record, now)
    else:
        recall_again(cluster, record, now)


def recall_again(cluster: Cluster, record: TaskRecord, now: float) -> None:
    """Have an attempt given back whose turn has not come, and look whether it was."""
    assert record.worker is not None
    cluster.effects.append(RecallTask(record.worker, record.run))
    cluster.look_later(now + cluster.settings.beat_s, Due.RECALLED, record.run)


def _press(cluster: Cluster, record: TaskRecord, now: float) -> None:
    """Begin to stop a running attempt: ask, and set the time for the signals."""
    assert record.worker is not None
    cluster.effects.append(AskToStop(record.worker, record.run))
    cluster.look_later(now + record.options.cancel_grace_s, Due.TERM, record.run)


# -- after an attempt ---------------------------------------------------------------------------


def settle_stopped(
    cluster: Cluster,
    record: TaskRecord,
    now: float,
    started: float | None = None,
    ended: float | None = None,
) -> None:
    """Retry or settle a task whose attempt was asked to stop, and has ended."""
    again = record.not_again is None
    if record.preempted and again:
        record.preempted = False
        retry(cluster, record, record.stop_reason, now, started, ended)
    elif not record.out_of_time:
        reason = record.not_again if record.preempted and not again else record.stop_reason
        ending = Ending("cancelled", reason=reason or "", started=started, ended=ended)
        settle(cluster, record, ending, now)
    elif record.timeouts < record.options.retries.timed_out and again:
        record.timeouts += 1
        record.out_of_time = False
        retry(cluster, record, "timed out", now, started, ended)
    else:
        settle(cluster, record, Ending("timed_out", started=started, ended=ended), now)


def fail(
    cluster: Cluster,
    record: TaskRecord,
    ended_as: str,
    body: bytes,
    frames: tuple[Any, ...],
    error: RemoteError | None,
    started: float | None,
    ended: float | None,
    now: float,
) -> None:
    """Retry or settle a task whose attempt has failed in this way."""
    if record.failures < record.options.retries.failed and record.not_again is None:
        record.failures += 1
        reason = f"failed: {error.type if error else ended_as}"
        retry(cluster, record, reason, now, started, ended)
    else:
        error = error or RemoteError("CancelledError", "the task cancelled itself", "")
        settle(cluster, record, Ending("failed", body, frames, error, "", started, ended), now)


def lose(cluster: Cluster, record: TaskRecord, reason: str, guilty: bool, now: float) -> None:
    """Retry or settle a task whose worker is lost; ``guilty``: it may have died of it."""
    record.kills += guilty
    if record.kills >= cluster.settings.kills:
        why = f"it took down {counted(record.kills, 'worker')}, the last: {reason}"
        settle(cluster, record, Ending("lost", reason=why), now)
    elif record.losses < record.options.retries.lost and record.not_again is None:
        record.losses += 1
        retry(cluster, record, f"lost: {reason}", now)
    else:
        settle(cluster, record, Ending("lost", reason=reason), now)


def retry(
    cluster: Cluster,
    record: TaskRecord,
    reason: str,
    now: float,
    started: float | None = None,
    ended: float | None = None,
) -> None:
    """Note how an attempt ended, and queue its task again."""
    worker = record.worker
    if worker is not None:  # one that was taken back was no attempt
        versions: dict[str, int] | None = None
        if record.versions:
            versions = {name: v.number for name, v in record.versions.items()}
        attempt = Attempt(
            record.attempt,
            worker.name,
            worker.node.name,
            record.sent,
            started,
            ended,
            now,
            reason,
            versions,
            record.others,
        )
        record.earlier = [*record.earlier, attempt] if record.earlier else [attempt]
        record.others = None
    name, pool = record.type.spec.name, record.pool
    cluster.emit(TaskRetried, now, record.task_id, name, pool, record.attempt, reason)
    _requeue(cluster, record, Fact.RETRIED, now)


def take_back(cluster: Cluster, record: TaskRecord, now: float) -> None:
    """Take an attempt that was not begun out of a worker's hands, as if it had never been."""
    cluster.roster.pools[record.pool].running -= 1
    record.attempt -= 1
    record.worker = None
    _give_versions_back(cluster, record)
    if record.state == _STOPPING:
        settle_stopped(cluster, record, now)
    elif record.not_again is not None:
        settle(cluster, record, Ending("cancelled", reason=record.not_again), now)
    else:
        _requeue(cluster, record, Fact.RETURNED, now)


def _requeue(cluster: Cluster, record: TaskRecord, fact: Fact, now: float) -> None:
    advance(record, fact)
    _give_versions_back(cluster, record)
    record.worker = None
    record.reached = None
    pool = cluster.roster.pools[record.pool]
    wait(cluster, record, pool, now)
    cluster.to_feed[pool] = None


def _give_versions_back(cluster: Cluster, record: TaskRecord) -> None:
    if record.versions is not None:
        cluster.versions.give_back(record.versions)
        record.versions = None


def settle(cluster: Cluster, record: TaskRecord, ending: Ending, now: float) -> None:
    """End a task, once and for good."""
    advance(record, _SETTLED)
    del cluster.tasks[record.task_id]
    of_client = cluster.tasks_of[record.client]
    del of_client[record.task_id]
    if not of_client:
        del cluster.tasks_of[record.client]
    cluster.ended[ending.ended_as] += 1
    if ending.stored is not None:
        kept_results.keep(cluster, record.client, record.task_id, ending.stored)
        cluster.holdings.hold(ending.stored, ("client", record.client))
    if record.inputs is not None:
        for stored in needed(record):
            cluster.holdings.task_lets_go(stored.name)
    kind, worker, started, ended = record.type, record.worker, ending.started, ending.ended
    cluster.emit(
        TaskEnded,
        now,
        record.task_id,
        kind.spec.name,
        record.pool,
        record.attempt,
        None if worker is None else worker.name,
        ending.ended_as,
        None if started is None or ended is None else ended - started,
    )
    cluster.effects.append(Settle(record, ending))
    kind.tasks -= 1
    if not kind.tasks and not kind.clients:
        cluster.effects += cluster.types.drop([kind])


def fail_pool(cluster: Cluster, pool: Pool, reason: str, now: float) -> None:
    """Give up a pool: all tasks that are queued for it are lost, and so are later ones."""
    pool.failure = reason or "it was given up"
    while (record := pool.backlog.pop()) is not None:
        settle(cluster, record, Ending("lost", reason=pool.failure), now)


def needed(record: TaskRecord) -> list[StoredObject]:
    """Return the objects that an attempt needs."""
    assert record.inputs is not None
    versions = (record.versions or {}).values()
    return [*record.inputs.all, *(version.stored for version in versions)]
