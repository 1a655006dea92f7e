"""Queued tasks cancelled and ranked anew, all at once."""

from __future__ import annotations

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import spread

CANCELLED, RERANKED = 10_000, 100_000
CLAIMS = (
    Claim(
        f"{CANCELLED:,} queued tasks cancelled, order to the last result", 100, 30, "lower", "ms"
    ),
    Claim(f"{RERANKED:,} queued tasks ranked anew, order to done", 300, 100, "lower", "ms"),
)
WAIT_S = 300.0


def measure(effort: Effort) -> list[Measurement]:
    """Queue, then time what is done with the queue."""
    rows: list[Measurement] = []
    sizes = (("cancel", CANCELLED), ("rerank", RERANKED))
    for claim, (name, tasks) in zip(CLAIMS, sizes, strict=True):
        with Contestant("bench.ours.moving", "", close_s=0) as side:
            side.ask(Round(name, tasks), WAIT_S)  # warm up
            rounds = range(effort.of(12, 4))
            taken = [side.ask(Round(name, tasks), WAIT_S)["seconds"][0] * 1e3 for _ in rounds]
        rows.append(claim.measured(spread(taken)))
    return rows
