"""Paused pools: nothing queued there is handed out, and the tasks that run come to their ends.

Theory. A pool that is paused keeps its queue, its workers and their moves; its queue shows no task
to workers, so idle ones stay idle. The tasks that busy workers hold are recalled, for they would
begin without another word: so a pause has *taken effect* once none is held, and then its asker is
told.  Clocks and limits go on.

Invariant: no worker begins a task of a paused pool, but for those that it held as it was paused.
"""

from __future__ import annotations

from steerio.core import ahead, stalls
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.effects import TellPause
from steerio.core.roster import Pool
from steerio.model.events import PoolPaused, PoolResumed


def pause(
    cluster: Cluster,
    client: int,
    request: int,
    name: str,
    why: str,
    now: float,
    *,
    again: bool = False,
) -> str:
    """Pause a pool; returns why that cannot be, or nothing.

    The client is told when it has taken effect, or when another resumes the pool before.

    Args:
        cluster: all state.
        client: the peer that asks.
        request: its own number for that.
        name: of the pool.
        why: by whose order and why, in words.
        now: the time, in seconds on the broker's clock.
        again: whether it has asked before, and so the pool is not paused anew.
    """
    pool = cluster.roster.pools.get(name)
    if pool is None:
        return _unknown(cluster)
    if not pool.paused:
        if again:
            return "it was resumed meanwhile, or its broker ended before it had paused it"
        close(cluster, pool, why, now)
    pool.pausing.append((client, request))
    _look(cluster, pool, now)
    return ""


def close(cluster: Cluster, pool: Pool, why: str, now: float) -> None:
    """Show no task of a pool to its workers any more."""
    cluster.pauses += 1
    pool.paused, pool.backlog.closed = why, True
    cluster.emit(PoolPaused, now, pool.name, why)


def resume(cluster: Cluster, name: str, why: str, now: float) -> str:
    """Hand out the tasks of a paused pool again; returns why that cannot be, or nothing."""
    pool = cluster.roster.pools.get(name)
    if pool is None:
        return _unknown(cluster)
    if not pool.paused:
        return ""
    cluster.pauses += 1
    pool.paused, pool.backlog.closed = "", False
    cluster.emit(PoolResumed, now, name, why)
    _tell(cluster, pool, f"it was resumed: {why}")
    cluster.to_feed[pool] = None
    if pool.backlog:
        stalls.watch(cluster, now)
    return ""


def client_left(cluster: Cluster, client: int) -> None:
    """Forget that a client waits for pauses to take effect; the pools stay paused."""
    for pool in cluster.roster.pools.values():
        pool.pausing = [asked for asked in pool.pausing if asked[0] != client]


def look(cluster: Cluster, about: int, now: float) -> None:
    """Look at the pools whose pause has not taken effect yet."""
    del about
    for pool in cluster.roster.pools.values():
        if pool.pausing or (pool.paused and pool.held):
            _look(cluster, pool, now)


def _look(cluster: Cluster, pool: Pool, now: float) -> None:
    """Recall all that workers hold, once more if need be; and tell of it if they hold nothing."""
    if pool.held:
        ahead.recall_pool(cluster, pool, now)
        cluster.watch(Due.PAUSED, now + cluster.settings.recall_s)
    else:
        _tell(cluster, pool, "")


def _tell(cluster: Cluster, pool: Pool, reason: str) -> None:
    for client, request in pool.pausing:
        cluster.effects.append(TellPause(client, request, reason))
    pool.pausing.clear()


def _unknown(cluster: Cluster) -> str:
    pools = ", ".join(sorted(cluster.roster.pools)) or "none"
    return f"there is no such pool; there are: {pools}"
