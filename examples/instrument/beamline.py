"""The beam: particles tracked through a line of magnets, and the tasks that make use of it.

Two correctors bend the beam, two quadrupoles focus it, a sextupole is in its way, and its own
charge drives it apart (as the round beam of Gauss would). Lengths along the line are in metres,
across it in millimetres, so angles are in milliradians. The instrument tracks its shots with this
model and with errors that drift; the campaign has the model and has to find the errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from steerio import task

Array = np.ndarray[Any, np.dtype[np.float64]]

SETTINGS = ("h1", "v1", "h2", "v2", "k1", "k2")
"""Correctors, horizontal and vertical, in mrad; quadrupoles in 1/m."""
LIMIT = 3.0
NOMINAL = (0.0, 0.0, 0.0, 0.0, 0.6, 0.6)
ERRORS = ("x", "x'", "y", "y'", "focus")
"""Of the beam as it comes in, and the share by which quadrupoles are stronger than they are set."""
USUAL = np.array([1.0, 1.0, 1.0, 1.0, 0.2])
"""How large errors are, about."""
SIZE, SPREAD = 0.8, 0.3
"""Of the beam as it comes in: standard deviations, in mm and mrad."""
DRIFTS = (1.0, 0.8, 1.0, 1.5)
"""Lengths between the magnets, and to the target."""
SLICES = 6
"""Kicks of the beam's charge for each of these lengths."""
CHARGE = 0.15
SEXTUPOLE = 0.06
APERTURE = 1.0
"""Radius of the target."""
MONITOR_NOISE, SIZE_NOISE = 0.1, 0.05
"""Of measured positions and sizes."""
NOISE = np.array([MONITOR_NOISE] * 4 + [SIZE_NOISE] * 2)
FEW = 200
"""Particles that are enough for positions and sizes."""
GAIN = 0.4
"""Of a safe step: the share of the distance from the axis that it takes away."""


@cache
def bunch(particles: int) -> Array:
    """Return x, x', y and y' of particles about the axis, always the same ones."""
    drawn = np.random.default_rng(7).normal(size=(4, particles))
    return drawn * np.array([SIZE, SPREAD, SIZE, SPREAD])[:, None]


def track(settings: Array, errors: Array, start: Array) -> tuple[Array, Array]:
    """Track particles; return the monitors' six readings, and the share that hits the target.

    Args:
        settings: of one shot each, in rows.
        errors: one row for all shots, or one each.
        start: x, x', y and y' of the particles.

    Returns:
        Positions at the monitor and at the target and sizes at the target, horizontal and
        vertical each, in rows; the shares.
    """
    h1, v1, h2, v2, k1, k2 = (each[:, None] for each in np.atleast_2d(settings).T)
    dx, dxp, dy, dyp, focus = (each[:, None] for each in np.atleast_2d(errors).T)
    x, xp = start[0] + dx, start[1] + dxp + h1
    y, yp = start[2] + dy, start[3] + dyp + v1
    k1, k2 = k1 * (1 + focus), k2 * (1 + focus)
    x, xp, y, yp = drift(x, xp, y, yp, DRIFTS[0])
    xp, yp = xp - k1 * x, yp + k1 * y
    x, xp, y, yp = drift(x, xp, y, yp, DRIFTS[1])
    xp, yp = xp + k2 * x, yp - k2 * y
    xp, yp = xp - SEXTUPOLE * (x * x - y * y), yp + 2 * SEXTUPOLE * x * y
    x, xp, y, yp = drift(x, xp, y, yp, DRIFTS[2])
    monitor = x.mean(axis=1), y.mean(axis=1)
    x, xp, y, yp = drift(x, xp + h2, y, yp + v2, DRIFTS[3])
    target = x.mean(axis=1), y.mean(axis=1), x.std(axis=1), y.std(axis=1)
    return np.stack([*monitor, *target], axis=1), (x * x + y * y < APERTURE**2).mean(axis=1)


def drift(x: Array, xp: Array, y: Array, yp: Array, length: float) -> tuple[Array, ...]:
    """Let particles fly, and their charge drive them apart."""
    step = length / SLICES
    for _ in range(SLICES):
        x, y = x + step * xp, y + step * yp
        rx, ry = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
        r2 = rx * rx + ry * ry
        width = r2.mean(axis=1, keepdims=True)  # twice the variance of one coordinate
        kick = CHARGE * step * -np.expm1(-r2 / width) / (r2 + 1e-9)
        xp, yp = xp + kick * rx, yp + kick * ry
    return x, xp, y, yp


# -- between shots --------------------------------------------------------------------------------


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
