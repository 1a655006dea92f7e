"""The memory of a standing broker after many tasks have ended: it is that of what has not ended.

It keeps its last events, 100,000 of them, of which a task has three as a rule. So the memory after
so many tasks that this buffer is full is a floor, too.
"""

from __future__ import annotations

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import Pair

FEW, FULL, MANY, MANY_QUICK = 10_000, 50_000, 1_000_000, 100_000
CLAIMS = (
    Claim(f"broker's memory after {MANY:,} ended tasks against {FEW:,}", 1.1, 1.05, "lower", "x"),
    Claim(f"broker's memory after {MANY:,} ended tasks against {FULL:,}", 1.1, 1.05, "lower", "x"),
)
ROUND_S = 900.0


def measure(effort: Effort) -> list[Measurement]:
    """A fresh broker for each round, which keeps its record."""
    many = effort.of(MANY, MANY_QUICK)
    few: list[Pair] = []
    full: list[Pair] = []
    for _ in range(effort.of(2, 1)):
        with Contestant("bench.ours.beside_broker", close_s=30) as side:
            after_few = after(side, FEW)
            after_full = after(side, FULL - FEW)
            last = after(side, many - FULL)
        few.append(Pair(after_few, last))
        full.append(Pair(after_full, last))
    unit = f"MB, of the process, after {many:,} tasks"
    return [CLAIMS[0].against_floor(few, unit, 1e-6), CLAIMS[1].against_floor(full, unit, 1e-6)]


def after(side: Contestant, more: int) -> float:
    """Bytes of the broker after so many more tasks."""
    return side.ask(Round("ended", more), ROUND_S)["nbytes"][0]
