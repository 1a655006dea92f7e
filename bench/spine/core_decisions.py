"""Decisions of the core alone, on a simulated cluster: no process, no socket, no clock.

A decision here is a report taken in, its task settled, a new one queued and the next one sent
to the worker that became free.
"""

from __future__ import annotations

import time
from collections import deque

from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate, spread
from steerio.core.core import Core
from steerio.core.effects import SendTask
from steerio.core.records import TaskRecord, TypeRecord
from steerio.model.settings import Settings
from steerio.model.tasks import TaskOptions, TaskSpec

CLAIMS = (
    Claim("core decisions/s with 10,000 workers", 50_000, 100_000, "higher", "per s"),
    Claim("core decisions/s, 10,000 workers against 10", 0.8, 1.0, "higher", "x"),
)
MANY, FEW = 10_000, 10
QUEUED = 20_000
TASK_S = 60.0
"""Long enough that none is sent ahead of time: each decision concerns one task."""


class SimulatedCluster:
    """A core, its workers all busy and dealt out to its nodes, and `QUEUED` tasks behind them."""

    def __init__(self, workers: int, nodes: int = 1) -> None:
        self._core = Core(Settings(), ["simulate"], closed=True)
        self._type = TypeRecord(1, TaskSpec("bench:simulate", "simulate"))
        self._options = TaskOptions()
        self._submitted = 0
        self._now = 0.0
        self._runs: deque[int] = deque()
        for number in range(nodes):
            offer = {"simulate": workers // nodes}
            self._core.node_joined(1 + number, f"node-{number}", "host", offer, self._now)
        for number, name in enumerate(list(self._core.workers), 1 + nodes):
            self._core.worker_joined(number, name, number, self._now)
        for _ in range(workers + QUEUED):
            self._submit()
        self._perform()

    def decide(self, decisions: int) -> float:
        """Decisions per second over that many reports, each answered with a new task."""
        began = time.perf_counter()
        for _ in range(decisions):
            self._now += TASK_S / 1000
            run = self._runs.popleft()
            self._core.reported(run, "succeeded", self._now - TASK_S, self._now, self._now)
            self._submit()
            self._perform()
        return decisions / (time.perf_counter() - began)

    def _submit(self) -> None:
        self._submitted += 1
        record = TaskRecord(
            task_id=self._submitted,
            client=1,
            type=self._type,
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
                self._runs.append(effect.record.run)
        self._core.take_events()


def measure(effort: Effort) -> list[Measurement]:
    """Both clusters live side by side, and make the same number of decisions in turn."""
    decisions, rounds = effort.of(20_000, 10_000), effort.of(20, 5)
    few, many = SimulatedCluster(FEW), SimulatedCluster(MANY)
    pairs = alternate(lambda: few.decide(decisions), lambda: many.decide(decisions), rounds)
    rates = [pair.ours for pair in pairs]
    return [
        CLAIMS[0].measured(spread(rates), f"{rounds} rounds of {decisions:,} decisions"),
        CLAIMS[1].against_floor(pairs, "decisions/s (floor: 10 workers)"),
    ]
