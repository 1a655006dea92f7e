"""How a task waits: in the queue of its pool, and watched by whatever could see it wait in vain."""

from __future__ import annotations

from steerio.core import fitting, stalls
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.records import TaskRecord
from steerio.core.roster import Pool


def wait(cluster: Cluster, record: TaskRecord, pool: Pool, now: float) -> None:
    """Put a task into the queue of its pool."""
    pool.backlog.push(record)
    if record.inputs is not None:
        cluster.effects += cluster.fetching.waits(record.inputs.all, pool)
    if not pool.workers:
        watch_empty(cluster, pool, now)
    if record.options.needs is not None or record.options.gang > 1:
        if record.options.gang > 1:
            cluster.gang_pools[pool] = None
        fitting.watch(cluster, now)
        stalls.watch(cluster, now)
    elif not pool.running or cluster.inside or cluster.roster.timed:
        stalls.watch(cluster, now)


def watch_empty(cluster: Cluster, pool: Pool, now: float) -> None:
    """Start the time that a pool of a closed broker may be without workers.

    To be called for each pool at the start, and when the last worker of one is gone.
    """
    waited_for = pool.backlog or not pool.may_be_empty
    if cluster.roster.closed and waited_for and pool.empty_since is None:
        pool.empty_since = now
        cluster.deadlines.add(now + cluster.settings.join_s, Due.EMPTY, 0)
