"""Workers of moves: given to one, on their way to another pool or lent there, and brought home.

Theory.  A move names a number of workers, not which: whichever of the source becomes free
first goes, so no task waits longer than needed.  Only workers *at home* in the source are taken:
borrowed workers are not a pool's own to give away.

Invariant: a worker in ``taken`` has this move as its ``move``; a move is in the queue of
its source exactly while it is ``waiting``; an ended one has none.
"""

from __future__ import annotations

from typing import assert_never

from steerio.core import attempts, stalls
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.effects import Retire, TellMove
from steerio.core.lifecycle import (
    BUSY,
    ENDED,
    GRANTED,
    IDLE,
    RESERVED,
    RETURNING,
    WAITING,
    State,
    Step,
    Turn,
    step,
    turn,
)
from steerio.core.records import MoveRecord, WorkerRecord
from steerio.core.roster import Pool
from steerio.core.waiting import watch_empty
from steerio.model.events import PoolChanged, WorkerMoved, WorkerRetired
from steerio.model.moving import How

DRAINED, OTHER_POOL = "its node is drained", "it has moved to a pool that needs another process"
"""The reasons for which a worker retires."""
# looking them up in their classes would take longer than the step
_SERVED, _RESERVED = Step.SERVED, Turn.RESERVED

# -- workers ------------------------------------------------------------------------------------


def give(cluster: Cluster, worker: WorkerRecord, move: MoveRecord, now: float) -> None:
    """Give a worker with nothing in hand to the move that is first in its pool's queue."""
    worker.move = move
    move.reserved[worker] = None
    if move.together:
        turn(worker, _RESERVED)
        leaving = list(move.reserved) if not move.owed else []
    else:
        leaving = [worker]
    for one in leaving:
        del move.reserved[one]
        move.take(one)
    if len(move.taken) >= move.awaited:
        move.awaited = 0  # the agent goes on, even if one of them is lost again
    if not move.owed:
        _grant(cluster, move)
    elif leaving:
        tell(cluster, move)
    target = cluster.roster.pools[move.target]
    for one in leaving:
        _transfer(cluster, one, target, now, lent=bool(move.lease))
    if move.state is GRANTED:  # those that came before may be wanted elsewhere by now
        cluster.to_feed[target] = None


def bring_home(cluster: Cluster, worker: WorkerRecord, now: float) -> None:
    """Take a worker with nothing in hand back to the pool that it belongs to."""
    move = worker.move
    assert move is not None
    worker.goes_home, worker.move = False, None
    move.let_go(worker)
    look_ended(cluster, move)
    _transfer(cluster, worker, cluster.roster.pools[worker.home], now)


def leave(cluster: Cluster, worker: WorkerRecord, now: float) -> None:
    """Have a worker with nothing in hand end, for its node is drained: no pool gets it."""
    pool = cluster.roster.pools[worker.pool]
    if worker.phase is RESERVED:
        assert worker.move is not None
        del worker.move.reserved[worker]
        worker.move = None
    pool.idle.discard(worker)
    _retire(cluster, worker, pool, DRAINED, now)
    cluster.emit(PoolChanged, now, pool.name, pool.ready)


def workers_lost(cluster: Cluster, workers: list[WorkerRecord], now: float) -> None:
    """Take in that workers which may be part of moves are gone for good."""
    for move in dict.fromkeys(worker.move for worker in workers):
        if move is not None:
            look_ended(cluster, move)
    for home in dict.fromkeys(worker.home for worker in workers):
        pool = cluster.roster.pools[home]
        note_short(cluster, pool, now)
        press(cluster, pool, now)  # one of them may have been stopped for a move


def press(cluster: Cluster, pool: Pool, now: float) -> None:
    """Stop as many tasks as workers are wanted at once; of those begun last the least is lost.

    The first to come is served first, so that counts whatever waits before one that presses.
    """
    owed = pressing = 0
    for move in pool.moves:
        owed += move.owed
        match move.how:
            case "preempt":
                pressing = owed
            case "drain":
                pass
            case _:
                assert_never(move.how)
    if not pressing:
        return
    busy = busy_workers(cluster, pool)
    running = [worker for worker in busy if worker.in_hand[0].state == State.RUNNING]
    stopping = len(busy) - len(running)
    for worker in running[: max(0, pressing - stopping)]:
        _preempt(cluster, worker, now)


# -- the steps they share -----------------------------------------------------------------------


def note_short(cluster: Cluster, pool: Pool, now: float) -> None:
    """Give moves that there are too few workers for some time, in which more may come."""
    there = pool.at_home  # as many as `move_requests.to_give` says, for each in turn
    for move in pool.moves:
        if not move.short and move.count > there:
            move.short = True
            cluster.look_later(now + cluster.settings.join_s, Due.SHORT, move.number)
        there -= 0 if move.lease else move.count


