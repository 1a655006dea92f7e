"""Measure claims: `python -m bench NAME`, with the options below; `science` compares examples.

Exit code 0 when every claim was measured, met or not; 1 when one could not be; 2 when the
command line is wrong.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import clusters, data, durable, pools, see, spine, wire
from bench.effort import Effort
from bench.measurement import Measurement, write_json
from bench.part import Part
from bench.science.command import parts as science_parts
from bench.science.command import science
from bench.table import print_table

BENCHES: Mapping[str, Mapping[str, Part]] = {
    "spine": spine.PARTS,
    "pools": pools.PARTS,
    "data": data.PARTS,
    "wire": wire.PARTS,
    "durable": durable.PARTS,
    "see": see.PARTS,
    "clusters": clusters.PARTS,
}
SCIENCE = "science"
"""It has examples in place of claims, and two tables of its own."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; a name that is not known ends with the names that are."""
    names = [*BENCHES, SCIENCE]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("bench", help=f"which benchmark: {', '.join(names)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the claims as JSON")
    parser.add_argument("--quick", action="store_true", help="a minute of fewer, shorter rounds")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only this part; may be given again"
    )
    options = parser.parse_args(argv)
    if options.bench not in names:
        parser.error(f"no benchmark is named {options.bench!r}; there is: {', '.join(names)}")
    parts = science_parts() if options.bench == SCIENCE else list(BENCHES[options.bench])
    for name in options.only or []:
        if name not in parts:
            parser.error(f"{options.bench} has no part {name!r}; it has: {', '.join(parts)}")
    if options.json is not None and not options.json.resolve().parent.is_dir():
        parser.error(f"--json: there is no directory {options.json.resolve().parent}")
    return options


def measured(name: str, part: Part, effort: Effort) -> list[Measurement]:
    """One part's measurements; a part that fails is reported, and the others go on."""
    print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
    began = time.monotonic()
    try:
        rows = part.measure(effort)
    except Exception as error:  # noqa: BLE001 - it becomes the row's detail, and exit code 1
        print(f"failed\n{type(error).__name__}: {error}", file=sys.stderr)
        reason = f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[-1]}"
        rows = [claim.not_measured(reason) for claim in part.claims]
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns the exit code."""
    options = arguments(argv)
    # So that an orderly kill, like Ctrl-C, closes every contestant on its way out.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if options.bench == SCIENCE:
        return science(options.only or [], options.quick, options.json)
    effort = Effort(quick=options.quick)
    rows: list[Measurement] = []
    for name, part in BENCHES[options.bench].items():
        if not options.only or name in options.only:
            rows += measured(name, part, effort)
    print_table(rows)
    if options.json is not None:
        write_json(rows, options.json)
    return 0 if all(row.figure is not None for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
