"""The clock's part: which decision looks at each deadline that comes up."""

from __future__ import annotations

from collections.abc import Callable

from steerio.core import (
    ahead,
    deadlock,
    draining,
    empty_pools,
    kept_runs,
    membership,
    move_requests,
    orphans,
    pausing,
    reports,
    worker_life,
)
from steerio.core.assigning import assign
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.stalls import look as look_stalls


def end_deadlocks(cluster: Cluster, now: float) -> None:
    """End waits that could never end, and look again while there may be others."""
    while deadlock.end_one(cluster, now):
        assign(cluster, now)
    deadlock.watch(cluster, now)


def _look_for_deadlocks(cluster: Cluster, about: int, now: float) -> None:
    del about
    end_deadlocks(cluster, now)


def _look_for_stalls(cluster: Cluster, about: int, now: float) -> None:
    del about
    look_stalls(cluster, now)


LOOKS: dict[Due, Callable[[Cluster, int, float], None]] = {
    Due.TIMEOUT: reports.look_timeout,
    Due.TERM: reports.look_term,
    Due.KILL: reports.look_kill,
    Due.RECALLED: reports.look_recalled,
    Due.PRESS: move_requests.look_pressing,
    Due.SHORT: move_requests.look_short,
    Due.DEADLOCK: _look_for_deadlocks,
    Due.START: worker_life.look_starting,
    Due.RETIRE: worker_life.look_retiring,
    Due.BROKEN: worker_life.look_broken,
    Due.KEPT: kept_runs.look,
    Due.REPLACE: worker_life.replace,
    Due.NODE: membership.look_node,
    Due.CLIENT: membership.look_client,
    Due.ENDING: draining.look_ending,
    Due.END: draining.look_end,
    Due.DRAIN: draining.look_drain_by,
    Due.EXPECTED: empty_pools.look_expected,
    Due.EMPTY: empty_pools.look_empty,
    Due.UNFIT: reports.look_unfit,
    Due.PAUSED: pausing.look,
    Due.STALLED: _look_for_stalls,
    Due.SHARE: ahead.look_shared,
    Due.RECALL: ahead.look_long,
    Due.SWEEP: orphans.sweep,
}
"""The decision that looks at each deadline; a test holds its keys against `Due`."""
SILENCES = frozenset((Due.NODE, Due.CLIENT, Due.START, Due.EMPTY))
"""The deadlines that come up because a member said nothing."""


def tick(cluster: Cluster, now: float, *, words_wait: bool = False) -> None:
    """Look at everything whose time has come, and give work to workers that this has freed.

    No member is lost for its silence while it may have spoken (``words_wait``: there is more
    to be taken in): it has another beat for it.  No more, for others may never pause.
    """
    for due, about in cluster.deadlines.due(now):
        if due in SILENCES and _puts_off(cluster, due, about, words_wait):
            cluster.deadlines.add(now + cluster.settings.beat_s, due, about)
            continue
        cluster.watched.discard(due)
        LOOKS[due](cluster, about, now)
        assign(cluster, now)
    if cluster.silent:  # together, or workers of one would be given tasks of another
        membership.lose_silent(cluster, now)
        assign(cluster, now)


def _puts_off(cluster: Cluster, due: Due, about: int, words_wait: bool) -> bool:
    """Whether to look at a silence a beat later, which is done once."""
    if words_wait and (due, about) not in cluster.put_off:
        cluster.put_off.add((due, about))
        return True
    cluster.put_off.discard((due, about))
    return False
