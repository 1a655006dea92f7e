"""A simulated node: a real ``Node`` on a simulated host, with simulated workers under it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Protocol

from steerio.edge.store.store import MemoryStore
from steerio.edge.wire.memory_streams import MemoryStreams
from steerio.model import messages as ms
from steerio.model.objects import StoreSetting
from steerio.model.places import WorkerNeeds
from steerio.model.settings import Settings
from steerio.model.tasks import SignalName
from steerio.node.node import Node
from steerio.node.relay import Relay
from steerio.testing.agenda import Agenda
from steerio.testing.hosts import Host
from steerio.testing.model import Scripts
from steerio.testing.network import SimulatedRouter
from steerio.testing.simulated_worker import KILLED, SimulatedWorker
from steerio.testing.worker_starts import WorkerStarts
from steerio.worker.items_ahead import Ahead
from steerio.worker.task_objects import WorkerObjects


class Site(Protocol):
    """The cluster, as a node sees it."""

    agenda: Agenda
    router: SimulatedRouter
    settings: Settings
    scripts: Scripts
    setting: StoreSetting
    store: MemoryStore
    starts: WorkerStarts
    start_failures: dict[str, str]
    """Why workers die while they start, by pool; without an entry they do not."""
    pids: itertools.count[int]

    def restart_node(self, name: str, *, again: bool = False) -> None:
        """Start again a node that ended; ``again``: because its broker was gone."""
        ...

    def worker_ended(self, worker: SimulatedWorker) -> None:
        """Take in that a worker ended, whatever the reason."""
        ...


class SimulatedForker:
    """Starts simulated workers, in place of the processes that ``ZygoteForker`` forks."""

    def __init__(self, site: Site) -> None:
        self.workers: dict[str, SimulatedWorker] = {}
        self.slowness = 1.0
        self.scripts, self.agenda = site.scripts, site.agenda
        self.streams = MemoryStreams()
        self._site = site
        self._loop = asyncio.get_running_loop()
        self._on_exit: Callable[[str, int, str], None] | None = None

    def watch(self, on_exit: Callable[[str, int, str], None]) -> None:
        """Call ``on_exit(worker, run, reason)`` for each worker that ends."""
        self._on_exit = on_exit

    def fork(self, worker: str, pool: str) -> None:
        """Start a worker."""
        site = self._site
        started = self.workers[worker] = SimulatedWorker(
            worker,
            pool,
            next(site.pids),
            self.streams.connect(),
            self,
            Ahead(site.settings.items, site.settings.items_bytes),
            WorkerObjects(lambda: MemoryStore(worker, site.store), site.setting),
        )
        site.agenda.add(site.starts.of(worker, pool), self._started, started)

    def ask_to_stop(self, worker: str, run: int) -> None:
        """Raise the cooperative signal for this run."""
        if worker in self.workers:
            self.workers[worker].ask_to_stop(run)

    def recall(self, worker: str, run: int) -> None:
        """Keep the worker from beginning this run."""
        if worker in self.workers and run > self.workers[worker].begun:
            self.workers[worker].recalled.add(run)

    def begun(self, worker: str) -> int | None:
        """Return the run that a worker last began or gave back; ``None`` if the worker is gone."""
        return self.workers[worker].begun if worker in self.workers else None

    def works_on(self, worker: str) -> int:
        """Return the run that a worker has begun and not ended; 0: none, or it is gone."""
        its = self.workers.get(worker)
        return its.begun if its is not None and its.begun > its.over else 0

    def reported(self, worker: str) -> int:
        """Return the run whose end a worker has told last; 0 if the worker is gone."""
        return self.workers[worker].over if worker in self.workers else 0

    def signal(self, worker: str, run: int, name: SignalName) -> None:
        """Send ``term`` or ``kill`` to a worker, for the sake of this run."""
        if worker in self.workers:
            self.workers[worker].signal(run, name)

    async def close(self) -> None:
        """Kill all workers."""
        self.kill_all()

    def kill_all(self) -> None:
        """Kill all workers, without telling the node."""
        self._on_exit = None
        for worker in list(self.workers.values()):
            worker.die(KILLED)

    def _started(self, worker: SimulatedWorker) -> None:
        reason = self._site.start_failures.get(worker.pool)
        if reason:
            worker.die(reason)
        else:
            worker.join()

    def exited(self, worker: SimulatedWorker, reason: str) -> None:
        """Take in that a worker has ended, and tell the node in the next turn."""
        del self.workers[worker.name]
        self._site.worker_ended(worker)
        self._loop.call_soon(self._tell, worker.name, worker.begun, reason)

    def _tell(self, worker: str, run: int, reason: str) -> None:
        if self._on_exit is not None:
            self._on_exit(worker, run, reason)


class SimulatedNode:
    """One node of a cluster, and its host."""

    def __init__(
        self,
        site: Site,
        name: str,
        workers: dict[str, int],
        latency_s: float,
        makes: dict[str, WorkerNeeds] | None = None,
        walltime_s: float | None = None,
        *,
        again: bool = False,
    ) -> None:
        self.name = name
        self.offers = workers
        """How many workers of each pool it has."""
        self.makes = makes or {}
        """The resources of each worker, by pool."""
        self.walltime_s = walltime_s
        """When its batch system kills it, in seconds from its start, if ever."""
        self.host = Host(name, site.agenda, latency_s)
        self.forker = SimulatedForker(site)
        self._agenda = site.agenda
        self._site = site
        self._link = site.router.link_from(self.host, is_node=True)
        self._node = Node(
            self._link,
            self.forker,
            ms.JoinNode(
                ms.PROTOCOL,
                name,
                name,
                next(site.pids),
                workers,
                makes=self.makes,
                walltime_s=walltime_s,
            ),
            settings=site.settings,
            relay=Relay(self.forker.streams, self.forker),
            again=again,
        )
        self.forker.watch(self._node.worker_exited)
        self._node.ended.add_done_callback(self._ended)

    def __repr__(self) -> str:
        state = f"{len(self.workers)} workers" if self.alive else "ended"
        return f"<SimulatedNode {self.name!r}: {state}>"

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self._node.ended.done()

    @property
    def workers(self) -> dict[str, SimulatedWorker]:
        """Its workers, by name."""
        return self.forker.workers

    def start(self) -> None:
        """Join the broker."""
        self._node.start()
        if self.walltime_s is not None:
            self._agenda.add(self.walltime_s, self.kill)

    def kill(self) -> None:
        """End at once with all workers and without a word, as when its host loses power."""
        if self.alive:
            self._link.close()
            self.forker.kill_all()
            self._node.ended.set_result("killed")

    def _ended(self, ended: asyncio.Future[str]) -> None:
        del ended
        self.forker.kill_all()
        self._link.close()
        if self._node.broker_gone:  # a fresh process takes its place
            self._site.restart_node(self.name, again=True)
