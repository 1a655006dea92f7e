"""Fetching ahead: which node is to fetch what, before the task that needs it starts there.

Only where a store is not on the node itself (``wanted``).  A task that a worker holds behind
another will run on that worker's node.  Of one that waits in a queue nobody knows where it
will run: on the only node of its pool, if there is just one; else only what several tasks
need is fetched, by all nodes of the pool, since most of them will use it.
"""

from __future__ import annotations

from collections.abc import Iterable

from steerio.core.effects import FetchAhead
from steerio.core.holdings import Holdings
from steerio.core.records import NodeRecord
from steerio.core.roster import Pool, Roster
from steerio.model.objects import StoredObject

SHARED_BY = 2
"""What at least so many hold is worth fetching by nodes that may not need it."""


class Fetching:
    """Decides what nodes fetch ahead, and remembers what they were told to."""

    def __init__(self, roster: Roster, holdings: Holdings) -> None:
        self.wanted = False
        self._roster = roster
        self._holdings = holdings
        self._told: dict[bytes, set[int]] = {}
        """The numbers of the nodes that were told to fetch an object."""

    def sent_ahead(self, objects: list[StoredObject], node: NodeRecord) -> list[FetchAhead]:
        """A task that needs these objects waits at a worker of this node."""
        return self._fetch(objects, [node]) if self.wanted else []

    def waits(self, objects: list[StoredObject], pool: Pool) -> list[FetchAhead]:
        """A task that needs these objects waits in the queue of a pool."""
        if not self.wanted:
            return []
        nodes = [self._roster.nodes[name] for name in pool.by_node]
        if len(nodes) > 1:
            objects = [o for o in objects if self._holdings.count(o.name) >= SHARED_BY]
        return self._fetch(objects, nodes)

    def forget(self, names: Iterable[bytes]) -> None:
        """These objects are gone."""
        for name in names:
            self._told.pop(name, None)

    def _fetch(self, objects: list[StoredObject], nodes: list[NodeRecord]) -> list[FetchAhead]:
        orders: list[FetchAhead] = []
        for node in nodes:
            new = [o for o in objects if node.number not in self._told.get(o.name, ())]
            for stored in new:
                self._told.setdefault(stored.name, set()).add(node.number)
            if new:
                orders.append(FetchAhead(node, new))
        return orders
