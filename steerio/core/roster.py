"""The roster: nodes, workers and the pools they form.

Invariant: every worker is in exactly one pool, belongs to exactly one (its home), and is
on exactly one node; a pool's ``workers`` counts those that are in it, whatever their
phase; ``idle`` holds exactly the idle ones.  ``makes`` counts the makes of the workers in it, and
those that its own will have when they come back.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import TypeVar

from steerio.core.heads import Want
from steerio.core.idle import IdleWorkers
from steerio.core.lifecycle import IDLE, READY, STARTING, Turn, turn
from steerio.core.pool_queue import PoolQueue
from steerio.core.records import MoveRecord, NodeRecord, WorkerRecord
from steerio.model.places import WorkerNeeds
from steerio.model.settings import Settings
from steerio.model.status import PoolLoad

T = TypeVar("T")

# looking them up in their class would take longer than the step
_LOST, _MOVED, _UNUSED = Turn.LOST, Turn.MOVED, Turn.UNUSED


class Pool:
    """A named set of workers and the backlog that they work off."""

    def __init__(self, name: str, *, timed: bool = False) -> None:
        self.name = name
        self.backlog = PoolQueue(name, timed=timed)
        self.idle = IdleWorkers()
        self.workers = 0
        self.ready = 0
        self.running = 0
        """The tasks in the hands of its workers, those that they hold included."""
        self.start_failures = 0
        self.failure = ""
        self.empty_since: float | None = None
        self.may_be_empty = False
        """Whether it was meant to have no workers, or has moved some away."""
        self.announced = 0
        """Workers that will belong to it; some of them may not have come yet."""
        self.resized = False
        """Whether a move has changed how many workers belong to it: the next one may, too."""
        self.to_come = 0
        """Workers that were asked for at the start and are on no node yet."""
        self.at_home = 0
        """Workers that belong to it, wherever they are."""
        self.open: list[tuple[float, int, WorkerRecord]] = []
        """A heap of the workers that may hold a task, each with the number of the attempt that it
        runs, by when that is expected to end; some may be open no more."""
        self.moves: deque[MoveRecord] = deque()
        """The moves that wait for workers of this pool, in order."""
        self.leaving = 0
        """Workers in it whose nodes are drained."""
        self.coming = 0
        """Moves to this pool that wait."""
        self.put_off = 0
        """Workers that belonged to it, are gone, and are replaced later."""
        self.by_node: Counter[str] = Counter()
        """The number of its workers on each node."""
        self.makes: Counter[WorkerNeeds] = Counter()
        """The number of its workers of each make, those that will come home included."""
        self.makes_ready: Counter[WorkerNeeds] = Counter()
        """The number of ready workers of each make, of those that are in it."""
        self.paused = ""
        """Why none of its queued tasks is handed out, if that is so."""
        self.pausing: list[tuple[int, int]] = []
        """The clients, with their requests, that wait until the pause has taken effect."""
        self.stalled = ""
        """The last told reason why its tasks wait in vain."""
        self.stalled_at = 0
        """The best-ranked of them, at the last look."""
        self.unfit_since: dict[Want, float] = {}
        """The time since which no worker fits queued tasks, or too few, by their wants."""

    def __repr__(self) -> str:
        return (
            f"<Pool {self.name!r}: {self.workers} workers, {len(self.idle)} idle, "
            f"{len(self.backlog)} queued, {self.running} running>"
        )

    @property
    def held(self) -> int:
        """The number of tasks that its workers hold behind those that they run."""
        reserved = sum(len(move.reserved) for move in self.moves)
        return max(0, self.running - (self.ready - len(self.idle) - reserved))

    def load(self) -> PoolLoad:
        """Return the pool at a glance; tasks that are held are queued, to those who look."""
        held = self.held
        return PoolLoad(
            self.workers + self.to_come,
            len(self.idle),
            len(self.backlog) + held,
            self.running - held,
            self.workers - self.ready + self.to_come,
            sum(move.owed + len(move.reserved) for move in self.moves),
            self.at_home + self.to_come,
            dict(self.by_node),
            self.failure,
            self.leaving,
            list(self.makes_ready.items()),
            0 if self.failure else self.coming + max(0, self.announced - self.at_home),
            self.stalled if self.backlog else "",
            self.paused,
        )

    def count_ready(self, worker: WorkerRecord, by: int) -> None:
        """Count a worker among the ready ones, or no more."""
        self.ready += by
        self.stalled = ""
        _add_to(self.makes_ready, worker.make, by)


class Roster:
    """All nodes, workers and pools of a broker.

    A *closed* roster has just the pools it was given; an open one takes any name.
    """

    def __init__(self, settings: Settings, pools: Iterable[str], closed: bool) -> None:
        self.settings = settings
        self.closed = closed
        self.pools: dict[str, Pool] = {name: Pool(name) for name in pools}
        self.nodes: dict[str, NodeRecord] = {}
        self.workers: dict[str, WorkerRecord] = {}
        self.by_number: dict[int, NodeRecord | WorkerRecord] = {}
        self.by_peer: dict[int, WorkerRecord] = {}
        """The workers that have joined, by the numbers of their peers."""
        self.timed = False
        """Whether any node has had a walltime, so that the durations of tasks matter."""
        self.prefix = ""
        """In the names of workers, which no other broker has given in this place."""
        self._numbers = 0
        self._named: dict[str, int] = {}
        self._copies: dict[str, int] = {}
        """The number behind the last node whose name another one had."""

    def pool(self, name: str) -> Pool | None:
        """Return the pool of that name; an open roster makes it on first mention."""
        pool = self.pools.get(name)
        if pool is None and not self.closed:
            pool = self.pools[name] = Pool(name, timed=self.timed)
        return pool

    def add_node(
        self,
        name: str,
        host: str,
        peer: int,
        workers: dict[str, int],
        now: float,
        makes: dict[str, WorkerNeeds] | None = None,
    ) -> tuple[NodeRecord, list[WorkerRecord]]:
        """Take in a node and name the workers that it will start.

        A second node of the same name gets a number behind it.
        """
        unique = name
        while unique in self.nodes:
            n = self._copies[name] = self._copies.get(name, 1) + 1
            unique = f"{name}~{n}"
        node = NodeRecord(unique, host, peer, now, number=self._number(), makes=makes or {})
        self.nodes[unique] = node
        self.by_number[node.number] = node
        started = [
            self.add_worker(node, pool) for pool, count in workers.items() for _ in range(count)
        ]
        for name in workers.keys() & self.pools.keys():
            self.pools[name].to_come = max(0, self.pools[name].to_come - workers[name])
        return node, started

    def add_worker(self, node: NodeRecord, pool_name: str, name: str = "") -> WorkerRecord:
        """Name a new worker of a pool on a node, unless it has a name; it is ``starting``."""
        pool = self.pools.get(pool_name)
        if pool is None:
            pool = self.pools[pool_name] = Pool(pool_name, timed=self.timed)
        while not name or name in self.workers:  # a node may have kept one of that name
            count = self._named[pool_name] = self._named.get(pool_name, 0) + 1
            name = f"{pool_name}-{self.prefix}{count}"
        number = self._number()
        worker = WorkerRecord(
            name,
            pool_name,
            node,
            pool_name,
            number=number,
            make=node.make(pool_name),
        )
        self.workers[worker.name] = worker
        self.by_number[worker.number] = worker
        node.workers[worker.name] = worker
        pool.workers += 1
        pool.by_node[node.name] += 1
        pool.at_home += 1
        pool.empty_since = None
        self._count_make(worker, 1)
        return worker

    def replace(self, worker: WorkerRecord) -> WorkerRecord:
        """Name the worker that takes the place of one that was removed, with all it stood for."""
        fresh = self.add_worker(worker.node, worker.pool)
        self.settle(fresh, worker.home)
        fresh.goes_home = worker.goes_home
        fresh.put_off_s = worker.put_off_s
        move = worker.move
        if move is not None and worker.pool == move.target:
            fresh.move = move
            move.take(fresh)
        return fresh

    def settle(self, worker: WorkerRecord, home: str) -> None:
        """Make a pool the one that a worker belongs to."""
        self._count_make(worker, -1)
        self.pools[worker.home].at_home -= 1
        worker.home = home
        self.pools[home].at_home += 1
        self._count_make(worker, 1)

    def transfer(self, worker: WorkerRecord, target: Pool) -> Pool:
        """Take a ready worker with nothing in hand to another pool; return the one it left.

        The caller then gives it work, or has it replaced if its node does not keep it; then it
        already counts as its replacement.
        """
        source = self.pools[worker.pool]
        source.idle.discard(worker)
        source.count_ready(worker, -1)
        self._count_make(worker, -1)
        if not worker.node.keeps(source.name, target.name):
            worker.make = worker.node.make(target.name)
        source.workers -= 1
        _add_to(source.by_node, worker.node.name, -1)
        source.may_be_empty = True
        worker.pool = target.name
        turn(worker, _MOVED)
        target.failure = ""
        target.workers += 1
        target.count_ready(worker, 1)
        target.by_node[worker.node.name] += 1
        target.empty_since = None
        self._count_make(worker, 1)
        return source

    def worker_ready(self, worker: WorkerRecord, peer: int, pid: int) -> Pool:
        """Note that a starting worker joined; the caller then gives it work.

        A pool that was given up for want of workers works again.
        """
        worker.peer, worker.pid = peer, pid
        self.by_peer[peer] = worker
        turn(worker, Turn.JOINED)
        worker.put_off_s = 0.0
        pool = self.pools[worker.pool]
        pool.start_failures = 0
        pool.failure = ""
        pool.count_ready(worker, 1)
        return pool

    def remove_worker(self, worker: WorkerRecord) -> Pool:
        """Take a worker out, whatever its phase, and count it if it died while starting."""
        pool, phase = self.pools[worker.pool], worker.phase
        if phase is STARTING:
            pool.start_failures += 1
        elif phase in READY:
            pool.count_ready(worker, -1)
            if phase is IDLE:
                del pool.idle[worker]
        pool.leaving -= bool(worker.node.draining)
        turn(worker, _LOST)
        self._count_make(worker, -1)
        pool.workers -= 1
        _add_to(pool.by_node, worker.node.name, -1)
        self.pools[worker.home].at_home -= 1
        move = worker.move
        if move is not None and worker in move.taken:
            move.let_go(worker)
        elif move is not None:
            del move.reserved[worker]
        worker.forget_types()
        del self.workers[worker.name], worker.node.workers[worker.name]
        del self.by_number[worker.number]
        self.by_peer.pop(worker.peer, None)
        return pool

    def remove_node(self, node: NodeRecord) -> list[WorkerRecord]:
        """Take a node out; return the workers that it had, for the caller to remove."""
        del self.nodes[node.name], self.by_number[node.number]
        return list(node.workers.values())

    def limit(self, node: NodeRecord, ends: float, until: float) -> None:
        """Note when a node that just joined ends, and until when its tasks must be done."""
        node.ends, node.until = ends, until
        if not self.timed:
            self.timed = True
            for pool in self.pools.values():
                pool.backlog.tell_types_apart()

    def may_start(self, pool: Pool) -> bool:
        """Say whether a lost worker of this pool is worth replacing at once."""
        return pool.start_failures < self.settings.start_failures

    def set_idle(self, worker: WorkerRecord) -> None:
        """Note that a worker has nothing in hand."""
        turn(worker, _UNUSED)
        self.pools[worker.pool].idle.add(worker)

    def _count_make(self, worker: WorkerRecord, by: int) -> None:
        """Count a worker in or out of its present pool, and of its home."""
        _count_in(self.pools[worker.pool], worker.make, by)
        if worker.home != worker.pool:
            _count_in(self.pools[worker.home], worker.node.make(worker.home), by)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers


def _count_in(pool: Pool, make: WorkerNeeds, by: int) -> None:
    _add_to(pool.makes, make, by)
    if make not in pool.makes:
        pool.backlog.forget_make(make)


def _add_to(counts: Counter[T], name: T, by: int) -> None:
    """Count more or less, and forget names that count nothing."""
    counts[name] += by
    if not counts[name]:
        del counts[name]
