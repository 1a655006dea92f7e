"""The invariants of the core between any two facts, which can be looked at any time."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import inf

from steerio.core import move_requests
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.holdings import Holder
from steerio.core.lifecycle import (
    BUSY,
    GRANTED,
    IDLE,
    READY,
    RESERVED,
    RETIRING,
    RETURNING,
    STARTING,
    WAITING,
    Phase,
    State,
)
from steerio.core.records import MoveRecord, NodeRecord, WorkerRecord
from steerio.core.roster import Pool
from steerio.errors import SteerioError

Dues = set[tuple[Due, int]]
"""The deadlines that are still to come."""
AT_A_WORKER = (State.HELD, State.RUNNING, State.STOPPING)


class InvariantBroken(SteerioError):
    """The core's state contradicts itself: a bug in steerio, never the user's fault."""


def check(cluster: Cluster, now: float) -> None:
    """Look at every invariant of nodes, workers, pools, tasks, moves and objects.

    Raises:
        InvariantBroken: one of them does not hold.
    """
    dues = {(due, about) for _, due, about in cluster.deadlines}
    for order in cluster.orders.values():
        there = order.giver in cluster.clients and order.taker in cluster.taking
        _must(there, "the giver and the campaign of an order are there", str(order))
    _must(not cluster.to_assign and not cluster.to_feed, "all is given out", cluster)
    inside = Counter(worker.number for worker in cluster.inside.values())
    for worker in cluster.roster.workers.values():
        _check_worker(cluster, worker, dues)
        counted = worker.clients == inside[worker.number]
        _must(counted, "a worker counts the clients that its task is", worker.name)
        _check_place(cluster, worker)
    for pool in cluster.roster.pools.values():
        _check_pool(cluster, pool)
        _check_queue(cluster, pool, dues, now)
    _check_nodes(cluster)
    for node in cluster.roster.nodes.values():
        _check_draining(node, dues)
    for number, gone in cluster.to_replace.items():
        _must(gone.phase is Phase.GONE, "a worker that is to be replaced is gone", gone.name)
        there = cluster.nodes.get(gone.node.peer) is gone.node
        _must(there, "its node is there", gone.name)
        _must((Due.REPLACE, number) in dues, "it will be replaced", gone.name)
    _check_kept(cluster, dues)
    _check_tasks(cluster)
    _check_types(cluster)
    for key, move in cluster.moves.items():
        _check_move(cluster, key, move, dues)
    _check_queues_of_moves(cluster, dues)
    _check_holdings(cluster)


def _must(holds: bool, what: str, about: object) -> None:
    if not holds:
        raise InvariantBroken(f"it does not hold that {what}: {about!r}")


def _check_worker(cluster: Cluster, worker: WorkerRecord, dues: Dues) -> None:
    """A worker is on one node, in one pool, and the tasks that it has in hand fit its phase."""
    name, in_hand = worker.name, worker.in_hand
    _must(worker.node.workers.get(name) is worker, "a worker is on its node", name)
    _must(worker.pool in cluster.roster.pools, "a worker's pool is there", name)
    _must((worker.phase is BUSY) == bool(in_hand), "a worker with tasks in hand is busy", name)
    for place, record in enumerate(in_hand):
        task = record.task_id
        _must(record.worker is worker, "a task in hand knows its worker", task)
        _must(cluster.runs.get(record.run) is record, "a task in hand is among the runs", task)
        _must(record.state in AT_A_WORKER, "a task in hand is at a worker", task)
        first = place == 0
        _must(record.state != (State.HELD if first else State.RUNNING), "the first runs", task)
        _must((record.reached is not None) == first, "just the first is reached", task)
        if first and record.state == State.RUNNING and record.options.timeout_s is not None:
            _must((Due.TIMEOUT, record.run) in dues, "a task that may time out is looked at", task)
    _must(all(a.run < b.run for a, b in pairwise(in_hand)), "runs are in order", name)
    looked_at = len(in_hand) < 2 or (Due.RECALL, 0) in dues
    _must(looked_at, "a worker that holds tasks ahead is looked at", name)


def _check_place(cluster: Cluster, worker: WorkerRecord) -> None:
    """A worker is where some move or nothing has put it."""
    name, move, phase = worker.name, worker.move, worker.phase
    _must(worker.home in cluster.roster.pools, "a worker's home is there", name)
    reserved = move is not None and worker in move.reserved
    _must((phase is RESERVED) == reserved, "a reserved worker is that of a move", name)
    if move is None:
        _must(worker.pool == worker.home, "a worker of no move is at home", name)
        _must(not worker.goes_home, "a worker at home does not go there", name)
    elif reserved:
        at_source = worker.pool == worker.home == move.source
        _must(at_source, "a reserved worker is still at its source", name)
    else:
        _must(worker in move.taken, "a move knows its workers", name)
        lent = (worker.pool, worker.home) == (move.target, move.source)
        _must(lent, "a moved worker is at the target", name)
        ends = move.state is RETURNING
        _must(worker.goes_home == ends, "a worker on loan goes home at its end", name)
        _must(not (ends and phase is IDLE), "a worker that is to go home does not idle", name)


def _check_pool(cluster: Cluster, pool: Pool) -> None:
    """A pool's counters are right."""
    name, all_workers = pool.name, cluster.roster.workers.values()
    workers = [worker for worker in all_workers if worker.pool == name]
    ready = [worker for worker in workers if worker.phase in READY]
    away = [worker for worker in all_workers if worker.home == name != worker.pool]
    makes = [w.make for w in workers] + [w.node.make(name) for w in away]
    leaving = sum(bool(worker.node.draining) for worker in workers)
    idle = {worker for worker in workers if worker.phase is IDLE}
    _must(pool.workers == len(workers), "a pool counts its workers", pool)
    _must(pool.ready == len(ready), "a pool counts those that are ready", pool)
    _must(pool.leaving == leaving, "a pool counts those that leave", pool)
    _must(
        pool.makes_ready == Counter(w.make for w in ready), "a pool counts the makes of those", pool
    )
    _must(
        pool.by_node == Counter(w.node.name for w in workers),
        "a pool counts its workers by node",
        pool,
    )
    put_off = sum(gone.home == name for gone in cluster.to_replace.values())
    _must(pool.put_off == put_off, "a pool counts those that are replaced later", pool)
    at_home = sum(worker.home == name for worker in all_workers)
    _must(pool.at_home == at_home, "a pool counts those that belong to it", pool)
    _must(pool.makes == Counter(makes), "a pool counts their makes", pool)
    _must(
        set(pool.idle) == idle and len(pool.idle) == len(idle), "a pool has those that idle", pool
    )
    running = sum(len(worker.in_hand) for worker in workers)
    _must(pool.running == running, "a pool counts the tasks in hand", pool)
    busy = sum(bool(worker.in_hand) for worker in workers)
    _must(pool.held == running - busy, "a pool counts the tasks that are held", pool)
    queued = len(pool.backlog) + pool.held
    load, seen = pool.load(), (pool.ready, len(pool.idle), queued, busy)
    shown = (load.workers - load.starting, load.idle, load.queued, load.running)
    _must(
        shown == seen and load.fitting(None) == pool.makes_ready, "a pool is shown as it is", pool
    )


