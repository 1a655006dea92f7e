"""From a result in the policy's hands to the next task sent to its worker.

The handler notes the time as it is called; the broker's endpoint notes when the task that the
handler submits has been handed to the socket. `timings.sent` would say too little: it is the
beginning of the broker's step that sends. Both are on one process's monotonic clock.
"""

from __future__ import annotations

import statistics

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import percentile, spread

CLAIMS = (
    Claim("reaction: result in hand to next task sent, median", 100, 50, "lower", "µs"),
    Claim("reaction: result in hand to next task sent, p99", 1000, 1000, "lower", "µs"),
)
TASK_S = 0.001


def measure(effort: Effort) -> list[Measurement]:
    """Median and 99th percentile of each round; the figure is the median of the rounds."""
    tasks, rounds = effort.of(500, 300), effort.of(24, 8)
    medians: list[float] = []
    slowest: list[float] = []
    with Contestant("bench.ours.campaign") as ours:
        ours.ask(Round("reactions", 100, TASK_S))
        for _ in range(rounds):
            microseconds = [
                seconds * 1e6 for seconds in ours.ask(Round("reactions", tasks, TASK_S))["seconds"]
            ]
            medians.append(statistics.median(microseconds))
            slowest.append(percentile(microseconds, 99))
    detail = f"{rounds} rounds of {tasks} tasks of {TASK_S * 1e3:g} ms"
    return [
        CLAIMS[0].measured(spread(medians), detail),
        CLAIMS[1].measured(spread(slowest), detail),
    ]
