"""Frameworks: assembled by pormake from a linker and the zinc node of MOF-5, in its topology, pcu.

RDKit places the linker's atoms. pormake is given them as a building block with two connection
points, in the middle of the bonds to the carboxylates, which belong to the node.
"""

from __future__ import annotations

import contextlib
import tempfile
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from linkers import smiles_of

from steerio import task
from steerio.errors import UsageError

Array = np.ndarray[Any, Any]

NODE, TOPOLOGY = "N16", "pcu"
"""By pormake's names: Zn4O with six carboxylates, and the primitive cubic net."""
MOST_ATOMS = 150
CLASH = 1.2
"""Atoms that are not bonded and nearer than this, in angstrom, clash."""
PROBE, SAMPLES = 1.65, 2_000
"""The radius of CO2, in angstrom, and pyzeo's samples for each atom."""
PACKAGES = ("rdkit", "pormake", "pyzeo", "openmm")
TYPES = {"S": 1.0, "D": 2.0, "T": 3.0, "A": 1.5}
"""The orders of pormake's types of bonds."""


class Framework(NamedTuple):
    """The unit cell of a framework.

    Attributes:
        linker: it was assembled from.
        symbols: of its atoms.
        positions: of its atoms, in angstrom.
        cell: its vectors, one a row, in angstrom.
        bonds: pairs of atoms.
        orders: of the bonds.
    """

    linker: str
    symbols: tuple[str, ...] = ()
    positions: Array = np.empty((0, 3))
    cell: Array = np.eye(3)
    bonds: Array = np.empty((0, 2), int)
    orders: Array = np.empty(0)


class Pores(NamedTuple):
    """The pores of a framework.

    Attributes:
        free_diameter: of the largest sphere that passes through, in angstrom.
        void_fraction: the share of the volume that CO2's center may be in.
    """

    free_diameter: float
    void_fraction: float


@task(pool="assemble")
def check_packages(by_raspa: bool = False) -> None:
    """Say what is missing, if one of the packages is not installed where frameworks are assembled.

    Raises:
        UsageError: one is not.
    """
    if by_raspa and find_spec("RASPA2") is None:
        raise UsageError("--raspa needs RASPA2: pip install RASPA2, which builds it, in minutes")
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"this example needs {', '.join(missing)}: pip install 'steerio[example-materials]'"
        )


@task(pool="assemble")
def assemble(linker: str) -> Framework:
    """Assemble a framework from a linker.

    Raises:
        ValueError: the linker has no shape, is too long, or clashes with others.
    """
    with tempfile.TemporaryDirectory() as folder:
        block = Path(folder) / "linker.xyz"
        block.write_text(building_block(linker))
        mof = _built(block)
    if len(mof.atoms) > MOST_ATOMS:
        raise ValueError(f"{len(mof.atoms)} atoms are too many: {MOST_ATOMS} at most")
    framework = Framework(
        linker,
        tuple(mof.atoms.get_chemical_symbols()),
        np.array(mof.atoms.get_positions()),
        np.array(mof.atoms.get_cell()),
        np.array(mof.bonds, int),
        np.array([TYPES[kind] for kind in mof.bond_types]),
    )
    if nearest(framework) < CLASH:
        raise ValueError("atoms clash")
    return framework


def _built(block: Path) -> Any:
    pormake, topology, node = _pormake()
    edge = pormake.BuildingBlock(str(block))
    return pormake.Builder().build_by_type(
        topology=topology, node_bbs={0: node}, edge_bbs={(0, 0): edge}
    )


@cache
def _pormake() -> tuple[Any, Any, Any]:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        pormake: Any = import_module("pormake")  # which begins a file, runtime.log, where it is
    pormake.log.disable_print()
    database = pormake.Database()
    return pormake, database.get_topo(TOPOLOGY), database.get_bb(NODE)


