"""A broker with few descriptors, and strangers that press into its port: the rate beside them."""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.ours.flooded import HOWS
from bench.pairs import alternate, ratios

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
    """Rounds with strangers of each kind and without, in turn; the kind that costs most counts."""
    tasks, rounds = effort.of(20_000, 10_000), effort.of(12, 4)
    with Contestant("bench.ours.flooded") as side:
        found = {
            how: alternate(
                partial(rate, side, "quiet", tasks), partial(rate, side, how, tasks), rounds
            )
            for how in HOWS
        }
    medians = {how: ratios(pairs).median for how, pairs in found.items()}
    worst = min(medians, key=medians.__getitem__)
    all_three = ", ".join(f"{how} {amount(median)}" for how, median in medians.items())
    return [CLAIMS[0].against_floor(found[worst], "tasks/s (floor: without)").beside(all_three)]


def rate(side: Contestant, name: str, tasks: int) -> float:
    """One round."""
    return side.ask(Round(name, tasks), 120.0)["tasks_per_s"][0]
