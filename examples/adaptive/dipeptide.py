"""The task: a replica of alanine dipeptide, by OpenMM, that streams its frames.

In vacuum at 500 K, by the Amber ff14SB force field: 22 atoms, so a picosecond takes some
four milliseconds on one core. Its shape is all but told by two torsions, phi and psi.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import steerio
from steerio import task
from steerio.errors import UsageError

Array = np.ndarray[Any, Any]

TEMPERATURE_K = 500.0
STEP_PS = 0.004
"""With heavy hydrogens (3 u), as is usual."""
FRAME_PS = 1.0
FRAMES = 2
"""Of an item."""
HORIZON = 10_000
"""Items of a replica that is not halted."""
SETTLING_PS = 2.0
"""Under restraint, before a replica begins at torsions of which no frame was seen."""
STIFF = 400.0
"""Of the restraint, in kJ/mol/rad^2."""
PHI = (4, 6, 8, 14)
PSI = (6, 8, 14, 16)
TURNS = {PHI: slice(8, 22), PSI: slice(14, 22)}
"""By torsion, the atoms that turn with it (after its second atom)."""
STAY = {PHI: (8,), PSI: (14,)}
MISSING = "this example needs OpenMM: pip install 'steerio[example-adaptive]'"


class Start(NamedTuple):
    """The place where a replica begins: two torsions, in degrees, and all atoms if they are known.

    Attributes:
        phi: of the backbone.
        psi: of the backbone.
        atoms: positions of the 22 atoms, in nm; empty to have them made from the torsions.
    """

    phi: float
    psi: float
    atoms: bytes = b""


class Frames(NamedTuple):
    """An item: some frames.

    Attributes:
        torsions: phi and psi of each, in degrees.
        atoms: positions of each.
    """

    torsions: Array
    atoms: Array


def check_openmm() -> None:
    """Say what is missing, if OpenMM is not installed.

    Raises:
        UsageError: it is not.
    """
    if find_spec("openmm") is None:
        raise UsageError(MISSING)


def torsion(atoms: Array, four: tuple[int, ...]) -> float:
    """Return a torsion, in degrees."""
    a, b, c, d = atoms[list(four)]
    axis = (c - b) / np.linalg.norm(c - b)
    left, right = np.cross(b - a, axis), np.cross(axis, d - c)
    return float(np.degrees(np.arctan2(np.dot(np.cross(left, right), axis), np.dot(left, right))))


def turned(atoms: Array, phi: float, psi: float) -> Array:
    """Return the atoms with other torsions (by Rodrigues' formula)."""
    atoms = np.array(atoms, dtype=float)
    for four, wanted in ((PHI, phi), (PSI, psi)):
        middle, end = atoms[four[1]], atoms[four[2]]
        axis = (end - middle) / np.linalg.norm(end - middle)
        angle = np.radians(wanted - torsion(atoms, four))
        rest = atoms[TURNS[four]] - end
        atoms[TURNS[four]] = (
            end
            + rest * np.cos(angle)
            + np.cross(axis, rest) * np.sin(angle)
            + np.outer(rest @ axis, axis) * (1 - np.cos(angle))
        )
    return atoms


class Dipeptide:
    """The molecule in OpenMM: free, and with its torsions held."""

    def __init__(self) -> None:
        import openmm as mm
        from openmm import app

        self.minimize = mm.LocalEnergyMinimizer.minimize
        pdb: Any = app.PDBFile(str(Path(__file__).with_name("dipeptide.pdb")))
        self.stretched = np.array(pdb.getPositions(asNumpy=True)._value)
        field = app.ForceField("amber14-all.xml")

        def context(*forces: Any) -> Any:
            system = field.createSystem(pdb.topology, constraints=app.HBonds, hydrogenMass=3)
            for force in forces:
                system.addForce(force)
            moves = mm.LangevinMiddleIntegrator(TEMPERATURE_K, 1.0, STEP_PS)
            # For so few atoms the plainest platform is the fastest; it is also exactly repeatable.
            return mm.Context(system, moves, mm.Platform.getPlatformByName("Reference"))

        held = mm.CustomTorsionForce(f"{STIFF / 2}*w^2; w = min(d, 6.2831853-d); d = abs(theta-at)")
        held.addPerTorsionParameter("at")
        for four in (PHI, PSI):
            held.addTorsion(*four, [0.0])
        self.holds = held
        self.held, self.free = context(held), context()

    def seed(self, number: int) -> None:
        """Have the random numbers of the next steps follow from a number."""
        for context in (self.held, self.free):
            context.getIntegrator().setRandomNumberSeed(number + 1)  # 0 is drawn
            context.reinitialize()

    def settle(self, start: Start, number: int) -> Array:
        """Return atoms with some torsions, after a short time under restraint."""
        for index, (four, at) in enumerate(((PHI, start.phi), (PSI, start.psi))):
            self.holds.setTorsionParameters(index, *four, [float(np.radians(at))])
        self.holds.updateParametersInContext(self.held)
        self.held.setPositions(turned(self.stretched, start.phi, start.psi))
        self.minimize(self.held)
        self.held.setVelocitiesToTemperature(TEMPERATURE_K, number + 1)
        return self.settled()

    def settled(self) -> Array:
        """Return atoms after some more of that time."""
        return self.advance(self.held, SETTLING_PS)

    def begin(self, atoms: Array, number: int) -> None:
        """Begin to move freely, with velocities drawn anew."""
        self.free.setPositions(atoms)
        self.free.setVelocitiesToTemperature(TEMPERATURE_K, number + 1)

    def frames(self, count: int) -> Frames:
        """Move on, and return the next frames."""
        atoms = [self.advance(self.free, FRAME_PS) for _ in range(count)]
        torsions = [(torsion(each, PHI), torsion(each, PSI)) for each in atoms]
        return Frames(np.array(torsions, np.float32), np.array(atoms, np.float32))

    def advance(self, context: Any, picoseconds: float) -> Array:
        """Move on, and return the positions of the atoms in nm."""
        context.getIntegrator().step(round(picoseconds / STEP_PS))
        state = context.getState(positions=True)
        return np.array(state.getPositions(asNumpy=True)._value)


@steerio.resource
def dipeptide() -> Dipeptide:
    """The molecule, set up once on each worker."""
    return Dipeptide()


@task(pool="dynamics", cancel_grace_s=10.0, retries={"lost": 100})
def replica(start: Start, number: int) -> Iterator[Frames]:
    """Run a replica; yield two frames at a time. Its number is the seed of its random numbers."""
    molecule = dipeptide()
    molecule.seed(number)
    if start.atoms:
        atoms = np.frombuffer(start.atoms, np.float32).reshape(-1, 3)
    else:
        atoms = molecule.settle(start, number)
    molecule.begin(atoms, number)
    for _ in range(HORIZON):
        yield molecule.frames(FRAMES)
