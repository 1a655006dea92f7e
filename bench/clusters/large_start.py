"""The start of many nodes behind relays: processor time of the broker for each worker.

The nodes and relays are real, on memory links; their workers are simulated.  Only the broker's own
code counts: taking in, deciding, putting into envelopes, recording.  Sockets and encryption do not;
`relays` of `python -m bench wire` has these, with fewer workers.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import uuid
from statistics import median

import msgspec

from bench.contestant import ROOT, kill_marked, marked_environment
from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.ours.simulated_start import Figures
from bench.pairs import spread

EACH = 64
NODES = (10, 100, 1_000, 10_000)
NODES_QUICK = (10, 100, 1_000)
TIMEOUT_S = 3000.0
CLAIMS = tuple(
    Claim(
        f"{nodes:,} nodes of {EACH} workers: broker's CPU for a worker to join and work",
        1.0,
        0.2,
        "lower",
        "ms",
    )
    for nodes in NODES[2:]
)


def measure(effort: Effort) -> list[Measurement]:
    """A process for each start; a quick look leaves the largest out."""
    found = {
        nodes: [start(nodes) for _ in range(1 if nodes == NODES[-1] else effort.of(3, 1))]
        for nodes in (NODES_QUICK if effort.quick else NODES)
    }
    curve = ", ".join(
        f"{nodes:,} nodes {amount(median(map(whole_ms, its)))} ms" for nodes, its in found.items()
    )
    rows: list[Measurement] = []
    for claim, nodes in zip(CLAIMS, NODES[2:], strict=True):
        if nodes not in found:
            rows.append(claim.not_measured("it is left out of a quick look"))
            continue
        its = found[nodes]
        parts = (
            f"join {amount(median(one.join_s for one in its) * 1e3)}, "
            f"task {amount(median(one.busy_s for one in its) * 1e3)}, "
            f"in them garbage {amount(median(one.garbage_s for one in its) * 1e3)} ms; "
            f"{amount(median(one.join_bytes + one.busy_bytes for one in its))} bytes a worker "
            f"with its simulation; {curve}"
        )
        rows.append(claim.measured(spread(list(map(whole_ms, its))), parts))
    return rows


def whole_ms(figures: Figures) -> float:
    """Milliseconds of the broker for a worker, from its joining until it works."""
    return (figures.join_s + figures.busy_s) * 1e3


def start(nodes: int) -> Figures:
    """One start, in a process of its own."""
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "bench.ours.simulated_start", str(nodes), str(EACH)]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        try:
            done = subprocess.run(
                command,
                env=marked_environment(mark, directory),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                timeout=TIMEOUT_S,
                check=True,
            )
        finally:
            kill_marked(mark)
    return msgspec.json.decode(done.stdout, type=Figures)
