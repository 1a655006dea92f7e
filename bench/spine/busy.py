"""How much of their time workers spend in task bodies, with 10 ms tasks, against a pipe."""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate

CLAIMS = (
    Claim(
        "workers busy, 10 ms tasks, one outstanding each, against Pipe", 0.96, 1.0, "higher", "x"
    ),
    Claim("workers busy, 10 ms tasks, work queued, against Pipe", 0.99, 1.0, "higher", "x"),
)
TASK_S = 0.01


def measure(effort: Effort) -> list[Measurement]:
    """The share is taken by the bodies themselves, from their own clocks."""
    tasks, rounds = effort.of(100, 60), effort.of(16, 4)
    measurements: list[Measurement] = []
    with Contestant("bench.ours.campaign") as ours, Contestant("bench.floors.pipe") as floor:
        for claim, name in zip(CLAIMS, ("one_outstanding", "queued"), strict=True):
            order = Round(name, tasks, TASK_S)
            pairs = alternate(
                partial(figure, floor, order),
                partial(figure, ours, order),
                rounds,
            )
            measurements.append(claim.against_floor(pairs, "% busy", scale=100))
    return measurements


def figure(side: Contestant, order: Round) -> float:
    """One round of one side."""
    return side.ask(order)["busy_share"][0]
