"""The bytes of one update of an open page: of a run with many workers against one with few.

An update is a snapshot and a Gantt, as the server sends them to each page.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import spread
from bench.see.long_records import LongRecord
from steerio.dashboard.broadcast import encoded_event
from steerio.dashboard.run_follower import watch

FEW, MANY, TASKS, NODES = 100, 10_000, 30_000, 10
CLAIMS = (Claim("bytes per update, 10,000 workers against 100", 1.2, 1.1, "lower", "x"),)


def measure(effort: Effort) -> list[Measurement]:
    """Both records, read once."""
    few, many = (sum(update_of(workers)) for workers in (FEW, MANY))
    detail = f"{many:,} and {few:,} bytes"
    return [CLAIMS[0].measured(spread([many / few]), detail)]


def update_of(workers: int) -> tuple[int, int]:
    """Return the bytes of a snapshot, and of a Gantt."""
    with tempfile.TemporaryDirectory(prefix="steerio-bench-") as name:
        folder = Path(name) / "run"
        LongRecord(folder, workers, NODES).write(TASKS)
        with watch(folder) as watched:
            while watched.advance():
                pass
            snapshot = encoded_event("snapshot", watched.snapshot())
            gantt = encoded_event("gantt", watched.gantt())
    return len(snapshot), len(gantt)
