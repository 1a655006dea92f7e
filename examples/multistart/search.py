"""Parameter estimation by steered multi-start: many local fits, of which losers are cancelled.

    steerio run examples/multistart/search.py --quick
    steerio run examples/multistart/search.py --quick --keep 1     all fits, to the end

Each fit yields its misfit after each round. In rounds 1, 2, 4, 8, ... only those go on that are
among the best of all that have come so far; the others are cancelled, also if they have gone on
when they came there, and better ones came later.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, ClassVar

import numpy as np
from oscillator import HIGH, LOW, NAMES, NOISE, fit

from steerio import Campaign, Result, agent, on_result
from steerio.asktell import EndedTrial, Optimizer, Trial, Trials, drive


class Halving(Optimizer):
    """Asks for fits from random starts, and prunes those that fall behind.

    Successive halving without a barrier, as in Li et al. (2020); with hindsight.

    Args:
        seed: of the starts, and of the data.
        keep: the share that goes on at each of the rounds 1, 2, 4, ...
    """

    def __init__(self, seed: int, keep: float) -> None:
        self.seed, self.keep = seed, keep
        self.seen: dict[int, dict[int, float]] = defaultdict(dict)
        """The misfits that were seen in each of those rounds."""

    def ask(self, number: int) -> dict[str, Any]:
        """Return a start, which depends on its number alone."""
        chance = np.random.default_rng([self.seed, number])
        return {"start": tuple(chance.uniform(LOW, HIGH).tolist()), "seed": self.seed}

    def report(self, trial: Trial, step: int, value: float) -> bool:
        """Take in a misfit; say whether the fit is behind in any round that it has come to."""
        if (step + 1).bit_count() == 1:  # 1, 2, 4, 8, ...
            self.seen[step][trial.number] = value
        return any(self.is_behind(trial.number, known) for known in self.seen.values())

    def is_behind(self, number: int, known: dict[int, float]) -> bool:
        """Say whether a fit is not among the best that have come to a round."""
        if number not in known:
            return False
        better = sum(value < known[number] for value in known.values())
        return better >= max(1, math.ceil(self.keep * len(known)))

    def tell(self, ended: EndedTrial) -> None:
        """Keep nothing: the campaign has the trials."""


class MultiStart(Campaign):
    """Estimate the parameters of an oscillator.

    Args:
        starts: fits to begin.
        keep: the share of fits that goes on at each of the rounds 1, 2, 4, ...; 1: all.
        seed: of the data and the starts.
        quick: begin only 8.
    """

    workers: ClassVar = {"fit": 2}

    def __init__(
        self, starts: int = 24, keep: float = 0.5, seed: int = 2, quick: bool = False
    ) -> None:
        self.trials = Trials(8 if quick else starts)
        self.halving = Halving(seed, keep)
        self.worker_s = 0.0

    @agent
    async def search(self) -> None:
        """Run the fits."""
        await drive(self, self.halving, fit, self.trials)

    @on_result(fit)
    async def count(self, result: Result) -> None:
        """Count the time of all fits, cancelled ones included."""
        self.worker_s += result.timings.run_s or 0.0

    @property
    def best(self) -> list[float]:
        """The least misfit, and its parameters."""
        return min(each.value for each in self.trials.ended if each.succeeded)

    async def finish(self) -> None:
        """Say what was found."""
        if not self.trials.counts["succeeded"]:
            print("no fit has come to its end")
            return
        misfit, *point = self.best
        rounds = sum(len(each.reports) for each in self.trials.ended)
        found = ", ".join(f"{name} {value:.3f}" for name, value in zip(NAMES, point, strict=True))
        print(f"misfit {misfit:.4f} (noise {NOISE}): {found}")
        print(
            f"{len(self.trials.ended)} fits, {self.trials.counts['pruned']} cancelled: {rounds} "
            f"rounds, {self.worker_s:.1f} worker seconds"
        )
