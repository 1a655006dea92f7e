"""A broker with few descriptors, and strangers that press into its port: the rate beside them."""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.ours.flooded import ELSEWHERE, HOWS
from bench.pairs import alternate, ratios, spread

CLAIMS = (
    Claim(
        "no-op tasks/s of a remote client and node, 128 descriptors: beside 200 strangers",
        0.9,
        0.97,
        "higher",
        "x",
    ),
)


def measure(effort: Effort) -> list[Measurement]:
    """Strangers of each kind at our port and elsewhere, in turn; the kind that costs most counts.

    What they cost the machine, whichever port they press into, is in the floor.
    """
    tasks, rounds = effort.of(20_000, 10_000), effort.of(12, 4)
    with Contestant("bench.ours.flooded") as side:
        found = {
            how: alternate(
                partial(rate, side, ELSEWHERE + how, tasks), partial(rate, side, how, tasks), rounds
            )
            for how in HOWS
        }
        quiet = spread([rate(side, "quiet", tasks) for _ in range(rounds)])
    medians = {how: ratios(pairs).median for how, pairs in found.items()}
    worst = min(medians, key=medians.__getitem__)
    all_three = ", ".join(f"{how} {amount(median)}" for how, median in medians.items())
    words = f"{all_three}; {amount(quiet.median)} tasks/s without strangers"
    measured = "tasks/s (floor: they press into another port)"
    return [CLAIMS[0].against_floor(found[worst], measured).beside(words)]


def rate(side: Contestant, name: str, tasks: int) -> float:
    """One round."""
    return side.ask(Round(name, tasks), 120.0)["tasks_per_s"][0]
