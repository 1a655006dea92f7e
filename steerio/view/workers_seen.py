"""Nodes and workers as the events of a record tell, and the seconds in which workers were idle.

A gap of a worker at the broker begins when it is ready, or the end of its last task is known,
and ends when it has another. How much of it a policy or the dispatch took shows once the task's
line is there, for this names the results that the task is because of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from steerio.view.bins import BinAxis, Level
from steerio.view.pool_figures import PoolFigures
from steerio.view.seen_lines import SeenEvent

NODE_ENDS_WITH_RUN = "the process that started it ended"
"""The reason for which the node of a run leaves at its end: nothing is lost then."""


@dataclass(slots=True)  # its attributes are set faster than those of a struct
class WorkerSeen:
    """One ready worker.

    Attributes:
        pool, node: those that it is in.
        free_at: since when the broker knows that it has no task, or has been ready.
        queue_s: for how long the pool's queue had not been empty by then, in all.
        ended: when the function of its last task ended, on the worker; ``None`` before that.
        home: the pool that has lent it, or empty.
        idle: whether the broker knows of no task that it has.
        began: when it began the last task that it had.
    """

    pool: str
    node: str
    free_at: float
    queue_s: float = 0.0
    ended: float | None = None
    home: str = ""
    idle: bool = True
    began: float | None = None


class WorkersSeen:
    """All pools, nodes and workers of a run."""

    def __init__(self, axis: BinAxis) -> None:
        self.axis = axis
        self.pools: dict[str, PoolFigures] = {}
        self.workers: dict[str, WorkerSeen] = {}
        self._expected: dict[str, Counter[str]] = {}
        """Workers that each node is to have, and has not, by pool."""
        self._ending_nodes: dict[str, bool] = {}
        """Draining nodes, and those just gone; ``True``: they went with the run."""
        self._lent_gone: dict[tuple[str, str], list[str]] = {}
        """Homes of lent workers that are replaced, by node and pool."""

    def __repr__(self) -> str:
        return f"<WorkersSeen: {len(self.workers)} workers in {len(self.pools)} pools>"

    def pool(self, name: str, at: float) -> PoolFigures:
        """Return the figures of a pool."""
        pool = self.pools.get(name)
        if pool is None:
            pool = self.pools[name] = PoolFigures(name, self.axis, at)
        return pool

    def clear(self, at: float) -> None:
        """Note that all of them are gone: another process goes on with the run."""
        for pool in self.pools.values():
            pool.clear(at)
        self.workers.clear()
        self._expected.clear()
        self._ending_nodes.clear()
        self._lent_gone.clear()

    def levels(self) -> Iterator[Level]:
        """Yield all levels of all pools."""
        for pool in self.pools.values():
            yield from pool.levels

    # -- events ---------------------------------------------------------------------------------

    def node_joined(self, event: SeenEvent) -> None:
        """Expect the workers of a node."""
        self._ending_nodes.pop(event.node, None)
        if not isinstance(event.workers, dict):
            return
        for pool, count in cast("Any", event).workers.items():
            if isinstance(count, int):
                self._expect(event.node, pool, count, event.at)

    def node_left(self, event: SeenEvent) -> None:
        """Expect no workers of a node any more; those that were ready follow."""
        self._expect_none(event.node, event.at)
        self._ending_nodes[event.node] = event.reason == NODE_ENDS_WITH_RUN

    def node_draining(self, event: SeenEvent) -> None:
        """Expect no other workers in the place of those that leave."""
        self._ending_nodes[event.node] = False

    def node_drained(self, event: SeenEvent) -> None:
        """Expect no workers of a node that is drained."""
        self._expect_none(event.node, event.at)

    def node_undrained(self, event: SeenEvent) -> None:
        """Expect others again in the place of workers that leave."""
        self._ending_nodes.pop(event.node, None)

    def joined(self, event: SeenEvent) -> WorkerSeen:
        """Take in a worker that is ready."""
        pool, node, at = self.pool(event.pool, event.at), event.node, event.at
        pool.failure = ""
        expected = self._expected.setdefault(node, Counter())
        if expected[event.pool] > 0:
            expected[event.pool] -= 1
            pool.joined(at)
        homes = self._lent_gone.get((node, event.pool))
        home = homes.pop() if homes else ""
        worker = WorkerSeen(event.pool, node, at, self._queue_s(pool, at), home=home)
        self.workers[event.worker or ""] = worker
        pool.idle_since.append(at)
        return worker

    def lost(self, event: SeenEvent) -> bool:
        """Take out a worker that is lost; say whether it was lost while the run went on."""
        worker = self.workers.pop(event.worker or "", None)
        pool = self.pool(event.pool, event.at)
        ending = self._ending_nodes.get(event.node)
        if worker is not None:
            self._gone(worker, pool, event, replaced=ending is None)
        if ending is not True:
            pool.lost += 1
        return ending is not True

    def retired(self, event: SeenEvent) -> None:
        """Take out a worker that ends in good order, and expect another if it has only moved."""
        worker = self.workers.pop(event.worker or "", None)
        pool, replaced = self.pool(event.pool, event.at), event.node not in self._ending_nodes
        if worker is None:
            return
        if replaced:
            self._expected.setdefault(event.node, Counter())[event.pool] += 1
            pool.restarting.step(event.at, 1)
        self._gone(worker, pool, event, replaced=replaced, expected=True)

    def moved(self, event: SeenEvent) -> None:
        """Note that a worker is in another pool now."""
        source, target = self.pool(event.source, event.at), self.pool(event.pool, event.at)
        worker = self.workers.get(event.worker or "")
        if worker is None:
            return
        waited_s = self._queue_s(source, event.at) - worker.queue_s
        if waited_s > 0:  # tasks were there for it, and it was kept from them
            source.held.spread(event.at - waited_s, event.at)
        if worker.home:
            self._home_again(worker.home, event.source, event.at)
        worker.home = event.source if event.lent and worker.home != event.pool else ""
        if worker.home:
            source.lent.step(event.at, 1)
            target.borrowed += 1
        worker.pool = event.pool
        if worker.idle:
            source.begun()
        self.free(worker, target, event.at)

    def changed(self, event: SeenEvent) -> None:
        """Note how many ready workers a pool has."""
        if isinstance(event.workers, int):
            self.pool(event.pool, event.at).ready.set(event.at, event.workers)

    # -- gaps -----------------------------------------------------------------------------------

    def free(self, worker: WorkerSeen, pool: PoolFigures, at: float) -> None:
        """Begin the gap of a worker that has no task."""
        worker.free_at, worker.idle = at, True
        worker.queue_s = self._queue_s(pool, at)
        pool.idle_since.append(at)

    def begins(self, worker: WorkerSeen, at: float) -> float:
        """End a gap of a worker's pool, for it has a task; return since when that lasted."""
        since = self.pool(worker.pool, at).begun() if worker.idle else None
        worker.idle, worker.began = False, at
        return worker.free_at if since is None else since

    def _queue_s(self, pool: PoolFigures, at: float) -> float:
        queued = pool.queued
        if at > queued.since:
            queued.to(at)
        return queued.above_s

    def _gone(
        self,
        worker: WorkerSeen,
        pool: PoolFigures,
        event: SeenEvent,
        *,
        replaced: bool,
        expected: bool = False,
    ) -> None:
        if worker.idle and pool.idle_since:
            pool.idle_since.pop()
        if replaced and not expected:
            self._expect(event.node, event.pool, 1, event.at)
        if worker.home and replaced:
            self._lent_gone.setdefault((event.node, event.pool), []).append(worker.home)
        elif worker.home:
            self._home_again(worker.home, pool.name, event.at)

    def _home_again(self, home: str, away: str, at: float) -> None:
        self.pool(home, at).lent.step(at, -1)
        pool = self.pool(away, at)
        pool.borrowed = max(0, pool.borrowed - 1)

    def _expect(self, node: str, pool: str, count: int, at: float) -> None:
        self._expected.setdefault(node, Counter())[pool] += count
        self.pool(pool, at).expect(at, count)

    def _expect_none(self, node: str, at: float) -> None:
        for name, count in self._expected.pop(node, Counter()).items():
            pool = self.pool(name, at)
            restarting = min(count, pool.restarting.value)
            pool.restarting.step(at, -restarting)
            pool.expect(at, restarting - count)
            for home in self._lent_gone.pop((node, name), []):
                self._home_again(home, name, at)
