"""The beam: particles tracked through a line of magnets.

Two correctors bend the beam, two quadrupoles focus it, a sextupole is in its way, and its own
charge drives it apart (as the round beam of Gauss would). Lengths along the line are in metres,
across it in millimetres, so angles are in milliradians. The instrument tracks its shots with this
model and with errors that drift; the campaign has the model and has to find the errors.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

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
