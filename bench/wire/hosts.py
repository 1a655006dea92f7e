"""A broker with many peers on a clock of its own, with memory links and no process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from steerio.broker.broker import Broker
from steerio.edge.wire.endpoint import Arrival
from steerio.edge.wire.memory import MemoryLink, MemoryRouter
from steerio.model import messages as ms
from steerio.model.settings import Settings
from steerio.model.tasks import TaskOptions, TaskSpec, task_id

POOL = "simulate"
BATCH = 1_000
"""Messages of a batch of a client that says much."""


class FarRouter(MemoryRouter):
    """The broker's end of links to other processes: their messages come in batches, in turn."""

    local = False

    def __init__(self) -> None:
        super().__init__()
        self._batches: deque[tuple[bytes, deque[Arrival]]] = deque()

    def say_at_once(self, link: MemoryLink, messages: Sequence[Any]) -> None:
        """Let all these messages of a peer have arrived."""
        pairs = [(message, ()) for message in messages]
        starts = range(0, len(pairs), BATCH)
        peer = link._identity
        batches = deque(Arrival(peer, pairs[start : start + BATCH]) for start in starts)
        self._batches.append((peer, batches))

    def receive(self, limit: int) -> list[Arrival]:
        """Take arrivals of each peer in turn, as a ZeroMQ socket gives them."""
        arrivals = super().receive(limit)
        while self._batches and len(arrivals) < limit:
            peer, batches = self._batches.popleft()
            arrivals.append(batches.popleft())
            if batches:
                self._batches.append((peer, batches))
            limit -= len(arrivals[-1].messages)
        return arrivals

    def ready(self) -> bool:
        """Whether something is there to receive."""
        return bool(self._batches) or super().ready()


class SimulatedHosts:
    """A broker, nodes with workers that are ready, and clients.

    Args:
        nodes: how many.
        per_node: the workers of each.
        pools: other pools.
    """

    def __init__(self, nodes: int, per_node: int, pools: Sequence[str] = ()) -> None:
        self.now = 0.0
        self.settings = Settings()
        self.near, self.far = MemoryRouter(), FarRouter()
        self.broker = Broker(
            [self.near, self.far],
            settings=self.settings,
            pools={POOL: nodes * per_node} | dict.fromkeys(pools, 0),
            closed=True,
            clock=lambda: self.now,
            epoch=0.0,
        )
        self.core = self.broker.core
        self.workers: dict[str, MemoryLink] = {}
        self._nodes: list[MemoryLink] = []
        self.client = self.join_client(self.near)
        self._join(nodes, per_node)

    def join_client(self, router: MemoryRouter) -> MemoryLink:
        """Let a client join, and define the one task type there is."""
        link = router.link()
        link.send(ms.JoinClient(ms.PROTOCOL, "client"))
        link.send(ms.DefineTask(1, TaskSpec("bench:simulate", POOL)))
        self.broker.step()
        return link

    def submit(self, tasks: int) -> None:
        """Submit tasks of the first client, and have them taken in."""
        before = len(self.core.tasks)
        for task in submissions(0, tasks):
            self.client.send(task)
        self.step_until(lambda: len(self.core.tasks) == before + tasks)

    def step_until(self, done: Callable[[], bool]) -> None:
        """Step until something is so.

        Raises:
            RuntimeError: it never is.
        """
        for _ in range(100_000):
            self.broker.step()
            if done():
                return
        raise RuntimeError(f"this does not come to an end: {self.broker}")

    def _join(self, nodes: int, per_node: int) -> None:
        pids = count(1)
        for number in range(nodes):
            self._nodes.append(self.far.link())
            offer = {POOL: per_node}
            join = ms.JoinNode(ms.PROTOCOL, f"node-{number}", "far", 1, offer)
            self._nodes[-1].send(join)
        self.step_until(lambda: len(self.core.nodes) == nodes)
        for name in list(self.core.workers):
            self.workers[name] = self.far.link()
            self.workers[name].send(ms.JoinWorker(ms.PROTOCOL, name, next(pids)))
        self.step_until(lambda: self.core.pools[POOL].ready == nodes * per_node)


def submissions(client: int, tasks: int) -> list[ms.SubmitTask]:
    """Return the submissions of so many tasks of a client."""
    options = TaskOptions()
    return [
        ms.SubmitTask(task_id(client, number), 1, 0.0, b"", 0, options, None, "")
        for number in range(1, tasks + 1)
    ]