def building_block(linker: str) -> str:
    """Return a linker as a building block, in pormake's format.

    Raises:
        ValueError: RDKit finds no shape for it.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    rdBase.DisableLog("rdApp.*")
    acid = Chem.MolFromSmiles(f"OC(=O){smiles_of(linker)[1:-1]}C(=O)O")
    if acid is None:
        raise ValueError(f"no molecule: {linker}")
    last = acid.GetNumAtoms() - 3  # the carbon of the second carboxylate
    acid = Chem.AddHs(acid)
    if rdDistGeom.EmbedMolecule(acid, randomSeed=1) < 0:
        raise ValueError(f"no shape: {linker}")
    rdForceFieldHelpers.MMFFOptimizeMolecule(acid)
    places = acid.GetConformer().GetPositions()
    ends = {0, 1, 2, last, last + 1, last + 2}
    ends |= {n.GetIdx() for i in (0, last + 2) for n in acid.GetAtomWithIdx(i).GetNeighbors()}
    kept = [atom.GetIdx() for atom in acid.GetAtoms() if atom.GetIdx() not in ends]
    place = {atom: index for index, atom in enumerate(kept)}
    lines = [
        f"{acid.GetAtomWithIdx(atom).GetSymbol()} {x:.4f} {y:.4f} {z:.4f}"
        for atom, (x, y, z) in zip(kept, places[kept], strict=True)
    ]
    bonds: list[str] = []
    for index, end in enumerate((1, last), len(kept)):
        (joint,) = (
            n.GetIdx() for n in acid.GetAtomWithIdx(end).GetNeighbors() if n.GetIdx() in place
        )
        x, y, z = (places[joint] + places[end]) / 2  # where it meets the node's half
        lines.append(f"X {x:.4f} {y:.4f} {z:.4f}")
        bonds.append(f"{index} {place[joint]} S")
    letters = {order: kind for kind, order in TYPES.items()}
    for bond in acid.GetBonds():
        first, second = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if first in place and second in place:
            kind = letters[bond.GetBondTypeAsDouble()]
            bonds.append(f"{place[first]} {place[second]} {kind}")
    head = [str(len(lines)), f"{len(kept)} {len(kept) + 1}"]
    return "\n".join([*head, *lines, *bonds]) + "\n"


def nearest(framework: Framework) -> float:
    """Return the least distance of two atoms that are not bonded, in angstrom."""
    places = framework.positions @ np.linalg.inv(framework.cell)
    apart = places[:, None] - places[None]
    apart -= np.round(apart)
    distances = np.linalg.norm(apart @ framework.cell, axis=-1)
    np.fill_diagonal(distances, np.inf)
    first, second = framework.bonds.T
    distances[first, second] = distances[second, first] = np.inf
    return float(distances.min())


@task(pool="assemble", priority=1.0)
def pores(framework: Framework) -> Pores:
    """Measure the pores of a framework, by the Voronoi decomposition of Zeo++."""
    from pyzeo.area_volume import volume
    from pyzeo.netstorage import AtomNetwork

    with tempfile.TemporaryDirectory() as folder:
        cif, found = Path(folder) / "framework.cif", Path(folder) / "framework.res"
        cif.write_text(as_cif(framework))
        network = AtomNetwork.read_from_CIF(str(cif))
        network.calculate_free_sphere_parameters(str(found))
        _, _, free, _ = found.read_text().split()
        told = volume(network, PROBE, PROBE, SAMPLES).decode()
    share = told.split("AV_Volume_fraction:")[1].split()[0]
    return Pores(float(free), float(share))


def as_cif(framework: Framework) -> str:
    """Return a framework as a CIF file, without symmetry."""
    lengths = np.linalg.norm(framework.cell, axis=1)
    unit = framework.cell / lengths[:, None]
    angles = np.degrees(np.arccos([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]))
    places = framework.positions @ np.linalg.inv(framework.cell) % 1.0
    lines = ["data_framework", "_symmetry_space_group_name_H-M 'P 1'"]
    lines += [
        f"_cell_length_{name} {value:.4f}" for name, value in zip("abc", lengths, strict=True)
    ]
    for name, value in zip(("alpha", "beta", "gamma"), angles, strict=True):
        lines.append(f"_cell_angle_{name} {value:.3f}")
    lines += ["loop_", "_symmetry_equiv_pos_as_xyz", "x,y,z", "loop_", "_atom_site_label"]
    lines += ["_atom_site_type_symbol", *(f"_atom_site_fract_{axis}" for axis in "xyz")]
    for index, (symbol, place) in enumerate(zip(framework.symbols, places, strict=True)):
        lines.append(f"{symbol}{index} {symbol} " + " ".join(f"{value:.5f}" for value in place))
    return "\n".join(lines) + "\n"
