"""Queued tasks that no worker will take unless an agent acts: found, and told once.

Theory. A task waits in vain if its pool has no worker that could take it, and none will come by
itself. Workers that start, that are replaced, that a node or a waiting move will bring, come by
themselves; those on loan come when their lease ends, and that end may depend on the very task that
waits.  And all workers of a pool may be in the hands of tasks that wait for others of their own in
it: a circle of resources held and waited for (Coffman, Elphick and Shoshani, System Deadlocks,
1971), which no order of the queue can open.

It is not told while the client of such tasks has another one in a worker's hands, nor while a task
runs on lent workers: then things go on, and may well come to these tasks, too. And it must hold for
a while: the best-ranked of the tasks is the same at two looks, so none of them was taken in
between.
"""

from __future__ import annotations

from itertools import islice

from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.heads import Want
from steerio.core.lifecycle import GRANTED, IDLE
from steerio.core.records import MoveRecord, WorkerRecord
from steerio.core.roster import Pool
from steerio.model.events import PoolStalled

STALLED_S = 5.0
"""Time between two looks at tasks that may wait in vain; the second tells of them."""
ASKED = 1_000
"""Most queued tasks of a pool whose clients are looked at."""
SHOWN_NEEDS = 10
"""Most different needs of waiting tasks that are told."""


def watch(cluster: Cluster, now: float) -> None:
    """Look in a while, and as long as tasks are queued: some may be in a pool that runs nothing."""
    cluster.watch(Due.STALLED, now + STALLED_S)


def look(cluster: Cluster, now: float) -> None:
    """Tell of pools that are stalled and were so at the last look, and look again later."""
    reasons = find(cluster)
    for pool in cluster.roster.pools.values():
        head = pool.backlog.peek() if pool.backlog else None
        if head is None or pool.paused:
            pool.stalled, pool.stalled_at = "", 0
            continue
        reason = reasons.get(pool.name, "")
        seen, pool.stalled_at = pool.stalled_at, head.task_id if reason else 0
        if not reason or seen != head.task_id:
            pool.stalled = ""
        elif not pool.stalled:
            pool.stalled = reason
            cluster.stalls_told.append(reason)
            cluster.emit(PoolStalled, now, pool.name, len(pool.backlog), reason)
        watch(cluster, now)


def find(cluster: Cluster) -> dict[str, str]:
    """Return the pools that are stalled, and why."""
    queued = [pool for pool in cluster.roster.pools.values() if pool.backlog and not pool.paused]
    if not cluster.inside:
        queued = [pool for pool in queued if not pool.running]
    if not queued:
        return {}
    held = _find_held(cluster, queued) if cluster.inside else {}
    parents = {worker for workers in held.values() for worker in workers}
    going = {run.client for run in cluster.runs.values() if run.worker not in parents}
    reasons: dict[str, str] = {}
    for pool in queued:
        if any(record.client in going for record in islice(pool.backlog, ASKED)):
            continue
        waiting = held.get(pool.name)
        reason = _say_held(pool, waiting) if waiting else why(cluster, pool)
        if reason:
            reasons[pool.name] = f"{len(pool.backlog):,} queued in {pool.name!r} wait: {reason}"
    return reasons


def why(cluster: Cluster, pool: Pool) -> str:
    """Return why no worker will take a pool's tasks, or ``""``."""
    if pool.workers > pool.ready or pool.to_come or pool.coming or pool.put_off:
        return ""
    if pool.ready:
        if len(pool.idle) < pool.ready:
            return ""
        wants = pool.backlog.wants
        needs = _say_needs(wants) or "more time"
        if all(want.gang > 1 for want in wants) and wants:
            return f"it has too few workers ({pool.ready}) for its tasks ({needs})"
        return f"none of its idle workers ({pool.ready}) satisfies the needs of its tasks ({needs})"
    if not pool.at_home:
        return "it has no workers; move or lend some to it, or start a node that has some"
    return _why_lent(cluster, [move for move in cluster.moves.values() if move.source == pool.name])


def _why_lent(cluster: Cluster, moves: list[MoveRecord]) -> str:
    """Return which borrowers of a pool's workers run nothing on them, or ``""``."""
    if not moves or any(move.state is not GRANTED for move in moves):
        return ""  # on their way, there or back
    for move in moves:
        target = cluster.roster.pools[move.target]
        if target.running or target.workers > target.ready:
            return ""
    parts = [
        f"{len(move.taken)} lent to {move.target!r}{f' by {move.by}' if move.by else ''}"
        for move in moves
    ]
    return (
        f"all its workers are lent ({', '.join(parts)}), and nothing runs there; they come "
        "home when their leases end, so do not await these tasks inside"
    )


def _find_held(cluster: Cluster, queued: list[Pool]) -> dict[str, list[WorkerRecord]]:
    """Return the pools whose workers all run tasks that wait for queued ones of their own, or idle.

    Those that idle take none of these: they do not fit them, or are too few for a gang.  It is
    the largest set of pools in which this holds for each if it holds for the others.
    """
    waits_in: dict[int, set[str]] = {}
    for pool in queued:
        for record in pool.backlog:
            if record.client in cluster.inside:
                waits_in.setdefault(record.client, set()).add(pool.name)
    for run in cluster.runs.values():
        waits_in.pop(run.client, None)
    held = {pool.name: _at_work(cluster, pool) for pool in queued if not pool.coming}
    before = -1
    while len(held) != before:
        before = len(held)
        waiting = {cluster.inside[c] for c, pools in waits_in.items() if pools <= held.keys()}
        held = {n: w for n, w in held.items() if len(w) > 0 and waiting.issuperset(w)}
    return held


def _at_work(cluster: Cluster, pool: Pool) -> list[WorkerRecord]:
    """Return the workers in a pool that do not idle, if no other is about to be ready."""
    if pool.workers > pool.ready:
        return []
    nodes = [cluster.roster.nodes[name] for name in pool.by_node]
    there = (w for node in nodes for w in node.workers.values() if w.pool == pool.name)
    return [worker for worker in there if worker.phase is not IDLE]


def _say_needs(needs: list[Want]) -> str:
    shown = ", ".join(map(str, needs[:SHOWN_NEEDS]))
    return shown if len(needs) <= SHOWN_NEEDS else f"{shown} and {len(needs) - SHOWN_NEEDS} others"


def _say_held(pool: Pool, waiting: list[WorkerRecord]) -> str:
    those, others = f"all its workers ({pool.ready})", ""
    if pool.idle:
        those = f"all its workers that are at work ({len(waiting)})"
        others = f", and those that idle ({len(pool.idle)}) do not fit them, or are too few"
    return (
        f"{those} run tasks that have submitted these and wait for them{others}; "
        "give such tasks a pool of their own, or let an agent submit the others"
    )
