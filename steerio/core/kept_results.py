"""The stored values of detached clients' tasks that ended, held until the client forgets them.

A detached client may be away when a task of it ends, and may come back more than once: so each
value is held for its *ledger*, beside the hold that the client has until it has read it.
"""

from __future__ import annotations

from collections.abc import Iterable

from steerio.core.cluster import Cluster
from steerio.model.objects import StoredObject


def keep(cluster: Cluster, peer: int, task_id: int, stored: StoredObject) -> None:
    """Hold the value of a task that ended, if its client is detached."""
    client = cluster.clients.get(peer)
    if client is not None and client.detached:
        client.results[task_id] = stored
        cluster.holdings.hold(stored, ("ledger", peer))


def give_again(cluster: Cluster, peer: int, task_id: int) -> None:
    """A client that has come back holds the value of a task until it has read it."""
    stored = cluster.clients[peer].results.get(task_id)
    if stored is not None:
        cluster.holdings.hold(stored, ("client", peer))


def forget(cluster: Cluster, peer: int, task_ids: Iterable[int]) -> None:
    """A client will not ask for the results of these tasks again."""
    results = cluster.clients[peer].results
    for task_id in task_ids:
        if (stored := results.pop(task_id, None)) is not None:
            cluster.holdings.let_go(stored.name, ("ledger", peer))
