"""From which size on is it better to send a value by reference?

`python -m bench.thresholds [--quick]` sends arrays of 16 kB to 4 MB to no-op tasks, with the
task and by reference, in turn: how long one task takes alone, and how many a second go through
when they are submitted at once.  The default threshold is `THRESHOLD_BYTES`.
"""

from __future__ import annotations

import argparse
import statistics

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import amount
from bench.pairs import Pair, alternate, ratios, spread
from steerio.model.objects import THRESHOLD_BYTES

SIZES = [1 << power for power in range(14, 23)]
MOST_BYTES = 1 << 26
"""A round has fewer tasks where they are longer."""


def measure(effort: Effort) -> list[tuple[int, list[Pair], list[Pair]]]:
    """For each size, seconds of a trip and tasks a second: inline (as the floor), by reference."""
    found: list[tuple[int, list[Pair], list[Pair]]] = []
    with Contestant("bench.ours.storing") as side:
        for size in SIZES:
            trips: list[Pair] = []
            for _ in range(effort.of(8, 3)):
                figures = side.ask(Round("trips", 20, size))
                alone = (statistics.median(figures[each]) for each in ("inline_s", "reference_s"))
                trips.append(Pair(*alone))
            number = min(500, MOST_BYTES // size)

            def rate(name: str, order: Round) -> float:
                return side.ask(Round(name, order.tasks, order.task_s))["tasks_per_s"][0]

            order = Round("", number, size)
            rates = alternate(
                lambda order=order: rate("inline_array", order),  # type: ignore[misc]
                lambda order=order: rate("by_reference", order),  # type: ignore[misc]
                effort.of(8, 3),
            )
            found.append((size, trips, rates))
    return found


def main() -> None:
    """Print a line for each size; above 1 the reference is slower alone, or carries more."""
    parser = argparse.ArgumentParser(prog="python -m bench.thresholds", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    print(f"the default threshold is {THRESHOLD_BYTES >> 10} kB; ratios: by reference over inline")
    print("size     alone: inline   by ref  ratio     at once: inline  by ref  ratio")
    for size, trips, rates in measure(Effort(quick=parser.parse_args().quick)):
        inline_ms, reference_ms = (
            amount(spread([getattr(pair, side) * 1e3 for pair in trips]).median)
            for side in ("floor", "ours")
        )
        inline, reference = (
            amount(spread([getattr(pair, side) for pair in rates]).median)
            for side in ("floor", "ours")
        )
        print(
            f"{size >> 10:>5} kB {inline_ms:>10} ms {reference_ms:>6} ms "
            f"{ratios(trips).median:>6.2f} {inline:>13}/s {reference:>8}/s "
            f"{ratios(rates).median:>6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
