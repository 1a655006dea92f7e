"""Workers that go to another pool as they become free, one after the other, each of which is told.

The steps of the broker in which they report, go, and are told of: for many workers and for few,
by worker.
"""

from __future__ import annotations

import time

from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate
from bench.wire.hosts import POOL, SimulatedHosts
from steerio.model import messages as ms

MANY, FEW = 10_000, 500
PER_NODE = 100
STEP = 10
"""Reports that arrive together."""
CLAIMS = (
    Claim(
        f"{MANY:,} workers moved, broker's time for each against {FEW} moved",
        1.5,
        1.1,
        "lower",
        "x",
    ),
)


def move_s(workers: int) -> float:
    """Return the seconds for each of so many workers that are moved.

    Raises:
        RuntimeError: they are not.
    """
    hosts = SimulatedHosts(workers // PER_NODE, PER_NODE, ["learn"])
    hosts.submit(workers)
    hosts.client.send(ms.AskMove(1, POOL, "learn", workers, False, False, "drain", None))
    hosts.broker.step()
    runs = [(record.worker, run) for run, record in hosts.core.runs.items()]
    began = time.perf_counter()
    for number, (worker, run) in enumerate(runs, 1):
        assert worker is not None
        hosts.workers[worker.name].send(ms.Report(run, "succeeded", 0.0, 1.0, b"", 0, None))
        if not number % STEP:
            hosts.broker.step()
    took_s = time.perf_counter() - began
    if hosts.core.pools["learn"].load().at_home != workers:
        raise RuntimeError(f"not all have moved: {hosts.core}")
    return took_s / workers


def measure(effort: Effort) -> list[Measurement]:
    """A broker for each round of each side."""
    pairs = alternate(lambda: move_s(FEW), lambda: move_s(MANY), effort.of(7, 3))
    return [CLAIMS[0].against_floor(pairs, f"µs a worker (floor: {FEW})", scale=1e6)]
