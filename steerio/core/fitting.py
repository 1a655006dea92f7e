"""Tasks that no worker of their pool could ever take, and the bound of their wait.

Theory. Workers that are there, or away and come home, are counted by their makes. If all announced
workers are there and none fits a task, the task is refused at once. Otherwise one may come: with a
node that has not joined, with a move, or in place of one that was lost. For that a task waits as
long as a pool waits for its first worker. While any queued task has needs the core looks at this
now and then, without being told of anything; so it misses nothing that workers do, and no task
waits for ever.
"""

from __future__ import annotations

from typing import NamedTuple

from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.roster import Pool
from steerio.model.places import WorkerNeeds

LOOKS = 4
"""Number of looks within the time that a task waits for a worker that fits it."""


class Unfit(NamedTuple):
    """The needs of a pool's queued tasks that no worker will take, and why."""

    pool: Pool
    reasons: dict[WorkerNeeds, str]


def refusal(cluster: Cluster, needs: WorkerNeeds, pool: Pool) -> str:
    """Return why no worker could ever take a task, if that is known already."""
    awaited = pool.coming or (cluster.roster.closed and pool.at_home < pool.announced)
    return "" if awaited or not pool.makes or _fits(pool, needs) else _say(pool, needs)


def watch(cluster: Cluster, now: float) -> None:
    """Look now and then, from when a task with needs is queued."""
    cluster.watch(Due.UNFIT, now + cluster.settings.join_s / LOOKS)


def look(cluster: Cluster, now: float) -> list[Unfit]:
    """Return the tasks that have waited long enough for a worker that fits; look again later."""
    all_unfit: list[Unfit] = []
    for pool in cluster.roster.pools.values():
        since = pool.unfit_since
        pool.unfit_since = {}
        unfit = Unfit(pool, {})
        for needs in pool.backlog.needs:
            watch(cluster, now)
            if pool.coming or not pool.makes or _fits(pool, needs):
                continue
            first = pool.unfit_since[needs] = since.get(needs, now)
            if now >= first + cluster.settings.join_s:
                unfit.reasons[needs] = _say(pool, needs)
        if unfit.reasons:
            all_unfit.append(unfit)
    return all_unfit


def _fits(pool: Pool, needs: WorkerNeeds) -> bool:
    return any(make.suffices_for(needs) for make in pool.makes)


def _say(pool: Pool, needs: WorkerNeeds) -> str:
    there = ", ".join(f"{count} with {make}" for make, count in _by_number(pool))
    return f"no worker of pool {pool.name!r} could take it: it needs {needs}; there are {there}"


def _by_number(pool: Pool) -> list[tuple[WorkerNeeds, int]]:
    """Return the makes of a pool's workers with their numbers, the most frequent first."""
    return sorted(pool.makes.items(), key=lambda item: (-item[1], str(item[0])))
