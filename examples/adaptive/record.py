"""Records short real replicas from all over the torsions' plane, for ``compare.py``.

    python examples/adaptive/record.py --processes 2       some minutes
    python examples/adaptive/record.py --quick             four bins, and writes no file

From each bin of 20 by 20 degrees replicas of ten frames are begun, after a time under restraint.
``segments.npz`` has their torsions (in steps of 360/256 degrees), and the seconds that they took.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import dipeptide
import numpy as np
from dipeptide import Array, Dipeptide, Start
from sampler import BINS, center

FILE = Path(__file__).with_name("segments.npz")
EACH, LENGTH = 8, 10
"""Segments of a bin, and frames of a segment."""


def record(place: int, molecule: list[Dipeptide] = []) -> tuple[Array, list[float], list[float]]:  # noqa: B006 - one for each process
    """Return torsions of segments that begin in a bin; seconds of begins, and of segments."""
    if not molecule:
        molecule.append(Dipeptide())
    one = molecule[0]
    one.seed(place)
    atoms = one.settle(Start(*center(place)), place)
    begins: list[float] = []
    takes: list[float] = []
    found: list[Array] = []
    for number in range(EACH):
        times = [time.process_time()]
        one.begin(atoms, place * EACH + number)
        times.append(time.process_time())
        found.append(one.frames(LENGTH).torsions)
        times.append(time.process_time())
        atoms = one.settled()
        begins.append(times[1] - times[0])
        takes.append(times[2] - times[1])
    return np.array(found), begins, takes


def main() -> None:
    """Record all bins."""
    parser = argparse.ArgumentParser(description="Record short replicas from each bin.")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="four bins, and write no file")
    asked = parser.parse_args()
    dipeptide.check_openmm()
    bins = range(4) if asked.quick else range(BINS * BINS)
    with ProcessPoolExecutor(asked.processes) as processes:
        torsions, begins, takes = zip(*processes.map(record, bins, chunksize=4), strict=True)
    print(f"{len(bins)} bins: {np.median(takes) / LENGTH:.4f} s a frame")
    if asked.quick:
        return
    np.savez_compressed(
        FILE,
        torsions=np.round(np.array(torsions) * 256 / 360).astype(int).astype(np.int8),
        seconds=np.array([np.median(takes) / LENGTH, np.median(begins)]),
    )
    print(f"{FILE.name}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
