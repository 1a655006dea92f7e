"""The assigning of work: the one place that decides to which task or pool a worker goes.

Each fact that may have freed a worker, or brought a task that an idle one could take, notes the
worker or the pool; then `Core` calls `assign`, which goes on until nothing is left to give.
A worker with nothing in hand goes, in this order,

1. out, if its node is drained;
2. home, if it is owed to a pool that has lent it;
3. to the move that has waited longest for workers of its pool;
4. on with the best queued task that it fits; and if there is none it idles, or is kept for the
   gang that it fits and that is ranked before all others.

Theory.  No idle worker of a pool fits a queued task unless it is kept for a gang that is ranked
before that (`gangs`), and none that is at home in its pool idles
while a move waits for it.  So a task that comes goes at once to the least idle worker that fits
(`offer`), without a look at anything else.  A worker on a node with a walltime does not fit a
task that would not be done in time.  So each decision is a heap operation and a few dictionary
look-ups, whatever the number of tasks and workers; if tasks have needs, or time is short, it is as
many as there are different sorts of tasks (`PoolQueue`, `IdleWorkers`, `fitting`).

Short tasks are sent *ahead* to workers that still run others as short, and called back if that was
wrong (`ahead`).
"""

from __future__ import annotations

from collections.abc import Container
from itertools import islice

from steerio.core import ahead, fitting, gangs, moved_workers
from steerio.core.attempts import fail_pool, reach, send, settle
from steerio.core.backlog import Rank, rank
from steerio.core.cluster import Cluster
from steerio.core.effects import Ending
from steerio.core.heads import LAST, Sort, Want
from steerio.core.idle import Kind, fits
from steerio.core.lifecycle import Turn, turn
from steerio.core.records import TaskRecord, WorkerRecord
from steerio.core.roster import Pool
from steerio.core.waiting import wait

_TAKEN = Turn.TAKEN  # looking it up in its class would take as long as the step


def assign(cluster: Cluster, now: float) -> None:
    """Give work to all workers that may have something else to do now."""
    to_feed, to_assign = cluster.to_feed, cluster.to_assign
    if cluster.gang_pools:
        to_feed.update(cluster.gang_pools)
        cluster.gang_pools = {pool: None for pool in cluster.gang_pools if pool.backlog.gangs}
    while to_feed or to_assign:
        if to_feed:  # first: tasks that were queued again are for idle workers before busy ones
            pool = next(iter(to_feed))
            del to_feed[pool]
            _feed(cluster, pool, now)
        else:
            _place(cluster, to_assign.popleft(), now)


def offer(cluster: Cluster, record: TaskRecord, pool: Pool, now: float) -> None:
    """Give a task that is new in a pool to an idle worker, or have it wait."""
    options = record.options
    needs = options.needs
    if pool.failure:
        settle(cluster, record, Ending("lost", reason=pool.failure), now)
    elif options.gang > 1 or pool.backlog.gangs:
        want = Want(needs, options.gang)
        if want != (None, 1) and (reason := fitting.refusal(cluster, want, pool)):
            settle(cluster, record, Ending("lost", reason=reason), now)
        else:
            wait(cluster, record, pool, now)
            _feed(cluster, pool, now)
    elif (
        pool.idle
        and not pool.paused
        and (worker := pool.idle.take(needs, pool.backlog.takes_s(record), now)) is not None
    ):
        turn(worker, _TAKEN)
        _start(cluster, worker, record, pool, now)
    elif needs is not None and (reason := fitting.refusal(cluster, Want(needs, 1), pool)):
        settle(cluster, record, Ending("lost", reason=reason), now)
    else:
        wait(cluster, record, pool, now)
        if pool.open:
            ahead.send_soonest(cluster, pool, now)


def _start(
    cluster: Cluster, worker: WorkerRecord, record: TaskRecord, pool: Pool, now: float
) -> None:
    """Send a task to a worker that has nothing in hand."""
    send(cluster, worker, record, pool, now)
    if record.type.mean_s <= cluster.settings.hold_s:
        ahead.begun(pool, worker)


# -- one worker ---------------------------------------------------------------------------------


def _place(cluster: Cluster, worker: WorkerRecord, now: float) -> None:
    """Send a worker to the pool that needs it, or give it a task."""
    node, in_hand = worker.node, worker.in_hand
    pool = cluster.roster.pools[worker.pool]
    if cluster.gang_pools:  # it may be the last that one of them had waited for, or leave too few
        cluster.to_feed.update(cluster.gang_pools)
    if in_hand:
        reach(cluster, worker, now)
    elif node.draining:
        moved_workers.leave(cluster, worker, now)
        return
    elif worker.goes_home:
        moved_workers.bring_home(cluster, worker, now)
        return
    elif pool.moves and worker.home == pool.name:
        moved_workers.give(cluster, worker, pool.moves[0], now)
        return
    elif pool.backlog.gangs:  # which of all goes on is seen when all that are free idle
        cluster.roster.set_idle(worker)
        ahead.idles(cluster, pool, now)
        return
    else:
        record = pool.backlog.pop(worker.make, node.until - now)
        if record is None:
            cluster.roster.set_idle(worker)
            ahead.idles(cluster, pool, now)
        else:
            send(cluster, worker, record, pool, now)
    if in_hand and in_hand[0].type.mean_s <= cluster.settings.hold_s:
        ahead.went_on(cluster, worker, pool, now)
    if pool.open and pool.backlog:
        ahead.send_soonest(cluster, pool, now)


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
            moved_workers.give(cluster, worker, pool.moves[0], now)
    if pool.backlog.gangs:
        _feed_gangs(cluster, pool, now)
    elif pool.backlog:
        _feed_singly(cluster, pool, now)
    if pool.open and pool.backlog:
        ahead.send_soonest(cluster, pool, now)


def _feed_singly(
    cluster: Cluster,
    pool: Pool,
    now: float,
    kept: Container[Kind] = (),
    before: Rank = LAST,
) -> None:
    """Give tasks that are ranked before others to the idle workers that are not kept."""
    for kind in pool.idle.kinds():
        if kind in kept:
            continue
        make, until = kind
        left_s = until - now
        while (
            (best := pool.backlog.peek(make, left_s)) is not None
            and rank(best) < before
            and (taken := pool.idle.take_of(make, until))
        ):
            record = pool.backlog.pop(make, left_s)
            assert record is not None
            turn(taken, _TAKEN)
            _start(cluster, taken, record, pool, now)


def _feed_gangs(cluster: Cluster, pool: Pool, now: float) -> None:
    """Give idle workers to gangs and to single tasks, in order of rank.

    The workers that fit a gang of which too few are idle are kept for it. They are not given to
    anything that is ranked behind it, so it has them as soon as there are enough.
    """
    if pool.paused:
        return
    idle, kept, waiting = pool.idle, set[Kind](), set[Sort]()
    while idle and (line := pool.backlog.next_gang(waiting)) is not None:
        record = line.peek()
        assert record is not None
        if not gangs.could_run(cluster, pool, record, now):
            waiting.add(line.sort)
            continue
        _feed_singly(cluster, pool, now, kept, rank(record))
        needs, takes_s = record.options.needs, pool.backlog.takes_s(record)
        fit = [
            kind for kind in idle.kinds() if kind not in kept and fits(kind, needs, takes_s, now)
        ]
        if sum(map(idle.count, fit)) < record.options.gang:
            waiting.add(line.sort)
            kept.update(fit)
            continue
        workers = idle.take_from(fit, record.options.gang)
        pool.backlog.pop_gang(line)
        gangs.start(cluster, record, workers, pool, now)
    _feed_singly(cluster, pool, now, kept)
