"""Decisions of the core alone with as many workers as 10,000 hosts have."""

from __future__ import annotations

from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate
from bench.spine.core_decisions import FEW, SimulatedCluster

MANY, NODES = 640_000, 10_000
CLAIMS = (
    Claim(
        f"core decisions/s, {MANY:,} workers on {NODES:,} nodes against {FEW}",
        0.7,
        0.9,
        "higher",
        "x",
    ),
)


def measure(effort: Effort) -> list[Measurement]:
    """As `core_decisions` of the spine: all workers are busy, and each report is of another."""
    decisions, rounds = effort.of(20_000, 10_000), effort.of(20, 5)
    few, many = SimulatedCluster(FEW), SimulatedCluster(MANY, NODES)
    pairs = alternate(lambda: few.decide(decisions), lambda: many.decide(decisions), rounds)
    return [CLAIMS[0].against_floor(pairs, f"decisions/s (floor: {FEW} workers)")]
