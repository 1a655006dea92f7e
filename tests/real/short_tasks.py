"""Short tasks of every kind, in a module that every fresh worker loads in no time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import steerio


@steerio.task(pool="simulate")
def sleep(seconds: float) -> float:
    """Sleep where no exception of Python's reaches."""
    time.sleep(seconds)
    return seconds


@steerio.task(pool="learn")
def compute(seconds: float) -> float:
    """Compute, and stop when asked to."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        steerio.report(message="at work")
    return seconds


@steerio.task(pool="simulate", retries={"failed": 1})
def fail(seconds: float) -> None:
    """Fail after a while."""
    time.sleep(seconds)
    raise ValueError(seconds)


@steerio.task(pool="learn")
def die(seconds: float) -> None:
    """Take the worker down."""
    time.sleep(seconds)
    os._exit(3)


@steerio.task(pool="simulate")
def count(seconds: float) -> Iterator[int]:
    """Yield more than anybody takes."""
    time.sleep(seconds)
    yield from range(10)
