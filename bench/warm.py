"""What preloading saves: a worker forked warm against a fresh interpreter that imports.

`python -m bench.warm [--quick]` measures for some modules that are slow to import the time
from the order to start a worker until that is ready, and from `kill -9` until there is
another.  A module that is not installed is left out, with a note.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
import uuid

from bench.contestant import Contestant, ContestantError, Round, kill_marked, marked_environment
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import Pair, alternate, spread
from bench.table import print_table

MODULES = ("sklearn.gaussian_process", "torch", "rdkit.Chem")
CLAIMS = tuple(
    claim
    for module in MODULES
    for claim in (
        Claim(
            f"worker with {module} preloaded, order to ready, against a fresh interpreter",
            0.1,
            0.01,
            "lower",
            "x",
        ),
        Claim(f"`kill -9` of it to another ready ({module})", 50, 20, "lower", "ms"),
    )
)
KILLS = 5
"""Workers that are killed for each interpreter that is started: those take far less."""
START_S = 120.0
FRESH = """
import os
import steerio.worker.process
import {module}
os.write(1, b"ready")
"""


def measure(effort: Effort) -> list[Measurement]:
    """Both claims of each module."""
    rows: list[Measurement] = []
    for number, module in enumerate(MODULES):
        of_start, of_kill = CLAIMS[2 * number : 2 * number + 2]
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            reason = f"{module} is not installed"
            rows += [of_start.not_measured(reason), of_kill.not_measured(reason)]
        else:
            rows += measure_module(module, of_start, of_kill, effort)
    return rows


def measure_module(
    module: str, of_start: Claim, of_kill: Claim, effort: Effort
) -> list[Measurement]:
    """A fresh start and some kills, in turns."""
    kills: list[float] = []
    with Contestant("bench.ours.preloaded", module) as side:

        def ours() -> float:
            orders: list[float] = []
            for _ in range(KILLS):
                figures = side.ask(Round("kill"), START_S)
                kills.append(figures["kill_s"][0] * 1e3)
                orders += figures["order_s"]
            return spread(orders).median

        pairs: list[Pair] = alternate(lambda: start_fresh(module), ours, effort.of(8, 2))
    return [
        of_start.against_floor(pairs, "ms", scale=1e3),
        of_kill.measured(spread(kills[KILLS:])),
    ]


def start_fresh(module: str) -> float:
    """Seconds from starting an interpreter until it has a module and what a worker needs."""
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", FRESH.format(module=module)],
            # as a node has it: one thread for each worker
            env={**marked_environment(mark, directory), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            said = process.stdout.read(len(b"ready"))
            ready_s = time.perf_counter() - began
        finally:
            kill_marked(mark)
            process.stdout.close()
            process.wait(5)
    if said != b"ready":
        raise ContestantError(f"a fresh interpreter does not import {module}")
    return ready_s


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.warm", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    print_table(measure(Effort(quick=parser.parse_args().quick)))


if __name__ == "__main__":
    main()
