"""Decisions of the core alone, among tasks that differ in their needs: no process, no socket.

A decision is a report taken in, its task settled, a new one queued and the best that its worker
fits sent.  There are twice as many queued tasks as different needs.
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
from steerio.model.places import WorkerNeeds
from steerio.model.settings import Settings
from steerio.model.tasks import TaskOptions, TaskSpec

MANY, FEW = 10_000, 10
QUEUED, WORKERS = 20_000, 100
CLAIMS = (
    Claim(f"core: a decision among {MANY:,} distinct needs against {FEW}", 3.0, 2.0, "lower", "x"),
)
TASK_S = 60.0
"""Long enough that none is sent ahead of time: each decision concerns one task."""


class MixedTasks:
    """A core, its workers all busy, and tasks of so many distinct needs behind them."""

    def __init__(self, sorts: int) -> None:
        self._core = Core(Settings(), ["simulate"], closed=True)
        self._type = TypeRecord(1, TaskSpec("bench:simulate", "simulate"))
        self._options = [
            TaskOptions(needs=WorkerNeeds(memory_bytes=2**30 + number)) for number in range(sorts)
        ]
        self._submitted = 0
        self._now = 0.0
        self._runs: deque[int] = deque()
        makes = {"simulate": WorkerNeeds(memory_bytes=2**31)}
        offers = {"simulate": WORKERS}
        node = self._core.node_joined(1, "node", "host", offers, self._now, None, makes)
        assert node is not None
        for number, name in enumerate(list(node.workers)):
            self._core.worker_joined(2 + number, name, 2 + number, self._now)
        for _ in range(WORKERS + QUEUED):
            self._submit()
        self._perform()

    def decision_s(self, decisions: int) -> float:
        """Seconds for each of so many decisions."""
        began = time.perf_counter()
        for _ in range(decisions):
            self._now += TASK_S / 1000
            run = self._runs.popleft()
            self._core.reported(run, "succeeded", self._now - TASK_S, self._now, self._now)
            self._submit()
            self._perform()
        return (time.perf_counter() - began) / decisions

    def _submit(self) -> None:
        self._submitted = number = self._submitted + 1
        options = self._options[number * 7919 % len(self._options)]
        record = TaskRecord(
            number, 1, self._type, b"", (), options, self._now, self._now, number, float(number % 7)
        )
        self._core.submit(record, self._now)

    def _perform(self) -> None:
        for effect in self._core.take_effects():
            if isinstance(effect, SendTask):
                self._runs.append(effect.record.run)
        self._core.take_events()


def measure(effort: Effort) -> list[Measurement]:
    """Both cores live side by side, and make the same number of decisions in turn."""
    decisions, rounds = effort.of(10_000, 2_000), effort.of(20, 5)
    few, many = MixedTasks(FEW), MixedTasks(MANY)
    pairs = alternate(lambda: few.decision_s(decisions), lambda: many.decision_s(decisions), rounds)
    return [CLAIMS[0].against_floor(pairs, f"µs a decision (floor: {FEW} needs)", scale=1e6)]
