"""Molecular dynamics of a framework, by OpenMM: does it stay in shape?

The force field is a **stand-in**: harmonic bonds and angles, which like to be as the node and the
linker were by themselves, and at their joints as usual; the Lennard-Jones part of UFF; no charges
and no torsions. A linker that does not fit strains the cell, which a flexible barostat lets change.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from frameworks import Array, Framework

from steerio import task

NODE_ATOMS = 23
"""Of pormake's node, which come first."""
KELVIN, BAR = 300.0, 1.0
STEP_PS = 0.001
EVERY = 20
"""Steps from one look at the cell to the next, of the second half."""
MOST = 1.0
"""A strain beyond which a framework has fallen apart."""
JOINT_NM, BOND, ANGLE = 0.150, 2.5e5, 400.0
"""The joints' length, in nm, and constants in kJ/mol/nm^2 and kJ/mol/rad^2."""
USUAL = {2: 180.0, 3: 120.0, 4: 109.5}
"""Angles at a joint, by the number of neighbours of its middle atom."""
CUTOFF = 0.4
"""Of the least width of the cell."""
UFF = {
    "H": (2.886, 0.044),
    "C": (3.851, 0.105),
    "N": (3.660, 0.069),
    "O": (3.500, 0.060),
    "F": (3.364, 0.050),
    "S": (4.035, 0.274),
    "Cl": (3.947, 0.227),
    "Zn": (2.763, 0.124),
}
"""Distance of the least energy, in angstrom, and its depth, in kcal/mol."""


class Dynamics(NamedTuple):
    """The outcome of molecular dynamics.

    Attributes:
        framework: as it was in the end, in its mean cell.
        strain: the largest, of the mean cell against the assembled one.
    """

    framework: Framework
    strain: float


@task(pool="dynamics")
def relax(framework: Framework, picoseconds: float, seed: int) -> Dynamics:
    """Let a framework relax, and then move, at room temperature and pressure.

    Raises:
        ValueError: it has fallen apart.
    """
    import openmm
    from openmm import unit

    before = lower(framework.cell)
    places = framework.positions @ np.linalg.inv(framework.cell) @ before
    system = system_of(framework, before)
    barostat = openmm.MonteCarloFlexibleBarostat(BAR, KELVIN, 10, False)
    barostat.setRandomNumberSeed(seed)
    system.addForce(barostat)
    integrator = openmm.LangevinMiddleIntegrator(KELVIN, 5.0, STEP_PS)
    integrator.setRandomNumberSeed(seed)
    platform = openmm.Platform.getPlatformByName("CPU")
    once = {"Threads": "1", "DeterministicForces": "true"}
    context = openmm.Context(system, integrator, platform, once)
    context.setPositions(places / 10)
    openmm.LocalEnergyMinimizer.minimize(context, 10, 200)
    context.setVelocitiesToTemperature(KELVIN, seed)
    looks = max(1, round(picoseconds / STEP_PS / 2 / EVERY))
    integrator.step(looks * EVERY)
    cells: list[Array] = []
    for _ in range(looks):
        integrator.step(EVERY)
        vectors = context.getState().getPeriodicBoxVectors(asNumpy=True)
        cells.append(vectors.value_in_unit(unit.angstrom))
    state = context.getState(positions=True, energy=True)
    after = np.mean(cells, axis=0)
    strain = strain_of(before, after)
    if not np.isfinite(state.getPotentialEnergy()._value) or not strain < MOST:
        raise ValueError(f"it has fallen apart: strain {strain:.2f}")
    ended = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    ended = ended @ np.linalg.inv(cells[-1]) @ after
    return Dynamics(framework._replace(positions=ended, cell=after), strain)


def lower(cell: Array) -> Array:
    """Return a cell turned so that its vectors are a lower triangle, as OpenMM wants them."""
    turned = np.linalg.cholesky(cell @ cell.T)
    turned[np.abs(turned) < 1e-4] = 0.0
    return turned


def strain_of(before: Array, after: Array) -> float:
    """Return the largest principal value of the Lagrangian strain."""
    deformed = np.linalg.inv(before) @ after
    return float(np.abs(np.linalg.eigvalsh((deformed @ deformed.T - np.eye(3)) / 2)).max())


def system_of(framework: Framework, cell: Array) -> Any:
    """Return a framework with its forces, for OpenMM."""
    import openmm
    from openmm import app

    system = openmm.System()
    for symbol in framework.symbols:
        system.addParticle(app.Element.getBySymbol(symbol).mass)
    system.setDefaultPeriodicBoxVectors(*(cell / 10))
    pairs = [(int(first), int(second)) for first, second in framework.bonds]
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    near: dict[int, list[int]] = {}
    for first, second in pairs:
        length = np.linalg.norm(apart(framework, first, second)) / 10
        joint = (first < NODE_ATOMS) != (second < NODE_ATOMS)
        bonds.addBond(first, second, JOINT_NM if joint else length, BOND)
        near.setdefault(first, []).append(second)
        near.setdefault(second, []).append(first)
    for middle, ends in near.items():
        for first, second in combinations(ends, 2):
            joint = len({each < NODE_ATOMS for each in (first, middle, second)}) > 1
            usual = USUAL.get(len(ends), 120.0)
            degrees = usual if joint else angle(framework, first, middle, second)
            angles.addAngle(first, middle, second, np.radians(degrees), ANGLE)
    for force in (bonds, angles, between(framework, pairs, cell)):
        force.setUsesPeriodicBoundaryConditions(True) if force in (bonds, angles) else None
        system.addForce(force)
    return system


def between(framework: Framework, pairs: list[tuple[int, int]], cell: Array) -> Any:
    """Return the force between atoms that are not bonded."""
    import openmm

    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(CUTOFF * float(np.diag(cell).min()) / 10)
    force.setReactionFieldDielectric(1.0)
    for symbol in framework.symbols:
        distance, depth = UFF[symbol]
        force.addParticle(0.0, distance / 2 ** (1 / 6) / 10, 4.184 * depth)
    force.createExceptionsFromBonds(pairs, 0.0, 0.5)
    return force


def apart(framework: Framework, first: int, second: int) -> Array:
    """Return the way from an atom to the nearest image of another, in angstrom."""
    way = (framework.positions[second] - framework.positions[first]) @ np.linalg.inv(framework.cell)
    return (way - np.round(way)) @ framework.cell


def angle(framework: Framework, first: int, middle: int, second: int) -> float:
    """Return the angle of three atoms, in degrees."""
    left, right = apart(framework, middle, first), apart(framework, middle, second)
    cosine = left @ right / np.linalg.norm(left) / np.linalg.norm(right)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
