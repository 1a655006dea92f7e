"""Three optimizers of one search: each is made in a few lines, and the campaign is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gaussian import GaussianProcess

from steerio.asktell import GestGenerator, Optimizer, OptunaStudy

BOUNDS = {"width": (4, 64), "rate": (-4.0, 0.0), "decay": (-6.0, 0.0)}


def by_optuna(seed: int, prune: bool) -> Optimizer:
    """Return Optuna's sampler TPE, with a pruner that ends trials below the median of others."""
    import optuna
    from optuna.distributions import FloatDistribution

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
        if prune
        else optuna.pruners.NopPruner(),
    )
    return OptunaStudy(study, {name: FloatDistribution(*BOUNDS[name]) for name in BOUNDS})


def by_gaussian_process(seed: int, prune: bool) -> Optimizer:
    """Return a Gaussian process of our own, by scikit-learn: it prunes nothing."""
    return GaussianProcess(BOUNDS, seed)


def by_libensemble(seed: int, prune: bool) -> Optimizer:
    """Return a generator of libEnsemble, by gest-api: random points, the floor for others."""
    from gest_api.vocs import VOCS
    from libensemble.gen_classes.sampling import UniformSample

    variables: Any = {name: list(bounds) for name, bounds in BOUNDS.items()}
    objectives: Any = {"error": "MINIMIZE"}
    vocs = VOCS(variables=variables, objectives=objectives)
    return GestGenerator(UniformSample(vocs, random_seed=seed))


OPTIMIZERS: dict[str, Callable[[int, bool], Optimizer]] = {
    "optuna": by_optuna,
    "gp": by_gaussian_process,
    "libensemble": by_libensemble,
}
