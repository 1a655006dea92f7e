"""The rounds of a rival's store: put an array, have another process read it, stall a loop."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from bench.contestant import Round, RoundFunction
from bench.ours.stalls import Ticker

Figures = dict[str, list[float]]


class StoreSide:
    """One rival.

    Args:
        put: puts an array; returns its key, which can be pickled.
        get: gives the array of a key, or a proxy of it.
        evict: removes it.
    """

    def __init__(
        self,
        put: Callable[[Any], Any],
        get: Callable[[Any], Any],
        evict: Callable[[Any], None],
        read: Callable[[Any], tuple[float, float]],
    ) -> None:
        self._put, self._get, self._evict, self._read = put, get, evict, read
        self._array = np.ones(0)

    def array(self, nbytes: int) -> np.ndarray[Any, Any]:
        """The array that is put; made once."""
        if self._array.nbytes != nbytes:
            self._array = np.ones(nbytes // 8)
        return self._array

    def put(self, order: Round) -> Figures:
        """Put it and remove it."""
        array = self.array(order.tasks)
        began = time.perf_counter()
        key = self._put(array)
        seconds = time.perf_counter() - began
        self._evict(key)
        return {"seconds": [seconds]}

    def first_read(self, order: Round) -> Figures:
        """Put it, and have another process read it: until usable, until all was read."""
        key = self._put(self.array(order.tasks))
        usable_s, read_s = self._read(key)
        self._evict(key)
        return {"usable_s": [usable_s], "read_s": [read_s]}

    def stalls(self, order: Round) -> Figures:
        """The longest stall of a loop while a coroutine gets the value as users do."""
        key = self._put(self.array(order.tasks))
        longest_s = asyncio.run(self._stall(key))
        self._evict(key)
        return {"get": [longest_s]}

    async def _stall(self, key: Any) -> float:
        async with Ticker() as ticker:
            array = self._get(key)
            del array
        return ticker.longest_s

    def rounds(self) -> dict[str, RoundFunction]:
        """By name."""
        return {"put": self.put, "first_read": self.first_read, "stalls": self.stalls}


def timed_read(get: Callable[[Any], Any], key: Any) -> tuple[float, float]:
    """Seconds until an array can be used, and until all of it was looked at."""
    began = time.perf_counter()
    array = get(key)
    array[0]
    usable_s = time.perf_counter() - began
    if float(array.sum()) != len(array):
        raise AssertionError("what was read is not what was put")
    return usable_s, time.perf_counter() - began


def reader() -> ProcessPoolExecutor:
    """Another process on this node, which has what this one has loaded."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
