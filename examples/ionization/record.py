"""Compute a space of small molecules at all three levels, once, with what each cost.

    python examples/ionization/record.py --quick
    python examples/ionization/record.py --minutes 60

The file that comes out, `recorded.csv`, is what `compare.py` replays. A cost is the processor
time of the process that computed, so that a busy machine does not count as dear chemistry. The
molecules come in random order and each is written when it is done: a recording that is cut
short is a fair sample. Running it again goes on where it ended. `models.csv` has the costs of
training and inference. ``--dear 40`` computes so many of the recorded molecules once more, in a
larger basis on a finer grid, for `dear.csv`: what a last level costs that is worth its name.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import time
from pathlib import Path

FILE = Path(__file__).with_name("recorded.csv")
MODELS = Path(__file__).with_name("models.csv")
DEAR = Path(__file__).with_name("dear.csv")
COLUMNS: tuple[str, ...] = (
    "smiles", "vertical_ev", "vertical_s", "adiabatic_ev", "adiabatic_s", "density_ev",
    "density_s", "failure",
)  # fmt: skip


def computed(smiles: str) -> dict[str, str]:
    """Return one row of the file: three values and costs, or where the molecule failed."""
    import levels
    from energy import EnergyError  # pyright: ignore[reportMissingImports]

    row = {"smiles": smiles}
    began_s, step = time.process_time(), "vertical"
    try:
        row["vertical_ev"] = f"{levels.vertical_ev(smiles):.4f}"
        row["vertical_s"] = f"{time.process_time() - began_s:.4f}"
        began_s, step = time.process_time(), "adiabatic"
        geometries = levels.relaxed(smiles)
        row["adiabatic_ev"] = f"{geometries.energy_ev:.4f}"
        row["adiabatic_s"] = f"{time.process_time() - began_s:.4f}"
        began_s, step = time.process_time(), "density"
        row["density_ev"] = f"{levels.density_ev(smiles, geometries):.4f}"
        row["density_s"] = f"{time.process_time() - began_s:.4f}"
    except EnergyError as error:
        row[f"{step}_s"] = f"{time.process_time() - began_s:.4f}"
        row["failure"] = str(error)
    return row


def dear(smiles: str) -> tuple[str, str, str]:
    """Return a molecule with its value, in eV, and cost, in seconds, in the larger basis."""
    import levels

    geometries = levels.relaxed(smiles)
    began_s = time.process_time()
    value = levels.density_ev(smiles, geometries, levels.DEAR_BASIS, levels.DEAR_GRID_LEVEL)
    return smiles, f"{value:.4f}", f"{time.process_time() - began_s:.4f}"


def record_dear(count: int, processes: int) -> None:
    """Compute the first molecules of the recording once more, and write their file."""
    with FILE.open(newline="") as file:
        whole = [row["smiles"] for row in csv.DictReader(file) if row["density_ev"]]
    spawned = multiprocessing.get_context("spawn")
    with (
        DEAR.open("w", newline="") as file,
        spawned.Pool(processes, initializer=_warm) as pool,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("smiles", "density_ev", "density_s"))
        for row in pool.imap(dear, whole[:count]):
            writer.writerow(row)
            file.flush()


def main() -> None:
    """Compute the molecules that the file lacks, for so many minutes."""
    parser = argparse.ArgumentParser(description="Record values and costs of all molecules.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="two molecules, and write no file")
    parser.add_argument("--dear", type=int, metavar="MOLECULES", help="write dear.csv alone")
    asked = parser.parse_args()
    if asked.dear:
        record_dear(asked.dear, asked.processes)
        return
    import levels  # not for a replay

    if asked.quick:
        for smiles in levels.space(5)[:2]:
            print(", ".join(f"{name} {value}" for name, value in computed(smiles).items()))
        return
    ends_s = time.monotonic() + 60 * asked.minutes
    known: set[str] = set()
    if FILE.exists():
        with FILE.open(newline="") as file:
            known = {row["smiles"] for row in csv.DictReader(file)}
    wanted = [smiles for smiles in levels.space() if smiles not in known]
    spawned = multiprocessing.get_context("spawn")
    with (
        FILE.open("a", newline="") as file,
        spawned.Pool(asked.processes, initializer=_warm) as pool,
    ):
        rows = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not known:
            rows.writeheader()
        for number, row in enumerate(pool.imap_unordered(computed, wanted), 1):
            rows.writerow(row)
            file.flush()
            if number % 20 == 0:
                print(f"{number} of {len(wanted)}", flush=True)
            if time.monotonic() > ends_s:
                break
    time_models()


def time_models() -> None:
    """Time trainings, and inferences of all molecules, with some of them known; write the file."""
    from delta import predict, train

    with FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    levels = ("vertical_ev", "adiabatic_ev", "density_ev")
    all_known = [{row["smiles"]: float(row[k]) for row in rows if row[k]} for k in levels]
    molecules = [row["smiles"] for row in rows]
    with MODELS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("known", "train_s", "infer_s"))
        for count in (10, 30, 100, len(rows)):
            known = [dict(list(values.items())[:count]) for values in all_known]
            times: list[tuple[float, float]] = []
            for _ in range(6):  # the first reads all molecules, and does not count
                begun_s = time.process_time()
                model = train(known)
                trained_s = time.process_time()
                predict(model, known, molecules)
                times.append((trained_s - begun_s, time.process_time() - trained_s))
            train_s, infer_s = (sorted(column)[2] for column in zip(*times[1:], strict=True))
            writer.writerow((count, f"{train_s:.4f}", f"{infer_s / len(molecules):.6f}"))


def _warm() -> None:
    """Load the libraries before anything is timed."""
    computed("CO")


if __name__ == "__main__":
    main()