def _check_queue(cluster: Cluster, pool: Pool, dues: Dues, now: float) -> None:
    """No worker idles that fits a queued task, and tasks that wait in vain are seen."""
    queued = [
        record.task_id
        for record in cluster.tasks.values()
        if record.state == State.QUEUED and record.pool == pool.name
    ]
    there = [record.task_id for record in pool.backlog]
    _must(len(pool.backlog) == len(there) == len(queued), "a queue counts its tasks", pool)
    _must(set(there) == set(queued), "a queue has the queued tasks, and no others", pool)
    for record in pool.backlog:
        until = now + pool.backlog.takes_s(record)
        fits = not pool.paused and pool.idle.fits(record.options.needs, until)
        _must(not fits, "no worker idles beside a task that it fits", record.task_id)
    _must(not (pool.failure and queued), "nothing is queued for a pool that has failed", pool)
    _must(
        not pool.backlog.needs or (Due.UNFIT, 0) in dues, "a task that fits no worker is seen", pool
    )
    stuck = queued and not pool.running and pool.workers == pool.ready and not pool.moves
    seen = not stuck or bool(pool.paused) or (Due.STALLED, 0) in dues
    _must(seen, "a task that waits in vain is seen", pool)
    if pool.workers or not cluster.roster.closed:
        _must(pool.empty_since is None, "a pool with workers is not empty", pool)
    elif queued or not pool.may_be_empty:
        _must(pool.empty_since is not None, "a pool without workers is empty", pool)
    seen = pool.empty_since is None or bool(pool.failure) or (Due.EMPTY, 0) in dues
    _must(seen, "an empty pool is looked at", pool)


