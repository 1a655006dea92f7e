"""The times that simulated workers take to start."""

from __future__ import annotations

import random
from collections.abc import Callable

from steerio.model.bounds import seconds
from steerio.testing.course import check_duration

StartTimes = float | Callable[..., float]
"""The seconds that a worker takes to start, or a function that draws them."""


class WorkerStarts:
    """How long each worker takes to start; one that is drawn follows from seed and worker.

    Args:
        start_s: seconds, or a callable that takes a ``random.Random`` and the worker's pool.
        seed: of the simulation.

    Raises:
        UsageError: it is no time.
    """

    def __init__(self, start_s: StartTimes, seed: int | str) -> None:
        if not callable(start_s):
            seconds(start_s, "start_s", or_zero=True)
        self._start_s = start_s
        self._seed = seed

    def __repr__(self) -> str:
        return f"<WorkerStarts: {self._start_s!r}>"

    def of(self, worker: str, pool: str) -> float:
        """Return the seconds that a worker takes to start.

        Raises:
            UsageError: the time that was drawn is none.
        """
        if not callable(self._start_s):
            return self._start_s
        drawn = self._start_s(random.Random(f"{self._seed}/start of {worker}"), pool)
        check_duration(drawn, f"the start of a worker of pool {pool}")
        return drawn
