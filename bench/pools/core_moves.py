"""Decisions of the core alone where workers move all the time: no process, no socket, no clock.

An event is a report taken in, its task settled, a new one queued and the next one sent; or a
move asked for, which the next free worker of its pool then makes.  All workers are busy.
"""

from __future__ import annotations

import time
from collections import deque

from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate
from steerio.core.core import Core
from steerio.core.effects import SendTask
from steerio.core.records import TaskRecord, TypeRecord
from steerio.model.settings import Settings
from steerio.model.tasks import TaskOptions, TaskSpec

MANY, MANY_POOLS = 10_000, 100
FEW, FEW_POOLS = 100, 10
CLAIMS = (
    Claim(
        f"core: cost of an event with moves, {MANY:,} workers in {MANY_POOLS} pools against "
        f"{FEW} in {FEW_POOLS}",
        1.25,
        1.0,
        "lower",
        "x",
    ),
)
PER_NODE = 100
QUEUED = 20_000
PER_MOVE = 10
"""Reports for each move."""
TASK_S = 60.0
"""Long enough that none is sent ahead of time: each decision concerns one task."""


class SimulatedCluster:
    """A core, its workers all busy, tasks behind them, and workers that move in a ring."""

    def __init__(self, workers: int, pools: int) -> None:
        names = [f"pool-{number}" for number in range(pools)]
        self._core = Core(Settings(), names, closed=True)
        self._types = [
            TypeRecord(n, TaskSpec(f"bench:{name}", name)) for n, name in enumerate(names)
        ]
        self._options = TaskOptions()
        self._submitted = self._asked = 0
        self._now = 0.0
        self._runs: deque[tuple[int, TypeRecord]] = deque()
        self._start(workers, names)
        for number in range(workers + QUEUED):
            self._submit(self._types[number % pools])
        self._perform()

    def event_s(self, reports: int) -> float:
        """Seconds per event over that many reports, with the moves in between."""
        began = time.perf_counter()
        for number in range(reports):
            self._now += TASK_S / 1000
            run, kind = self._runs.popleft()
            self._core.reported(run, "succeeded", self._now - TASK_S, self._now, self._now)
            self._submit(kind)
            if not number % PER_MOVE:
                self._move()
            self._perform()
        return (time.perf_counter() - began) / (reports * (1 + 1 / PER_MOVE))

    def _start(self, workers: int, names: list[str]) -> None:
        """Start the same number of workers for each pool, a hundred to a node."""
        each = workers // len(names)
        whole = [name for name in names for _ in range(each)]
        for number in range(0, workers, PER_NODE):
            offer: dict[str, int] = {}
            for name in whole[number : number + PER_NODE]:
                offer[name] = offer.get(name, 0) + 1
            peer = 1 + number
            node = self._core.node_joined(peer, f"node-{number}", "host", offer, self._now)
            assert node is not None
            for name in list(node.workers):
                self._core.worker_joined(workers + 1 + number, name, 2, self._now)

    def _move(self) -> None:
        """Ask for a worker of one pool to go to the next, or of that one to come back."""
        self._asked += 1
        pools = len(self._types)
        source = (self._asked // 2) % pools
        target = (source + 1) % pools
        if self._asked % 2:
            source, target = target, source
        names = self._types[source].spec.pool, self._types[target].spec.pool
        self._core.ask_move(1, self._asked, *names, 1, self._now)

    def _submit(self, kind: TypeRecord) -> None:
        self._submitted += 1
        record = TaskRecord(
            task_id=self._submitted,
            client=1,
            type=kind,
            body=b"",
            frames=(),
            options=self._options,
            created=self._now,
            queued=self._now,
            order=self._submitted,
            priority=float(self._submitted % 7),
        )
        self._core.submit(record, self._now)

    def _perform(self) -> None:
        for effect in self._core.take_effects():
            if isinstance(effect, SendTask):
                self._runs.append((effect.record.run, effect.record.type))
        self._core.take_events()


def measure(effort: Effort) -> list[Measurement]:
    """Both clusters live side by side, and take in the same number of reports in turn."""
    reports, rounds = effort.of(20_000, 10_000), effort.of(20, 5)
    few, many = SimulatedCluster(FEW, FEW_POOLS), SimulatedCluster(MANY, MANY_POOLS)
    pairs = alternate(lambda: few.event_s(reports), lambda: many.event_s(reports), rounds)
    return [CLAIMS[0].against_floor(pairs, f"µs an event (floor: {FEW} workers)", scale=1e6)]
