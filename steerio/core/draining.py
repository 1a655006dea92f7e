"""Nodes that are left: because a client asks for it, or because their walltime ends.

Theory.  A node that is drained gets no task and keeps no worker.  A worker with nothing in hand
ends, in good order, and none takes its place; others end when they have nothing left, and the
tasks that they hold ahead are recalled.  So for pools, moves and leases it is as when the node is
lost, only slower, and costs no attempt.  When the last worker is gone the node is *drained*; one
that is to retire is told to end then.  If that is undone as many start again as went, each in the
home of one of those.

A node with a walltime is left `leave_s` before it is over, and retires.  Until then it gets
tasks that are done in time, by the measured durations of task types (`PoolQueue`, `IdleWorkers`).

Invariant: no worker on a draining node idles; and of those nodes that are to retire each has
workers.
"""

from __future__ import annotations

from math import floor, inf

from steerio.core import attempts, kept_runs, moved_workers
from steerio.core.attempts import DRAINED
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.lifecycle import READY
from steerio.core.node_end import WALLTIME, look_drained, tell
from steerio.core.records import NodeRecord
from steerio.core.worker_life import start
from steerio.model.events import NodeDraining, NodeEnding, NodeUndrained

# -- orders of clients --------------------------------------------------------------------------


def ask(
    cluster: Cluster,
    client: int,
    request: int,
    name: str,
    now: float,
    *,
    within_s: float | None = None,
    retire: bool = False,
) -> str:
    """Begin to drain a node, or go on; returns why that cannot be, or nothing.

    The client is told when it is drained, or that it will not be.
    """
    node = cluster.roster.nodes.get(name)
    if node is None:
        return _unknown(cluster)
    if within_s is not None and not 0 <= within_s < inf:
        return f"within_s is a number of seconds, not {within_s!r}"
    node.watchers.append((client, request))
    within_s = inf if within_s is None else within_s
    _drain(cluster, node, "it was asked for", now, within_s, retire=retire)
    return ""


def client_left(cluster: Cluster, client: int) -> None:
    """Forget that a client waits for nodes to be drained; they are drained all the same."""
    for node in cluster.roster.nodes.values():
        node.watchers = [asked for asked in node.watchers if asked[0] != client]


def undo(cluster: Cluster, name: str, now: float) -> str:
    """Let a node that is drained take tasks again; returns why that cannot be, or nothing."""
    node = cluster.roster.nodes.get(name)
    if node is None:
        return _unknown(cluster)
    if not node.draining:
        return "it is not being drained"
    if now >= node.until:
        return "its walltime ends"
    for worker in node.workers.values():
        cluster.roster.pools[worker.pool].leaving -= 1
    node.draining, node.drain_by = "", inf
    node.overdue = node.drained = node.retires = False
    cluster.emit(NodeUndrained, now, name)
    tell(cluster, node, "undrained", "it was undrained")
    away, node.away = node.away, []
    for home in away:
        start(cluster, cluster.roster.add_worker(node, home), now)
    return ""


# -- deadlines ---------------------------------------------------------------------------------


def limit(cluster: Cluster, node: NodeRecord, walltime_s: float, now: float) -> float:
    """Note that a node that just joined ends in so many seconds; return when, in Unix time.

    Ends are whole seconds: so the nodes of one batch job count as equal.
    """
    ends = floor(now + walltime_s)
    settings, deadlines = cluster.settings, cluster.deadlines
    cluster.roster.limit(node, ends, ends - settings.leave_s)
    deadlines.add(max(now, ends - settings.ending_s), Due.ENDING, node.number)
    deadlines.add(node.until, Due.END, node.number)
    return ends + cluster.log.epoch


def look_ending(cluster: Cluster, number: int, now: float) -> None:
    """Say that the walltime of a node ends soon."""
    node = cluster.roster.by_number.get(number)
    if isinstance(node, NodeRecord):
        ends = node.ends + cluster.log.epoch
        cluster.emit(NodeEnding, now, node.name, node.ends - now, ends)


def look_end(cluster: Cluster, number: int, now: float) -> None:
    """Leave a node whose walltime ends."""
    node = cluster.roster.by_number.get(number)
    if isinstance(node, NodeRecord):
        _drain(cluster, node, WALLTIME, now, 0.0, retire=True)


def look_drain_by(cluster: Cluster, number: int, now: float) -> None:
    """Stop tasks that still run on a node that was to be drained by now."""
    node = cluster.roster.by_number.get(number)
    if isinstance(node, NodeRecord) and now >= node.drain_by:
        node.overdue = True
        for worker in list(node.workers.values()):
            if worker.in_hand:
                attempts.preempt(cluster, worker.in_hand[0], DRAINED, now)
            else:
                kept_runs.leave(cluster, worker, now)


# -- the steps they share -----------------------------------------------------------------------


def _drain(
    cluster: Cluster, node: NodeRecord, reason: str, now: float, within_s: float, *, retire: bool
) -> None:
    node.retires |= retire
    if not node.draining:
        node.draining = reason
        cluster.emit(NodeDraining, now, node.name, reason)
        for worker in list(node.workers.values()):
            cluster.roster.pools[worker.pool].leaving += 1
            if worker.in_hand:
                attempts.recall(cluster, worker)
            elif worker.phase in READY:  # else it is about to end, or to come up and end then
                moved_workers.leave(cluster, worker, now)
        homes = dict.fromkeys(worker.home for worker in node.workers.values())
        for home in homes:  # a move for which a task was stopped here may get another worker now
            moved_workers.press(cluster, cluster.roster.pools[home], now)
    if now + within_s < node.drain_by:
        node.drain_by = now + within_s
        cluster.deadlines.add(node.drain_by, Due.DRAIN, node.number)
    look_drained(cluster, node, now)


def _unknown(cluster: Cluster) -> str:
    known = ", ".join(sorted(cluster.roster.nodes)) or "none"
    return f"there is none of that name (there are: {known})"
