"""No-op tasks per second, submitted at once, the results taken one by one."""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate

CLAIMS = (
    Claim("no-op tasks/s against the raw pyzmq queue", 0.7, 1.0, "higher", "x"),
    Claim("no-op tasks/s against a raw zmq.proxy", 0.7, 1.0, "higher", "x"),
    Claim("no-op tasks/s against ProcessPoolExecutor", 1.3, 2.0, "higher", "x"),
)
FLOORS = (
    ("bench.floors.queue_client", "queue"),
    ("bench.floors.queue_client", "proxy"),
    ("bench.floors.pool",),
)


def measure(effort: Effort) -> list[Measurement]:
    """Ours against each floor in turn: three floors at once would only wait for one another."""
    tasks, rounds = effort.of(2000, 1000), effort.of(24, 8)
    measurements: list[Measurement] = []
    with Contestant("bench.ours.session") as ours:
        for claim, floor in zip(CLAIMS, FLOORS, strict=True):
            with Contestant(*floor) as beside:
                pairs = alternate(
                    partial(tasks_per_s, beside, tasks), partial(tasks_per_s, ours, tasks), rounds
                )
            measurements.append(claim.against_floor(pairs, "tasks/s"))
    return measurements


def tasks_per_s(side: Contestant, tasks: int) -> float:
    """One round of one side."""
    return side.ask(Round("at_once", tasks))["tasks_per_s"][0]
