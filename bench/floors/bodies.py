"""The task bodies that every side runs, and the share of a worker's time spent in them."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable

Nap = tuple[int, float, float]
"""A process id, and when the body began and ended there (monotonic seconds, one host)."""


def noop(value: int) -> int:
    """Nothing: what remains is the cost of getting a task there and its result back."""
    return value


def nap(duration_s: float) -> Nap:
    """Wait `duration_s`, as a task does that runs on cores which the steering does not need.

    It sleeps rather than computes: with as many workers as cores, a body that computes
    competes with the client and the broker, and the round would measure the kernel's
    scheduler instead.
    """
    started = time.monotonic()
    if duration_s:
        time.sleep(duration_s)
    return os.getpid(), started, time.monotonic()


def busy_share(naps: Iterable[Nap]) -> float:
    """Time in bodies over time from each worker's first body to the end of its last."""
    by_worker: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for pid, started, ended in naps:
        by_worker[pid].append((started, ended))
    in_bodies = sum(ended - started for bodies in by_worker.values() for started, ended in bodies)
    span = sum(
        max(ended for _, ended in bodies) - min(started for started, _ in bodies)
        for bodies in by_worker.values()
    )
    return in_bodies / span
