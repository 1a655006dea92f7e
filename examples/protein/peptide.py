"""The score: how much lower in energy a short peptide is as a helix than stretched out.

A stand-in for a real score, and no science on a protein: two backbones are written from ideal
geometry, PDBFixer adds side chains and hydrogens, and OpenMM minimises each, lets it move for a
moment at 100 K, and minimises it again (Amber ff99SB-ILDN with OBC implicit solvent). The score is
the difference of the two energies. It knows no entropy, no unfolded ensemble and no other fold.
"""

from __future__ import annotations

import importlib.util
import io
import math
import random
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from steerio import task

Vector = np.ndarray[Any, np.dtype[np.float64]]

RESIDUES = {
    "A": "ALA", "C": "CYS", "D": "ASP", "E": "GLU", "F": "PHE", "G": "GLY", "H": "HIS",
    "I": "ILE", "K": "LYS", "L": "LEU", "M": "MET", "N": "ASN", "P": "PRO", "Q": "GLN",
    "R": "ARG", "S": "SER", "T": "THR", "V": "VAL", "W": "TRP", "Y": "TYR",
}  # fmt: skip
TEMPLATE = "A**AA**A"
"""The residues that stay, and those that are free (``*``): two pairs, one turn of a helix apart."""
LETTERS = "AEKLQ"
"""What a free residue may be: small, acid, base, greasy, polar; all like a helix well enough."""
HELIX, STRETCHED = (-57.0, -47.0), (-135.0, 135.0)
"""Phi and psi."""
KELVIN, STEPS, STEP_PS = 100.0, 20, 0.002
ITERATIONS, TOLERANCE = 60, 10
SEED = 1
NEEDED = ("openmm", "pdbfixer")


def check_installed(*others: str) -> None:
    """Raise if a package is missing, one of these or of others, and say how to install it."""
    missing = [name for name in (*NEEDED, *others) if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(
            f"{' and '.join(missing)} not installed: pip install 'steerio[example-protein]'"
        )


def space(letters: str = LETTERS) -> list[str]:
    """Return all sequences of the design space; those of the first letters alone come first."""
    choices = [letters if each == "*" else each for each in TEMPLATE]
    every = ("".join(each) for each in product(*choices))
    free = [place for place, each in enumerate(TEMPLATE) if each == "*"]
    return sorted(every, key=lambda each: max(letters.index(each[place]) for place in free))


@task(pool="simulate", retries={"lost": 10}, preload=["openmm.app", "torch"])
def helix_preference(sequence: str) -> float:
    """Return by how much the helix is lower than the stretched peptide, in kJ/mol."""
    return relaxed_energy(sequence, *STRETCHED) - relaxed_energy(sequence, *HELIX)


def relaxed_energy(sequence: str, phi: float, psi: float) -> float:
    """Build a peptide, relax it from there, and return its potential energy in kJ/mol."""
    import openmm
    from openmm import unit
    from openmm.app import HBonds, NoCutoff
    from pdbfixer import PDBFixer

    random.seed(SEED)  # hydrogens are put near their places at random, before they are minimised
    exact = openmm.Platform.getPlatformByName("Reference")
    fixer = PDBFixer(pdbfile=io.StringIO(backbone(sequence, phi, psi)), platform=exact)
    fixer.missingResidues = {}
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=SEED)
    fixer.addMissingHydrogens(7.0)
    system = force_field().createSystem(
        fixer.topology, nonbondedMethod=NoCutoff, constraints=HBonds
    )
    integrator = openmm.LangevinMiddleIntegrator(KELVIN, 1.0, STEP_PS)
    integrator.setRandomNumberSeed(SEED)
    platform = openmm.Platform.getPlatformByName("CPU")
    alone = {"Threads": "1", "DeterministicForces": "true"}
    context = openmm.Context(system, integrator, platform, alone)
    context.setPositions(fixer.positions)
    openmm.LocalEnergyMinimizer.minimize(context, TOLERANCE, ITERATIONS)
    context.setVelocitiesToTemperature(KELVIN, SEED)
    integrator.step(STEPS)
    openmm.LocalEnergyMinimizer.minimize(context, TOLERANCE, ITERATIONS)
    energy = context.getState(getEnergy=True).getPotentialEnergy()
    return float(energy.value_in_unit(unit.kilojoule_per_mole))


@cache
def force_field() -> Any:
    """Read the force field, once in a process."""
    from openmm.app import ForceField

    return ForceField("amber99sbildn.xml", "amber99_obc.xml")


def backbone(sequence: str, phi: float, psi: float) -> str:
    """Return a PDB file of a peptide's backbone, with ideal bonds and equal torsions."""
    angle = math.radians(111.0)
    n, ca = np.zeros(3), np.array([1.458, 0.0, 0.0])
    c = ca + 1.525 * np.array([-math.cos(angle), math.sin(angle), 0.0])
    lines: list[str] = []
    for number, letter in enumerate(sequence, 1):
        if number > 1:
            new_n = placed(n, ca, c, 1.329, 116.6, psi)
            new_ca = placed(ca, c, new_n, 1.458, 121.7, 180.0)
            n, ca, c = new_n, new_ca, placed(c, new_n, new_ca, 1.525, 111.0, phi)
        atoms = {"N": n, "CA": ca, "C": c, "O": placed(n, ca, c, 1.231, 120.5, psi + 180.0)}
        if number == len(sequence):
            atoms["OXT"] = placed(n, ca, c, 1.25, 117.0, psi)
        for name, (x, y, z) in atoms.items():
            lines.append(
                f"ATOM  {len(lines) + 1:5d}  {name:<3} {RESIDUES[letter]} A{number:4d}    "
                f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           {name[0]}"
            )
    return "\n".join([*lines, "TER", "END", ""])


def placed(a: Vector, b: Vector, c: Vector, bond: float, angle: float, torsion: float) -> Vector:
    """Return where an atom is that is bonded to ``c``, by its bond, angle and torsion."""
    along = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, along)
    normal /= np.linalg.norm(normal)
    across = np.cross(normal, along)
    bend, turn = math.radians(angle), math.radians(torsion)
    away = math.cos(turn) * across + math.sin(turn) * normal
    found: Vector = c + bond * (math.sin(bend) * away - math.cos(bend) * along)
    return found
