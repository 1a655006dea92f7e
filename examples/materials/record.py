"""Record candidates through all stages, for ``compare.py``: outcomes, and processor seconds.

    nice -n 19 python examples/materials/record.py --candidates 150
    python examples/materials/record.py --quick      two candidates, and writes no file

Each linker of the first model, which has learned nothing, is assembled, probed, put under molecular
dynamics, and has its uptake measured by short runs and a long one; candidates end where the
campaign would have them end. Made for the defaults of ``search.py``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from adsorption import field_of, measured
from dynamics import relax
from frameworks import assemble, pores
from linkers import FIRST, generate, linker
from search import LONG, PICOSECONDS, PROBE, SHORT

SHORTS, WIDEST = 5, 0.018
"""Short runs of a candidate, and the strain beyond which it has none (the campaign allows less)."""
FILE = Path(__file__).with_name("recorded.json")


def timed(function: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """Call a function; return the processor time that it took, and its value or ``None``."""
    before = time.process_time()
    try:
        value = function(*args)
    except ValueError:
        value = None
    return round(time.process_time() - before, 3), value


def recorded(linker: str) -> dict[str, Any]:
    """Take a linker through the stages."""
    entry: dict[str, Any] = {"linker": linker}
    seconds, framework = timed(assemble.function, linker)
    entry["assemble"] = [seconds, framework is not None]
    if framework is None:
        return entry
    seconds, found = timed(pores.function, framework)
    entry["pores"] = [seconds, found and round(found.free_diameter, 2)]
    if found is None or found.free_diameter < PROBE:
        return entry
    seconds, moved = timed(relax.function, framework, PICOSECONDS, 1)
    entry["dynamics"] = [seconds, moved and round(moved.strain, 4)]
    if moved is None or moved.strain > WIDEST:
        return entry
    field_s, field = timed(field_of, moved.framework)  # which each of the runs would make anew
    for name, cycles, runs in (("short", SHORT, SHORTS), ("long", LONG, 1)):
        told = [
            timed(measured, field, moved.framework, cycles, seed) for seed in range(1, runs + 1)
        ]
        entry[name] = [
            [round(field_s + seconds, 3), round(each.uptake, 4)] for seconds, each in told
        ]
    return entry


def main() -> None:
    """Record candidates."""
    parser = argparse.ArgumentParser(description="Record candidates through all stages.")
    parser.add_argument("--candidates", type=int, default=150)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--until-s", type=float, default=1500.0, help="begin none after that time")
    parser.add_argument("--quick", action="store_true", help="two candidates, and write no file")
    asked = parser.parse_args()
    if asked.quick:
        for each in generate.function(FIRST, 2, 0):
            print(json.dumps(recorded(each)))
        return
    began, entries = time.monotonic(), []
    drawn = dict.fromkeys(generate.function(FIRST, 4 * asked.candidates, 0))
    linkers = list(islice(drawn, asked.candidates))
    # fresh processes, as libraries have threads; and a linker before, so that none pays for imports
    fresh, before = get_context("spawn"), (linker(["c1ccc(cc1)"]),)
    with ProcessPoolExecutor(asked.processes, fresh, recorded, before) as pool:
        for first in range(0, len(linkers), 2 * asked.processes):
            if time.monotonic() - began > asked.until_s:
                break
            entries += pool.map(recorded, linkers[first : first + 2 * asked.processes])
            lines = ",\n".join(json.dumps(entry) for entry in entries)
            FILE.write_text(f"[\n{lines}\n]\n")
            print(len(entries), f"{time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
