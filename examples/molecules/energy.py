"""How hard a molecule is to ionize: real quantum chemistry, by GFN2-xTB.

The vertical ionization energy is what it takes to remove one electron while the nuclei stay
where they are: the energy of the cation less that of the neutral molecule, both at the geometry
of the neutral one. Extended tight binding treats every valence electron and gives it in tens of
milliseconds, where density functional theory takes minutes.

The method's self-consistent energies put ionization too high by a nearly constant amount, so
its authors take off an empirical shift; with it benzene comes out at 9.3 eV (9.24 eV measured).
The order of the molecules does not depend on it.

Sources:
    GFN2-xTB: C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 2019, 15, 1652.
    The shift: xtb's `--vip`, parameter `ipeashift` of GFN2; after V. Asgeirsson, C. A. Bauer,
        S. Grimme, Chem. Sci. 2017, 8, 4879.
    Geometries: ETKDG, S. Riniker, G. A. Landrum, J. Chem. Inf. Model. 2015, 55, 2562;
        MMFF94, T. A. Halgren, J. Comput. Chem. 1996, 17, 490.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

# One worker has one core; the Fortran library reads this once, when it is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

if TYPE_CHECKING:
    from numpy.typing import NDArray

HARTREE_EV = 27.211386245988  # CODATA 2018
BOHR_ANGSTROM = 0.529177210903  # CODATA 2018
SHIFT_EV = 0.178069 * HARTREE_EV  # 4.8455 eV

EMBEDDING_SEED = 7
EMBEDDING_TRIES = 50
FORCE_FIELD_STEPS = 500
RELAXATION_STEPS = 200
RELAXED_EV_PER_ANGSTROM = 0.05


class EnergyError(RuntimeError):
    """No energy came out; the message names the molecule and the step that failed."""


class InvalidMoleculeError(EnergyError):
    """The text is not SMILES of a closed-shell, neutral, single molecule."""


class EmbeddingError(EnergyError):
    """No three-dimensional geometry was found."""


class ConvergenceError(EnergyError):
    """The self-consistent field or the relaxation did not converge."""


def ionization_energy_ev(smiles: str, relax: bool = False) -> float:
    """Return the vertical ionization energy of a molecule, in eV.

    The geometry is the molecule's first ETKDG conformer after MMFF94, always the same one. With
    `relax` it is relaxed further, with the forces of GFN2-xTB, to 0.05 eV/Å; that costs about
    eight times as much.

    Raises:
        InvalidMoleculeError: `smiles` cannot be read, or is charged, a radical or a mixture.
        EmbeddingError: no geometry was found.
        ConvergenceError: an energy, or the relaxation, did not converge.
    """
    numbers, positions = geometry(smiles)
    if relax:
        positions = relaxed(smiles, numbers, positions)
    neutral = _total_energy_ev(smiles, numbers, positions, charge=0)
    cation = _total_energy_ev(smiles, numbers, positions, charge=1)
    return cation - neutral - SHIFT_EV


def geometry(smiles: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return atomic numbers, and positions in Å, of one conformer.

    A force field that stops early, or has no parameters for the molecule, leaves a geometry
    good enough to go on with: the embedding alone is a fair one.

    Raises:
        InvalidMoleculeError: `smiles` cannot be read, or is charged, a radical or a mixture.
        EmbeddingError: no geometry was found.
    """
    mol = Chem.MolFromSmiles(smiles)
    if mol is None or mol.GetNumAtoms() == 0:
        raise InvalidMoleculeError(f"cannot read {smiles!r} as SMILES")
    if Chem.GetFormalCharge(mol) or len(Chem.GetMolFrags(mol)) > 1:
        raise InvalidMoleculeError(f"{smiles!r} is not one neutral molecule")
    if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        raise InvalidMoleculeError(f"{smiles!r} has unpaired electrons")
    mol = Chem.AddHs(mol)
    parameters: Any = rdDistGeom.ETKDGv3()  # its stubs take no numbers
    parameters.randomSeed = EMBEDDING_SEED
    parameters.maxIterations = EMBEDDING_TRIES
    if rdDistGeom.EmbedMolecule(mol, parameters) != 0:
        parameters.useRandomCoords = True
        if rdDistGeom.EmbedMolecule(mol, parameters) != 0:
            raise EmbeddingError(f"no three-dimensional geometry found for {smiles!r}")
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol, maxIters=FORCE_FIELD_STEPS)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    return numbers, np.asarray(mol.GetConformer().GetPositions())


def relaxed(
    smiles: str, numbers: NDArray[np.int64], positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the positions, in Å, after relaxing the neutral molecule with GFN2-xTB.

    Raises:
        ConvergenceError: forces are above 0.05 eV/Å after 200 steps, or an energy failed.
    """
    from ase import Atoms
    from ase.calculators.calculator import CalculationFailed
    from ase.optimize import BFGS
    from tblite.ase import TBLite

    _use_one_thread()
    atoms: Any = Atoms(numbers, positions, calculator=TBLite(method="GFN2-xTB", verbosity=0))
    try:
        with BFGS(atoms, logfile=None) as search:
            converged = search.run(fmax=RELAXED_EV_PER_ANGSTROM, steps=RELAXATION_STEPS)
    except CalculationFailed as error:
        raise ConvergenceError(f"{smiles!r}: relaxation stopped: {error}") from error
    if not converged:
        raise ConvergenceError(f"{smiles!r}: not relaxed after {RELAXATION_STEPS} steps")
    return np.asarray(atoms.get_positions())


def _total_energy_ev(
    smiles: str, numbers: NDArray[np.int64], positions: NDArray[np.float64], charge: int
) -> float:
    """Return the total energy of a molecule with `charge` electrons removed, in eV."""
    from tblite.interface import Calculator

    _use_one_thread()
    try:
        # Each removed electron leaves one unpaired: the molecules have closed shells.
        calculator: Any = Calculator(
            "GFN2-xTB", numbers, positions / BOHR_ANGSTROM, charge=float(charge), uhf=charge
        )
        calculator.set("verbosity", 0)
        energy = calculator.singlepoint().get("energy")
    except RuntimeError as error:
        raise ConvergenceError(f"{smiles!r} at charge {charge:+d}: {error}") from error
    return float(energy) * HARTREE_EV


@functools.cache
def _use_one_thread() -> None:
    """Keep libraries that were loaded before the variable above was set to one core as well."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=1)
