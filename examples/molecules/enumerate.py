"""The space that is searched: small organic molecules, enumerated with RDKit.

A molecule is a scaffold with one to three substituents, each on a carbon atom of the scaffold
that still has a hydrogen, no two on the same one. Scaffold, sites and substituents are drawn
from a generator with a fixed seed until as many different molecules have come out as were
asked for. So the space is the same in every run with one version of RDKit, a smaller space is
the beginning of a larger one, and the order of the lists below favours nothing.
"""

from __future__ import annotations

import random

from rdkit import Chem
from rdkit.Chem.rdchem import BondType, Mol, RWMol

MIN_HEAVY_ATOMS = 5
MAX_HEAVY_ATOMS = 16
MAX_DRAWS_PER_MOLECULE = 100

# Chains, rings, aromatic and heteroaromatic rings.
SCAFFOLDS = (
    "CC", "CCC", "CCCC", "CC(C)C", "CCCCC", "CC(C)(C)C", "CCCCCC",
    "C=C", "C=CC", "CC=CC", "C=CC=C", "CC#CC", "C=CC=CC=C",
    "COC", "CCOCC", "COCCOC", "CN(C)C", "CSC", "CC(=O)C", "CC(=O)CC(=O)C",
    "CC(=O)OC", "COC(=O)OC", "CC(=O)N(C)C", "CS(=O)(=O)C", "CC#N", "CCC#N",
    "C1CC1", "C1CCC1", "C1CCCC1", "C1CCCCC1", "C1=CCCCC1", "C1CC2CCC1C2",
    "C1CO1", "C1CCOC1", "C1CCOCC1", "C1COCCO1", "C1CCSC1", "C1CCN(C)C1", "C1COCCN1C",
    "O=C1CCCC1", "O=C1CCCCC1", "O=C1CCCO1", "O=C1CCC(=O)O1", "O=C1CCCN1C",
    "c1ccccc1", "c1ccncc1", "c1cncnc1", "c1cnccn1", "c1ncncn1", "c1ccoc1", "c1ccsc1",
    "c1cc[nH]c1", "c1cnoc1", "c1cscn1", "c1cocn1", "Cn1ccnc1", "Cn1cccn1", "c1nnco1",
    "c1ccc2ccccc2c1", "c1ccc2[nH]ccc2c1", "c1ccc2occc2c1", "c1ccc2ncccc2c1", "c1cnc2nccnc2c1",
    "c1ccc2c(c1)OCO2", "c1ccc(cc1)-c1ccccc1", "O=C1C=CC(=O)C=C1",
)  # fmt: skip

# Donors and acceptors of electrons; the first atom is bonded to the scaffold.
SUBSTITUENTS = (
    "C", "CC", "C(C)C", "C1CC1", "C=C", "C#C", "CO", "CF", "C(F)F", "C(F)(F)F", "C(F)(F)C(F)(F)F",
    "F", "Cl", "O", "OC", "OCC", "OC(F)(F)F", "OC(C)=O", "S", "SC", "S(C)(=O)=O",
    "N", "NC", "N(C)C", "NC(C)=O", "[N+](=O)[O-]", "C#N", "CC#N",
    "C=O", "C(C)=O", "C(=O)O", "C(=O)OC", "C(N)=O", "C(=O)C(F)(F)F", "C(=O)F",
)  # fmt: skip

# How often one, two and three substituents are drawn, added up.
_ONE, _TWO = 0.10, 0.60

_SITE = Chem.MolFromSmarts("[#6;!H0]")

# What falls apart in the bottle: free hydroxyl, thiol or amine beside another heteroatom on one
# saturated carbon, a halogen beside one (trifluoromethoxy is fine), and enols.
_UNSTABLE = tuple(
    Chem.MolFromSmarts(smarts)
    for smarts in (
        "[CX4]([OX2H,SX2H,NX3;!H0])[O,N,S,F,Cl]",
        "[CX4;!$(C(F)(F)F)]([F,Cl])[OX2,NX3,SX2]",
        "[CX3;!$(C=O)]=[CX3][OX2H,SX2H]",
    )
)


class SpaceExhaustedError(ValueError):
    """Scaffolds and substituents do not give as many molecules as were asked for."""


def molecules(size: int = 10_000, seed: int = 0) -> list[str]:
    """Return `size` different molecules as canonical SMILES, the same ones every time.

    Each has 5 to 16 heavy atoms. Stereochemistry is left open. `seed` chooses another sample
    of the same chemistry.

    Raises:
        SpaceExhaustedError: if there are not that many.
    """
    draw = random.Random(seed).random
    scaffolds = [Chem.MolFromSmiles(smiles) for smiles in SCAFFOLDS]
    sites = [[match[0] for match in mol.GetSubstructMatches(_SITE)] for mol in scaffolds]
    substituents = [Chem.MolFromSmiles(smiles) for smiles in SUBSTITUENTS]
    found: dict[str, None] = {}  # a set that keeps the order of arrival
    for _ in range(MAX_DRAWS_PER_MOLECULE * size):
        if len(found) == size:
            break
        # Only random() is promised to give the same numbers in every version of Python.
        scaffold = int(draw() * len(scaffolds))
        kind = draw()
        count = 1 if kind < _ONE else 2 if kind < _TWO else 3
        free = list(sites[scaffold])
        mol = RWMol(scaffolds[scaffold])
        for _ in range(min(count, len(free))):
            site = free.pop(int(draw() * len(free)))
            _attach(mol, site, substituents[int(draw() * len(substituents))])
        if MIN_HEAVY_ATOMS <= mol.GetNumHeavyAtoms() <= MAX_HEAVY_ATOMS and _stable(mol):
            found[Chem.MolToSmiles(mol)] = None
    if len(found) < size:
        raise SpaceExhaustedError(f"found {len(found)} molecules, {size} were asked for")
    return list(found)


def _attach(mol: RWMol, site: int, substituent: Mol) -> None:
    """Bond the first atom of `substituent` to atom `site` of `mol`, in place."""
    first = mol.GetNumAtoms()
    mol.InsertMol(substituent)
    mol.AddBond(site, first, BondType.SINGLE)


def _stable(mol: RWMol) -> bool:
    """Sanitise `mol` in place; is it none of the unstable kinds?"""
    Chem.SanitizeMol(mol)
    return not any(mol.HasSubstructMatch(pattern) for pattern in _UNSTABLE)
