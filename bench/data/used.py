"""A large array that is put once and used by many tasks: what each costs beyond a no-op task."""

from __future__ import annotations

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.pairs import spread

NBYTES = 100_000_000
TASKS = 50
CLAIMS = (
    Claim(
        f"task with a 100 MB array put once and used by {TASKS}, beyond a no-op task",
        2,
        0.5,
        "lower",
        "ms",
    ),
)


def measure(effort: Effort) -> list[Measurement]:
    """No-op tasks, tasks that look at one element and tasks that sum all, in each round."""
    more: list[float] = []
    noop: list[float] = []
    summed: list[float] = []
    with Contestant("bench.ours.storing") as side:
        order = Round("used", NBYTES, TASKS)
        side.ask(order)
        for _ in range(effort.of(20, 5)):
            figures = side.ask(order)
            noop += figures["noop_s"]
            more.append((figures["one_s"][0] - figures["noop_s"][0]) * 1e3)
            summed.append((figures["sum_s"][0] - figures["noop_s"][0]) * 1e3)
    detail = (
        f"no-op {amount(spread(noop).median * 1e3)} ms; where all of the array is summed, "
        f"beyond a no-op {amount(spread(summed).median)} ms"
    )
    return [CLAIMS[0].measured(spread(more), detail)]
