"""Steered multi-start against all fits to the end: same answer, and at which share of the cost.

    python examples/multistart/compare.py --quick
    python examples/multistart/compare.py            ten seeds

The fits are those of `recorded.py`, with the times that were measured, and workers are simulated.
Cost is the time of workers, that of cancelled fits included. ``fewer`` spends as much as halving,
on as many of the starts as that is enough for, each fitted to its end.
"""

from __future__ import annotations

import argparse
from statistics import mean, stdev
from typing import Any, NamedTuple

from oscillator import fit
from recorded import SEEDS, STARTS, Recorded
from scipy.stats import spearmanr
from search import MultiStart

from steerio.testing import SimulatedRun, simulate

SAME = 1e-3
"""Two misfits are the same answer if they differ by less than this share."""
KEEPS = (0.5, 0.25)
WORKERS = 8
WHOLE = "all to the end"
POLICY = (
    "search.py:Halving",
    "search.py:MultiStart.workers",
    "search.py:MultiStart.__init__",
    "search.py:MultiStart.search",
)


class Quiet(MultiStart):
    """The search, without a word at its end."""

    async def finish(self) -> None:
        """Say nothing."""


class Found(NamedTuple):
    """The outcome of a search: its misfit, seconds in tasks and in all, and busy share."""

    misfit: float
    worker_s: float
    took_s: float
    busy: float


def run(starts: int, keep: float, seed: int, workers: int, fits: Recorded) -> SimulatedRun[Quiet]:
    """Simulate a search."""
    search = Quiet(starts=starts, keep=keep, seed=seed)
    return simulate(search, model={fit: fits.course}, workers={"fit": workers})


def found(simulated: SimulatedRun[Quiet]) -> Found:
    """Say what came of a search."""
    busy_s, _ = simulated.worker_seconds()
    misfit = simulated.campaign.best[0]
    return Found(misfit, busy_s, simulated.duration_s, simulated.utilisation())


def measured(seeds: int, starts: int, workers: int) -> tuple[dict[str, list[Found]], list[float]]:
    """Return for each way what was found with each seed; and how much early misfits tell."""
    fits = Recorded()
    table: dict[str, list[Found]] = {}
    early: list[float] = []  # of rank correlations
    for seed in range(1, seeds + 1):
        whole = run(starts, 1.0, seed, workers, fits)
        table.setdefault(WHOLE, []).append(found(whole))
        ended = whole.campaign.trials.ended
        ends = [each.value[0] for each in ended]
        ranks: Any = spearmanr([each.reports[0][1] for each in ended], ends)
        early.append(float(ranks.statistic))
        for keep in KEEPS:
            halved = found(run(starts, keep, seed, workers, fits))
            few = max(1, round(starts * halved.worker_s / table[WHOLE][-1].worker_s))
            table.setdefault(f"halving, keep {keep:g}", []).append(halved)
            fewer = found(run(few, 1.0, seed, workers, fits))
            table.setdefault(f"fewer, as keep {keep:g}", []).append(fewer)
    return table, early


def same_answer(way: list[Found], whole: list[Found]) -> list[bool]:
    """Say for each seed whether the best minimum was found."""
    return [a.misfit < b.misfit * (1 + SAME) for a, b in zip(way, whole, strict=True)]


def compare(quick: bool = False) -> dict[str, Any]:
    """Return the table for `python -m bench science`: see its README."""
    seeds = 2 if quick else SEEDS
    table, _ = measured(seeds, STARTS, WORKERS)
    few, _ = measured(seeds, 8, WORKERS)
    halving, *_ = (way for way in few if way != WHOLE)
    kept = sum(same_answer(few[halving], few[WHOLE]))
    time = mean(a.took_s / b.took_s for a, b in zip(few[halving], few[WHOLE], strict=True))
    return {
        "setting": f"{STARTS} starts, {WORKERS} workers",
        "cost": "worker seconds in tasks",
        "score": "best minimum found, % of seeds",
        "better": "higher",
        "ways": [
            {
                "way": name,
                "cost": [each.worker_s for each in table[name]],
                "score": [100.0 * each for each in same_answer(table[name], table[WHOLE])],
                "busy": [each.busy for each in table[name]],
            }
            for name in (*(way for way in table if way != WHOLE), WHOLE)
        ],
        "does_not_pay": f"with as many workers as starts: 8 on 8 take {time:.0%} of the time, and "
        f"{kept} of {seeds} find the best; if one good fit is enough and good starts are common, "
        "fewer starts find it nearly as often",
    }


def at_scale(workers: int) -> SimulatedRun[Any]:
    """Return the search with four starts for each worker, simulated."""
    return run(4 * workers, 0.5, 1, workers, Recorded())


def main() -> None:
    """Run all ways with all seeds, and print the table."""
    parser = argparse.ArgumentParser(description="Halving, against all fits to the end.")
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--starts", type=int, default=STARTS)
    parser.add_argument("--workers", type=int, default=WORKERS)
    asked = parser.parse_args()
    seeds, starts = 1 if asked.quick else asked.seeds, asked.starts
    if seeds > SEEDS or starts > STARTS:
        parser.error(f"recorded are {STARTS} starts of {SEEDS} seeds: recorded.py computes more")
    table, early = measured(seeds, starts, asked.workers)
    whole = table[WHOLE]
    print(f"{starts} starts, {seeds} seed{'s' * (seeds != 1)}, {asked.workers} simulated workers")
    print(f"{'':20}{'same answer':>14}{'share of the cost':>22}{'share of the time':>22}")
    for name, way in table.items():
        same = sum(same_answer(way, whole))
        shares = [a.worker_s / b.worker_s for a, b in zip(way, whole, strict=True)]
        times = [a.took_s / b.took_s for a, b in zip(way, whole, strict=True)]
        print(f"{name:20}{same:>8} of {seeds:<3}{spread(shares):>20}{spread(times):>22}")
    print(f"rank correlation of the misfits after one round and at the end: {mean(early):.2f}")


def spread(values: list[float]) -> str:
    """Return mean and standard deviation, in percent."""
    around = stdev(values) if len(values) > 1 else 0.0
    return f"{100 * mean(values):.0f} +- {100 * around:.0f} %"


if __name__ == "__main__":
    main()
