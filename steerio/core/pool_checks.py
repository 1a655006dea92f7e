"""The checks of pools, their queues, and the moves of workers between them."""

from __future__ import annotations

from collections import Counter

from steerio.core import move_requests
from steerio.core.backlog import rank
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.gangs import could_run
from steerio.core.idle import Kind, fits
from steerio.core.invariants import Dues, must
from steerio.core.lifecycle import GRANTED, IDLE, READY, RESERVED, RETURNING, WAITING, State
from steerio.core.records import MoveRecord, TaskRecord, WorkerRecord
from steerio.core.roster import Pool


def check_pool(cluster: Cluster, pool: Pool) -> None:
    """A pool's counters are right."""
    name, all_workers = pool.name, cluster.roster.workers.values()
    workers = [worker for worker in all_workers if worker.pool == name]
    ready = [worker for worker in workers if worker.phase in READY]
    away = [worker for worker in all_workers if worker.home == name != worker.pool]
    makes = [w.make for w in workers] + [w.node.make(name) for w in away]
    leaving = sum(bool(worker.node.draining) for worker in workers)
    idle = {worker for worker in workers if worker.phase is IDLE}
    must(pool.workers == len(workers), "a pool counts its workers", pool)
    must(pool.ready == len(ready), "a pool counts those that are ready", pool)
    must(pool.leaving == leaving, "a pool counts those that leave", pool)
    must(
        pool.makes_ready == Counter(w.make for w in ready), "a pool counts the makes of those", pool
    )
    must(
        pool.by_node == Counter(w.node.name for w in workers),
        "a pool counts its workers by node",
        pool,
    )
    put_off = sum(gone.home == name for gone in cluster.to_replace.values())
    must(pool.put_off == put_off, "a pool counts those that are replaced later", pool)
    at_home = sum(worker.home == name for worker in all_workers)
    must(pool.at_home == at_home, "a pool counts those that belong to it", pool)
    must(pool.makes == Counter(makes), "a pool counts their makes", pool)
    must(set(pool.idle) == idle and len(pool.idle) == len(idle), "a pool has those that idle", pool)
    running = sum(len(worker.in_hand) for worker in workers)
    must(pool.running == running, "a pool counts the tasks in hand", pool)
    busy = sum(bool(worker.in_hand) for worker in workers)
    must(pool.held == running - busy, "a pool counts the tasks that are held", pool)
    queued = len(pool.backlog) + pool.held
    load, seen = pool.load(), (pool.ready, len(pool.idle), queued, busy)
    shown = (load.workers - load.starting, load.idle, load.queued, load.running)
    must(shown == seen and load.fitting(None) == pool.makes_ready, "a pool is shown as it is", pool)


def check_queue(cluster: Cluster, pool: Pool, dues: Dues, now: float) -> None:
    """No worker idles that fits a queued task, and tasks that wait in vain are seen."""
    queued = [
        record.task_id
        for record in cluster.tasks.values()
        if record.state == State.QUEUED and record.pool == pool.name
    ]
    there = [record.task_id for record in pool.backlog]
    must(len(pool.backlog) == len(there) == len(queued), "a queue counts its tasks", pool)
    must(set(there) == set(queued), "a queue has the queued tasks, and no others", pool)
    for record in pool.backlog if pool.idle and not pool.paused else ():
        _check_idle(cluster, pool, record, now)
    must(not (pool.failure and queued), "nothing is queued for a pool that has failed", pool)
    must(
        not pool.backlog.wants or (Due.UNFIT, 0) in dues, "a task that fits no worker is seen", pool
    )
    stuck = queued and not pool.running and pool.workers == pool.ready and not pool.moves
    seen = not stuck or bool(pool.paused) or (Due.STALLED, 0) in dues
    must(seen, "a task that waits in vain is seen", pool)
    if pool.workers or not cluster.roster.closed:
        must(pool.empty_since is None, "a pool with workers is not empty", pool)
    elif queued or not pool.may_be_empty:
        must(pool.empty_since is not None, "a pool without workers is empty", pool)
    seen = pool.empty_since is None or bool(pool.failure) or (Due.EMPTY, 0) in dues
    must(seen, "an empty pool is looked at", pool)


