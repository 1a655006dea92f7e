"""Decisions per second: one task outstanding per worker, the next chosen from the last result."""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate

CLAIMS = (
    Claim("decisions/s with 0 ms tasks, against raw pyzmq", 1.0, 2.0, "higher", "x"),
    Claim("decisions/s with 1 ms tasks, against raw pyzmq", 1.0, 2.0, "higher", "x"),
)


def measure(effort: Effort) -> list[Measurement]:
    """A campaign's `@on_success` against a client that does the same in a loop."""
    with (
        Contestant("bench.ours.campaign") as ours,
        Contestant("bench.floors.queue_client", "queue") as floor,
    ):
        measurements = []
        for claim, task_s, tasks in zip(
            CLAIMS, (0.0, 0.001), (effort.of(1000, 500), effort.of(400, 200)), strict=True
        ):
            order = Round("decisions", tasks, task_s)
            pairs = alternate(
                partial(figure, floor, order),
                partial(figure, ours, order),
                effort.of(30, 8),
            )
            measurements.append(claim.against_floor(pairs, "decisions/s"))
    return measurements


def figure(side: Contestant, order: Round) -> float:
    """One round of one side."""
    return side.ask(order)["tasks_per_s"][0]
