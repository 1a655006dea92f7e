"""The report of a run of 10^6 tasks: `steerio report --text` in a process of its own.

Its time is from the start of the process to its end; beside it the time of its processor, which
other programs on the machine do not lengthen as much. Its memory is the most that it had.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.pairs import spread
from bench.see.long_records import LongRecord

TASKS, WORKERS, NODES = 1_000_000, 1_000, 10
CLAIMS = (
    Claim("report of 10^6 tasks, time", 20.0, 15.0, "lower", "s"),
    Claim("report of 10^6 tasks, memory", 500.0, 200.0, "lower", "MB"),
)


def measure(effort: Effort) -> list[Measurement]:
    """Some reports of one record."""
    with tempfile.TemporaryDirectory(prefix="steerio-bench-") as name:
        folder = Path(name) / "run"
        LongRecord(folder, WORKERS, NODES).write(TASKS)
        nbytes = sum(path.stat().st_size for path in folder.iterdir())
        rounds = [report(folder) for _ in range(effort.of(3, 1))]
    processor = amount(spread([used for _, used, _ in rounds]).median)
    detail = f"{nbytes / 1e9:.2f} GB of record; {processor} s of processor"
    return [
        CLAIMS[0].measured(spread([seconds for seconds, _, _ in rounds]), detail),
        CLAIMS[1].measured(spread([memory for _, _, memory in rounds]), detail),
    ]


def report(folder: Path) -> tuple[float, float, float]:
    """Make a report; return its seconds, those of its processor, and its most memory in MB."""
    command = [sys.executable, "-m", "steerio", "report", "--text", str(folder)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the report ended with status {process.returncode}")
    return (
        time.perf_counter() - began,
        used.ru_utime + used.ru_stime,
        used.ru_maxrss * 1024 / 1e6,
    )
