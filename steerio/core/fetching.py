"""Fetching ahead: orders to nodes to fetch objects before the tasks that need them start.

It is done only if the store is not on the node itself (``wanted``). A task that a worker holds
behind another will run on that worker's node. A task that waits in a queue will run on the only
node of its pool, if there is just one; otherwise its node is not known, so only objects that
several tasks need are fetched, by all nodes of the pool, since most of them will use these.

A node keeps only so many bytes of fetched objects: if it were told of all that a long queue needs,
it would drop the first for the last before either was used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from steerio.core.effects import FetchCopies, ForgetCopies
from steerio.core.holdings import Holdings
from steerio.core.records import NodeRecord
from steerio.core.roster import Pool, Roster
from steerio.model.objects import StoredObject

SHARED_BY = 2
"""Fewest tasks that need an object for it to be worth fetching by nodes that may not need it."""
MOST_BYTES = 2**30
"""Most bytes that a node fetches ahead, unless another bound is set."""


class Fetching:
    """Decides which objects nodes fetch ahead, and remembers its orders.

    ``most_bytes`` bounds the objects that a node was told to fetch and no task has begun to use
    there.
    """

    def __init__(self, roster: Roster, holdings: Holdings, most_bytes: int = MOST_BYTES) -> None:
        self.wanted = False
        self.most_bytes = most_bytes
        self._roster = roster
        self._holdings = holdings
        self._copies: dict[bytes, dict[int, bool]] = {}
        """The numbers of the nodes that may have a copy of an object, and whether each was told to
        fetch it; else it has run a task that needs it. Others need not be told that it is freed."""
        self._unused: dict[tuple[int, bytes], int] = {}
        """The length of each object that a node was told to fetch and no task has begun to use."""
        self._ahead: defaultdict[int, int] = defaultdict(int)
        """The sum of that, by node."""

    def sent_ahead(self, objects: list[StoredObject], node: NodeRecord) -> list[FetchCopies]:
        """Order for a task that needs these objects and waits at a worker of this node."""
        return self._fetch(objects, [node]) if self.wanted else []

    def waits(self, objects: list[StoredObject], pool: Pool) -> list[FetchCopies]:
        """Order for a task that needs these objects and waits in the queue of a pool."""
        if not self.wanted:
            return []
        nodes = [self._roster.nodes[name] for name in pool.by_node]
        if len(nodes) > 1:
            objects = [o for o in objects if self._holdings.tasks(o.name) >= SHARED_BY]
        return self._fetch(objects, nodes)

    def forget(self, names: Iterable[bytes]) -> list[ForgetCopies]:
        """Take in that these objects are gone; return orders for the nodes that may have copies."""
        if not self.wanted:
            return []
        gone: dict[int, list[bytes]] = {}
        for name in names:
            for number in self._copies.pop(name, ()):
                self._strike(number, name)
                gone.setdefault(number, []).append(name)
        nodes = self._roster.by_number
        there = [(nodes[number], names) for number, names in gone.items() if number in nodes]
        return [ForgetCopies(node, names) for node, names in there if isinstance(node, NodeRecord)]

    def used(self, objects: Iterable[StoredObject], node: NodeRecord) -> None:
        """Take in that a task that needs these objects has started on this node."""
        if self.wanted:
            for stored in objects:
                self._copies.setdefault(stored.name, {}).setdefault(node.number, False)
                self._strike(node.number, stored.name)

    def _fetch(self, objects: list[StoredObject], nodes: list[NodeRecord]) -> list[FetchCopies]:
        orders: list[FetchCopies] = []
        for node in nodes:
            new = [stored for stored in objects if self._tell(node.number, stored)]
            if new:
                orders.append(FetchCopies(node, new))
        return orders

    def _tell(self, number: int, stored: StoredObject) -> bool:
        """Note that a node is told to fetch an object, unless it was, or has enough to fetch."""
        copies = self._copies.setdefault(stored.name, {})
        if copies.get(number) or self._ahead[number] + stored.nbytes > self.most_bytes:
            return False
        copies[number] = True
        self._unused[number, stored.name] = stored.nbytes
        self._ahead[number] += stored.nbytes
        return True

    def _strike(self, number: int, name: bytes) -> None:
        self._ahead[number] -= self._unused.pop((number, name), 0)
