"""The broker at a glance: pools, workers, nodes, clients, counts, the store."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from steerio.core.core import Core
from steerio.core.records import NodeRecord
from steerio.model import messages as ms
from steerio.model.moving import NodeState
from steerio.model.status import NodeStatus, WorkerStatus


class Overview:
    """The status of a broker, made when it is asked for.

    Args:
        core: of the broker.
        dropped: returns the number of messages that were dropped, by reason.
        started: when the broker started, on its clock.
    """

    def __init__(self, core: Core, dropped: Callable[[], dict[str, int]], started: float) -> None:
        self._core = core
        self._dropped = dropped
        self._started = started

    def __repr__(self) -> str:
        return f"<Overview of {len(self._core.pools)} pools, {len(self._core.nodes)} nodes>"

    def pools(self) -> ms.PoolStatus:
        """Return the loads of the pools."""
        return ms.PoolStatus({n: p.load() for n, p in self._core.pools.items()})

    def status(self, request: int, now: float) -> ms.Status:
        """Return the whole status, as the answer to a request."""
        workers = [
            WorkerStatus(
                worker.name,
                worker.pool,
                worker.node.name,
                worker.pid,
                worker.phase.value,
                worker.in_hand[0].task_id if worker.in_hand else None,
            )
            for worker in self._core.workers.values()
        ]
        return ms.Status(
            request,
            {name: pool.load() for name, pool in self._core.pools.items()},
            workers,
            {node.name: _describe(node, now) for node in self._core.nodes.values()},
            [
                f"{client.name} (away)" if client.away else client.name
                for client in self._core.clients.values()
            ],
            dict(self._core.ended),
            self._dropped(),
            self._core.event_count,
            now - self._started,
            self._core.store_load(),
        )


def _describe(node: NodeRecord, now: float) -> NodeStatus:
    """Return a node at a glance."""
    busy = sum(bool(worker.in_hand) for worker in node.workers.values())
    state: NodeState = "drained" if node.drained else "draining" if node.draining else "up"
    left_s = node.ends - now if node.ends < inf else None
    return NodeStatus(node.host, len(node.workers), busy, state, left_s)
