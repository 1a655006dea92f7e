"""The replica's model of the plant, and its tasks: members of an ensemble, a batch in each task.

A member is a column: temperature, moles left, logarithm of the heat transfer, its loss in a minute,
and the excess temperature of the feed.  How fast the coil fouls the model does not know; heat
transfer and loss wander, and are found from the measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from plant import ACTIVATION, FEED, FEED_MINUTES, FEED_SPREAD, HEAT, INTERVAL, NOISE, RATE, TRANSFER

from steerio import task

Array = np.ndarray[Any, np.dtype[np.float64]]

KELVIN, MOLES, TRANSFERRED, LOSS, EXCESS = range(5)
"""The rows of an ensemble."""
STEPS = 10
"""Of the integrator, from one measurement to the next."""
WANDERS = 0.015
"""Of the logarithm of the heat transfer, in a minute."""
LOSS_WANDERS = 0.001
RUNAWAY = 360.0
"""Kelvin above which the reaction has run away."""
INFLATION = 1.02


def begin(members: int, seed: int) -> Array:
    """Return an ensemble that knows the plant by its design alone."""
    chance = np.random.default_rng([seed, 0])
    middle = np.array([[324.0], [0.885], [np.log(TRANSFER)], [0.01], [0.0]])
    spread = np.array([[2.0], [0.02], [0.05], [0.01], [FEED_SPREAD]])
    return middle + spread * chance.standard_normal((5, members))


def integrate(members: Array, coolants: Sequence[float], key: Sequence[int]) -> list[Array]:
    """Return the members after each interval, with a coolant in each.

    Matter and heat are exchanged exactly for half a step, then the reaction goes on at the
    temperature of the moment, then the other half (Strang 1968): stable while it runs away.

    Args:
        members: of the ensemble.
        coolants: kelvin, by interval.
        key: of the random numbers.  It names the batch, so these do not depend on the worker.
    """
    chance = np.random.default_rng(key)
    kelvin, moles, transferred, loss, excess = members
    step = INTERVAL / STEPS
    fresh = np.exp(-step / 2)
    keeps = np.exp(-step / FEED_MINUTES)
    spread = np.sqrt([[WANDERS**2 * step], [LOSS_WANDERS**2 * step], [1 - keeps**2]])
    spread[2] *= FEED_SPREAD
    found: list[Array] = []
    for coolant in coolants:
        jitter = chance.standard_normal((STEPS, 3, kelvin.size))
        jitter *= spread
        for wander, change, gust in jitter:
            loss = loss + change
            transferred = transferred - loss * step + wander
            excess = keeps * excess + gust
            transfer = np.exp(transferred)
            goal = (FEED + excess + transfer * coolant) / (1 + transfer)
            cools = np.exp(-(1 + transfer) * step / 2)
            kelvin = goal + (kelvin - goal) * cools
            moles = 1 + (moles - 1) * fresh
            left = moles * np.exp(-RATE * np.exp(-ACTIVATION / kelvin) * step)
            kelvin = kelvin + HEAT * (moles - left)
            kelvin = goal + (kelvin - goal) * cools
            moles = 1 + (left - 1) * fresh
        found.append(np.stack([kelvin, moles, transferred, loss, excess]))
    return found


@task(pool="assimilate")
def advance(members: Array, coolant: float, key: tuple[int, ...]) -> Array:
    """Take a batch of members on to the next measurement."""
    return integrate(members, [coolant], key)[-1]


@task(pool="ahead")
def look(members: Array, coolants: list[float], key: tuple[int, ...]) -> Array:
    """Return the temperatures of a batch of members after each interval of a what-if."""
    return np.stack([each[KELVIN] for each in integrate(members, coolants, key)])


def batches(ensemble: Array, size: int) -> list[Array]:
    """Return the ensemble in batches of a size, or a little less."""
    return np.array_split(ensemble, -(-ensemble.shape[1] // size), axis=1)


def analyse(forecast: Array, kelvin: float, key: Sequence[int]) -> Array:
    """Return the ensemble, corrected by a measured temperature.

    The ensemble Kalman filter (Evensen 1994) with perturbed measurements (Burgers, van Leeuwen and
    Evensen 1998) and inflation of the forecast (Anderson and Anderson 1999).
    """
    middle = forecast.mean(axis=1, keepdims=True)
    away = INFLATION * (forecast - middle)
    covariance = away @ away[KELVIN] / (away.shape[1] - 1)
    gain = covariance / (covariance[KELVIN] + NOISE**2)
    measured = kelvin + NOISE * np.random.default_rng(key).standard_normal(away.shape[1])
    corrected = middle + away + np.outer(gain, measured - (middle + away)[KELVIN])
    corrected[MOLES] = corrected[MOLES].clip(0, 1)
    return corrected
