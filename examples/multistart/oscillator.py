"""The task: one local fit of an oscillator to noisy data, which yields its misfit as it goes.

The model is that of FitzHugh (1961) and Nagumo (1962), V' = c (V - V^3/3 + R) and
R' = -(V - a + b R) / c, with unknown a, b, c and unknown V and R at the start. Its misfit has many
local minima (Ramsay et al. 2007), in most of which the fit has another rhythm than the data.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from steerio import task

Array = np.ndarray[Any, np.dtype[np.float64]]

NAMES = ("a", "b", "c", "V at the start", "R at the start")
TRUTH = (0.2, 0.2, 3.0, -1.0, 1.0)
LOW = np.array([-2.0, -2.0, 0.3, -4.0, -4.0])
HIGH = np.array([4.0, 4.0, 12.0, 4.0, 4.0])
STEP = 0.1
EACH = 5
"""Steps of the integrator from one measurement to the next."""
MEASURED = 161
NOISE = 0.3
EVALUATIONS = 8
"""Of the model and its derivatives, in one round of a fit."""
ROUNDS = 32
LEAST_GAIN = 1e-6
"""Of a round, as a share of the misfit; with less a fit has ended."""
NUDGE = 1e-6
FAR = 20.0
"""Where the method is not stable it stops."""


def simulate(point: Sequence[float]) -> Array:
    """Return V and R at each measurement, in turn, by Runge and Kutta's method.

    In plain floats: an array of two numbers would take five times as long.
    """
    a, b, c, v, r = point
    found = [v, r]
    half, whole, sixth = STEP / 2, STEP, STEP / 6
    for _ in range(MEASURED - 1):
        for _ in range(EACH):
            v1, r1 = c * (v - v * v * v / 3 + r), (a - v - b * r) / c
            x, y = v + half * v1, r + half * r1
            v2, r2 = c * (x - x * x * x / 3 + y), (a - x - b * y) / c
            x, y = v + half * v2, r + half * r2
            v3, r3 = c * (x - x * x * x / 3 + y), (a - x - b * y) / c
            x, y = v + whole * v3, r + whole * r3
            v4, r4 = c * (x - x * x * x / 3 + y), (a - x - b * y) / c
            v = min(max(v + sixth * (v1 + 2 * v2 + 2 * v3 + v4), -FAR), FAR)
            r = min(max(r + sixth * (r1 + 2 * r2 + 2 * r3 + r4), -FAR), FAR)
        found += (v, r)
    return np.array(found)


def measurements(seed: int) -> Array:
    """Return the data: the truth and noise."""
    return simulate(TRUTH) + np.random.default_rng(seed).normal(scale=NOISE, size=2 * MEASURED)


def rounds(start: tuple[float, ...], seed: int) -> Iterator[tuple[float, list[float]]]:
    """Fit the model from a starting point; yield misfit and parameters after each round."""
    data = measurements(seed)
    known: dict[bytes, tuple[Array, Array]] = {}

    def look(point: Array) -> tuple[Array, Array]:
        """Return residuals and derivatives, from six integrations."""
        if point.tobytes() not in known:
            known.clear()
            here = simulate(point.tolist())
            near = [simulate(each) for each in (point + NUDGE * np.eye(len(point))).tolist()]
            known[point.tobytes()] = here - data, (np.stack(near, axis=1) - here[:, None]) / NUDGE
        return known[point.tobytes()]

    point, misfit = np.array(start), np.inf
    for _ in range(ROUNDS):
        fit = least_squares(
            lambda point: look(point)[0],
            point,
            jac=lambda point: look(point)[1],  # pyright: ignore[reportArgumentType]
            bounds=(LOW - 1e-3, HIGH + 1e-3),
            max_nfev=EVALUATIONS,
        )
        yield float(fit.cost), fit.x.tolist()
        if fit.status > 0 or fit.cost > misfit * (1 - LEAST_GAIN):
            return
        point, misfit = fit.x, fit.cost


@task(pool="fit")
def fit(start: tuple[float, ...], seed: int) -> Generator[tuple[int, float], None, list[float]]:
    """Fit the model from a starting point; yield each round and its misfit, and return the end."""
    end: list[float] = []
    for number, (misfit, point) in enumerate(rounds(start, seed)):
        yield number, misfit
        end = [misfit, *point]
    return end
