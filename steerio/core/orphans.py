"""Objects that makers which are gone may have left in the store, and when they are swept.

A maker may have put an object and not told of it.  One that its node saw end is swept after at
once; of others it is not known when they ended, so sweeping waits until they must be over.
"""

from __future__ import annotations

from itertools import chain

from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.effects import SweepObjects

ENDING_S = 10.0
"""Longest that a node takes to end with its workers, in seconds; its own bounds are shorter."""


def sweep_later(cluster: Cluster, makers: list[str], now: float) -> None:
    """Have it swept after makers when they must be over: until then they may put objects.

    One that hears nothing of the broker gives it up within a lease and a beat, which is less than
    two leases, and then has to end.
    """
    cluster.out_of_sight.append(makers)
    cluster.deadlines.add(now + 2 * cluster.settings.lease_s + ENDING_S, Due.SWEEP, 0)


def sweep(cluster: Cluster, about: int, now: float) -> None:
    """Sweep after those makers that went out of sight first, unless they are back."""
    del about, now
    there = cluster.roster.workers.keys() | {
        client.maker for client in cluster.clients.values() if not client.away
    }
    makers = [maker for maker in cluster.out_of_sight.popleft() if maker not in there]
    if makers:
        cluster.swept.update(makers)
        cluster.effects.append(SweepObjects(makers))


def free_all(cluster: Cluster) -> None:
    """Have the store emptied of all that anything put there: the broker ends."""
    cluster.holdings.free_all()
    makers = [client.maker for client in cluster.clients.values() if client.maker]
    gone = chain.from_iterable(cluster.out_of_sight)
    cluster.effects.append(SweepObjects([*makers, *cluster.roster.workers, *gone]))