def _check_nodes(cluster: Cluster) -> None:
    """Members, nodes and numbers speak of the same nodes and workers."""
    roster = cluster.roster
    by_name = {node.name: node for node in cluster.nodes.values()}
    _must(by_name == roster.nodes, "members that are nodes are in the roster", cluster)
    on_nodes = sum(len(node.workers) for node in roster.nodes.values())
    _must(on_nodes == len(roster.workers), "workers are on nodes that are there", cluster)
    numbered: dict[int, NodeRecord | WorkerRecord] = {
        node.number: node for node in roster.nodes.values()
    }
    numbered |= {worker.number: worker for worker in roster.workers.values()}
    _must(numbered == roster.by_number, "nodes and workers are found by number", cluster)
    joined = {worker.peer: worker for worker in roster.workers.values() if worker.peer}
    _must(joined == roster.by_peer, "workers are found by peer", cluster)
    put_off = {number for node in roster.nodes.values() for number in node.put_off}
    _must(
        put_off == cluster.to_replace.keys(),
        "a node knows the workers that it replaces later",
        cluster,
    )


def _check_draining(node: NodeRecord, dues: Dues) -> None:
    """A draining node has only workers that are on their way out, and its end will come."""
    name, number = node.name, node.number
    left = bool(node.draining)
    ends = node.ends == inf or left or (Due.END, number) in dues
    _must(ends, "a walltime's end will be seen", name)
    _must(not node.overdue or left, "an overdue node is being left", name)
    _must(node.drained == (left and not node.workers), "a node without workers is drained", name)
    if not left:
        quiet = not any((node.retires, node.away, node.watchers)) and node.drain_by == inf
        _must(quiet, "a node that is not left is as it was", name)
        return
    over = not (node.drained and (node.retires or node.watchers))
    _must(over, "a drained node has told of it", name)
    stops = node.drain_by == inf or node.overdue or (Due.DRAIN, number) in dues
    _must(stops, "tasks that run there will be stopped", name)
    for worker in node.workers.values():
        phase = worker.phase in (STARTING, BUSY, RETIRING)
        _must(phase, "no worker idles on a node that is left", worker.name)
        stopping = all(record.state == State.STOPPING for record in list(worker.in_hand)[:1])
        _must(
            not node.overdue or stopping, "tasks on an overdue node are being stopped", worker.name
        )


def _check_tasks(cluster: Cluster) -> None:
    """A task is in ``runs`` exactly while a worker has it in hand, and never ``ENDED`` here."""
    in_hand = [r for worker in cluster.roster.workers.values() for r in worker.in_hand]
    runs = {record.run: record for record in in_hand}
    _must(runs == cluster.runs and len(in_hand) == len(runs), "runs are in one hand", cluster)
    for record in in_hand:
        there = cluster.tasks.get(record.task_id) is record
        _must(there, "a task in hand has not ended", record.task_id)
    for task_id, record in cluster.tasks.items():
        _must(record.task_id == task_id, "a task is found by its id", task_id)
        _must(record.state != State.ENDED, "a task that is here has not ended", task_id)
        runs_here = cluster.runs.get(record.run) is record
        _must((record.state in AT_A_WORKER) == runs_here, "a task at a worker runs", task_id)
        untouched = record.worker is None and record.reached is None
        _must(runs_here or untouched, "a queued task has no worker", task_id)
        of_client = cluster.tasks_of.get(record.client, {})
        _must(of_client.get(task_id) is record, "a task is found by its client", task_id)
    found = sum(map(len, cluster.tasks_of.values()))
    _must(found == len(cluster.tasks), "no other is", cluster)


def _check_kept(cluster: Cluster, dues: Dues) -> None:
    """A kept attempt is at a worker that has nothing else to do, or has ended; it is looked at."""
    for task_id, kept in cluster.kept.items():
        _must(kept.task_id == task_id, "a kept attempt is found by its task", task_id)
        _must((Due.KEPT, task_id) in dues, "its client is not waited for for ever", task_id)
        _must((kept.worker is None) == (kept.ending is not None), "it has a worker", task_id)
        if kept.worker is not None:
            known = cluster.kept_by_worker.get(kept.worker) == task_id
            _must(known, "its worker is known", task_id)
            _must(not kept.worker.node.overdue, "its node is not to be drained by now", task_id)
            _must(task_id not in cluster.tasks or not kept.worker.peer, "it is claimed", task_id)
    for worker in cluster.kept_by_worker:
        there = cluster.roster.workers.get(worker.name) is worker
        _must(there and worker.phase is STARTING, "its worker waits for it", worker.name)


