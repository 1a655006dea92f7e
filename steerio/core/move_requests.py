"""Requests of clients to move workers between pools, for good or on lease, and to undo that.

Theory.  The moves that wait for one pool's workers are served in the order they were asked for, and
a move asks nothing of its target, so two opposite ones cannot wait for each other.

Until a move is granted its workers still belong to the source.  So undoing a move and
giving back a lease are one thing: all that it has taken go home when free.
"""

from __future__ import annotations

from itertools import takewhile
from math import inf

from steerio.core import attempts
from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.lifecycle import RETURNING, WAITING, Step, step
from steerio.core.moved_workers import (
    busy_workers,
    leave_queue,
    look_ended,
    note_short,
    press,
    release,
    send_home,
    tell,
)
from steerio.core.records import MoveRecord
from steerio.model.moving import How
from steerio.model.showing import counted

NOBODY = 0
"""The client of moves that are still taken back for one that has left: no peer has that number."""

# -- orders of clients --------------------------------------------------------------------------


def ask(
    cluster: Cluster,
    client: int,
    request: int,
    source: str,
    target: str,
    count: int,
    *,
    lease: bool = False,
    together: bool = False,
    how: How = "drain",
    preempt_after_s: float | None = None,
) -> MoveRecord | str:
    """Have a move wait for workers; returns why that can never be, if so.

    Idle workers are given to it by `assigning.assign`, after which it is to `insist`.
    """
    refusal = _why_not(cluster, client, request, source, target, count)
    if preempt_after_s is not None and not 0 <= preempt_after_s < inf:
        refusal = f"preempt_after_s is a number of seconds, not {preempt_after_s!r}"
    if refusal:
        return refusal
    cluster.move_numbers += 1
    number = cluster.move_numbers
    move = MoveRecord(number, client, request, source, target, count, lease, together, how)
    cluster.moves[client, request] = move
    cluster.moves_of.setdefault(client, {})[request] = move
    cluster.moves_by_number[number] = move
    pool = cluster.roster.pools[source]
    pool.moves.append(move)
    cluster.roster.pools[target].coming += 1
    cluster.to_feed[pool] = None
    return move


def insist(cluster: Cluster, move: MoveRecord, preempt_after_s: float | None, now: float) -> None:
    """See to it that a move that was not granted at once gets workers."""
    pool = cluster.roster.pools[move.source]
    note_short(cluster, pool, now)
    if move.state is not WAITING:
        return
    if pool.held and pool.moves[0] is move:
        for worker in busy_workers(cluster, pool):
            attempts.recall(cluster, worker)
    press(cluster, pool, now)
    if preempt_after_s is not None:
        cluster.look_later(now + preempt_after_s, Due.PRESS, move.number)
    tell(cluster, move)


def end(
    cluster: Cluster, client: int, request: int, how: How, now: float, reason: str = ""
) -> None:
    """Undo a move that is not granted yet, or take back leased workers."""
    move = cluster.moves.get((client, request))
    if move is None or move.state is RETURNING:
        return
    leave_queue(cluster, move)
    step(move, Step.TAKEN_BACK)
    move.reason = reason
    for worker in list(move.reserved):
        release(cluster, worker, move)
    for worker in list(move.taken):
        send_home(cluster, worker, how, now)
    look_ended(cluster, move)
    if move.state is RETURNING:
        tell(cluster, move)
    cluster.to_feed[cluster.roster.pools[move.source]] = None


def client_left(cluster: Cluster, client: int, now: float) -> None:
    """Undo and take back whatever a client has not seen to the end.

    Workers that have yet to go home belong to no request from then on: one of a detached name
    may come back under the same number, and count its requests anew.
    """
    for request in list(cluster.moves_of.get(client, ())):
        end(cluster, client, request, "drain", now)
    for request, move in cluster.moves_of.pop(client, {}).items():
        del cluster.moves[client, request]
        move.client, move.request = NOBODY, move.number
        cluster.moves[NOBODY, move.number] = move
        cluster.moves_of.setdefault(NOBODY, {})[move.number] = move


# -- deadlines ---------------------------------------------------------------------------------


def look_pressing(cluster: Cluster, number: int, now: float) -> None:
    """Have tasks stopped for a move that has waited for them to end."""
    move = cluster.moves_by_number.get(number)
    if move is not None and move.state is WAITING:
        move.how = "preempt"
        press(cluster, cluster.roster.pools[move.source], now)


def look_short(cluster: Cluster, number: int, now: float) -> None:
    """End a move that has waited for more workers, and there are still too few."""
    move = cluster.moves_by_number.get(number)
    if move is None or move.state is not WAITING:
        return
    move.short = False
    there = to_give(cluster, move)
    if move.count > there:
        own = counted(there, "worker")
        reason = f"{move.source!r} has only {own}, and was asked for {move.count}"
        end(cluster, move.client, move.request, "drain", now, reason)


# -- whether there are enough workers ----------------------------------------------------------


def to_give(cluster: Cluster, move: MoveRecord) -> int:
    """Return how many workers a waiting move could get at most, those it has included."""
    pool = cluster.roster.pools[move.source]
    before = takewhile(lambda other: other is not move, pool.moves)
    return pool.at_home - sum(other.count for other in before if not other.lease)


def _why_not(
    cluster: Cluster, client: int, request: int, source: str, target: str, count: int
) -> str:
    pools = cluster.roster.pools
    known = ", ".join(sorted(pools))
    if source not in pools:
        return f"there is no pool {source!r} (there are: {known})"
    if cluster.roster.pool(target) is None:
        return f"there is no pool {target!r} (there are: {known})"
    if source == target:
        return f"the workers of {source!r} are in {source!r} already"
    if (client, request) in cluster.moves:
        return f"request {request} was made already"
    if count < 1:
        return f"{count} workers cannot be moved"
    pool = pools[source]
    leaving = sum(move.count for move in pool.moves if not move.lease)
    own = max(pool.at_home, pool.announced)
    if count > own - leaving:
        also = f", of which {leaving} are to leave for good" if leaving else ""
        workers = counted(own, "worker")
        return f"{source!r} has {workers} of its own{also}, and was asked for {count}"
    return ""
