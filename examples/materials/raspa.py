"""The uptake of CO2 by RASPA2, in place of the stand-in of `adsorption`.

    pip install RASPA2                       builds it from source: six minutes of one core
    python examples/materials/raspa.py       an uptake by both

CO2 is that of TraPPE, with three sites and charges. The framework is rigid; its atoms have RASPA2's
force field `GenericMOFs`, and **no charges**, so this is no statement on a material either.

Source:
    D. Dubbeldam, S. Calero, D. E. Ellis, R. Q. Snurr, Mol. Simul. 2016, 42, 81.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from dynamics import KELVIN
from frameworks import Framework

PASCAL, CUTOFF, MOVES = 1e5, 12.0, 20
"""The pressure, in pascal; the cut-off, in angstrom; moves in a cycle, at least."""
LIMIT_S = 3_600.0
RUN = "from RASPA2.raspa2 import run_script; run_script('simulation.input', stream=False)"
LOADING = re.compile(r"Average loading absolute \[mol/kg framework\]\s+(\S+) \+/-\s+(\S+)")
INPUT = """\
SimulationType MonteCarlo
NumberOfCycles {cycles}
NumberOfInitializationCycles {settling}
PrintEvery {cycles}
RandomSeed {seed}
Forcefield GenericMOFs
CutOffVDW {cutoff}
ChargeMethod Ewald
Framework 0
FrameworkName framework
UnitCells {repeats[0]} {repeats[1]} {repeats[2]}
ExternalTemperature {kelvin}
ExternalPressure {pascal}
Component 0 MoleculeName CO2
    MoleculeDefinition TraPPE
    TranslationProbability 1.0
    RotationProbability 1.0
    ReinsertionProbability 1.0
    SwapProbability 2.0
    CreateNumberOfMolecules 0
"""


def uptake(framework: Framework, moves: int, seed: int) -> tuple[float, float]:
    """Return the uptake of CO2 and its error, in mol/kg, by so many moves after a quarter more.

    Raises:
        RuntimeError: RASPA2 failed, or took more than an hour.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "framework.cif").write_text(cif(framework))
        cycles = max(1, moves // MOVES)
        (place / "simulation.input").write_text(
            INPUT.format(
                cycles=cycles,
                settling=max(1, cycles // 4),
                seed=seed + 1,  # 0 is drawn from the clock
                cutoff=CUTOFF,
                repeats=repeats(framework),
                kelvin=KELVIN,
                pascal=PASCAL,
            )
        )
        ran = subprocess.run(
            [sys.executable, "-c", RUN],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        written = "".join(each.read_text() for each in place.glob("Output/System_0/*.data"))
    found = LOADING.search(written)
    if found is None:
        raise RuntimeError(f"RASPA2 found no uptake: {(ran.stderr or ran.stdout)[-400:]}")
    return float(found[1]), float(found[2])


def repeats(framework: Framework) -> list[int]:
    """Return how many cells are needed along each vector, for the cut-off to fit in twice."""
    across = np.linalg.inv(framework.cell).T
    widths = 1 / np.linalg.norm(across, axis=1)
    return [int(each) for each in np.ceil(2 * CUTOFF / widths)]


def cif(framework: Framework) -> str:
    """Return a framework as a crystallographic file without symmetry."""
    lengths = np.linalg.norm(framework.cell, axis=1)
    a, b, c = framework.cell / lengths[:, None]
    angles = np.degrees(np.arccos([b @ c, a @ c, a @ b]))
    sizes = [f"_cell_length_{n} {x:.5f}" for n, x in zip("abc", lengths, strict=True)]
    names = ("alpha", "beta", "gamma")
    sizes += [f"_cell_angle_{n} {x:.5f}" for n, x in zip(names, angles, strict=True)]
    columns = ("label", "type_symbol", "fract_x", "fract_y", "fract_z")
    places = framework.positions @ np.linalg.inv(framework.cell) % 1.0
    atoms = [
        f"{symbol}_ {symbol} {x:.6f} {y:.6f} {z:.6f}"
        for symbol, (x, y, z) in zip(framework.symbols, places, strict=True)
    ]
    head = ["data_framework", *sizes, "_symmetry_space_group_name_H-M 'P 1'", "loop_"]
    return "\n".join([*head, *(f"_atom_site_{name}" for name in columns), *atoms]) + "\n"


def main() -> None:
    """Print the uptake of a framework by RASPA2, twice, and by the stand-in."""
    from adsorption import adsorb
    from frameworks import assemble

    linker, moves = "* C#C /C=C/ c1cnc(cn1) *", 4_000
    framework = assemble(linker)
    for seed in (1, 1, 2):
        print("RASPA2, seed", seed, *uptake(framework, moves, seed))
    print("stand-in", *adsorb(framework, moves, 1))


if __name__ == "__main__":
    main()
