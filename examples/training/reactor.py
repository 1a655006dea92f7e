"""The simulation: a tubular reactor in which A turns into B, and B into C, both giving off heat.

Convection, dispersion and cooling through a wall of three sections, in the usual dimensionless form
(Froment & Bischoff's textbook has it). Six settings decide how much B comes out. Where the reaction
ignites a hot spot runs along the tube, and most of B is lost: so the best settings lie beside a
cliff. The steady state is found by implicit steps in time, which are the longer the less changes:
near the cliff that takes several times as many.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from steerio import task

Array = np.ndarray[Any, np.dtype[np.float64]]
Point = tuple[float, ...]

NAMES = ("feed temperature", "wall 1", "wall 2", "wall 3", "residence time", "concentration")
DIMENSIONS = len(NAMES)
LOW = np.array([-0.10, -0.15, -0.15, -0.15, np.log(0.3), 0.4])
HIGH = np.array([0.15, 0.25, 0.25, 0.25, np.log(3.0), 2.0])
CELLS = 180
PECLET, PECLET_HEAT = 60.0, 40.0
ACTIVATION = (12.0, 18.0)
SLOWER = 0.12
"""The second reaction's rate beside the first's, at the feed's usual temperature."""
HEAT = (0.14, 0.21)
COOLING = 3.0
SPOILS, SPOILED = 0.30, 1.5
"""A hot spot above this temperature spoils the catalyst, and at which cost."""
LENGTH = 0.2
"""The cost of the tube, for each unit of residence time."""
STEPS, STEADY, FIRST_STEP = 400, 1e-8, 0.02


def setting(point: Point) -> list[float]:
    """Return the settings of a point: each of its numbers is from 0 to 1."""
    found: list[float] = (LOW + np.array(point) * (HIGH - LOW)).tolist()
    found[4] = float(np.exp(found[4]))
    return found


def rates(a: Array, b: Array, heat: Array) -> tuple[Array, Array, Array, Array]:
    """Return both rates, and their derivatives by the temperature."""
    kelvin = np.maximum(1.0 + heat, 0.2)
    k1 = np.exp(np.clip(ACTIVATION[0] * (1 - 1 / kelvin), -30, 30))
    k2 = SLOWER * np.exp(np.clip(ACTIVATION[1] * (1 - 1 / kelvin), -30, 30))
    return k1 * a, k2 * b, k1 * a * ACTIVATION[0] / kelvin**2, k2 * b * ACTIVATION[1] / kelvin**2


def transport(peclet: float) -> Array:
    """Return the matrix of convection and dispersion, with Danckwerts' ends."""
    width = 1.0 / CELLS
    spread = 1.0 / (peclet * width**2)
    matrix = np.diag(np.full(CELLS, -2 * spread - 1 / width))
    matrix += np.diag(np.full(CELLS - 1, spread + 1 / width), -1)
    matrix += np.diag(np.full(CELLS - 1, spread), 1)
    matrix[0, 0] += spread
    matrix[-1, -1] += spread
    return matrix


def steady(point: Point) -> tuple[Array, int]:
    """Return A, B and the temperature in each cell, and how many steps that took."""
    feed, *walls, time, concentration = setting(point)
    wall = np.repeat(walls, CELLS // 3)
    matrix = np.zeros((3 * CELLS, 3 * CELLS))
    mass, warmth = transport(PECLET), transport(PECLET_HEAT) - time * COOLING * np.eye(CELLS)
    for part, block in enumerate((mass, mass, warmth)):
        matrix[part * CELLS : (part + 1) * CELLS, part * CELLS : (part + 1) * CELLS] = block
    source = np.zeros(3 * CELLS)
    source[0] = CELLS
    source[2 * CELLS] = CELLS * feed
    source[2 * CELLS :] += time * COOLING * wall
    state = np.concatenate([np.zeros(2 * CELLS), np.full(CELLS, feed)])
    cell = np.arange(CELLS)
    step, before = FIRST_STEP, np.inf
    count = 0
    while count < STEPS:
        count += 1
        a, b, heat = state.reshape(3, CELLS)
        r1, r2, by_heat1, by_heat2 = rates(a, b, heat)
        k1, k2 = r1 / np.where(a == 0, 1, a), r2 / np.where(b == 0, 1, b)
        hot = [concentration * each for each in HEAT]
        change = matrix @ state + source
        change += time * np.concatenate([-r1, r1 - r2, hot[0] * r1 + hot[1] * r2])
        jacobian = matrix.copy()
        for row, (by_a, by_b, by_t) in enumerate(
            (
                (-k1, 0 * k2, -by_heat1),
                (k1, -k2, by_heat1 - by_heat2),
                (hot[0] * k1, hot[1] * k2, hot[0] * by_heat1 + hot[1] * by_heat2),
            )
        ):
            for column, value in enumerate((by_a, by_b, by_t)):
                jacobian[row * CELLS + cell, column * CELLS + cell] += time * value
        size = float(np.abs(change).max())
        if size < STEADY:
            break
        step = min(max(step * min(2.0, before / size), FIRST_STEP / 4), 1e6)
        before = size
        state = state + np.linalg.solve(np.eye(3 * CELLS) / step - jacobian, change)
    return state.reshape(3, CELLS), count


def profit(point: Point) -> tuple[float, int]:
    """Return how much B comes out, less the cost of the tube and of what a hot spot spoils.

    And the number of steps that the simulation took.
    """
    (_, b, heat), steps = steady(point)
    *_, time, concentration = setting(point)
    costs = LENGTH * time + SPOILED * max(0.0, float(heat.max()) - SPOILS)
    return concentration * float(b[-1]) - costs, steps


@task(pool="simulate", retries={"lost": 10})
def simulate(point: Point) -> float:
    """Return the profit of some settings, each from 0 to 1."""
    return round(profit(point)[0], 4)
