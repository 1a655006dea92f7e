"""The search with pruning and without, and by other optimizers: errors found, epochs trained.

    python examples/asktell/compare.py --quick
    python examples/asktell/compare.py            ten seeds

The networks are those of `recorded.py`, with the times that were measured, and the workers are
simulated. So the order of all that happens depends on the seed alone, and not on how busy this
machine is. ``at its cost`` prunes among as many networks as cost about as much as 30 whole ones.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from statistics import mean, stdev
from typing import Any, NamedTuple

from recorded import Recorded
from search import Search
from training import EPOCHS, train

from steerio.testing import SimulatedRun, simulate

SEEDS, TRIALS, WORKERS = 10, 30, 4
WAYS: dict[str, dict[str, Any]] = {
    "Optuna, whole": {"by": "optuna", "whole": True},
    "Optuna, pruned": {"by": "optuna"},
    "Optuna, pruned, at its cost": {"by": "optuna"},
    "Gaussian process": {"by": "gp"},
    "random (libEnsemble)": {"by": "libensemble"},
}
WHOLE, PRUNED, AT_ITS_COST, *_ = WAYS
POLICY = ("search.py:Search.__init__", "search.py:Search.optimizer", "search.py:Search.search")


class Quiet(Search):
    """The search, without a word at its end."""

    async def finish(self) -> None:
        """Say nothing."""


class Found(NamedTuple):
    """The outcome of a search: its error, the share of epochs, seconds in tasks, and busy share."""

    error: float
    epochs: float
    worker_s: float
    busy: float


def search(trials: int, workers: int, seed: int, networks: Recorded, **options: Any) -> Found:
    """Simulate a search, and say what came of it."""
    campaign = Quiet(trials=trials, seed=seed, **options)
    run = simulate(campaign, model={train: networks.course}, workers={"train": workers})
    ended = campaign.trials.ended
    error = min(each.value for each in ended if each.succeeded)
    epochs = sum(len(each.reports) for each in ended) / (trials * EPOCHS)
    return Found(error, epochs, run.worker_seconds("train")[0], run.utilisation("train"))


def measured(seed: int, trials: int, workers: int, networks: Recorded) -> dict[str, Found]:
    """Return for each way what was found."""
    found: dict[str, Found] = {}
    for name, options in WAYS.items():
        if options["by"] == "libensemble" and find_spec("libensemble") is None:
            continue
        count = trials
        if name == AT_ITS_COST:
            count = round(trials * found[WHOLE].worker_s / found[PRUNED].worker_s)
        found[name] = search(count, workers, seed, networks, **options)
    return found


def table_of(seeds: int, trials: int, workers: int, networks: Recorded) -> dict[str, list[Found]]:
    """Return for each way what was found with each seed."""
    each = [measured(seed, trials, workers, networks) for seed in range(1, seeds + 1)]
    return {way: [found[way] for found in each] for way in each[0]}


def compare(quick: bool = False) -> dict[str, Any]:
    """Return the table for `python -m bench science`: see its README."""
    table = table_of(2 if quick else SEEDS, TRIALS, WORKERS, Recorded())
    whole, pruned = (mean(each.error for each in table[way]) for way in (WHOLE, PRUNED))
    return {
        "setting": f"{TRIALS} networks, {WORKERS} workers",
        "cost": "worker seconds in tasks",
        "score": "error found, %",
        "better": "lower",
        "ways": [
            {
                "way": name,
                "cost": [each.worker_s for each in table[name]],
                "score": [100 * each.error for each in table[name]],
                "busy": [each.busy for each in table[name]],
            }
            for name in (AT_ITS_COST, *(way for way in table if way not in (AT_ITS_COST, PRUNED)))
        ],
        "does_not_pay": f"trials as short as these: with as many networks pruning finds "
        f"{100 * pruned:.1f} %, and training to the end {100 * whole:.1f} %; random networks are "
        "as good within the spread",
    }


def at_scale(workers: int) -> SimulatedRun[Any]:
    """Return the search with two networks for each worker, simulated."""
    campaign = Quiet(trials=2 * workers)
    networks = Recorded()
    return simulate(campaign, model={train: networks.any_course}, workers={"train": workers})


def main() -> None:
    """Run all ways with all seeds, and print the table."""
    parser = argparse.ArgumentParser(description="Pruning, against training to the end.")
    parser.add_argument("--quick", action="store_true", help="one seed, 12 networks")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--workers", type=int, default=WORKERS)
    asked = parser.parse_args()
    seeds, trials = (1, 12) if asked.quick else (asked.seeds, asked.trials)
    networks = Recorded()
    table = table_of(seeds, trials, asked.workers, networks)
    print(f"{trials} networks, {seeds} seed{'s' * (seeds != 1)}, {asked.workers} simulated workers")
    print(f"{'':28}{'error found':>16}{'share of epochs':>20}{'workers busy':>16}")
    for name, found in table.items():
        errors, shares, _, busy = zip(*found, strict=True)
        print(f"{name:28}{spread(errors):>16}{spread(shares):>20}{spread(busy):>16}")
    if networks.missing:
        print(f"{networks.missing} networks were not recorded, and trained now")
    for name in WAYS.keys() - table.keys():
        print(f"{name} is left out: pip install 'steerio[gest]' brings libEnsemble")


def spread(values: Any) -> str:
    """Return mean and standard deviation, in percent."""
    around = stdev(values) if len(values) > 1 else 0.0
    return f"{100 * mean(values):.1f} +- {100 * around:.1f} %"


if __name__ == "__main__":
    main()
