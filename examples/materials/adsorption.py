"""The uptake of CO2, by grand-canonical Monte Carlo (GCMC) in NumPy.

A **stand-in** for a code such as RASPA2, which `raspa` runs if that is asked for: a molecule is one
Lennard-Jones site and has no charges, and the framework is rigid. Its field is read from a grid. An
uptake is no statement on a material.
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import numpy as np
import raspa
from dynamics import KELVIN, UFF
from frameworks import Array, Framework

from steerio import task

BAR = 1.0
DISTANCE, DEPTH = 4.21, 0.469
"""Of the site: the distance of the least energy, in angstrom, and its depth, in kcal/mol."""
SPACING, CUTOFF = 0.8, 12.0
REPEATS = 2
"""Cells in each direction."""
SETTLING = 0.25
"""The share of moves that does not count."""
BLOCKS = 5
STEP = 1.5
"""Of a displacement at most, in angstrom, along each axis."""
MOST = 4096
"""Molecules."""
BETA = 1 / (0.0019872 * KELVIN)
"""In mol/kcal."""
PER_A3 = BAR * 7.2429e-3 / KELVIN
"""Molecules of the ideal gas in a cubic angstrom."""


class Uptake(NamedTuple):
    """An uptake, as measured by a run.

    Attributes:
        uptake: in mol/kg.
        error: one standard error, by blocks of the run.
    """

    uptake: float
    error: float


@task(pool="adsorb")
def adsorb(framework: Framework, cycles: int, seed: int, by_raspa: bool = False) -> Uptake:
    """Measure the uptake of a framework by a number of moves, here or by RASPA2."""
    if by_raspa:
        return Uptake(*raspa.uptake(framework, cycles, seed))
    return measured(field_of(framework), framework, cycles, seed)


def measured(field: Array, framework: Framework, cycles: int, seed: int) -> Uptake:
    """Measure the uptake of a framework whose field is known."""
    shape = framework.cell * REPEATS
    chance = random.Random(f"{framework.linker} {seed}")
    counts = np.array(Walk(field, shape, chance).run(cycles))[int(SETTLING * cycles) :]
    kilograms = REPEATS**3 * mass_of(framework) / 1000
    blocks = [block.mean() for block in np.array_split(counts, BLOCKS)]
    error = float(np.std(blocks, ddof=1)) / BLOCKS**0.5
    return Uptake(float(counts.mean()) / kilograms, error / kilograms)


def mass_of(framework: Framework) -> float:
    """Return the mass of the cell, in u."""
    from openmm import app

    return sum(app.Element.getBySymbol(symbol).mass._value for symbol in framework.symbols)


def field_of(framework: Framework) -> Array:
    """Return the energy of a molecule at the points of a grid in the cell, in kcal/mol."""
    sizes = np.ceil(np.linalg.norm(framework.cell, axis=1) / SPACING).astype(int)
    axes = [(np.arange(size) + 0.5) / size for size in sizes]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    places = framework.positions @ np.linalg.inv(framework.cell)
    shifts = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    energy = np.zeros(len(points))
    for place, symbol in zip(places, framework.symbols, strict=True):
        distance, depth = UFF[symbol]
        way = points - place
        way -= np.round(way)
        for shift in shifts:
            squared = (((way + shift) @ framework.cell) ** 2).sum(1)
            sixth = (((distance + DISTANCE) / 2) ** 2 / np.maximum(squared, 1.0)) ** 3
            sixth[squared > CUTOFF**2] = 0.0
            energy += math.sqrt(depth * DEPTH) * sixth * (sixth - 2)
    return energy.reshape(sizes)


class Walk:
    """A walk through the states of the molecules in some cells, in steps that Metropolis accepts.

    Args:
        field: the energy of a molecule in a cell, on a grid.
        cell: the vectors of all cells together.
        chance: draws the steps.
    """

    def __init__(self, field: Array, cell: Array, chance: random.Random) -> None:
        self.field, self.cell, self.chance = field, cell, chance
        self.inverse = np.linalg.inv(cell)
        self.sizes = np.array(field.shape)
        self.ideal = PER_A3 * abs(float(np.linalg.det(cell)))
        self.places = np.empty((MOST, 3))
        self.number = 0

    def run(self, moves: int) -> list[int]:
        """Make some moves; return the number of molecules after each."""
        counts: list[int] = []
        for _ in range(moves):
            kind = self.chance.randrange(3)
            if kind == 0:
                self.insert()
            elif self.number:
                (self.delete, self.displace)[kind - 1](self.chance.randrange(self.number))
            counts.append(self.number)
        return counts

    def energy(self, place: Array, but: int = -1) -> float:
        """Return the energy of a molecule at a place, with all others but one."""
        index = tuple((place * REPEATS % 1.0 * self.sizes).astype(int))
        way = self.places[: self.number] - place
        way -= np.round(way)
        squared = ((way @ self.cell) ** 2).sum(1)
        if but >= 0:
            squared[but] = np.inf
        sixth = (DISTANCE**2 / np.maximum(squared, 1.0)) ** 3
        sixth[squared > CUTOFF**2] = 0.0
        return float(self.field[index] + DEPTH * (sixth * (sixth - 2)).sum())

    def accepts(self, odds: float, change: float) -> bool:
        """Draw whether a step with this change of the energy is made."""
        return self.chance.random() < odds * math.exp(min(max(-BETA * change, -700.0), 700.0))

    def insert(self) -> None:
        """Try to insert a molecule."""
        place = np.array([self.chance.random() for _ in range(3)])
        odds = self.ideal / (self.number + 1)
        if self.number < MOST and self.accepts(odds, self.energy(place)):
            self.places[self.number] = place
            self.number += 1

    def delete(self, one: int) -> None:
        """Try to delete a molecule."""
        if self.accepts(self.number / self.ideal, -self.energy(self.places[one], one)):
            self.number -= 1
            self.places[one] = self.places[self.number]

    def displace(self, one: int) -> None:
        """Try to displace a molecule."""
        step = np.array([self.chance.uniform(-STEP, STEP) for _ in range(3)])
        place = (self.places[one] + step @ self.inverse) % 1.0
        change = self.energy(place, one) - self.energy(self.places[one], one)
        if self.accepts(1.0, change):
            self.places[one] = place
