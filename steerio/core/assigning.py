"""The assigning of work: the one place that decides to which task or pool a worker goes.

Each fact that may have freed a worker, or brought a task that an idle one could take, notes the
worker or the pool; then `Core` calls `assign`, which goes on until nothing is left to give.
A worker with nothing in hand goes, in this order,

1. out, if its node is drained;
2. home, if it is owed to a pool that has lent it;
3. to the move that has waited longest for workers of its pool;
4. on with the best queued task that it fits; and if there is none it idles.

Theory.  No idle worker of a pool fits a queued task, and none that is at home in its pool idles
while a move waits for it.  So a task that comes goes at once to the least idle worker that fits
(`offer`), without a look at anything else.  A worker on a node with a walltime does not fit a
task that would not be done in time.  So each decision is a heap operation and a few dictionary
look-ups, whatever the number of tasks and workers; if tasks have needs, or time is short, it is as
many as there are different sorts of tasks (`PoolQueue`, `IdleWorkers`, `fitting`).

Short tasks are sent *ahead*: a worker that just started one of a type whose measured mean is
short gets more to hold whose types are as short, as long as every worker of the pool could have
as many.  A worker runs its tasks in the order in which they were sent, so the core infers which one
runs without a message for it.  Tasks that are held behind one that turns out long are recalled as
soon as another worker of the pool is idle.
"""

from __future__ import annotations

from itertools import islice

from steerio.core import attempts, fitting, moves
from steerio.core.attempts import fail_pool, reach, send, settle
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.effects import Ending
from steerio.core.lifecycle import State, Turn, turn
from steerio.core.records import TaskRecord, TypeRecord, WorkerRecord
from steerio.core.roster import Pool
from steerio.core.waiting import wait
from steerio.model.settings import Settings

OVERHEAD_S = 3e-5
"""The cost of a task to a worker beside its function: reading, decoding, reporting."""
_STOPPING = State.STOPPING  # looking it up in its class would take as long as the step
_TAKEN = Turn.TAKEN


def assign(cluster: Cluster, now: float) -> None:
    """Give work to all workers that may have something else to do now."""
    to_feed, to_assign = cluster.to_feed, cluster.to_assign
    while to_feed or to_assign:
        if to_feed:  # first: tasks that were queued again are for idle workers before busy ones
            pool = next(iter(to_feed))
            del to_feed[pool]
            _feed(cluster, pool, now)
        else:
            _place(cluster, to_assign.popleft(), now)


def offer(cluster: Cluster, record: TaskRecord, pool: Pool, now: float) -> None:
    """Give a task that is new in a pool to an idle worker, or have it wait."""
    needs = record.options.needs
    if pool.failure:
        settle(cluster, record, Ending("lost", reason=pool.failure), now)
    elif (
        pool.idle
        and (worker := pool.idle.take(needs, now + pool.backlog.takes_s(record))) is not None
    ):
        turn(worker, _TAKEN)
        send(cluster, worker, record, pool, now)
    elif needs is not None and (reason := fitting.refusal(cluster, needs, pool)):
        settle(cluster, record, Ending("lost", reason=reason), now)
    else:
        wait(cluster, record, pool, now)


# -- one worker ---------------------------------------------------------------------------------


def _place(cluster: Cluster, worker: WorkerRecord, now: float) -> None:
    """Send a worker to the pool that needs it, or give it a task."""
    node, in_hand = worker.node, worker.in_hand
    pool = cluster.roster.pools[worker.pool]
    if in_hand:
        reach(cluster, worker, now)
    elif node.draining:
        moves.leave(cluster, worker, now)
        return
    elif worker.goes_home:
        moves.bring_home(cluster, worker, now)
        return
    elif pool.moves and worker.home == pool.name:
        moves.give(cluster, worker, pool.moves[0], now)
        return
    else:
        record = pool.backlog.pop(worker.make, node.until - now)
        if record is None:
            cluster.roster.set_idle(worker)
            return
        send(cluster, worker, record, pool, now)
    head = in_hand[0]
    if (
        0 <= head.type.mean_s <= cluster.settings.hold_s  # looked at first, as it mostly is not so
        and head.state != _STOPPING
        and not pool.moves
        and not node.draining
        and pool.backlog
    ):
        _send_ahead(cluster, worker, pool, now)


def _send_ahead(cluster: Cluster, worker: WorkerRecord, pool: Pool, now: float) -> None:
    """Let a busy worker hold more, as long as all that it has in hand is short.

    The nth task that it holds is of a type of which n could be held.  So however types
    are mixed, the nth takes at most ``held_s / n``, or is the only one.
    """
    in_hand, backlog, settings = worker.in_hand, pool.backlog, cluster.settings
    kind = in_hand[0].type
    room = min(_ahead(kind, settings), len(backlog) // pool.workers)
    if in_hand[-1].type is not kind:
        kind = in_hand[-1].type
        room = min(room, _ahead(kind, settings))
    make, left_s = worker.make, worker.node.until - now
    while len(in_hand) <= room and (record := backlog.peek(make, left_s)) is not None:
        if record.type is not kind:
            kind = record.type
            room = min(room, _ahead(kind, settings))
            continue
        backlog.pop(make, left_s)
        send(cluster, worker, record, pool, now)


def _ahead(kind: TypeRecord, settings: Settings) -> int:
    """Return how many tasks of a type a worker may hold, and hold behind one of it."""
    mean_s = kind.mean_s
    if not 0 <= mean_s <= settings.hold_s:
        return 0
    return max(1, min(settings.held, int(settings.held_s / (mean_s + OVERHEAD_S))))


# -- the idle workers of a pool -----------------------------------------------------------------


def _feed(cluster: Cluster, pool: Pool, now: float) -> None:
    """Give idle workers to moves, then queued tasks to them; if the pool has failed these are lost.

    The least workers choose first: so the large ones are left the tasks that fit no other.
    """
    if pool.failure:
        fail_pool(cluster, pool, pool.failure, now)
    if pool.moves:
        wanted = sum(move.owed for move in pool.moves)
        at_home = (worker for worker in pool.idle if worker.home == pool.name)
        for worker in list(islice(at_home, wanted)):
            del pool.idle[worker]
            turn(worker, _TAKEN)
            moves.give(cluster, worker, pool.moves[0], now)
    if not (pool.backlog and pool.idle):
        return
    for make, until in pool.idle.kinds():
        left_s = until - now
        while pool.backlog.peek(make, left_s) and (taken := pool.idle.take_of(make, until)):
            record = pool.backlog.pop(make, left_s)
            assert record is not None
            turn(taken, _TAKEN)
            send(cluster, taken, record, pool, now)


def recall_held(cluster: Cluster, now: float) -> None:
    """Recall tasks that wait behind long ones while others of the pool that fit are idle.

    And look again if workers still have more than one task in hand.
    """
    pools, recall_s = cluster.roster.pools, cluster.settings.recall_s
    for worker in cluster.roster.workers.values():
        if len(worker.in_hand) < 2:
            continue
        cluster.watch(Due.RECALL, now + recall_s)
        pool = pools[worker.pool]
        idle, takes_s = pool.idle, pool.backlog.takes_s
        if not idle:
            continue
        reached = worker.in_hand[0].reached
        held = list(worker.in_hand)[1:]
        if (
            reached is not None
            and reached <= now - recall_s
            and any(idle.fits(r.options.needs, now + takes_s(r)) for r in held)
        ):
            attempts.recall(cluster, worker)
