"""The tasks of a campaign in one pool, counted by their needs, and by the workers that these fit.

Theory.  Whether another task may go out to some workers depends on the tasks that just these
workers fit, whatever their needs.  The needs may differ from task to task, such as a memory that
was computed for each; so the workers that fit them are found once for each news of the pool, and
the tasks are counted as they come and go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple

from steerio.model.places import WorkerNeeds
from steerio.model.status import PoolLoad

NOBODY = PoolLoad(0, 0, 0, 0)
"""The load of a pool of which no news has come yet."""


class _Fitting(NamedTuple):
    """The workers that fit a task: their makes, and how many they are."""

    makes: frozenset[WorkerNeeds]
    workers: int


class PoolTasks:
    """The tasks of a campaign in one pool that need workers and have not ended.

    Each counts as many times as it has workers: those of a gang are several.
    """

    def __init__(self) -> None:
        self.by_needs: Counter[WorkerNeeds | None] = Counter()
        """How many workers those with some needs take."""
        self._load = NOBODY
        self._fitting: dict[WorkerNeeds | None, _Fitting] = {}
        """The workers that fit, by the last news of them, for the needs that were asked for."""
        self._by_makes: Counter[frozenset[WorkerNeeds]] = Counter()
        """The same of all tasks that just the workers of these makes fit."""

    def __repr__(self) -> str:
        return f"<PoolTasks: {self.by_needs.total()}>"

    def count(self, needs: WorkerNeeds | None, by: int) -> None:
        """Count so many more workers for tasks with some needs, or fewer."""
        makes = self._fit(needs).makes  # first: it counts those that are there
        self.by_needs[needs] += by
        self._by_makes[makes] += by

    def ended(self, needs: WorkerNeeds | None, gang: int) -> None:
        """Take in that a task has ended."""
        self.count(needs, -gang)
        if not self.by_needs[needs]:
            del self.by_needs[needs]

    def workers_for(self, load: PoolLoad, needs: WorkerNeeds | None) -> Hashable:
        """Return the same for needs which the same workers fit; if none does, for no other."""
        self._hear(load)
        return self._fit(needs).makes or needs

    def room(self, load: PoolLoad, needs: WorkerNeeds | None, gang: int, ahead: int) -> int:
        """Return how many more tasks may be out, at this load of the pool.

        Args:
            load: of the pool.
            needs: of the tasks.
            gang: how many workers each takes.
            ahead: tasks beyond those that there are workers for.
        """
        self._hear(load)
        fitting = self._fit(needs)
        beside = self._by_makes[fitting.makes] if fitting.makes else self.by_needs[needs]
        # one goes out even if there is no worker: then the broker tells if there will never be one
        return (max(gang, fitting.workers) + ahead * gang - beside) // gang

    def _hear(self, load: PoolLoad) -> None:
        if load is not self._load:
            self._load = load
            self._fitting.clear()
            self._by_makes.clear()
            for each in self.by_needs:
                self._fit(each)

    def _fit(self, needs: WorkerNeeds | None) -> _Fitting:
        found = self._fitting.get(needs)
        if found is None:
            there = self._load.fitting(needs)
            found = self._fitting[needs] = _Fitting(frozenset(there), sum(there.values()))
            self._by_makes[found.makes] += self.by_needs[needs]
        return found
