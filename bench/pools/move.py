"""An idle worker moved to a pool that needs nothing new, and its first task: in round trips."""

from __future__ import annotations

import statistics

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate

CLAIMS = (
    Claim(
        "idle worker moved, ask to first task's result, against a round trip", 5, 2, "lower", "x"
    ),
)


def measure(effort: Effort) -> list[Measurement]:
    """Both on the same worker of the same session, in turn."""
    tasks, rounds = effort.of(100, 50), effort.of(40, 8)
    with Contestant("bench.ours.moving", "") as side:
        pairs = alternate(
            lambda: statistics.median(side.ask(Round("trips", tasks))["seconds"]),
            lambda: statistics.median(side.ask(Round("moves", tasks))["seconds"]),
            rounds,
            warm_up=2,
        )
    return [CLAIMS[0].against_floor(pairs, "µs (floor: a no-op task)", scale=1e6)]
