"""Moving workers between pools, for good or on lease.

Theory.  A move names a number of workers, not which: whichever of the source becomes free
first goes, so no task waits longer than needed.  The moves that wait for one pool's workers
are served in the order they were asked for, and a move asks nothing of its target, so two
opposite ones cannot wait for each other.  Only workers *at home* in the source are taken:
borrowed workers are not a pool's own to give away.

Until a move is granted its workers still belong to the source.  So undoing a move and
giving back a lease are one thing: all that it has taken go home when free.

Invariant: a worker in ``taken`` has this move as its ``move``; a move is in the queue of
its source exactly while it is ``waiting``; an ended one has none.
"""

from __future__ import annotations

from itertools import takewhile
from math import inf
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
from steerio.model.events import PoolChanged, WorkerMoved
from steerio.model.moving import How
from steerio.model.showing import counted

# looking them up in their classes would take longer than the step
_SERVED, _RESERVED = Step.SERVED, Turn.RESERVED

# -- orders of clients --------------------------------------------------------------------------


def ask(
    cluster: Cluster,
    client: int,
    request: int,
    source: str,
    target: str,
    count: int,
    *,
    lease: bool = False,
    together: bool = False,
    how: How = "drain",
    preempt_after_s: float | None = None,
) -> MoveRecord | str:
    """Have a move wait for workers; returns why that can never be, if so.

    Idle workers are given to it by `assigning.assign`, after which it is to `insist`.
    """
    refusal = _why_not(cluster, client, request, source, target, count)
    if preempt_after_s is not None and not 0 <= preempt_after_s < inf:
        refusal = f"preempt_after_s is a number of seconds, not {preempt_after_s!r}"
    if refusal:
        return refusal
    cluster.move_numbers += 1
    number = cluster.move_numbers
    move = MoveRecord(number, client, request, source, target, count, lease, together, how)
    cluster.moves[client, request] = move
    cluster.moves_of.setdefault(client, {})[request] = move
    cluster.moves_by_number[number] = move
    pool = cluster.roster.pools[source]
    pool.moves.append(move)
    cluster.roster.pools[target].coming += 1
    cluster.to_feed[pool] = None
    return move


def insist(cluster: Cluster, move: MoveRecord, preempt_after_s: float | None, now: float) -> None:
    """See to it that a move that was not granted at once gets workers."""
    pool = cluster.roster.pools[move.source]
    _look_short(cluster, pool, now)
    if move.state is not WAITING:
        return
    if pool.held and pool.moves[0] is move:
        for worker in _busy(cluster, pool):
            attempts.recall(cluster, worker)
    press(cluster, pool, now)
    if preempt_after_s is not None:
        cluster.look_later(now + preempt_after_s, Due.PRESS, move.number)
    _tell(cluster, move)


def end(
    cluster: Cluster, client: int, request: int, how: How, now: float, reason: str = ""
) -> None:
    """Undo a move that is not granted yet, or take back leased workers."""
    move = cluster.moves.get((client, request))
    if move is None or move.state is RETURNING:
        return
    _leave_queue(cluster, move)
    step(move, Step.TAKEN_BACK)
    move.reason = reason
    for worker in list(move.reserved):
        _release(cluster, worker, move)
    for worker in list(move.taken):
        _send_home(cluster, worker, how, now)
    look_ended(cluster, move)
    if move.state is RETURNING:
        _tell(cluster, move)
    cluster.to_feed[cluster.roster.pools[move.source]] = None


def client_left(cluster: Cluster, client: int, now: float) -> None:
    """Undo and take back whatever a client has not seen to the end."""
    for request in list(cluster.moves_of.get(client, ())):
        end(cluster, client, request, "drain", now)


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
        _tell(cluster, move)
    target = cluster.roster.pools[move.target]
    for one in leaving:
        _transfer(cluster, one, target, now)
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
    _retire(cluster, worker, pool, now)
    cluster.emit(PoolChanged, now, pool.name, pool.ready)


def workers_lost(cluster: Cluster, workers: list[WorkerRecord], now: float) -> None:
    """Take in that workers which may be part of moves are gone for good."""
    for move in dict.fromkeys(worker.move for worker in workers):
        if move is not None:
            look_ended(cluster, move)
    for home in dict.fromkeys(worker.home for worker in workers):
        pool = cluster.roster.pools[home]
        _look_short(cluster, pool, now)
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
    busy = _busy(cluster, pool)
    running = [worker for worker in busy if worker.in_hand[0].state == State.RUNNING]
    stopping = len(busy) - len(running)
    for worker in running[: max(0, pressing - stopping)]:
        _preempt(cluster, worker, now)


# -- deadlines ---------------------------------------------------------------------------------


def look_pressing(cluster: Cluster, number: int, now: float) -> None:
    """Have tasks stopped for a move that has waited for them to end."""
    move = cluster.moves_by_number.get(number)
    if move is not None and move.state is WAITING:
        move.how = "preempt"
        press(cluster, cluster.roster.pools[move.source], now)


