"""Steered multi-start against all fits to the end: same answer, and at which share of the cost.

    python examples/multistart/compare.py --quick
    python examples/multistart/compare.py            ten seeds, some minutes

The fits are computed for real, each once for all ways; workers are simulated, and a round of a fit
takes a second on them. Cost is the time of workers, that of cancelled fits included. ``fewer``
spends as much as halving, on as many of the starts as that is enough for, each fitted to its end.
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Iterator
from statistics import mean, stdev
from typing import Any

import oscillator
from scipy.stats import spearmanr
from search import MultiStart

from steerio.testing import Model, simulate

SAME = 1e-3
"""Two misfits are the same answer if they differ by less than this share."""
KEEPS = (0.5, 0.25)


def remember(function: Any) -> Any:
    """Return a generator function that computes each item of each call once."""

    @functools.cache
    def begun(*args: Any) -> tuple[list[Any], Iterator[Any]]:
        return [], function(*args)

    def again(*args: Any) -> Iterator[Any]:
        known, more = begun(*args)
        for number in itertools.count():
            if number == len(known):
                if (item := next(more, None)) is None:
                    return
                known.append(item)
            yield known[number]

    return again


class Quiet(MultiStart):
    """The search, without a word at its end."""

    async def finish(self) -> None:
        """Say nothing."""


def run(starts: int, keep: float, seed: int, workers: int) -> tuple[MultiStart, float]:
    """Return a search that was simulated, and the seconds that it took."""
    search = Quiet(starts=starts, keep=keep, seed=seed)
    simulated = simulate(search, model=Model(1.0), workers={"fit": workers})
    return search, simulated.duration_s


def main() -> None:
    """Run all ways with all seeds, and print the table."""
    parser = argparse.ArgumentParser(description="Halving, against all fits to the end.")
    parser.add_argument("--quick", action="store_true", help="one seed, 8 starts")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--starts", type=int, default=24)
    parser.add_argument("--workers", type=int, default=8)
    asked = parser.parse_args()
    seeds, starts = (1, 8) if asked.quick else (asked.seeds, asked.starts)
    oscillator.rounds = remember(oscillator.rounds)
    table: dict[str, list[tuple[bool, float, float]]] = {}
    early: list[float] = []  # of rank correlations
    for seed in range(1, seeds + 1):
        whole, whole_s = run(starts, 1.0, seed, asked.workers)
        misfit = whole.best[0]
        ends = [each.value[0] for each in whole.trials.ended]
        ranks: Any = spearmanr([each.reports[0][1] for each in whole.trials.ended], ends)
        early.append(float(ranks.statistic))

        def add(name: str, search: MultiStart, seconds: float) -> float:
            same = search.best[0] < misfit * (1 + SAME)  # noqa: B023 - called in this turn
            share = search.worker_s / whole.worker_s  # noqa: B023
            table.setdefault(name, []).append((same, share, seconds / whole_s))  # noqa: B023
            return share

        add("all to the end", whole, whole_s)
        for keep in KEEPS:
            share = add(f"halving, keep {keep:g}", *run(starts, keep, seed, asked.workers))
            few = max(1, round(share * starts))
            add(f"fewer, as keep {keep:g}", *run(few, 1.0, seed, asked.workers))
    print(f"{starts} starts, {seeds} seeds, {asked.workers} simulated workers")
    print(f"{'':20}{'same answer':>14}{'share of the cost':>22}{'share of the time':>22}")
    for name, found in table.items():
        same, shares, times = zip(*found, strict=True)
        print(f"{name:20}{sum(same):>8} of {seeds:<3}{spread(shares):>20}{spread(times):>22}")
    print(f"rank correlation of the misfits after one round and at the end: {mean(early):.2f}")


def spread(values: Any) -> str:
    """Return mean and standard deviation, in percent."""
    around = stdev(values) if len(values) > 1 else 0.0
    return f"{100 * mean(values):.0f} +- {100 * around:.0f} %"


if __name__ == "__main__":
    main()
