"""What it takes to ionize a molecule, at three levels of theory: cheap, fair and dear.

1. `vertical_ev`: the electron leaves and the nuclei stay; GFN1-xTB at a force field's geometry.
2. `relaxed`: the nuclei follow; neutral and cation are relaxed with GFN2-xTB, each by itself,
   and the difference of their energies is the adiabatic ionization energy.
3. `density_ev`: density functional theory (B3LYP with a small basis, density fitting) for both
   relaxed geometries.

All are differences of total energies, without an empirical shift, so that the levels differ by
a nearly constant amount from one another and from measurement. What counts here is the order.

Sources:
    GFN1-xTB: S. Grimme, C. Bannwarth, P. Shushkov, J. Chem. Theory Comput. 2017, 13, 1989.
    GFN2-xTB: C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 2019, 15, 1652.
    PySCF: Q. Sun et al., J. Chem. Phys. 2020, 153, 024109.
    Geometries, and how molecules are read: `examples/molecules/energy.py`.
"""

from __future__ import annotations

import os
import random
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

# One worker has one core; the numerical libraries read this once, when they are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# PySCF runs whatever this file says, or one in the home directory if it is not set.
os.environ["PYSCF_CONFIG_FILE"] = os.devnull

import numpy as np

from steerio.errors import UsageError

sys.path.append(str(Path(__file__).parents[1] / "molecules"))
from energy import (  # pyright: ignore[reportMissingImports]
    BOHR_ANGSTROM,
    HARTREE_EV,
    ConvergenceError,
    geometry,
)
from enumerate import molecules  # pyright: ignore[reportMissingImports]
from rdkit import Chem

if TYPE_CHECKING:
    from numpy.typing import NDArray

FUNCTIONAL, BASIS, GRID_LEVEL = "b3lyp", "6-31g*", 0  # about five seconds; all but a coarse grid
QUICK_BASIS = "sto-3g"  # for a look, and for tests
DEAR_BASIS, DEAR_GRID_LEVEL = "6-311g*", 1  # for the sample of `record.py --dear`
CONVERGED_HARTREE = 1e-5
CYCLES = 60
HEAVY_ATOMS = 6  # at most, of the molecules that are searched
ORDER_SEED = 14
RELAXATION_STEPS = 200
RELAXED_EV_PER_ANGSTROM = 0.05


@dataclass(frozen=True)
class Relaxed:
    """A molecule relaxed before and after it lost an electron.

    Attributes:
        energy_ev: the adiabatic ionization energy by GFN2-xTB, in eV.
        numbers: atomic numbers.
        neutral: positions of the atoms of the neutral molecule, in Å.
        cation: those of the cation.
    """

    energy_ev: float
    numbers: tuple[int, ...]
    neutral: tuple[tuple[float, float, float], ...]
    cation: tuple[tuple[float, float, float], ...]


def space(heavy_atoms: int = HEAVY_ATOMS) -> list[str]:
    """Return the molecules of `examples/molecules` of at most this size, in random order."""
    small = [
        smiles
        for smiles in molecules(10_000)
        if Chem.MolFromSmiles(smiles).GetNumHeavyAtoms() <= heavy_atoms
    ]
    random.Random(ORDER_SEED).shuffle(small)
    return small


def check_codes() -> None:
    """Say what is missing, if one of the codes is not installed.

    Raises:
        UsageError: one is not.
    """
    missing = [name for name in ("tblite", "ase", "pyscf") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{', '.join(missing)}: not installed; pip install 'steerio[example-ionization]'"
        )


def vertical_ev(smiles: str) -> float:
    """Return the vertical ionization energy by GFN1-xTB, in eV.

    Raises:
        EnergyError: the molecule cannot be read, embedded or computed; see `energy.py`.
    """
    from tblite.interface import Calculator

    numbers, positions = geometry(smiles)
    energies: list[float] = []
    for charge in (0, 1):
        try:
            # A removed electron leaves one unpaired: the molecules have closed shells.
            calculator: Any = Calculator(
                "GFN1-xTB", numbers, positions / BOHR_ANGSTROM, charge=float(charge), uhf=charge
            )
            calculator.set("verbosity", 0)
            energies.append(float(calculator.singlepoint().get("energy")) * HARTREE_EV)
        except RuntimeError as error:
            raise ConvergenceError(f"{smiles!r} at charge {charge:+d}: {error}") from error
    return energies[1] - energies[0]