def _grant(cluster: Cluster, move: MoveRecord) -> None:
    leave_queue(cluster, move)
    step(move, _SERVED)
    tell(cluster, move)
    if not move.lease:
        roster = cluster.roster
        source, target = roster.pools[move.source], roster.pools[move.target]
        source.announced -= move.count
        target.announced += move.count
        source.resized = target.resized = True
        for worker in move.taken:
            roster.settle(worker, move.target)
            worker.move = None
        _forget(cluster, move)


def _transfer(
    cluster: Cluster, worker: WorkerRecord, target: Pool, now: float, *, lent: bool = False
) -> None:
    source, node = cluster.roster.transfer(worker, target), worker.node.name
    cluster.emit(WorkerMoved, now, worker.name, target.name, source.name, node, lent)
    if worker.node.keeps(source.name, target.name):
        cluster.emit(PoolChanged, now, target.name, target.ready)
    else:
        _retire(cluster, worker, target, OTHER_POOL, now)
    cluster.emit(PoolChanged, now, source.name, source.ready)
    if source.backlog and not source.running:
        stalls.watch(cluster, now)
        if not source.workers:
            watch_empty(cluster, source, now)
    if worker.phase is BUSY:
        cluster.to_assign.append(worker)


def _retire(cluster: Cluster, worker: WorkerRecord, pool: Pool, reason: str, now: float) -> None:
    """Have a process end: its new pool needs modules that it lacks, or its node is left."""
    turn(worker, Turn.RETIRED)
    pool.count_ready(worker, -1)
    cluster.emit(WorkerRetired, now, worker.name, pool.name, worker.node.name, reason)
    cluster.effects.append(Retire(worker))
    cluster.deadlines.add(now + cluster.settings.start_s, Due.RETIRE, worker.number)


def send_home(cluster: Cluster, worker: WorkerRecord, how: How, now: float) -> None:
    """Have a worker go home as soon as it has nothing in hand, which ``how`` may hasten."""
    worker.goes_home = True
    if worker.phase is IDLE:
        del cluster.roster.pools[worker.pool].idle[worker]
        turn(worker, Turn.TAKEN)
        bring_home(cluster, worker, now)
    elif worker.in_hand:
        attempts.recall(cluster, worker)
        match how:
            case "preempt":
                _preempt(cluster, worker, now)
            case "drain":
                pass
            case _:
                assert_never(how)


def release(cluster: Cluster, worker: WorkerRecord, move: MoveRecord) -> None:
    """Let a worker that waited for others go on in its pool."""
    del move.reserved[worker]
    worker.move = None
    turn(worker, Turn.RELEASED)
    cluster.to_assign.append(worker)


def busy_workers(cluster: Cluster, pool: Pool) -> list[WorkerRecord]:
    """Return the pool's own workers that run something, the latest begun first."""
    nodes = [cluster.roster.nodes[name] for name in pool.by_node]
    busy = [
        worker
        for node in nodes
        if not node.draining  # its workers go nowhere else
        for worker in node.workers.values()
        if worker.pool == worker.home == pool.name and worker.in_hand
    ]
    return sorted(busy, key=lambda worker: -(worker.in_hand[0].reached or 0.0))


def _preempt(cluster: Cluster, worker: WorkerRecord, now: float) -> None:
    attempts.preempt(cluster, worker.in_hand[0], "its worker is moved", now)


def leave_queue(cluster: Cluster, move: MoveRecord) -> None:
    """Take a move out of the queue of its source, if it waits there."""
    if move.state is WAITING:
        cluster.roster.pools[move.source].moves.remove(move)
        cluster.roster.pools[move.target].coming -= 1


def look_ended(cluster: Cluster, move: MoveRecord) -> None:
    """End a move that has no worker left to bring home."""
    if move.state is RETURNING and not move.taken:
        step(move, Step.ALL_HOME)
        _forget(cluster, move)
        tell(cluster, move)


def _forget(cluster: Cluster, move: MoveRecord) -> None:
    del cluster.moves[move.client, move.request], cluster.moves_by_number[move.number]
    of_client = cluster.moves_of[move.client]
    del of_client[move.request]
    if not of_client:
        del cluster.moves_of[move.client]


def tell(cluster: Cluster, move: MoveRecord) -> None:
    """Have a client told how far its move is."""
    came, gone = move.tell() if move.state is not ENDED else ([], [])
    cluster.effects.append(TellMove(move, move.state, came, gone, move.reason))
