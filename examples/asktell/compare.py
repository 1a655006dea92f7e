"""The search with pruning and without, and by other optimizers: errors found, epochs trained.

    python examples/asktell/compare.py --quick
    python examples/asktell/compare.py            five seeds, some minutes

The networks are trained for real; the workers are simulated, each epoch taking a second. So the
order of all that happens depends on the seed alone, and not on how busy this machine is.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from statistics import mean, stdev

from search import Search
from training import EPOCHS

from steerio.testing import Model, simulate

WAYS = {
    "Optuna, pruned": {"by": "optuna"},
    "Optuna, whole": {"by": "optuna", "whole": True},
    "Gaussian process": {"by": "gp"},
    "random (libEnsemble)": {"by": "libensemble"},
}


class Quiet(Search):
    """The search, without a word at its end."""

    async def finish(self) -> None:
        """Say nothing."""


def main() -> None:
    """Run all ways with all seeds, and print the table."""
    parser = argparse.ArgumentParser(description="Pruning, against training to the end.")
    parser.add_argument("--quick", action="store_true", help="one seed, 12 networks")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--workers", type=int, default=4)
    asked = parser.parse_args()
    seeds, trials = (1, 12) if asked.quick else (asked.seeds, asked.trials)
    print(f"{trials} networks, {seeds} seeds, {asked.workers} simulated workers")
    print(f"{'':22}{'error found':>16}{'share of epochs':>20}{'workers busy':>16}")
    for name, options in WAYS.items():
        if options["by"] == "libensemble" and find_spec("libensemble") is None:
            print(f"{name:22}left out: pip install 'steerio[gest]' brings libEnsemble")
            continue
        errors: list[float] = []
        shares: list[float] = []
        busy: list[float] = []
        for seed in range(1, seeds + 1):
            search = Quiet(trials=trials, seed=seed, **options)  # pyright: ignore[reportArgumentType]
            run = simulate(search, model=Model(1.0), workers={"train": asked.workers})
            ended = search.trials.ended
            errors.append(min(each.value for each in ended if each.succeeded))
            shares.append(sum(len(each.reports) for each in ended) / (trials * EPOCHS))
            busy.append(run.utilisation("train"))
        print(f"{name:22}{spread(errors):>16}{spread(shares):>20}{spread(busy):>16}", flush=True)


def spread(values: list[float]) -> str:
    """Return mean and standard deviation, in percent."""
    around = stdev(values) if len(values) > 1 else 0.0
    return f"{100 * mean(values):.1f} +- {100 * around:.1f} %"


if __name__ == "__main__":
    main()
