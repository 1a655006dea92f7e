"""Pools without workers: how long they wait for one, and how they are given up."""

from __future__ import annotations

from collections.abc import Mapping

from steerio.core.attempts import fail_pool
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.roster import Pool
from steerio.core.waiting import watch_empty
from steerio.model.events import PoolFailed


def expect_workers(cluster: Cluster, pools: Mapping[str, int], now: float) -> None:
    """Take in how many workers pools are to have, of nodes that are about to join.

    They count as starting until those join, or for ``join_s``.
    """
    for name, count in pools.items():
        pool = cluster.roster.pools[name]
        pool.announced = pool.to_come = count
        pool.may_be_empty = not count
        watch_empty(cluster, pool, now)
    cluster.deadlines.add(now + cluster.settings.join_s, Due.EXPECTED, 0)


def fail(cluster: Cluster, pool: Pool, reason: str, now: float) -> None:
    """Give up a pool, and say so."""
    cluster.emit(PoolFailed, now, pool.name, reason)
    pool.to_come = 0
    fail_pool(cluster, pool, reason, now)


def fail_without_workers(cluster: Cluster, reason: str, now: float) -> None:
    """Give up the pools that have no worker: none will come any more."""
    for pool in cluster.roster.pools.values():
        if not pool.failure and not pool.workers:
            fail(cluster, pool, reason, now)


def look_expected(cluster: Cluster, about: int, now: float) -> None:
    """Expect no more workers of nodes that were announced."""
    del about, now
    for pool in cluster.roster.pools.values():
        pool.to_come = 0


def look_empty(cluster: Cluster, about: int, now: float) -> None:
    """Give up pools that have been without workers for too long."""
    del about
    join_s = cluster.settings.join_s
    for pool in cluster.roster.pools.values():
        since = pool.empty_since
        if since is None or pool.failure:
            continue
        if pool.may_be_empty and not pool.backlog:
            pool.empty_since = None
        elif now < since + join_s:
            continue
        elif pool.at_home or pool.coming or pool.put_off:
            pool.empty_since = now
            cluster.deadlines.add(now + join_s, Due.EMPTY, 0)
        else:
            moved = ", and none was moved to it" if pool.may_be_empty else ""
            fail(cluster, pool, f"no worker joined it within {join_s:g} s{moved}", now)
