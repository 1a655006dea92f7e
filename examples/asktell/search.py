"""A search for hyper-parameters that an optimizer drives: it asks, it is told, it prunes.

    steerio run examples/asktell/search.py --quick                    Optuna, with pruning
    steerio run examples/asktell/search.py --quick --by gp            a Gaussian process of our own
    steerio run examples/asktell/search.py --quick --by libensemble   a generator of gest-api

Each network is a task that yields its error after each epoch. As soon as one has ended, or was
pruned, the optimizer is asked for the next. It may be killed and resumed at any time.
"""

from __future__ import annotations

from typing import ClassVar

from optimizers import OPTIMIZERS
from training import EPOCHS, train

from steerio import Campaign, agent, transient
from steerio.asktell import Optimizer, Trials, drive


class Search(Campaign):
    """Look for the network that reads digits best.

    Args:
        trials: networks to train.
        by: the optimizer: optuna, gp or libensemble.
        whole: train each network to the end.
        seed: of the optimizer's random draws.
        quick: train only 12.
    """

    workers: ClassVar = {"train": 2}

    def __init__(
        self,
        trials: int = 60,
        by: str = "optuna",
        whole: bool = False,
        seed: int = 1,
        quick: bool = False,
    ) -> None:
        if by not in OPTIMIZERS:
            raise ValueError(f"by is one of {', '.join(OPTIMIZERS)}, not {by!r}")
        self.by, self.prune, self.seed = by, not whole, seed
        self.trials = Trials(12 if quick else trials)
        assert self.optimizer is not None  # a missing package is named now, and not later

    @transient
    def optimizer(self) -> Optimizer:
        """The optimizer: made anew, and taught, when the campaign is resumed."""
        return OPTIMIZERS[self.by](self.seed, self.prune)

    @agent
    async def search(self) -> None:
        """Run what the optimizer asks for."""
        await drive(self, self.optimizer, train, self.trials)

    async def finish(self) -> None:
        """Say which network was best, and what was trained for it."""
        ended = self.trials.ended
        best = min((each for each in ended if each.succeeded), key=lambda each: each.value)
        epochs = sum(len(each.reports) for each in ended)
        print(f"{best.value:.1%} wrong with {best.args}")
        print(
            f"{len(ended)} networks, {self.trials.counts['pruned']} pruned: {epochs} epochs, "
            f"{epochs / (len(ended) * EPOCHS):.0%} of all"
        )