def relaxed(smiles: str) -> Relaxed:
    """Relax a molecule and its cation with GFN2-xTB.

    Raises:
        EnergyError: it cannot be read, embedded, computed, or relaxed in 200 steps.
    """
    numbers, positions = geometry(smiles)
    neutral, neutral_ev = _relax(smiles, numbers, positions, charge=0)
    cation, cation_ev = _relax(smiles, numbers, neutral, charge=1)
    return Relaxed(
        cation_ev - neutral_ev, tuple(map(int, numbers)), _rounded(neutral), _rounded(cation)
    )


def density_ev(
    smiles: str, geometries: Relaxed, basis: str = BASIS, grid_level: int = GRID_LEVEL
) -> float:
    """Return the adiabatic ionization energy by density functional theory, in eV.

    Raises:
        ConvergenceError: the self-consistent field of the molecule or its cation did not
            converge in 60 cycles.
    """
    neutral = _density_hartree(smiles, geometries.numbers, geometries.neutral, 0, basis, grid_level)
    cation = _density_hartree(smiles, geometries.numbers, geometries.cation, 1, basis, grid_level)
    return (cation - neutral) * HARTREE_EV


def _relax(
    smiles: str, numbers: NDArray[np.int64], positions: NDArray[np.float64], charge: int
) -> tuple[NDArray[np.float64], float]:
    """Return the relaxed positions in Å and the energy there in eV."""
    from ase import Atoms
    from ase.calculators.calculator import CalculationFailed
    from ase.optimize import BFGS
    from tblite.ase import TBLite

    calculator = TBLite(method="GFN2-xTB", charge=charge, multiplicity=1 + charge, verbosity=0)
    atoms: Any = Atoms(numbers, positions, calculator=calculator)
    try:
        with BFGS(atoms, logfile=None) as search:
            converged = search.run(fmax=RELAXED_EV_PER_ANGSTROM, steps=RELAXATION_STEPS)
        energy_ev = float(atoms.get_potential_energy())
    except CalculationFailed as error:
        raise ConvergenceError(f"{smiles!r} at charge {charge:+d}: {error}") from error
    if not converged:
        raise ConvergenceError(
            f"{smiles!r} at charge {charge:+d}: not relaxed after {RELAXATION_STEPS} steps"
        )
    return np.asarray(atoms.get_positions()), energy_ev


def _density_hartree(
    smiles: str,
    numbers: tuple[int, ...],
    positions: tuple[tuple[float, float, float], ...],
    charge: int,
    basis: str,
    grid_level: int,
) -> float:
    """Return the total energy of a molecule with `charge` electrons removed, in hartree."""
    from pyscf import dft, gto, lib, scf

    lib.num_threads(1)
    scf.hf.MUTE_CHKFILE = True  # a worker that is killed leaves no file
    molecule: Any = gto.M(
        atom=list(zip(numbers, positions, strict=True)),
        basis=basis,
        charge=charge,
        spin=charge,
        verbose=0,
    )
    field: Any = (dft.UKS if charge else dft.RKS)(molecule).density_fit()
    field.xc = FUNCTIONAL
    field.grids.level = grid_level
    field.conv_tol = CONVERGED_HARTREE
    field.max_cycle = CYCLES
    energy = float(field.kernel())
    if not field.converged:
        raise ConvergenceError(
            f"{smiles!r} at charge {charge:+d}: {FUNCTIONAL.upper()} did not converge in "
            f"{CYCLES} cycles"
        )
    return energy


def _rounded(positions: NDArray[np.float64]) -> tuple[tuple[float, float, float], ...]:
    """Return positions as plain numbers, to 1e-6 Å."""
    return tuple((float(x), float(y), float(z)) for x, y, z in np.round(positions, 6))