def _check_idle(cluster: Cluster, pool: Pool, record: TaskRecord, now: float) -> None:
    """No worker idles beside a task that it fits, unless it is kept for a better one."""
    free = Counter[Kind]()
    for kind in pool.idle.kinds():
        if _fits(pool, record, kind, now):
            kept = any(
                rank(other) < rank(record) and _fits(pool, other, kind, now)
                for other in pool.backlog
                if other.options.gang > 1 and could_run(cluster, pool, other, now)
            )
            free[kind] = 0 if kept else pool.idle.count(kind)
    must(
        free.total() < record.options.gang,
        "no worker idles beside a task that it fits",
        record.task_id,
    )


def _fits(pool: Pool, record: TaskRecord, kind: Kind, now: float) -> bool:
    return fits(kind, record.options.needs, pool.backlog.takes_s(record), now)


def check_place(cluster: Cluster, worker: WorkerRecord) -> None:
    """A worker is where some move or nothing has put it."""
    name, move, phase = worker.name, worker.move, worker.phase
    must(worker.home in cluster.roster.pools, "a worker's home is there", name)
    reserved = move is not None and worker in move.reserved
    must((phase is RESERVED) == reserved, "a reserved worker is that of a move", name)
    if move is None:
        must(worker.pool == worker.home, "a worker of no move is at home", name)
        must(not worker.goes_home, "a worker at home does not go there", name)
    elif reserved:
        at_source = worker.pool == worker.home == move.source
        must(at_source, "a reserved worker is still at its source", name)
    else:
        must(worker in move.taken, "a move knows its workers", name)
        lent = (worker.pool, worker.home) == (move.target, move.source)
        must(lent, "a moved worker is at the target", name)
        ends = move.state is RETURNING
        must(worker.goes_home == ends, "a worker on loan goes home at its end", name)
        must(not (ends and phase is IDLE), "a worker that is to go home does not idle", name)


def check_move(cluster: Cluster, key: tuple[int, int], move: MoveRecord, dues: Dues) -> None:
    """A move's workers are there, and it can end."""
    number, state = move.number, move.state
    waiting = state is WAITING
    must((move.client, move.request) == key, "a move is found by its client's number", number)
    must(cluster.moves_by_number.get(number) is move, "a move is found by its number", number)
    of_client = cluster.moves_of.get(move.client, {})
    must(of_client.get(move.request) is move, "a move is found by its client", number)
    client = move.client in cluster.clients or state is RETURNING
    must(client, "the client of a move is there", number)
    queue = cluster.roster.pools[move.source].moves
    must(waiting == (move in queue), "a move waits in the queue of its source", number)
    must(state in (WAITING, GRANTED, RETURNING), "a move that is here is not over", number)
    must(state is not GRANTED or move.lease, "a move that is granted is a lease", number)
    must(not waiting or move.owed > 0, "a move that waits is owed workers", number)
    must(state is not RETURNING or bool(move.taken), "a move that returns has workers", number)
    short = waiting and move.count > move_requests.to_give(cluster, move)
    must(
        not short or (Due.SHORT, number) in dues,
        "a move that is short of workers is looked at",
        number,
    )
    together = not move.reserved or (move.together and waiting)
    must(together, "workers are reserved just for moves together", number)
    for worker in [*move.taken, *move.reserved]:
        must(worker.move is move, "a move's workers know it", worker.name)
        there = cluster.roster.workers.get(worker.name) is worker
        must(there, "a move's workers are there", worker.name)


def check_queues_of_moves(cluster: Cluster, dues: Dues) -> None:
    """Moves are counted at their sources and targets, and circles will be seen."""
    all_moves = cluster.moves.values()
    must(len(cluster.moves_by_number) == len(all_moves), "no other move has a number", cluster)
    found = sum(map(len, cluster.moves_of.values()))
    must(found == len(all_moves), "or is found by its client", cluster)
    blocked = any(move.holds and move.blocked for move in all_moves)
    must(not blocked or (Due.DEADLOCK, 0) in dues, "deadlocks will be seen", cluster)
    waiting = [move for move in all_moves if move.state is WAITING]
    for pool in cluster.roster.pools.values():
        coming = sum(move.target == pool.name for move in waiting)
        must(pool.coming == coming, "a pool counts the moves to it", pool)
        leaving = sum(move.source == pool.name for move in waiting)
        must(len(pool.moves) == leaving, "a pool has the moves from it", pool)
        idles = any(worker.home == pool.name for worker in pool.idle)
        must(not pool.moves or not idles, "no worker at home idles while a move waits", pool)
