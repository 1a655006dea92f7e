"""Energies that were computed once, with their times; and the script that computed them.

    python examples/molecules/recorded.py        computes them all anew: some minutes

``recorded.csv`` has the energy of each of 2,000 molecules, as ``molecules.csv`` of a run has, and
``rankings.csv`` the time of a ranking by how many energies are known.  Times are those of the
processor, so that they do not depend on how busy the machine was.
"""

from __future__ import annotations

import csv
import time
from bisect import bisect_left
from pathlib import Path

from replay import Table
from surrogate import MAX_TRAINED, rank

FOLDER = Path(__file__).parent
FILE, RANKINGS = FOLDER / "recorded.csv", FOLDER / "rankings.csv"
SIZE = 2_000
KNOWN = (8, 50, 100, 200, 400, 800)


def recorded() -> Table:
    """Return the energies and times of the files."""
    with RANKINGS.open(newline="") as file:
        rankings = [(int(row["known"]), float(row["seconds"])) for row in csv.DictReader(file)]

    def ranking_s(known: int) -> float:
        known = max(KNOWN[0], min(known, MAX_TRAINED))
        place = min(max(1, bisect_left(rankings, (known, 0.0))), len(rankings) - 1)
        (less, less_s), (more, more_s) = rankings[place - 1 : place + 1]
        return less_s + (more_s - less_s) * (known - less) / (more - less)

    return Table.read(FILE, 1.0, ranking_s)


def main() -> None:
    """Compute all energies and some rankings, and write the files."""
    # imported here, since a replay needs no chemistry
    from energy import ionization_energy_ev
    from enumerate import molecules

    with FILE.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("smiles", "ionization_energy_ev", "seconds"))
        for number, smiles in enumerate(molecules(SIZE), 1):
            began_s = time.process_time()
            energy_ev = ionization_energy_ev(smiles)
            took_s = time.process_time() - began_s
            rows.writerow((smiles, f"{energy_ev:.4f}", f"{took_s:.4f}"))
            if number % 100 == 0:
                print(f"{number} energies", flush=True)
    time_rankings(Table.read(FILE, 1.0).energies)


def time_rankings(energies: dict[str, float]) -> None:
    """Time rankings of most molecules by some of them, and write how long they took."""
    everything = list(energies)
    rank({}, everything)  # reads all molecules, which is not to be timed
    with RANKINGS.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("known", "seconds"))
        for count in KNOWN:
            times: list[float] = []
            for _ in range(3):
                began_s = time.process_time()
                rank(
                    {smiles: energies[smiles] for smiles in everything[:count]}, everything[count:]
                )
                times.append(time.process_time() - began_s)
            rows.writerow((count, f"{sorted(times)[1]:.4f}"))


if __name__ == "__main__":
    main()
