"""Tasks and effects in words: the past of a task, why it waits, and the orders of the core."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from steerio.core import effects as fx
from steerio.core.cluster import Cluster
from steerio.core.lifecycle import State
from steerio.core.records import TaskRecord
from steerio.core.roster import Pool
from steerio.model import events as ev
from steerio.model.campaign_orders import order_in_words

TaskEvent = (
    ev.TaskQueued
    | ev.TaskStarted
    | ev.TaskRetried
    | ev.TaskProgress
    | ev.TaskYielded
    | ev.TaskEnded
    | ev.WorkerLost
)
"""The events that are about a task."""

# -- tasks --------------------------------------------------------------------------------------


def story(cluster: Cluster, task_id: int) -> list[str]:
    """Return the past of a task, as far as its events are kept, and why it runs or waits now."""
    events = [e for e in cluster.log if isinstance(e, TaskEvent) and e.task_id == task_id]
    lines = [f"{event.at - events[0].at:.3f} s: {say_event(event)}" for event in events]
    return [*lines, now(cluster, task_id) or "it is not here: it has ended, or was never submitted"]


def now(cluster: Cluster, task_id: int) -> str:
    """Return why a task runs or waits now; empty if it is not here."""
    record = cluster.tasks.get(task_id)
    return f"now it is {State(record.state).name}: {why(cluster, record)}" if record else ""


def why(cluster: Cluster, record: TaskRecord) -> str:
    """Return why a task runs, waits or is held."""
    worker = record.worker
    if worker is None:
        return _why_queued(record, cluster.roster.pools[record.pool])
    at = f"worker {worker.name} on node {worker.node.name}"
    if (gang := cluster.gangs.get(record.task_id)) is not None:
        at = f"a gang of {gang.size}, with {at} as its first,"
    if record.state == State.STOPPING:
        return f"{at} is to stop it ({record.stop_reason})"
    if record.state == State.RUNNING:
        return f"{at} works on it, as attempt {record.attempt}"
    before = _count(list(worker.in_hand).index(record), "task")
    return f"{at} holds it behind {before}, for its type takes {record.type.mean_s:.2g} s"


def _why_queued(record: TaskRecord, pool: Pool) -> str:
    """Return why no worker of its pool takes a task."""
    needs = record.options.needs
    here = f"pool {pool.name!r} has {_count(len(pool.backlog), 'task')} queued, and"
    makes = pool.makes_ready.items()
    fit = sum(count for make, count in makes if needs is None or make.suffices_for(needs))
    if pool.paused:
        return f"{here} it is paused {pool.paused}"
    if pool.stalled:
        return f"{here} {pool.stalled}"
    if not pool.ready:
        return f"{here} of its {_count(pool.workers + pool.to_come, 'worker')} none is ready"
    if not fit:
        return f"{here} of its {_count(pool.ready, 'worker')} none has {needs}"
    gang = record.options.gang
    if fit < gang:
        return f"{here} it takes {gang} workers at once, of which only {fit} could take it"
    if gang > 1:
        free = _count(len(pool.idle), "worker")
        return f"{here} it takes {gang} workers at once; {free} of it {_are(len(pool.idle))} free"
    if pool.idle and pool.backlog.gangs:
        free = _count(len(pool.idle), "free worker")
        return f"{here} its {free} may be kept for a task that takes several at once"
    if pool.idle:
        idle = _count(len(pool.idle), "idle worker")
        return f"{here} of its {idle} none fits it, or none has the time for it"
    if pool.moves:
        wanted = _count(sum(move.owed for move in pool.moves), "worker")
        return f"{here} moves, which go first, wait for {wanted} of it"
    return f"{here} of its {_count(fit, 'worker')} that could take it none is free"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def say_event(event: TaskEvent) -> str:
    """Return an event about a task in words."""
    match event:
        case ev.TaskQueued():
            return f"queued in pool {event.pool!r}"
        case ev.TaskStarted():
            at = f"worker {event.worker}"
            if event.others:
                at = f"workers {', '.join([event.worker, *event.others])}"
            return f"attempt {event.attempt} started on {at}"
        case ev.TaskRetried():
            return f"attempt {event.attempt} is over ({event.reason}), and it is queued again"
        case ev.TaskProgress():
            return f"at {event.fraction}: {event.message}"
        case ev.TaskYielded():
            return f"yielded item {event.index}"
        case ev.TaskEnded():
            return f"{event.ended_as} at attempt {event.attempt}"
        case ev.WorkerLost():
            return f"worker {event.worker} was lost: {event.reason}"
        case _:
            assert_never(event)


# -- decisions ------------------------------------------------------------------------------------


def say_decisions(cluster: Cluster, effects: Iterable[fx.Effect]) -> list[str]:
    """Return these effects in words, and why tasks wait since the events were last taken."""
    queued = dict.fromkeys(
        event.task_id
        for event in cluster.log.fresh
        if isinstance(event, ev.TaskQueued | ev.TaskRetried)
    )
    waiting = [cluster.tasks[number] for number in queued if number in cluster.tasks]
    return [say_effect(effect) for effect in effects] + [
        f"task {record.task_id}: waits, {why(cluster, record)}"
        for record in waiting
        if record.state == State.QUEUED
    ]


def say_effect(effect: fx.Effect) -> str:  # noqa: C901 - one case for each effect
    """Return an effect in words: one line."""
    match effect:
        case fx.DefineType(worker, kind):
            return f"worker {worker.name}: learn task type {kind.spec.name}"
        case fx.SendTask(worker, record):
            number = record.attempt
            return f"task {record.task_id}: send attempt {number} to worker {worker.name}"
        case fx.Grant(worker, run, count):
            return f"worker {worker.name}: may yield {_count(count, 'more item')} in run {run}"
        case fx.RecallTask(worker, run):
            return f"worker {worker.name}: is not to begin run {run}"
        case fx.AskToStop(worker, run):
            return f"worker {worker.name}: is to stop run {run}"
        case fx.TellPort(worker, run, port, _):
            return f"worker {worker.name}: the gang of run {run} meets at port {port}"
        case fx.Signal(worker, run, signal):
            return f"worker {worker.name}: {signal} it, for run {run}"
        case fx.Discard(node, name):
            return f"have {node.name} end {name}, which it has kept"
        case fx.Start(node, worker):
            return f"node {node.name}: start worker {worker.name}"
        case fx.Retire(worker):
            return f"worker {worker.name}: is to end"
        case fx.TellMove(move, state, _, _, reason):
            size = f"{len(move.taken)} of {move.count}"
            return f"move {move.number}: {state} with {size} from {move.source!r} {reason}".rstrip()
        case fx.TellNode(client, request, state, reason):
            return f"client {client}: its node (request {request}) is {state} {reason}".rstrip()
        case fx.TellPause(client, request, reason):
            return f"client {client}: its pause (request {request}) is {reason or 'in effect'}"
        case fx.SendOrder(taker, number, given):
            return f"client {taker}: order {number}, {order_in_words(given.order)}"
        case fx.TellOrder(giver, request, answer):
            return f"client {giver}: its order (request {request}): {answer.words}"
        case fx.Dismiss(peer, reason):
            return f"peer {peer}: may end, {reason}"
        case fx.Expel(peer, reason):
            return f"peer {peer}: is shown out, {reason}"
        case fx.FreeObjects(names):
            return f"store: free {_count(len(names), 'object')}"
        case fx.ForgetCopies(node, names):
            return f"node {node.name}: forget {_count(len(names), 'object')}"
        case fx.SweepObjects(makers):
            return f"store: sweep after {', '.join(makers)}"
        case fx.FetchCopies(node, objects):
            return f"node {node.name}: fetch {_count(len(objects), 'object')} ahead"
        case fx.UndefineTypes(worker, types):
            return f"worker {worker.name}: forget {_count(len(types), 'task type')}"
        case fx.Settle(record, ending):
            reason = f": {ending.reason}" if ending.reason else ""
            return f"task {record.task_id}: {ending.ended_as}{reason}"
        case _:
            assert_never(effect)
