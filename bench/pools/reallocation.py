"""How busy workers are that are lent where they are needed, against the best static pools.

It is `examples/reallocation`, run for real.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.contestant import ROOT
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import Pair, spread

CLAIMS = (
    Claim(
        "reallocation: busy share, workers lent against best static pools", 1.1, 1.3, "higher", "x"
    ),
    Claim("reallocation: busy share, workers lent against best possible", 0.9, 0.97, "higher", "x"),
)
TIMEOUT_S = 300.0


def measure(effort: Effort) -> list[Measurement]:
    """Both kinds of pools in each round, one after the other."""
    rounds = [compare(effort) for _ in range(effort.of(3, 1))]
    pairs = [Pair(floor=each["static"], ours=each["lending"]) for each in rounds]
    shares = [each["lending"] / each["possible"] for each in rounds]
    possible = f"best possible {rounds[0]['possible']:.1%}"
    return [
        CLAIMS[0].against_floor(pairs, "% busy", scale=100),
        CLAIMS[1].measured(spread(shares), possible),
    ]


def compare(effort: Effort) -> dict[str, float]:
    """Run the example; returns its figures, shares from 0 to 1."""
    script = ROOT / "examples/reallocation/compare.py"
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        command = [sys.executable, str(script), "--run-dir", folder]
        subprocess.run(
            command + ["--quick"] * effort.quick,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )
        figures: dict[str, float] = json.loads((Path(folder) / "figures.json").read_text())
    return figures
