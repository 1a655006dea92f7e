"""How busy workers are if the policy keeps two short tasks outstanding for each of them.

One of the two runs and one may wait at its worker, so no worker has to wait for the policy; the
pipe does just that.  `ProcessPoolExecutor` with as many outstanding runs beside them.
"""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.pairs import alternate, spread

CLAIMS = (
    Claim(
        "two outstanding a worker, 1 ms tasks, busy share against Pipe", 0.98, 1.0, "higher", "x"
    ),
    Claim(
        "two outstanding a worker, 10 ms tasks, busy share against Pipe", 0.99, 1.0, "higher", "x"
    ),
)
TASKS_S = (0.001, 0.01)


def measure(effort: Effort) -> list[Measurement]:
    """The share is taken by the bodies themselves, from their own clocks."""
    rounds = effort.of(16, 4)
    measurements: list[Measurement] = []
    with (
        Contestant("bench.ours.campaign") as ours,
        Contestant("bench.floors.pipe") as floor,
        Contestant("bench.floors.pool") as pool,
    ):
        for claim, task_s in zip(CLAIMS, TASKS_S, strict=True):
            tasks = effort.of(1000, 400) if task_s < TASKS_S[-1] else effort.of(200, 100)
            order = Round("two_outstanding", tasks, task_s)
            beside: list[float] = []

            def ours_then_pool(order: Round, beside: list[float]) -> float:
                share = figure(ours, order)
                beside.append(100 * figure(pool, order))
                return share

            pairs = alternate(
                partial(figure, floor, order), partial(ours_then_pool, order, beside), rounds
            )
            words = f"ProcessPoolExecutor {amount(spread(beside).median)} % busy"
            measurements.append(claim.against_floor(pairs, "% busy", scale=100).beside(words))
    return measurements


def figure(side: Contestant, order: Round) -> float:
    """One round of one side."""
    return side.ask(order)["busy_share"][0]
