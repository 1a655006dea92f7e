"""From starting a no-op program to its first result, and to its exit."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from bench.contestant import ROOT, ContestantError, kill_marked, marked_environment
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import Pair, alternate

CLAIMS = (
    Claim(
        "`steerio run`, start to first result, against ProcessPoolExecutor", 3, 1.5, "lower", "x"
    ),
    Claim("`steerio run`, start to exit, against ProcessPoolExecutor", 3, 1.5, "lower", "x"),
)
PROGRAM_TIMEOUT_S = 30.0
BYTECODE_FOLDER = "bench-bytecode"
"""Where both sides keep what Python compiled, in the folder for temporary files."""


def measure(effort: Effort) -> list[Measurement]:
    """Both programs from a file, with two workers; their imports are already in the page cache."""
    floor_first: list[float] = []
    ours_first: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        run_directories = iter(Path(directory) / f"run-{number}" for number in range(1000))

        def floor() -> float:
            first, exit_s = run_program([str(ROOT / "bench/floors/pool_script.py")])
            floor_first.append(first)
            return exit_s

        def ours() -> float:
            campaign = str(ROOT / "bench/ours/noop_campaign.py")
            options = ["--workers", "default=2", "--run-dir", str(next(run_directories))]
            first, exit_s = run_program(["-m", "steerio", "run", campaign, *options])
            ours_first.append(first)
            return exit_s

        exits = alternate(floor, ours, effort.of(12, 3))
    first_results = [
        Pair(floor_s, ours_s) for floor_s, ours_s in zip(floor_first, ours_first, strict=True)
    ][-len(exits) :]
    return [
        CLAIMS[0].against_floor(first_results, "ms", scale=1e3),
        CLAIMS[1].against_floor(exits, "ms", scale=1e3),
    ]


def run_program(arguments: list[str]) -> tuple[float, float]:
    """Seconds from starting Python with `arguments` to its first result and to its exit."""
    first_s, exit_s = run_command([sys.executable, *arguments])
    if first_s is None:
        raise ContestantError(f"python {' '.join(arguments)} had no result")
    return first_s, exit_s


def run_command(command: list[str]) -> tuple[float | None, float]:
    """Seconds from starting `command` to the first result that it notes, if any, and its exit."""
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        note, log = Path(directory) / "first-result", Path(directory) / "log"
        environment = {**marked_environment(mark, directory), "BENCH_FIRST_RESULT": str(note)}
        # whoever runs a program for the second time has its bytecode; so have both sides here
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(Path(tempfile.gettempdir()) / BYTECODE_FOLDER)
        with log.open("wb") as output:
            began, began_unix = time.perf_counter(), time.time()
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(PROGRAM_TIMEOUT_S)
                exit_s = time.perf_counter() - began
            except subprocess.TimeoutExpired:
                raise ContestantError(
                    f"{' '.join(command)} ran for {PROGRAM_TIMEOUT_S:g} s"
                ) from None
            finally:
                kill_marked(mark)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
        if code:
            printed = log.read_text(errors="replace")[-2000:]
            raise ContestantError(f"{' '.join(command)} ended with {code}: {printed}")
        noted = float(note.read_text(encoding="ascii")) if note.exists() else None
        return None if noted is None else noted - began_unix, exit_s
