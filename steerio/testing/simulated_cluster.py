"""A whole simulated cluster: all is real but the network, the processes and the clock.

The broker, its driver, the nodes, clients and sessions are the classes of a real run.  They are
joined by memory endpoints, and their clock is a `VirtualLoop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncGenerator, Iterable, Sequence
from types import TracebackType

from steerio.broker.broker import Broker
from steerio.client.client import Client
from steerio.edge.store.store import MemoryStore
from steerio.edge.wire.endpoint import LinkEndpoint
from steerio.edge.wire.memory import MemoryRouter
from steerio.errors import UsageError
from steerio.launch.workers import AskedWorkers, counts_of, needs_of
from steerio.model import messages as ms
from steerio.model.bounds import seconds
from steerio.model.events import AnyEvent, WorkerMoved
from steerio.model.objects import StoreSetting
from steerio.model.settings import Settings
from steerio.model.showing import counted
from steerio.session.argument_checks import check_given
from steerio.session.session import Session
from steerio.testing.agenda import Agenda
from steerio.testing.dealt_workers import deal
from steerio.testing.faults import Fault, RandomKills, listed_faults
from steerio.testing.hosts import Host, Ways
from steerio.testing.loop import VirtualLoop
from steerio.testing.model import Models, Scripts
from steerio.testing.network import SimulatedRouter
from steerio.testing.policy_link import PolicyLink
from steerio.testing.policy_loop import PolicyLoop
from steerio.testing.record import MemoryRecord
from steerio.testing.recorded_models import starts_of
from steerio.testing.simulated_broker import SimulatedBrokers, SimulatedFinder
from steerio.testing.simulated_node import SimulatedNode
from steerio.testing.simulated_session import joined
from steerio.testing.simulated_worker import SimulatedWorker
from steerio.testing.stall_watch import StallWatch
from steerio.testing.worker_starts import StartTimes, WorkerStarts
from steerio.testing.worker_times import WorkerTimes
from steerio.worker.random_streams import SEED_BITS, derive

WORKERS_PER_NODE = 1_000
"""Workers of one simulated node, by default."""
SIMULATED = Settings(beat_s=5.0)
"""The default settings of a simulation: real leases, but fewer beats, as on an idle cluster most
events are beats."""


class SimulatedCluster:
    """A cluster on a virtual loop; an async context manager, to be opened on that loop.

    Args:
        workers: how many of each pool, like ``{"simulate": 1000, "learn": Workers(4, gpus=1)}``.
        nodes: over how many nodes the workers are dealt out; they are named ``node-1``, ...
        workers_per_node: decides the number of nodes if ``nodes`` is not given.
        latency_s: seconds from a node to the broker, or back.
        model, seed, start_s, walltime_s, faults: as for `simulate`.
        settings: bounds and leases of the broker.
        store: which values go to the store.

    Raises:
        UsageError: an argument is invalid, or the loop is not virtual.
    """

    def __init__(
        self,
        workers: AskedWorkers,
        *,
        model: Models,
        seed: int | str = 0,
        nodes: int | None = None,
        workers_per_node: int = WORKERS_PER_NODE,
        latency_s: float = 0.0,
        start_s: StartTimes | None = None,
        walltime_s: float | None = None,
        faults: Iterable[Fault] = (),
        settings: Settings | None = None,
        record: MemoryRecord | None = None,
        store: StoreSetting | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise UsageError("a simulated cluster needs a virtual clock: use run_virtual(...)")
        check_given(settings=settings, store=store)
        seconds(latency_s, "latency_s", or_zero=True)
        if walltime_s is not None:
            seconds(walltime_s, "walltime_s")
        self.settings = settings or SIMULATED
        self.setting = store or StoreSetting()
        """Which values go to the store."""
        self.agenda = Agenda(loop)
        self.router = SimulatedRouter()
        self.scripts = Scripts(model, seed)
        self.starts = WorkerStarts(starts_of(model) if start_s is None else start_s, seed)
        self.start_failures: dict[str, str] = {}
        self.pids = itertools.count(1)
        self.record = record or MemoryRecord()
        self.record.on_events = self._recorded
        self.nodes: dict[str, SimulatedNode] = {}
        self._times = WorkerTimes(workers, loop.time)
        self._loop = loop
        self._faults = listed_faults(faults, workers)
        self._seed = seed
        self._latency_s = latency_s
        self._makes = needs_of(workers)
        self._walltime_s = walltime_s
        self._offers = deal(counts := counts_of(workers), nodes, workers_per_node)
        self._clients: dict[str, Host] = {}
        self._local = MemoryRouter()
        self.store = MemoryStore()
        """Keeps the large values of clients and workers."""
        self._brokers = SimulatedBrokers(
            [self._local, self.router], counts, self.settings, self.record, self.store, loop
        )
        kills = any(isinstance(fault, RandomKills) for fault in self._faults)
        self._stalls = StallWatch(loop, self.agenda, self.broker, self.record, lambda: kills)

    def __repr__(self) -> str:
        workers = counted(sum(len(node.workers) for node in self.nodes.values()), "worker")
        return f"<SimulatedCluster at {self._loop.time():g} s: {workers}, {self.broker!r}>"

    @property
    def broker(self) -> Broker:
        """The broker that is there now, or was there last."""
        return self._brokers.now

    async def __aenter__(self) -> SimulatedCluster:
        self._brokers.drive()
        self._stalls.start()
        for number, offers in enumerate(self._offers, 1):
            self.add_node(f"node-{number}", offers, walltime_s=self._walltime_s)
        for number, fault in enumerate(self._faults):
            fault.arm(self, random.Random(f"{self._seed}/fault {number}"))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stalls.close()
        for node in self.nodes.values():
            node.kill()
        self._brokers.close("the simulation has ended")
        await asyncio.sleep(0)  # cancelled tasks end in this turn

    # -- clients ----------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def session(
        self,
        name: str = "session",
        *,
        host: str = "",
        detach: bool = False,
        policy: PolicyLoop | None = None,
    ) -> AsyncGenerator[Session, None]:
        """Open a session with the broker.

        Args:
            name: the client's name.
            host: the client's host; by default the broker's, and then it cannot be cut off, and
                the broker cannot be killed.
            detach: as for `steerio.connect`.
            policy: when the client's loop is busy with handlers; by default it never is.
        """
        link: LinkEndpoint
        clock = self._loop.time
        if host:
            place = self._clients.setdefault(host, Host(host, self.agenda, self._latency_s))
            link = self.router.link_from(place)
        else:
            link = self._local.link()
        if policy is not None:
            link, clock = PolicyLink(link, policy, self._loop), policy.time
        client = Client(
            link,
            self.settings,
            watched=bool(host),
            clock=clock,
            finder=SimulatedFinder(lambda: self._brokers.is_there, link) if host else None,
        )
        store = MemoryStore(beside=self.store)
        async with joined(client, name, self.setting, store, detach=detach) as session:
            session.random_seed = derive(self._seed, "session", SEED_BITS)
            yield session

    # -- nodes and workers -----------------------------------------------------------------------

    def add_node(
        self, name: str, workers: AskedWorkers, *, walltime_s: float | None = None
    ) -> SimulatedNode:
        """Let a node with these workers join; by default they have the resources of the others.

        The node is killed after ``walltime_s`` seconds, as by a batch system.
        """
        makes = self._makes | needs_of(workers)
        counts = counts_of(workers)
        node = self.nodes[name] = SimulatedNode(
            self, name, counts, self._latency_s, makes, walltime_s
        )
        node.start()
        return node

    def workers(self, pool: str = "") -> list[SimulatedWorker]:
        """Return the workers that are alive, of one pool or of all."""
        return [
            worker
            for node in self.nodes.values()
            for worker in node.workers.values()
            if pool in ("", worker.pool)
        ]

    def worker(self, rng: random.Random, name: str = "", pool: str = "") -> SimulatedWorker | None:
        """Return the worker ``name``, or one (if possible, a busy one) of a pool or of all."""
        if name:
            return next((w for w in self.workers() if w.name == name), None)
        nodes = [node for node in self.nodes.values() if node.workers]
        weights = [node.offers.get(pool, 0) if pool else len(node.workers) for node in nodes]
        if not any(weights):
            return None
        (node,) = rng.choices(nodes, weights)
        living = [w for w in node.workers.values() if pool in ("", w.pool)]
        working = [w for w in living if w.run] or living
        return rng.choice(working) if working else None

    def utilisation(self, pool: str) -> float:
        """Return the share of their time in a pool that workers spent in attempts.

        A worker counts for the pool that it is in: while it is lent, for the pool that has borrowed
        it.

        Raises:
            UsageError: there is no such pool.
        """
        return self._times.busy_share(pool, self.workers())

    def worker_seconds(self, pool: str) -> tuple[float, float]:
        """Return the seconds that workers spent in attempts, and in all, while in a pool.

        Raises:
            UsageError: there is no such pool.
        """
        return self._times.seconds(pool, self.workers())

    def worker_ended(self, worker: SimulatedWorker) -> None:
        """Take in that a worker ended, whatever the reason."""
        self._times.count(worker)

    def _recorded(self, events: Sequence[AnyEvent]) -> None:
        """Count the time of moved workers, up to now, for the pool that they were in."""
        for event in events:
            if isinstance(event, WorkerMoved):
                for node in self.nodes.values():
                    worker = node.workers.get(event.worker)
                    if worker is not None:
                        self._times.count(worker)
                        worker.serves = event.pool

    # -- faults --------------------------------------------------------------------------

    def kill_node(self, name: str) -> None:
        """End a node, its host and its workers without a word."""
        self._node(name).kill()

    def restart_node(self, name: str, *, again: bool = False) -> None:
        """Start again a node that ended; ``again``: because its broker was gone."""
        last = self._node(name)
        last.kill()
        node = self.nodes[name] = SimulatedNode(
            self, name, last.offers, self._latency_s, last.makes, last.walltime_s, again=again
        )
        node.start()

    def kill_broker(self) -> None:
        """End the broker's process without a word.

        Raises:
            UsageError: a session is on its host, in its process.
        """
        if self._local.has_links:
            raise UsageError(
                "a session in the broker's process ends with it: open it with host='another'"
            )
        if self._brokers.is_there:
            self._brokers.kill()
            self.router.die()

    def start_broker(self) -> None:
        """Start another broker in the place of one that was killed."""
        if not self._brokers.is_there:
            self._brokers.begin_another()
            self._stalls.follow(self.broker)
            self._brokers.drive()
            self.router.return_to_life()

    def drain(self, node: str, within_s: float | None, *, retire: bool) -> None:
        """Have a node drained, as with ``steerio drain``, without waiting for the end."""
        self._say(ms.AskDrain(1, self._node(node).name, within_s, retire))

    def undrain(self, node: str) -> None:
        """Let a node take tasks again, as with ``steerio undrain``."""
        self._say(ms.AskUndrain(1, self._node(node).name))

    def _say(self, message: ms.AskDrain | ms.AskUndrain) -> None:
        link = self._local.link()
        for each in (ms.JoinClient(ms.PROTOCOL, "operator"), message, ms.Leave()):
            link.send(each)
        link.flush()
        link.close()

    def slow_down(self, node: str, factor: float) -> None:
        """Multiply the durations of attempts that begin on this node from now on."""
        self._node(node).forker.slowness = factor

    def cut_off(self, host: str, ways: Ways = Ways.BOTH) -> None:
        """Let no message through from or to this host (a node, or a client's host)."""
        self._host(host).cut_off(ways)

    def heal(self, host: str) -> None:
        """Let messages through again, first those that waited."""
        self._host(host).heal()

    def reset(self, host: str) -> None:
        """Break the connections of a host, and lose all that is under way on them."""
        self._host(host).reset()

    def fail_starts(self, pool: str, reason: str) -> None:
        """Let the workers of a pool die while they start; an empty reason ends that."""
        self.start_failures[pool] = reason

    def _host(self, name: str) -> Host:
        return self._clients[name] if name in self._clients else self._node(name).host

    def _node(self, name: str) -> SimulatedNode:
        if name not in self.nodes:
            raise UsageError(f"no node is named {name!r} (nodes here: {_span(list(self.nodes))})")
        return self.nodes[name]


def _span(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{names[0]}, {names[1]}, ... {names[-1]}"
