"""The broker at a glance, for whoever asks: pools, workers, nodes, clients, counts, the store."""

from __future__ import annotations

from collections import Counter
from math import inf

from steerio.core.membership import Membership
from steerio.core.records import NodeRecord
from steerio.model import messages as ms
from steerio.model.objects import StoreLoad
from steerio.model.status import NodeStatus, WorkerStatus


class Overview:
    """Says how a broker is.

    Args:
        members: the core.
        dropped: how many messages were dropped, by reason.
        started: when the broker started, on its clock.
    """

    def __init__(self, members: Membership, dropped: Counter[str], started: float) -> None:
        self._members = members
        self._dispatch = members.dispatch
        self._roster = members.roster
        self._events = members.dispatch.log
        self._holdings = members.dispatch.holdings
        self._versions = members.dispatch.versions
        self._dropped = dropped
        self._started = started

    def __repr__(self) -> str:
        return f"<Overview of {len(self._roster.pools)} pools, {len(self._roster.nodes)} nodes>"

    def pools(self) -> ms.PoolStatus:
        """Return how the pools are."""
        return ms.PoolStatus({n: p.load() for n, p in self._roster.pools.items()})

    def status(self, request: int, now: float) -> ms.Status:
        """Return the answer to who asks how everything is."""
        workers = [
            WorkerStatus(
                worker.name,
                worker.pool,
                worker.node.name,
                worker.pid,
                worker.phase,
                worker.in_hand[0].task_id if worker.in_hand else None,
            )
            for worker in self._roster.workers.values()
        ]
        return ms.Status(
            request,
            {name: pool.load() for name, pool in self._roster.pools.items()},
            workers,
            {node.name: _describe(node, now) for node in self._roster.nodes.values()},
            [client.name for client in self._members.clients.values()],
            dict(self._dispatch.ended),
            dict(self._dropped),
            self._events.count,
            now - self._started,
            self._store_load(),
        )

    def _store_load(self) -> StoreLoad:
        sizes = self._holdings.sizes
        names = {c.peer: c.name for c in self._members.clients.values()}
        by_clients: Counter[str] = Counter()
        by_versions: dict[str, int] = {}
        for (kind, who), nbytes in self._holdings.bytes_by_holder().items():
            if kind == "client":
                by_clients[names.get(int(who), "?")] += nbytes
            else:
                by_versions[str(who)] = nbytes
        newest = {name: version.number for name, version in self._versions.newest.items()}
        total, by_tasks = sum(sizes.values()), self._holdings.bytes_by_tasks()
        return StoreLoad(len(sizes), total, by_tasks, dict(by_clients), by_versions, newest)


def _describe(node: NodeRecord, now: float) -> NodeStatus:
    """Return a node at a glance."""
    busy = sum(bool(worker.in_hand) for worker in node.workers.values())
    state = "drained" if node.drained else "draining" if node.draining else "up"
    left_s = node.ends - now if node.ends < inf else None
    return NodeStatus(node.host, len(node.workers), busy, state, left_s)