def look_short(cluster: Cluster, number: int, now: float) -> None:
    """End a move that has waited for more workers, and there are still too few."""
    move = cluster.moves_by_number.get(number)
    if move is None or move.state is not WAITING:
        return
    move.short = False
    there = to_give(cluster, move)
    if move.count > there:
        own = counted(there, "worker")
        reason = f"{move.source!r} has only {own}, and was asked for {move.count}"
        end(cluster, move.client, move.request, "drain", now, reason)


# -- the steps they share -----------------------------------------------------------------------


def _why_not(
    cluster: Cluster, client: int, request: int, source: str, target: str, count: int
) -> str:
    pools = cluster.roster.pools
    known = ", ".join(sorted(pools))
    if source not in pools:
        return f"there is no pool {source!r} (there are: {known})"
    if cluster.roster.pool(target) is None:
        return f"there is no pool {target!r} (there are: {known})"
    if source == target:
        return f"the workers of {source!r} are in {source!r} already"
    if (client, request) in cluster.moves:
        return f"request {request} was made already"
    if count < 1:
        return f"{count} workers cannot be moved"
    pool = pools[source]
    leaving = sum(move.count for move in pool.moves if not move.lease)
    own = max(pool.at_home, pool.announced)
    if count > own - leaving:
        also = f", of which {leaving} are to leave for good" if leaving else ""
        workers = counted(own, "worker")
        return f"{source!r} has {workers} of its own{also}, and was asked for {count}"
    return ""


def _look_short(cluster: Cluster, pool: Pool, now: float) -> None:
    """Give moves that there are too few workers for some time, in which more may come."""
    there = pool.at_home  # as many as `to_give` says, for each in turn
    for move in pool.moves:
        if not move.short and move.count > there:
            move.short = True
            cluster.look_later(now + cluster.settings.join_s, Due.SHORT, move.number)
        there -= 0 if move.lease else move.count


def to_give(cluster: Cluster, move: MoveRecord) -> int:
    """Return how many workers a waiting move could get at most, those it has included."""
    pool = cluster.roster.pools[move.source]
    before = takewhile(lambda other: other is not move, pool.moves)
    return pool.at_home - sum(other.count for other in before if not other.lease)


def _grant(cluster: Cluster, move: MoveRecord) -> None:
    _leave_queue(cluster, move)
    step(move, _SERVED)
    _tell(cluster, move)
    if not move.lease:
        roster = cluster.roster
        roster.pools[move.source].announced -= move.count
        roster.pools[move.target].announced += move.count
        for worker in move.taken:
            roster.settle(worker, move.target)
            worker.move = None
        _forget(cluster, move)


def _transfer(cluster: Cluster, worker: WorkerRecord, target: Pool, now: float) -> None:
    source = cluster.roster.transfer(worker, target)
    cluster.emit(WorkerMoved, now, worker.name, target.name, source.name, worker.node.name)
    if worker.node.keeps(source.name, target.name):
        cluster.emit(PoolChanged, now, target.name, target.ready)
    else:
        _retire(cluster, worker, target, now)
    cluster.emit(PoolChanged, now, source.name, source.ready)
    if source.backlog and not source.running:
        stalls.watch(cluster, now)
        if not source.workers:
            watch_empty(cluster, source, now)
    if worker.phase is BUSY:
        cluster.to_assign.append(worker)


def _retire(cluster: Cluster, worker: WorkerRecord, pool: Pool, now: float) -> None:
    """Have a process end: its new pool needs modules that it lacks, or its node is left."""
    turn(worker, Turn.RETIRED)
    pool.count_ready(worker, -1)
    cluster.effects.append(Retire(worker))
    cluster.deadlines.add(now + cluster.settings.start_s, Due.RETIRE, worker.number)


def _send_home(cluster: Cluster, worker: WorkerRecord, how: How, now: float) -> None:
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


def _release(cluster: Cluster, worker: WorkerRecord, move: MoveRecord) -> None:
    """Let a worker that waited for others go on in its pool."""
    del move.reserved[worker]
    worker.move = None
    turn(worker, Turn.RELEASED)
    cluster.to_assign.append(worker)


def _busy(cluster: Cluster, pool: Pool) -> list[WorkerRecord]:
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


def _leave_queue(cluster: Cluster, move: MoveRecord) -> None:
    if move.state is WAITING:
        cluster.roster.pools[move.source].moves.remove(move)
        cluster.roster.pools[move.target].coming -= 1


def look_ended(cluster: Cluster, move: MoveRecord) -> None:
    """End a move that has no worker left to bring home."""
    if move.state is RETURNING and not move.taken:
        step(move, Step.ALL_HOME)
        _forget(cluster, move)
        _tell(cluster, move)


def _forget(cluster: Cluster, move: MoveRecord) -> None:
    del cluster.moves[move.client, move.request], cluster.moves_by_number[move.number]
    of_client = cluster.moves_of[move.client]
    del of_client[move.request]
    if not of_client:
        del cluster.moves_of[move.client]


def _tell(cluster: Cluster, move: MoveRecord) -> None:
    came, gone = move.tell() if move.state is not ENDED else ([], [])
    cluster.effects.append(TellMove(move, move.state, came, gone, move.reason))
