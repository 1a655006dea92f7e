"""The end of a node that is there: it is drained when its last worker is gone, and may retire."""

from __future__ import annotations

from steerio.core.cluster import Cluster
from steerio.core.effects import Dismiss, Expel, TellNode
from steerio.core.records import NodeRecord, WorkerRecord
from steerio.model.events import NodeDrained, NodeLost
from steerio.model.moving import DrainEnd

WALLTIME = "its walltime ends"


def look_drained(cluster: Cluster, node: NodeRecord, now: float) -> None:
    """Look whether the last worker of a draining node is gone; one that is to retire ends then."""
    if node.workers or not node.draining:
        return
    if not node.drained:
        node.drained = True
        cluster.emit(NodeDrained, now, node.name)
    tell(cluster, node, "drained", "")
    if node.retires:
        reason = WALLTIME if now >= node.until else "it was retired"
        cluster.effects.append(Dismiss(node.peer, reason))
        take_out(cluster, node, reason, now)
        cluster.effects.append(Expel(node.peer, reason))


def take_out(cluster: Cluster, node: NodeRecord, reason: str, now: float) -> list[WorkerRecord]:
    """Take a node out of the roster; return the workers that it had, which are to follow."""
    del cluster.nodes[node.peer]
    cluster.emit(NodeLost, now, node.name, reason)
    tell(cluster, node, "left", reason)
    for number in list(node.put_off):
        cluster.take_put_off(number)
    return cluster.roster.remove_node(node)


def tell(cluster: Cluster, node: NodeRecord, state: DrainEnd, reason: str) -> None:
    """Tell the clients that wanted a node drained how that ended."""
    watchers, node.watchers = node.watchers, []
    for client, request in watchers:
        cluster.effects.append(TellNode(client, request, state, reason))
