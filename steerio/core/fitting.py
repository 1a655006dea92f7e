"""Tasks that no worker of their pool could ever take, or too few, and the bound of their wait.

Theory. Workers that are there, or away and come home, are counted by their makes. If all announced
workers are there and none fits a task, the task is refused at once. Otherwise one may come: with a
node that has not joined, with a move, or in place of one that was lost. If a move has changed how
many workers belong to a pool, the next one may do so again. For that a task waits as long as a pool
waits for its first worker. While any queued task has needs the core looks at this
now and then, without being told of anything; so it misses nothing that workers do, and no task
waits for ever.
"""

from __future__ import annotations

from typing import NamedTuple

from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.heads import Want
from steerio.core.roster import Pool
from steerio.model.places import WorkerNeeds

LOOKS = 4
"""Number of looks within the time that a task waits for a worker that fits it."""


class Unfit(NamedTuple):
    """The needs of a pool's queued tasks that no worker will take, and why."""

    pool: Pool
    reasons: dict[Want, str]


def refusal(cluster: Cluster, want: Want, pool: Pool) -> str:
    """Return why no worker could ever take a task, if that is known already.

    For a gang others may yet join, unless all that were announced are there.
    """
    closed = cluster.roster.closed
    awaited = pool.coming or pool.resized or (closed and pool.at_home < pool.announced)
    if want.gang > 1:
        awaited = awaited or not closed or pool.put_off
    return "" if awaited or not pool.makes or _fits(pool, want) else _say(pool, want)


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
        for want in pool.backlog.wants:
            watch(cluster, now)
            if pool.coming or not pool.makes or _fits(pool, want):
                continue
            if want.gang > 1 and pool.put_off:
                continue
            first = pool.unfit_since[want] = since.get(want, now)
            if now >= first + cluster.settings.join_s:
                unfit.reasons[want] = _say(pool, want)
        if unfit.reasons:
            all_unfit.append(unfit)
    return all_unfit


def _fits(pool: Pool, want: Want) -> bool:
    needs, gang = want
    fit = (n for make, n in pool.makes.items() if needs is None or make.suffices_for(needs))
    return sum(fit) >= gang


def _say(pool: Pool, want: Want) -> str:
    there = ", ".join(f"{count} with {make}" for make, count in _by_number(pool))
    if want.gang == 1:
        return f"no worker of pool {pool.name!r} could take it: it needs {want}; there are {there}"
    return (
        f"pool {pool.name!r} has too few workers for it: it needs {want}; there are {there}. "
        "Give the pool more workers, or the task a smaller gang"
    )


def _by_number(pool: Pool) -> list[tuple[WorkerNeeds, int]]:
    """Return the makes of a pool's workers with their numbers, the most frequent first."""
    return sorted(pool.makes.items(), key=lambda item: (-item[1], str(item[0])))
