"""Clients and nodes: which come, which go, and all that goes with them.

A member is *heard* with each of its messages, and lost when it was silent for a lease.
"""

from __future__ import annotations

from collections.abc import Sequence

from steerio.core import (
    attempts,
    draining,
    kept_runs,
    move_requests,
    moved_workers,
    passing,
    pausing,
    reports,
    worker_life,
)
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.effects import Effect, Expel, SendOrder, TellNode, TellOrder, TellPause
from steerio.core.lifecycle import RETIRING, STARTING
from steerio.core.node_end import take_out
from steerio.core.orphans import sweep_later
from steerio.core.records import ClientRecord, KeptByNode, NodeRecord
from steerio.core.roster import Pool
from steerio.core.submission import cancel
from steerio.model.events import ClientLost, NodeJoined, PoolChanged
from steerio.model.places import WorkerNeeds

# -- clients ------------------------------------------------------------------------------------


def client_joined(
    cluster: Cluster,
    peer: int,
    name: str,
    watched: bool,
    now: float,
    maker: str = "",
    inside: str = "",
    *,
    detached: bool = False,
) -> None:
    """A client joined, or a detached one that was away; see `Core.client_joined`."""
    client = cluster.clients.get(peer)
    if client is None:
        client = cluster.clients[peer] = ClientRecord(name, peer, now, {}, maker, detached)
    elif client.away:
        cluster.effects = [order for order in cluster.effects if _told_by(order) != peer]
    else:
        return
    client.heard, client.away = now, False
    worker = cluster.roster.workers.get(inside.partition(":")[0])
    if worker is not None and inside == f"{worker.name}:{worker.pid}":
        cluster.inside[peer] = worker
        worker.clients += 1
        attempts.recall(cluster, worker)  # its task may wait for others, for long
    cluster.holdings.join(peer)
    if watched and not client.watched:
        client.watched = True
        cluster.deadlines.add(now + cluster.settings.away_s, Due.CLIENT, peer)


def _told_by(order: Effect) -> int | None:
    """Return the client that an effect is all about: if it has left, that is for no other."""
    match order:
        case Expel():
            return order.peer
        case TellNode() | TellPause():
            return order.client
        case TellOrder():
            return order.giver
        case SendOrder():
            return order.taker
        case _:
            return None


def client_left(cluster: Cluster, peer: int, reason: str, now: float) -> None:
    """A client left or was lost: its tasks are cancelled, unless it is detached."""
    client = cluster.clients.get(peer)
    if client is None or client.away:
        return
    _part(cluster, client, reason, now)
    cluster.emit(ClientLost, now, client.name, reason)


def client_away(cluster: Cluster, peer: int, now: float) -> None:
    """A detached client of an earlier broker is away from the start; see `Core.client_away`."""
    _part(cluster, cluster.clients[peer], "", now)


def client_forgotten(cluster: Cluster, peer: int) -> None:
    """A detached client that is away will not come back; see `Core.client_forgotten`."""
    client = cluster.clients.get(peer)
    if client is not None and client.away:
        del cluster.clients[peer]


def _part(cluster: Cluster, client: ClientRecord, reason: str, now: float) -> None:
    peer = client.peer
    client.away = client.detached
    if not client.detached:
        del cluster.clients[peer]
    inside = cluster.inside.pop(peer, None)
    if inside is not None:
        inside.clients -= 1
    move_requests.client_left(cluster, peer, now)
    pausing.client_left(cluster, peer)
    draining.client_left(cluster, peer)
    passing.client_left(cluster, peer)
    cluster.versions.forget(peer)
    cluster.holdings.leave(peer)
    if not client.detached:
        for task_id in list(cluster.tasks_of.get(peer, ())):
            cancel(cluster, task_id, f"its client left: {reason}", now)
    cluster.effects += cluster.types.forget(client.types, list(client.types))
    if client.maker:
        sweep_later(cluster, [client.maker], now)


# -- nodes --------------------------------------------------------------------------------------


