"""The same bodies as the floors', as task types."""

from __future__ import annotations

import time
from pathlib import Path

from bench.floors import bodies
from bench.floors.bodies import Nap
from steerio import task

HOLD_LIMIT_S = 600.0
HOLD_LOOK_S = 0.01


@task(pool="default")
def noop(value: int) -> int:
    """Nothing."""
    return bodies.noop(value)


@task(pool="default")
def noop_alone(value: int) -> int:
    """Nothing, as a task type that no policy listens to."""
    return bodies.noop(value)


@task(pool="default")
def nap(duration_s: float) -> Nap:
    """Wait, and say where and when."""
    return bodies.nap(duration_s)


@task(pool="default")
def keep() -> None:
    """Be kept by a stand-in for a worker until it is cancelled."""


@task(pool="default")
def hold(gate: str, held: str) -> None:
    """Keep this worker until the file `gate` is gone, having written the file `held`."""
    Path(held).touch()
    deadline = time.monotonic() + HOLD_LIMIT_S
    while Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(HOLD_LOOK_S)
