"""One no-op task there and back, with nothing else under way."""

from __future__ import annotations

import statistics

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate

CLAIMS = (Claim("round trip of a no-op task, against raw pyzmq", 1.0, 0.5, "lower", "x"),)


def measure(effort: Effort) -> list[Measurement]:
    """The median trip of each round: a mean would be the noise's."""
    tasks, rounds = effort.of(300, 200), effort.of(40, 10)
    with (
        Contestant("bench.ours.session") as ours,
        Contestant("bench.floors.queue_client", "queue") as floor,
    ):
        pairs = alternate(
            lambda: trip_s(floor, tasks), lambda: trip_s(ours, tasks), rounds, warm_up=2
        )
    return [CLAIMS[0].against_floor(pairs, "µs", scale=1e6)]


def trip_s(side: Contestant, tasks: int) -> float:
    """One round of one side: its median trip, in seconds."""
    return statistics.median(side.ask(Round("round_trips", tasks))["seconds"])
