"""Sending ahead: the tasks that busy workers hold, so that they go on without waiting for the next.

Theory.  A worker that is sent its next task only after it reported the last one waits for a round
trip.  So a worker whose task is of a type with a short measured mean is *open*: it may hold tasks
as short behind it.  If more tasks are queued than the pool has workers, each worker gets as many as
all could have (`fill`).  Of fewer each goes to the open worker that is expected to be free first,
by the time its task began and the mean of its type (`send_soonest`); none gets a second one.  A
heap has the open workers in that order.  A worker that is overdue by more than a recall takes is
open no more, for its task may be long.  A worker runs its tasks in the order in which they were
sent, so the core infers which one runs without a message for it.

Two things can prove such a choice wrong, and held tasks are recalled for both.  Another worker is
idle first: then the best-ranked ones come back that no worker is about to begin (`look_shared`).
Or the task before them turns out long: then all come back, for whichever worker is free next
(`look_long`).  Both looks go through all workers of a pool.  So the first is put off a moment, in
which a client may submit the next task anyway, and longer in a large pool: it never takes more
than a small part of the time.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import islice
from math import ceil, inf

from steerio.core.attempts import send
from steerio.core.backlog import rank
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.effects import RecallTask
from steerio.core.lifecycle import State
from steerio.core.records import TaskRecord, TypeRecord, WorkerRecord
from steerio.core.roster import Pool
from steerio.model.settings import Settings

OVERHEAD_S = 3e-5
"""The cost of a task to a worker beside its function: reading, decoding, reporting."""
SHARE_S = 1e-3
"""How long a worker idles, while others hold tasks, before one is recalled for it."""
SHARE_EACH_S = 1e-5
"""Least time between two such looks, for each worker of the pool: they cost a fiftieth of it."""
TRIP_SHARE = 0.25
"""Share of a new measurement in the running mean of the time that a recall takes."""
LINK_MARGIN = 1.5
"""Time for which a worker holds tasks while its link brings others, in times of the link."""
MOST_ON_LINK = 1_000
"""Most tasks that a worker holds for the time that its link takes."""
TRIES = 8
"""Most open workers that are asked for one that fits a queued task."""
SLACK = 64
"""Entries of workers that are open no more that are tolerated, however small the pool is."""
# looking them up in their classes would take as long as the step
_RUNNING, _HELD, _SHARE = State.RUNNING, State.HELD, Due.SHARE

# -- open workers -------------------------------------------------------------------------------


def begun(pool: Pool, worker: WorkerRecord) -> None:
    """Note that a worker runs a task that is short, or of no measured type, and holds none."""
    head = worker.in_hand[0]
    assert head.reached is not None
    mean_s = head.type.mean_s
    if mean_s < 0:
        head.type.begun[worker] = head.run
        return
    entries = pool.open
    heappush(entries, (head.reached + mean_s, head.run, worker))
    if len(entries) > 2 * pool.workers + SLACK:
        entries[:] = [entry for entry in entries if _is_open(entry[2], entry[1])]
        heapify(entries)


def measured(cluster: Cluster, kind: TypeRecord) -> None:
    """Take in that a type has a mean now: workers that run its first tasks may be open."""
    if kind.mean_s <= cluster.settings.hold_s:
        for worker, run in kind.begun.items():
            if _is_open(worker, run):
                begun(cluster.roster.pools[worker.pool], worker)
    kind.begun.clear()


def _is_open(worker: WorkerRecord, run: int) -> bool:
    """Whether a worker still runs this attempt, holds none behind it, and may hold one."""
    in_hand = worker.in_hand
    return len(in_hand) == 1 and in_hand[0].run == run and _may_hold(worker)


def _may_hold(worker: WorkerRecord) -> bool:
    """Whether a worker goes on with tasks of its pool, and does not run one that may wait."""
    return not (
        worker.in_hand[0].state != _RUNNING
        or worker.goes_home
        or worker.node.draining
        or worker.clients
        or worker.broken
        or worker.in_hand[0].rank >= 0
    )


# -- sending ------------------------------------------------------------------------------------


def went_on(cluster: Cluster, worker: WorkerRecord, pool: Pool, now: float) -> None:
    """Have a worker that just began a task hold others, or note that it could."""
    alone = len(worker.in_hand) == 1
    if alone and pool.open and pool.backlog:  # others may be free sooner, and are to have the best
        alone = False
        begun(pool, worker)
        send_soonest(cluster, pool, now)
    backlog = pool.backlog
    may_fill = len(backlog) >= pool.workers and not pool.moves and not backlog.gangs
    if may_fill and _may_hold(worker):
        fill(cluster, worker, pool, now)
    if alone and len(worker.in_hand) == 1:
        begun(pool, worker)


def fill(cluster: Cluster, worker: WorkerRecord, pool: Pool, now: float) -> None:
    """Let a busy worker hold as many as all could have, as long as all it has in hand is short.

    The nth task that it holds is of a type of which n could be held.  So however types
    are mixed, the nth takes at most ``held_s / n``, or is the only one, beside those that last for
    as long as the link to its node takes.
    """
    in_hand, backlog, settings = worker.in_hand, pool.backlog, cluster.settings
    link_s, kind = worker.node.link_s, in_hand[0].type
    room = min(_ahead(kind, settings, link_s), len(backlog) // pool.workers)
    if in_hand[-1].type is not kind:
        kind = in_hand[-1].type
        room = min(room, _ahead(kind, settings, link_s))
    make, left_s = worker.make, worker.node.until - now
    while len(in_hand) <= room and (record := backlog.peek(make, left_s)) is not None:
        if record.type is not kind:
            kind = record.type
            room = min(room, _ahead(kind, settings, link_s))
            continue
        backlog.pop(make, left_s)
        send(cluster, worker, record, pool, now)


def send_soonest(cluster: Cluster, pool: Pool, now: float) -> None:
    """Send queued tasks ahead, the best first, each to the open worker that is free soonest.

    A task that takes the latest version of an object waits: a newer one may come before it starts.
    """
    if pool.moves or cluster.to_assign:  # others may be about to idle
        return
    if pool.backlog.gangs:  # those wait for workers with nothing in hand
        return
    entries, backlog = pool.open, pool.backlog
    aside: list[tuple[float, int, WorkerRecord]] = []
    while entries and backlog and len(aside) < TRIES:
        entry = ends, run, worker = heappop(entries)
        node = worker.node
        if not _is_open(worker, run) or now > ends + node.trip_s:
            continue
        make, left_s = worker.make, node.until - max(now, ends)
        record = backlog.peek(make, left_s)
        if record is None:  # it fits another worker
            aside.append(entry)
            continue
        if not _may_be_held(record, cluster.settings):
            heappush(entries, entry)
            break
        backlog.pop(make, left_s)
        send(cluster, worker, record, pool, now)
    for entry in aside:
        heappush(entries, entry)


def _may_be_held(record: TaskRecord, settings: Settings) -> bool:
    inputs = record.inputs
    return 0 <= record.type.mean_s <= settings.hold_s and not (inputs and inputs.latest)


def _ahead(kind: TypeRecord, settings: Settings, link_s: float) -> int:
    """Return how many tasks of a type a worker may hold, and hold behind one of it.

    Those that it runs while a message goes over its link and another comes back are on top.
    """
    mean_s = kind.mean_s
    if not 0 <= mean_s <= settings.hold_s:
        return 0
    each_s = mean_s + OVERHEAD_S
    few = max(1, min(settings.held, int(settings.held_s / each_s)))
    return few if link_s < mean_s else few + min(MOST_ON_LINK, ceil(LINK_MARGIN * link_s / each_s))


# -- recalling ----------------------------------------------------------------------------------


def idles(cluster: Cluster, pool: Pool, now: float) -> None:
    """Take in that a worker of a pool found nothing to do: others may hold tasks that it could."""
    if pool.running + len(pool.idle) > pool.ready and _SHARE not in cluster.watched:
        cluster.watch(_SHARE, now + max(SHARE_S, pool.workers * SHARE_EACH_S))


def look_shared(cluster: Cluster, about: int, now: float) -> None:
    """Recall held tasks for workers that idle, and look again for those about to begin."""
    del about
    again_s = inf
    for pool in cluster.roster.pools.values():
        if pool.idle and pool.held:
            again_s = min(again_s, _share(cluster, pool, now))
    if again_s < inf:
        cluster.watch(_SHARE, now + again_s)


def look_long(cluster: Cluster, about: int, now: float) -> None:
    """Recall all that is held behind tasks which turned out long; look again while any is held."""
    del about
    recall_s, pools = cluster.settings.recall_s, cluster.roster.pools
    cluster.recalled = {
        run: asked for run, asked in cluster.recalled.items() if asked > now - recall_s
    }
    for worker in cluster.roster.workers.values():
        if len(worker.in_hand) > 1:
            cluster.watch(Due.RECALL, now + recall_s)
            reached = worker.in_hand[0].reached
            assert reached is not None
            if reached <= now - recall_s:
                _recall_all(cluster, worker, now)
    for pool in pools.values():
        if pool.idle and pool.held:
            _share(cluster, pool, now)


def answered(cluster: Cluster, worker: WorkerRecord, run: int, now: float) -> None:
    """Take in that a held task came back, and how long that took."""
    asked = cluster.recalled.pop(run, None)
    if asked is not None:
        node = worker.node
        node.trip_s += (now - asked - node.trip_s) * TRIP_SHARE


def _share(cluster: Cluster, pool: Pool, now: float) -> float:
    """Recall the best-ranked held tasks for the idle workers of a pool.

    None comes back that its worker is about to begin, sooner than it could. Returns after how many
    seconds to look again if there are such ones, else infinity.
    """
    idle, recalled = pool.idle, cluster.recalled
    wanted, again_s = len(idle), inf
    held: list[TaskRecord] = []
    for worker in _holders(cluster, pool):
        head, trip_s = worker.in_hand[0], worker.node.trip_s
        assert head.reached is not None
        imminent = abs(head.reached + head.type.mean_s - now) < trip_s
        for record in islice(worker.in_hand, 1, None):
            if record.run in recalled:
                wanted -= 1
            elif imminent:
                again_s = min(again_s, max(trip_s, SHARE_S, pool.workers * SHARE_EACH_S))
            elif record.state == _HELD:
                held.append(record)
    for record in sorted(held, key=rank):
        if wanted <= 0:
            break
        if idle.fits(record.options.needs, pool.backlog.takes_s(record), now):
            wanted -= 1
            _recall(cluster, record, now)
    return again_s if wanted > 0 else inf


def _recall_all(cluster: Cluster, worker: WorkerRecord, now: float) -> None:
    """Recall all that a worker holds and that another of its pool could take, now or later."""
    makes = cluster.roster.pools[worker.pool].makes_ready
    for record in islice(worker.in_hand, 1, None):
        if record.state == _HELD and record.run not in cluster.recalled:
            needs = record.options.needs
            fit = [n for make, n in makes.items() if needs is None or make.suffices_for(needs)]
            if sum(fit) > 1:
                _recall(cluster, record, now)


def recall_pool(cluster: Cluster, pool: Pool, now: float) -> None:
    """Recall all that the workers of a pool hold, but for those that were recalled a moment ago."""
    since = now - cluster.settings.recall_s
    for worker in _holders(cluster, pool):
        for record in islice(worker.in_hand, 1, None):
            if record.state == _HELD and cluster.recalled.get(record.run, since) <= since:
                _recall(cluster, record, now)


def _recall(cluster: Cluster, record: TaskRecord, now: float) -> None:
    assert record.worker is not None
    cluster.recalled[record.run] = now
    cluster.effects.append(RecallTask(record.worker, record.run))


def _holders(cluster: Cluster, pool: Pool) -> list[WorkerRecord]:
    """Return the workers in a pool that hold tasks behind the one that they run."""
    nodes = [cluster.roster.nodes[name] for name in pool.by_node]
    return [
        worker
        for node in nodes
        for worker in node.workers.values()
        if worker.pool == pool.name and len(worker.in_hand) > 1
    ]
