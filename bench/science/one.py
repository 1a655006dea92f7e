"""One function of one example: `python -m bench.science.one FOLDER FUNCTION ARGUMENT FILE`.

The argument is JSON, and the values are written to the file, as JSON.  Of a simulated run these are
its figures.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from bench.science.policy_lines import policy_lines
from steerio.testing import SimulatedRun


def figures(run: SimulatedRun[Any]) -> dict[str, float]:
    """Return the figures of a simulated run that the table of scale has."""
    return {
        "tasks": len(run.records),
        "busy": run.utilisation(),
        "moves": run.moves,
        "duration_s": run.duration_s,
    }


def main(folder: str, function: str, argument: str, file: str) -> None:
    """Call the function, and write what it returned."""
    sys.path.insert(0, folder)
    module = importlib.import_module("compare")
    found = getattr(module, function)(json.loads(argument))
    if isinstance(found, SimulatedRun):
        found = figures(found)
    else:
        found["lines"] = policy_lines(Path(folder), module.POLICY)
    Path(file).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
