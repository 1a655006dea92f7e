"""The tasks between two shots, fit and rating, and the rule that needs neither."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from beamline import LIMIT, NOISE, NOMINAL, USUAL, Array, bunch, track
from scipy.optimize import least_squares

from steerio import task

FEW = 200
"""Particles that are enough for positions and sizes."""
GAIN = 0.4
"""Of a safe step: the share of the distance from the axis that it takes away."""


@task(pool="fit")
def fit(
    settings: list[list[float]], readings: list[list[float]], guess: list[float]
) -> list[float]:
    """Fit the errors to the last shots: the older a shot is, the less it counts."""
    few, shots = bunch(FEW), np.array(settings)
    weights = 1 / np.sqrt(np.arange(len(shots), 0, -1.0))[:, None] / NOISE

    def residuals(errors: Array) -> Array:
        away = (track(shots, errors, few)[0] - readings) * weights
        return np.concatenate([away.ravel(), errors / USUAL])

    return least_squares(residuals, guess, max_nfev=6).x.tolist()


@task(pool="track")
def rate(settings: list[float], errors: list[float], particles: int) -> float:
    """Track many particles; return the share that would hit the target."""
    _, shares = track(np.array(settings), np.array(errors), bunch(particles))
    return float(shares[0])


def safe_step(settings: Sequence[float], readings: Sequence[float]) -> list[float]:
    """Return settings whose correctors bend the beam a little towards the axis.

    It needs no model of the errors, and takes some microseconds: the rule to fall back to.
    """
    after = np.array(settings)
    after[:4] -= GAIN * (back_to_axis() @ np.array(readings[:4]))
    return np.clip(after, -LIMIT, LIMIT).tolist()


@cache
def back_to_axis() -> Array:
    """Return the correctors that undo a displacement at the monitors, as a matrix."""
    each = np.concatenate([0.05 * np.eye(6)[:4], -0.05 * np.eye(6)[:4]]) + np.array(NOMINAL)
    positions = track(each, np.zeros(5), bunch(FEW))[0][:, :4]
    return np.asarray(np.linalg.inv((positions[:4] - positions[4:]).T / 0.1), float)
