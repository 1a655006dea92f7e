"""The time of simulated workers in each pool, and the part of it that they spent in attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from steerio.errors import UsageError
from steerio.testing.simulated_worker import SimulatedWorker


class WorkerTimes:
    """Sums of the times of workers, by pool.

    Args:
        pools: all of them.
        clock: returns the time, in seconds.
    """

    def __init__(self, pools: Iterable[str], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._busy_s = dict.fromkeys(pools, 0.0)
        """Seconds that workers spent in attempts while in a pool, by the last count."""
        self._present_s = dict.fromkeys(self._busy_s, 0.0)
        """Seconds that workers were in a pool, by the last count."""

    def __repr__(self) -> str:
        return f"<WorkerTimes: {self._busy_s}>"

    def count(self, worker: SimulatedWorker) -> None:
        """Add the time of a worker since it was last counted, for the pool that it is in."""
        busy_s, present_s = worker.take_times(self._clock())
        self._busy_s[worker.serves] += busy_s
        self._present_s[worker.serves] += present_s

    def busy_share(self, pool: str, alive: Iterable[SimulatedWorker]) -> float:
        """Return the share of their time in a pool that workers spent in attempts.

        Raises:
            UsageError: there is no such pool.
        """
        busy_s, present_s = self.seconds(pool, alive)
        return busy_s / present_s if present_s else 0.0

    def seconds(self, pool: str, alive: Iterable[SimulatedWorker]) -> tuple[float, float]:
        """Return the seconds that workers spent in attempts, and in all, while in a pool.

        Args:
            pool: the pool.
            alive: all workers that are.

        Raises:
            UsageError: there is no such pool.
        """
        if pool not in self._busy_s:
            known = ", ".join(self._busy_s)
            raise UsageError(f"no pool is named {pool!r} (pools here: {known})")
        for worker in alive:
            self.count(worker)
        return self._busy_s[pool], self._present_s[pool]