def node_joined(
    cluster: Cluster,
    peer: int,
    name: str,
    host: str,
    offers: dict[str, int],
    now: float,
    requires: dict[str, list[str]] | None,
    makes: dict[str, WorkerNeeds] | None,
    walltime_s: float | None,
    keeps: Sequence[KeptByNode],
) -> NodeRecord | None:
    """A node joined: start its workers; see `Core.node_joined`."""
    roster = cluster.roster
    if peer in cluster.nodes or any(roster.pool(pool) is None for pool in offers):
        return None
    to_start, kept, not_kept = kept_runs.chosen(cluster, offers, keeps)
    node, named = roster.add_node(name, host, peer, to_start, now, makes)
    cluster.nodes[peer] = node
    node.requires = requires or {}
    ends = None if walltime_s is None else draining.limit(cluster, node, walltime_s, now)
    cluster.emit(NodeJoined, now, node.name, host, offers, ends)
    cluster.deadlines.add(now + cluster.settings.lease_s, Due.NODE, node.number)
    for worker in named:
        worker_life.start(cluster, worker, now)
    kept_runs.take_in(cluster, node, kept, not_kept, now)
    return node


def node_lost(cluster: Cluster, peer: int, reason: str, now: float) -> None:
    """A node left or was lost, and its workers with it."""
    node = cluster.nodes.get(peer)
    if node is not None:
        _lose(cluster, [node], reason, now)


def lose_silent(cluster: Cluster, now: float) -> None:
    """Lose the nodes that were found silent, unless they are gone by now."""
    silent, cluster.silent = cluster.silent, []
    there = [node for node in silent if cluster.nodes.get(node.peer) is node]
    _lose(cluster, there, f"silent for {cluster.settings.lease_s:g} s", now)


def _lose(cluster: Cluster, nodes: list[NodeRecord], reason: str, now: float) -> None:
    """Lose nodes with all their workers: first all of these, and then their tasks and moves.

    Otherwise one would be given a task of another.
    """
    lost = [worker for node in nodes for worker in take_out(cluster, node, reason, now)]
    why = f"its node was lost: {reason}"
    changed: dict[Pool, None] = {}
    for worker in lost:
        starting, retiring = worker.phase is STARTING, worker.phase is RETIRING
        task_id = worker.in_hand[0].task_id if worker.in_hand else None
        pool = worker_life.remove(cluster, worker, why, task_id, now)
        if starting:
            pool.start_failures -= 1
        if worker.peer:  # one that was kept may be starting and have said that it is there
            cluster.effects.append(Expel(worker.peer, why))
        if not retiring:
            changed[pool] = None
    for pool in changed:
        cluster.emit(PoolChanged, now, pool.name, pool.ready)
    reports.workers_gone(cluster, lost, f"node lost: {reason}", now)
    moved_workers.workers_lost(cluster, lost, now)
    sweep_later(cluster, [worker.name for worker in lost], now)
    cluster.effects += [Expel(node.peer, reason) for node in nodes]


# -- members that say nothing, or nothing that can be read ----------------------------------------


def heard(cluster: Cluster, peer: int, now: float) -> None:
    """A member said something."""
    member = cluster.clients.get(peer) or cluster.nodes.get(peer)
    if member is not None:
        member.heard = now


def unreadable(cluster: Cluster, peer: int, reason: str, now: float) -> None:
    """A peer said something that cannot be read: it ends, and all that depends on it.

    It is not known what it was to say.  So a client has left, and unless it is detached its tasks
    are cancelled; a node is lost with its workers; and a worker's process is killed, after which
    its tasks are tried again or lost.
    """
    worker = cluster.roster.by_peer.get(peer)
    if peer in cluster.clients:
        client_left(cluster, peer, reason, now)
        cluster.effects.append(Expel(peer, reason))
    elif peer in cluster.nodes:
        node_lost(cluster, peer, reason, now)
    elif worker is not None:
        worker_life.break_off(cluster, worker, reason, now)


def look_client(cluster: Cluster, peer: int, now: float) -> None:
    """Lose a client that has been away for too long."""
    client = cluster.clients.get(peer)
    if client is None:
        return
    if client.away:
        client.watched = False
        return
    away_s = cluster.settings.away_s
    if now >= client.heard + away_s:
        client.watched = False  # until it is back
        client_left(cluster, peer, f"silent for {away_s:g} s", now)
        why = f"the broker gave this client up, which had been silent for {away_s:g} s"
        cluster.effects.append(Expel(peer, why))
    else:
        cluster.deadlines.add(client.heard + away_s, Due.CLIENT, peer)


def look_node(cluster: Cluster, number: int, now: float) -> None:
    """Note a node that has been silent for a lease: all of them are lost together."""
    node = cluster.roster.by_number.get(number)
    if not isinstance(node, NodeRecord):
        return
    lease_s = cluster.settings.lease_s
    if now >= node.heard + lease_s:
        cluster.silent.append(node)
    else:
        cluster.deadlines.add(node.heard + lease_s, Due.NODE, number)