def _check_types(cluster: Cluster) -> None:
    """A task type is there while a client knows it or has a task of it."""
    known = Counter(
        kind.type_id for client in cluster.clients.values() for kind in client.types.values()
    )
    tasks = Counter(record.type.type_id for record in cluster.tasks.values())
    kinds = {kind.type_id: kind for kind in cluster.types}
    for number, kind in kinds.items():
        _must(kind.tasks == tasks[number], "a task type counts its tasks", kind.spec.name)
        _must(kind.clients >= known[number], "and the clients that know it", kind.spec.name)
        _must(bool(kind.tasks or kind.clients), "no other is there", kind.spec.name)
        told = {w.name for w in cluster.roster.workers.values() if number in w.known_types}
        _must({w.name for w in kind.told} == told, "its workers know it", kind.spec.name)
    for worker in cluster.roster.workers.values():
        known_here = worker.known_types.items() <= kinds.items()
        _must(known_here, "a worker knows no other", worker.name)


def _check_move(cluster: Cluster, key: tuple[int, int], move: MoveRecord, dues: Dues) -> None:
    """A move's workers are there, and it can end."""
    number, state = move.number, move.state
    waiting = state is WAITING
    _must((move.client, move.request) == key, "a move is found by its client's number", number)
    _must(cluster.moves_by_number.get(number) is move, "a move is found by its number", number)
    of_client = cluster.moves_of.get(move.client, {})
    _must(of_client.get(move.request) is move, "a move is found by its client", number)
    client = move.client in cluster.clients or state is RETURNING
    _must(client, "the client of a move is there", number)
    queue = cluster.roster.pools[move.source].moves
    _must(waiting == (move in queue), "a move waits in the queue of its source", number)
    _must(state in (WAITING, GRANTED, RETURNING), "a move that is here is not over", number)
    _must(state is not GRANTED or move.lease, "a move that is granted is a lease", number)
    _must(not waiting or move.owed > 0, "a move that waits is owed workers", number)
    _must(state is not RETURNING or bool(move.taken), "a move that returns has workers", number)
    short = waiting and move.count > move_requests.to_give(cluster, move)
    _must(
        not short or (Due.SHORT, number) in dues,
        "a move that is short of workers is looked at",
        number,
    )
    together = not move.reserved or (move.together and waiting)
    _must(together, "workers are reserved just for moves together", number)
    for worker in [*move.taken, *move.reserved]:
        _must(worker.move is move, "a move's workers know it", worker.name)
        there = cluster.roster.workers.get(worker.name) is worker
        _must(there, "a move's workers are there", worker.name)


def _check_queues_of_moves(cluster: Cluster, dues: Dues) -> None:
    """Moves are counted at their sources and targets, and circles will be seen."""
    all_moves = cluster.moves.values()
    _must(len(cluster.moves_by_number) == len(all_moves), "no other move has a number", cluster)
    found = sum(map(len, cluster.moves_of.values()))
    _must(found == len(all_moves), "or is found by its client", cluster)
    blocked = any(move.holds and move.blocked for move in all_moves)
    _must(not blocked or (Due.DEADLOCK, 0) in dues, "deadlocks will be seen", cluster)
    waiting = [move for move in all_moves if move.state is WAITING]
    for pool in cluster.roster.pools.values():
        coming = sum(move.target == pool.name for move in waiting)
        _must(pool.coming == coming, "a pool counts the moves to it", pool)
        leaving = sum(move.source == pool.name for move in waiting)
        _must(len(pool.moves) == leaving, "a pool has the moves from it", pool)
        idles = any(worker.home == pool.name for worker in pool.idle)
        _must(not pool.moves or not idles, "no worker at home idles while a move waits", pool)


def _check_holdings(cluster: Cluster) -> None:
    """Objects are held for tasks, versions and clients that are there, and for nothing else."""
    by_tasks: Counter[bytes] = Counter()
    for record in cluster.tasks.values():
        if record.inputs is not None:
            versions = record.versions or {}
            stored = [*record.inputs.all, *(version.stored for version in versions.values())]
            by_tasks.update(one.name for one in stored)
            latest = record.inputs.latest if record.state in AT_A_WORKER else ()
            _must(set(versions) == set(latest), "an attempt has its versions", record.task_id)
    endings = [kept.ending for kept in cluster.kept.values() if kept.ending is not None]
    by_tasks.update(ending.stored.name for ending in endings if ending.stored is not None)
    newest: dict[Holder, Counter[bytes]] = {
        ("version", name): Counter([version.stored.name])
        for name, version in cluster.versions.newest.items()
    }
    ledgers: dict[Holder, Counter[bytes]] = {
        ("ledger", client.peer): Counter(stored.name for stored in client.results.values())
        for client in cluster.clients.values()
        if client.results
    }
    there = [peer for peer, client in cluster.clients.items() if not client.away]
    differs = cluster.holdings.differs(by_tasks, newest | ledgers, there)
    _must(not differs, "just the objects that are needed are held", cluster.holdings)
