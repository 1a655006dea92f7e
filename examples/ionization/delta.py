"""Who goes on: how likely a molecule is among the best, by all levels, and at what cost.

Each level is learned as its difference from the one below (delta learning), which is smoother than
the level itself: value = offset + slope times the value below + a Gaussian process of the
molecule's fingerprint. A molecule's chain starts at the highest level that is known of it, and
each further step adds its uncertainty. So one cheap value narrows a guess, and one dear value
teaches about all molecules like it.

Sources:
    Differences between levels: R. Ramakrishnan et al., J. Chem. Theory Comput. 2015, 11, 2087.
    Chains of Gaussian processes: M. C. Kennedy, A. O'Hagan, Biometrika 2000, 87, 1.
    Plans of looking and giving up: M. L. Weitzman, Econometrica 1979, 47, 641.
    Fingerprints and their kernel: `examples/molecules/surrogate.py`.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from sklearn.gaussian_process import GaussianProcessRegressor
from threadpoolctl import threadpool_limits

sys.path.append(str(Path(__file__).parents[1] / "molecules"))
from surrogate import Fingerprints, Tanimoto  # pyright: ignore[reportMissingImports]

Values = Mapping[str, float]
Array = NDArray[np.float64]

LEVELS = 3
LEAST = 4
"""Values that a level needs to be learned; with fewer its deviation is guessed."""
GUESSED_EV = 0.3
SLOPE_WEIGHT = 10.0
"""As many examples, of usual spread, as would say that the slope is 1."""
MAX_TRAINED = 1_500
KERNEL_VARIANCE, NOISE = 0.7, 0.1
"""In units of the variance of the differences."""

OUTCOMES = np.linspace(4.0, -4.0, 41)
"""Of a look, in standard deviations, the best first,"""
LIKELY = np.exp(-(OUTCOMES**2) / 2) / np.exp(-(OUTCOMES**2) / 2).sum()
"""and how likely they are."""

FAR_EV = 50.0
"""Beyond all values no molecule is expected."""

_fingerprints = Fingerprints()


@dataclass(frozen=True)
class Step:
    """How one level follows from the one below it; the lowest follows from nothing.

    Attributes:
        slope, offset: of the straight line.
        process: of the differences from that; None if too few values are known.
        variance: of the differences, in eV².
    """

    slope: float
    offset: float
    process: Any
    variance: float


Model = tuple[Step, ...]


def train(known: Sequence[Values], seed: int = 0) -> Model:
    """Return a model of all levels, learned from the values at each, the lowest first."""
    with threadpool_limits(limits=1):  # a worker has one core
        return tuple(
            _step(values, known[level - 1] if level else None, seed)
            for level, values in enumerate(known)
        )


class Estimates(NamedTuple):
    """The highest level as far as it is known, in eV, with one column for each molecule.

    Attributes:
        mean: the guess, or the value if it is known.
        deviation: the standard deviation of that.
        left: the one that would be left if the level of this row were known.
    """

    mean: Array
    deviation: Array
    left: Array


def predict(model: Model, known: Sequence[Values], molecules: Sequence[str]) -> Estimates:
    """Estimate the highest level of each molecule, from the highest that is known of it."""
    bits = _fingerprints.of(molecules)
    mean, variance = np.zeros(len(molecules)), np.zeros(len(molecules))
    left = np.zeros((len(model), len(molecules)))
    with threadpool_limits(limits=1):
        for level, (step, values) in enumerate(zip(model, known, strict=True)):
            mean, added = step.offset + step.slope * mean, np.full(len(molecules), step.variance)
            if step.process is not None:
                rest, around = step.process.predict(bits, return_std=True)
                mean, added = mean + rest, around**2 + NOISE * step.variance
            variance = step.slope**2 * variance + added
            left[:level] = step.slope**2 * left[:level] + added
            there = [place for place, smiles in enumerate(molecules) if smiles in values]
            mean[there] = [values[molecules[place]] for place in there]
            variance[there] = 0.0
    return Estimates(mean, np.sqrt(variance), np.sqrt(left))


def joined(parts: Sequence[Estimates]) -> Estimates:
    """Return the estimates of all parts as one."""
    return Estimates(*(np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True)))


def chances(found: Estimates, count: int) -> Array:
    """Return for each molecule how likely it is among the `count` highest."""
    return _above(found.mean - _threshold(found, count), found.deviation)


def worths(found: Estimates, count: int, following: Sequence[int], costs: Sequence[float]) -> Array:
    """Return the most chance for a second that each molecule has, if one goes on wisely.

    One may go on to some level, look at its value, and give up if that is low; or go on to the
    last. The best of these plans has the most chance of one of the `count` highest for each second,
    both in the mean (Gittins index). Far up few go on, so a dear level need not make a cheap one
    dear.

    Args:
        found: the estimates.
        count: how many are the best.
        following: the next level of each molecule.
        costs: the seconds of each level.
    """
    over = found.mean - _threshold(found, count)
    chance, best = _above(over, found.deviation), np.zeros(len(over))
    for level in range(len(costs)):
        here = np.flatnonzero(np.asarray(following) == level)
        best[here] = chance[here] / sum(costs[level:])
        for looked in range(level, len(costs) - 1):
            seen = found.deviation[here] ** 2 - found.left[looked, here] ** 2
            means = over[here] + np.sqrt(np.maximum(seen, 0.0)) * OUTCOMES[:, None]
            going_on = np.cumsum(LIKELY)[:, None]
            gain = np.cumsum(LIKELY[:, None] * _above(means, found.left[looked, here]), axis=0)
            looking_s, rest_s = sum(costs[level : looked + 1]), sum(costs[looked + 1 :])
            plans = gain / (looking_s + going_on * rest_s)
            best[here] = np.maximum(best[here], plans.max(axis=0, initial=0.0))
    return best


def _threshold(found: Estimates, count: int) -> float:
    """Return the value that so many molecules are expected to exceed."""
    low, high = float(found.mean.min()) - FAR_EV, float(found.mean.max()) + FAR_EV
    value: Any = brentq(
        lambda value: _above(found.mean - value, found.deviation).sum() - count, low, high
    )
    return float(value)


def _above(over: Array, deviation: Array) -> Array:
    """Return how likely a value is above 0, with this mean and standard deviation."""
    return np.asarray(ndtr(over / np.maximum(deviation, 1e-6)))


def _step(values: Values, below: Values | None, seed: int) -> Step:
    """Learn one level."""
    molecules = [smiles for smiles in values if below is None or smiles in below]
    if len(molecules) > MAX_TRAINED:
        molecules = random.Random(seed).sample(molecules, MAX_TRAINED)
    if len(molecules) < LEAST:
        return Step(1.0, 0.0, None, GUESSED_EV**2)
    high = np.array([values[smiles] for smiles in molecules])
    low = np.zeros(len(high)) if below is None else np.array([below[each] for each in molecules])
    slope = _slope(low, high) if below is not None else 0.0
    rest = high - slope * low
    offset, variance = float(rest.mean()), float(rest.var()) + 1e-6
    settings: Any = {"alpha": NOISE * variance, "optimizer": None}
    process: Any = GaussianProcessRegressor(Tanimoto(KERNEL_VARIANCE * variance), **settings)
    process.fit(_fingerprints.of(molecules), rest - offset)
    return Step(slope, offset, process, variance)


def _slope(low: Array, high: Array) -> float:
    """Return the slope of a straight line, drawn towards 1 by a few examples."""
    usual = SLOPE_WEIGHT * float(low.var()) + 1e-6
    spread = low - low.mean()
    return float((spread @ (high - high.mean()) + usual) / (spread @ spread + usual))
