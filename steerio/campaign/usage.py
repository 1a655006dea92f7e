"""The share of its workers' time that a campaign has used, pool by pool."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from steerio.model.results import Result
from steerio.model.status import PoolLoad


def worker_seconds(result: Result, gang: int) -> float:
    """Return the time that workers took for a task: each of a gang for as long as its first."""
    return gang * (result.timings.run_s or 0.0)


class UsedTime:
    """Adds up the time of workers, and the time that they worked on tasks of the campaign.

    Args:
        now: the time at the campaign's start, in seconds on any clock.
    """

    def __init__(self, now: float) -> None:
        self.began = now
        self._worked_s: defaultdict[str, float] = defaultdict(float)
        self._there_s: defaultdict[str, float] = defaultdict(float)
        self._ready: dict[str, int] = {}
        self._looked = now

    def __repr__(self) -> str:
        return f"<UsedTime {sum(self._worked_s.values()):.1f} worker s>"

    def worked(self, pool: str, seconds: float) -> None:
        """Count so much time of workers in a pool."""
        self._worked_s[pool] += seconds

    def look(self, pools: Mapping[str, PoolLoad], now: float) -> None:
        """Count the workers that were ready until now; ``pools`` tells those from now on."""
        passed_s, self._looked = now - self._looked, now
        for pool, ready in self._ready.items():
            self._there_s[pool] += ready * passed_s
        self._ready = {pool: load.workers - load.starting for pool, load in pools.items()}

    def busy(self) -> dict[str, float]:
        """Return, for each pool that had workers, the share of their time in attempts, 0 to 1."""
        return {
            pool: min(1.0, self._worked_s[pool] / seconds)
            for pool, seconds in self._there_s.items()
            if seconds > 0
        }
