"""What a 100 MB argument by reference costs the broker, beside a no-op task."""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.pairs import alternate, spread

CLAIMS = (
    Claim(
        "broker's CPU for a task given 100 MB by reference, against a no-op",
        1.5,
        1.1,
        "lower",
        "x",
    ),
    Claim("broker's memory for such a task, queued, against a no-op", 1.5, 1.1, "lower", "x"),
)
ROUND_S = 120.0
ARRAYS = 5
"""Tasks in a round that are given the array itself."""


def measure(effort: Effort) -> list[Measurement]:
    """A broker in a process of its own, no-op tasks and the others in turn."""
    tasks, rounds = effort.of(1000, 500), effort.of(16, 6)
    with Contestant("bench.ours.beside_broker", close_s=30) as side:

        def asked(name: str, what: str, number: int) -> float:
            return side.ask(Round(name, number), ROUND_S)[what][0]

        cpu = alternate(
            partial(asked, "noop", "cpu_s", tasks),
            partial(asked, "reference", "cpu_s", tasks),
            rounds,
        )
        arrays = [asked("array", "cpu_s", ARRAYS) * 1e3 for _ in range(effort.of(10, 4))]
    weight = alternate(
        partial(weight_of, "queued_noop", 20 * tasks),
        partial(weight_of, "queued_reference", 20 * tasks),
        effort.of(5, 2),
        warm_up=0,
    )
    row = CLAIMS[0].against_floor(cpu, "ms (floor: a no-op task)", 1e3)
    passed = f"an array of its own for each task, put and freed: {amount(spread(arrays).median)} ms"
    return [row.beside(passed), CLAIMS[1].against_floor(weight, "kB (floor: a no-op task)", 1e-3)]


def weight_of(name: str, tasks: int) -> float:
    """Bytes of a broker for each queued task: of a fresh one, for it grows but once."""
    with Contestant("bench.ours.beside_broker", close_s=30) as side:
        return side.ask(Round(name, tasks), ROUND_S)["nbytes"][0]
