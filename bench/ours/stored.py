"""Bodies that are given large values, and bodies that return them, as task types."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from steerio import task
from steerio.edge.encoding import references
from steerio.model.objects import StoredObject

INLINE = None
"""The threshold of what never goes by reference."""


@task(pool="default")
def one_of(array: Any) -> float:
    """Look at one element, so that what it costs is getting the array."""
    return float(array[len(array) // 2])


@task(pool="default")
def sum_of(array: Any) -> float:
    """Look at all elements."""
    return float(array.sum())


@task(pool="default")
def first_read(name: bytes, nbytes: int) -> tuple[float, float]:
    """Seconds until a stored array can be used, and until all of it was looked at."""
    began = time.perf_counter()
    array = references.arrived(StoredObject(name, nbytes))
    usable_s = time.perf_counter() - began
    if float(array.sum()) != len(array):
        raise AssertionError("what was read is not what was put")
    return usable_s, time.perf_counter() - began


@task(pool="default")
def made_twice(name: bytes, nbytes: int) -> list[float]:
    """Seconds until a stored value is there for the first time, and for the second."""
    seconds: list[float] = []
    for _ in range(2):
        began = time.perf_counter()
        references.arrived(StoredObject(name, nbytes))
        seconds.append(time.perf_counter() - began)
    return seconds


@task(pool="default")
def make(nbytes: int) -> np.ndarray[Any, Any]:
    """Make an array of ones."""
    return np.ones(nbytes // 8)


@task(pool="default", threshold_bytes=INLINE)
def take_inline(payload: bytes) -> int:
    """Take bytes that travel with the task."""
    return len(payload)


@task(pool="default", threshold_bytes=INLINE)
def take_array_inline(payload: Any) -> int:
    """Take an array that travels with the task."""
    return len(payload)


@task(pool="default", threshold_bytes=0)
def take_array_stored(payload: Any) -> int:
    """Take an array that goes by reference, however short it is."""
    return len(payload)
