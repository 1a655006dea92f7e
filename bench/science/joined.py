"""The examples that joined: by the functions of their `compare.py`, as `bench/README.md` says.

An example's modules are imported by their bare names, and several have a `search.py`; so each runs
in a process of its own, which leaves plain values in a file.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.contestant import ROOT

EXAMPLES = ROOT / "examples"
COMPARE, AT_SCALE = "compare", "at_scale"
TIMEOUT_S = 600.0


class NotMeasuredError(Exception):
    """An example ended with an error, and says which."""


def having(function: str, examples: Path = EXAMPLES) -> list[str]:
    """Name the examples whose `compare.py` has a function of that name, in alphabetical order."""
    found: list[str] = []
    for script in sorted(examples.glob("*/compare.py")):
        tree = ast.parse(script.read_text(encoding="utf-8"), str(script))
        if any(isinstance(each, ast.FunctionDef) and each.name == function for each in tree.body):
            found.append(script.parent.name)
    return found


def outcome(name: str, function: str, argument: object, examples: Path = EXAMPLES) -> Any:
    """Call a function of an example, in a process of its own, and return its plain values.

    Raises:
        NotMeasuredError: it failed, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "outcome.json"
        asked = [str(examples / name), function, json.dumps(argument), str(file)]
        command = [sys.executable, "-m", "bench.science.one", *asked]
        try:
            ended = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise NotMeasuredError(f"it took more than {TIMEOUT_S:.0f} s") from None
        if ended.returncode != 0:
            lines = ended.stderr.strip().splitlines()
            raise NotMeasuredError(lines[-1] if lines else f"exit code {ended.returncode}")
        return json.loads(file.read_text())
