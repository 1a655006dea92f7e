"""Whether tasks are decided as fast behind a million queued ones as behind a thousand.

Two campaigns, one with each backlog, kept at that length by submitting a task for each that
completes. Between rounds their workers are held, so that only one of them works at a time.
"""

from __future__ import annotations

from dataclasses import replace

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate

FEW, MANY, MANY_QUICK = 1_000, 1_000_000, 100_000
CLAIMS = (Claim("rate with 1,000,000 queued against 1,000 queued", 0.9, 1.0, "higher", "x"),)
FILL_TIMEOUT_S = 180.0


def measure(effort: Effort) -> list[Measurement]:
    """The quick look queues a tenth, and its claim says so."""
    many = effort.of(MANY, MANY_QUICK)
    tasks, rounds = effort.of(3000, 2000), effort.of(16, 4)
    with (
        Contestant("bench.ours.campaign", close_s=0) as long,
        Contestant("bench.ours.campaign", close_s=0) as short,
    ):
        short.ask(Round("fill", FEW))
        long.ask(Round("fill", many), FILL_TIMEOUT_S)
        pairs = alternate(
            lambda: tasks_per_s(short, tasks), lambda: tasks_per_s(long, tasks), rounds
        )
    claim = replace(CLAIMS[0], text=f"rate with {many:,} queued against {FEW:,} queued")
    return [claim.against_floor(pairs, f"tasks/s (floor: {FEW:,} queued)")]


def tasks_per_s(side: Contestant, tasks: int) -> float:
    """One round of one side."""
    return side.ask(Round("backlog", tasks))["tasks_per_s"][0]
