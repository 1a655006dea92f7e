"""From starting four MPI ranks of `steerio run` to the first result of a task."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from bench.contestant import ROOT
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import Pair, alternate
from bench.spine.startup import run_command

RANKS = 4
CLAIMS = (
    Claim(
        f"`mpiexec -n {RANKS} steerio run`, start to first result, against "
        f"`mpiexec -n {RANKS} python -c pass`",
        2.0,
        1.3,
        "lower",
        "x",
    ),
)
LAUNCHERS = {
    "Open MPI": ("mpiexec.openmpi", "--allow-run-as-root", "--oversubscribe"),
    "MPICH": ("mpiexec.mpich",),
}
"""As Debian names them, which has both side by side."""


def measure(effort: Effort) -> list[Measurement]:
    """With the first launcher that is installed; the others are quoted beside it."""
    rows = [
        CLAIMS[0].against_floor(starts((*command, "-n", str(RANKS)), effort), f"ms, {name}", 1e3)
        for name, command in LAUNCHERS.items()
        if shutil.which(command[0])
    ]
    if not rows:
        return [CLAIMS[0].not_measured("neither mpiexec.openmpi nor mpiexec.mpich is installed")]
    row, *others = rows
    for other in others:
        row = row.beside(f"{other.figure:.2f} x ({other.detail})")
    return [row]


def starts(launcher: tuple[str, ...], effort: Effort) -> list[Pair]:
    """Pairs: the floor's exit, and the moment at which rank 0 has the first result."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        folders = iter(Path(directory) / f"run-{number}" for number in range(1000))
        campaign = str(ROOT / "bench/ours/noop_campaign.py")

        def floor() -> float:
            return run_command([*launcher, sys.executable, "-c", "pass"])[1]

        def ours() -> float:
            options = ["--run-dir", str(next(folders))]
            command = [sys.executable, "-m", "steerio", "run", campaign, *options]
            first_s, _ = run_command([*launcher, *command])
            if first_s is None:
                raise RuntimeError("the campaign had no result")
            return first_s

        return alternate(floor, ours, effort.of(12, 3))
