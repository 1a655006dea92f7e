"""A standing broker on this host: its clients' round trips and decisions.

Broker, workers and client are processes of their own on both sides, and both clients are on an
event loop. Ours keeps its record. What a client without a loop reaches is quoted beside.
"""

from __future__ import annotations

import statistics
from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.pairs import alternate
from bench.spine.decisions import figure
from bench.spine.round_trip import trip_s

CLAIMS = (
    Claim("standing broker: round trip, against raw pyzmq with asyncio", 1.0, 0.7, "lower", "x"),
    Claim("standing broker: decisions/s, against raw pyzmq with asyncio", 1.0, 1.3, "higher", "x"),
)


def measure(effort: Effort) -> list[Measurement]:
    """A session's trips and decisions, against a client that does the same."""
    tasks, rounds = effort.of(300, 200), effort.of(40, 10)
    decided = Round("decisions", effort.of(1000, 500))
    with (
        Contestant("bench.ours.standing") as ours,
        Contestant("bench.floors.async_client") as floor,
        Contestant("bench.floors.queue_client", "queue") as loopless,
    ):
        trips = alternate(
            partial(trip_s, floor, tasks), partial(trip_s, ours, tasks), rounds, warm_up=2
        )
        decisions = alternate(
            partial(figure, floor, decided), partial(figure, ours, decided), effort.of(30, 8)
        )
        trip_us = 1e6 * statistics.median(trip_s(loopless, tasks) for _ in range(rounds))
        per_s = statistics.median(figure(loopless, decided) for _ in range(effort.of(30, 8)))
    return [
        CLAIMS[0]
        .against_floor(trips, "µs", scale=1e6)
        .beside(f"raw pyzmq without a loop {amount(trip_us)} µs"),
        CLAIMS[1]
        .against_floor(decisions, "decisions/s")
        .beside(f"raw pyzmq without a loop {amount(per_s)} decisions/s"),
    ]
