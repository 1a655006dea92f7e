"""No-op calls per second through an executor, submitted at once by a plain thread."""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate
from bench.spine.throughput import tasks_per_s

CLAIMS = (Claim("executor's no-op calls/s against ProcessPoolExecutor", 1.0, 1.5, "higher", "x"),)


def measure(effort: Effort) -> list[Measurement]:
    """The same calls and code on both sides, with two workers each."""
    tasks, rounds = effort.of(2000, 1000), effort.of(24, 8)
    with Contestant("bench.floors.pool") as pool, Contestant("bench.ours.executor") as ours:
        pairs = alternate(
            partial(tasks_per_s, pool, tasks), partial(tasks_per_s, ours, tasks), rounds
        )
    return [CLAIMS[0].against_floor(pairs, "calls/s")]
