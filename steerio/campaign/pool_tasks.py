"""The tasks of a campaign in one pool, counted by their needs, and by the workers that these fit.

Theory.  Whether another task may go out to some workers depends on the tasks that just these
workers fit, whatever their needs.  The needs may differ from task to task, such as a memory that
was computed for each; so the workers that fit them are found once for each news of the pool, and
the tasks are counted as they come and go.

A gang goes out as soon as the workers that are left, and those that smaller tasks have, are enough
for it, and then waits at the broker, which keeps workers for it.  If it waited here until all of
them are left, smaller tasks would take each that becomes free, and it would never go.  If others as
large have the rest, these have to end first, and meanwhile smaller tasks take the workers left.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable
from typing import NamedTuple

from steerio.model.places import WorkerNeeds
from steerio.model.status import PoolLoad

NOBODY = PoolLoad(0, 0, 0, 0)
"""The load of a pool of which no news has come yet."""


class _Fitting(NamedTuple):
    """The workers that fit a task: the same for needs that the same ones fit, and their number."""

    group: Hashable
    workers: int


class PoolTasks:
    """The tasks of a campaign in one pool that need workers and have not ended.

    Each counts as many times as it has workers: those of a gang are several.
    """

    def __init__(self) -> None:
        self.taken: Counter[tuple[WorkerNeeds | None, int]] = Counter()
        """How many workers those with some needs take, by the size of their gangs."""
        self._load = NOBODY
        self._fitting: dict[WorkerNeeds | None, _Fitting] = {}
        """The workers that fit, by the last news of them, for the needs that were asked for."""
        self._taken_of: defaultdict[Hashable, Counter[int]] = defaultdict(Counter)
        """The same of all tasks that just these workers fit."""

    def __repr__(self) -> str:
        return f"<PoolTasks: {self.taken.total()}>"

    def count(self, needs: WorkerNeeds | None, gang: int, by: int) -> None:
        """Count so many more tasks of such needs and gangs, or fewer."""
        self.taken[needs, gang] += by * gang
        self._taken_of[self._fit(needs).group][gang] += by * gang

    def ended(self, needs: WorkerNeeds | None, gang: int) -> None:
        """Take in that a task has ended."""
        self.count(needs, gang, -1)
        if not self.taken[needs, gang]:
            del self.taken[needs, gang]

    def workers_for(self, load: PoolLoad, needs: WorkerNeeds | None) -> Hashable:
        """Return the same for needs which the same workers fit; if none does, for no other."""
        self._hear(load)
        return self._fit(needs).group

    def has_room(self, load: PoolLoad, needs: WorkerNeeds | None, gang: int, ahead: int) -> bool:
        """Say whether one more task may be out, at this load of the pool.

        Args:
            load: of the pool.
            needs: of the task.
            gang: how many workers it takes.
            ahead: tasks beyond those that there are workers for.
        """
        self._hear(load)
        fitting = self._fit(needs)
        taken = self._taken_of[fitting.group]
        # one goes out even if there is no worker: then the broker tells if there will never be one
        left = max(gang, fitting.workers) + ahead * gang - taken.total()
        return left > 0 and left + sum(n for size, n in taken.items() if size < gang) >= gang

    def _hear(self, load: PoolLoad) -> None:
        if load is not self._load:
            self._load = load
            self._fitting.clear()
            self._taken_of.clear()
            for (needs, gang), taken in self.taken.items():
                self._taken_of[self._fit(needs).group][gang] += taken

    def _fit(self, needs: WorkerNeeds | None) -> _Fitting:
        found = self._fitting.get(needs)
        if found is None:
            there = self._load.fitting(needs)
            group = frozenset(there) or needs
            found = self._fitting[needs] = _Fitting(group, sum(there.values()))
        return found
