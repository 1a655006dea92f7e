"""Leases and moves that wait for each other, and would for ever.

Theory.  An agent that holds workers of one pool while it waits for another's gives them back
only when it has got the others.  Whether all can still end is found by *reduction* (Holt,
Some Deadlock Properties of Computer Systems, 1972): each that can go on with the workers that are
free is thought to do so and to give back all it has, until none is left, or only those that cannot
go on whatever the others do.  A busy worker counts as free, for a task ends; a worker that has
not come yet does not count, for it may never come.  A wait for more workers than there are is
ended anyway, when its time is over.

One that cannot go on waits for workers that are held by others that cannot go on either.
Following that leads round in a circle, and one of those on it has to give up: the last to ask.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from steerio.core.cluster import Cluster
from steerio.core.deadlines import Due
from steerio.core.effects import TellMove
from steerio.core.lifecycle import RETURNING, WAITING
from steerio.core.move_requests import end
from steerio.core.records import MoveRecord
from steerio.core.roster import Pool

LOOK_S = 1.0
"""How often to look for deadlocks while any agent holds workers and waits for others."""
Asked = Mapping[tuple[int, int], MoveRecord]
"""Moves and leases that are not over, by client and the client's number for them."""


def await_move(
    cluster: Cluster, client: int, request: int, count: int, holds: Iterable[int], by: str
) -> bool:
    """Note that an agent waits until a move has so many workers, and keeps leases until then.

    Returns whether that may be a deadlock.
    """
    move = cluster.moves.get((client, request))
    if move is None or move.state is not WAITING or len(move.taken) >= count:
        return False
    move.awaited, move.holds, move.by = min(count, move.count), tuple(holds), by
    return bool(move.holds)


def end_one(cluster: Cluster, now: float) -> bool:
    """End one wait that could never end; returns whether there was any.

    There may be another once the workers that this one held were given to others.
    """
    circle = find_circle(cluster.moves, cluster.roster.pools)
    if circle:
        last, reason = circle[0], say(circle, cluster.moves)
        cluster.effects.append(TellMove(last, "deadlocked", [], [], reason))
        end(cluster, last.client, last.request, "drain", now, reason)
    return bool(circle)


def watch(cluster: Cluster, now: float) -> None:
    """Look again while any agent holds workers and waits for others.

    Losses and moves meanwhile may make a deadlock of waits that were none.
    """
    if any(move.holds and move.blocked for move in cluster.moves.values()):
        cluster.watch(Due.DEADLOCK, now + LOOK_S)


def find_circle(asked: Asked, pools: Mapping[str, Pool]) -> list[MoveRecord]:
    """Return waits of which each waits for workers that the next one holds, the last for the first.

    The first is the one that was asked for last.  Empty if there is no deadlock.
    """
    stuck = [wait for wait in _stuck(asked, pools) if wait.holds]
    circle: list[MoveRecord] = []
    at = max(stuck, key=lambda wait: wait.number, default=None)
    while at is not None and at not in circle:
        circle.append(at)
        source = at.source
        at = next((other for other in stuck if _held(other, source, asked)), None)
    if at is None:
        return []
    circle = circle[circle.index(at) :]
    first = circle.index(max(circle, key=lambda wait: wait.number))
    return circle[first:] + circle[:first]


def say(circle: Sequence[MoveRecord], asked: Asked) -> str:
    """Say which workers each agent holds and waits for, the first first."""
    parts: list[str] = []
    for wait, before in zip(circle, [circle[-1], *circle[:-1]], strict=True):
        held = _held(wait, before.source, asked)
        count = sum(len(lease.taken) for lease in held)
        parts.append(
            f"{wait.by} holds {count} of {before.source!r} (lent to {held[0].target!r}) "
            f"and waits for {wait.awaited} of {wait.source!r}"
        )
    return f"deadlock: {', '.join(parts)}; take leases in one order everywhere"


def _held(wait: MoveRecord, source: str, asked: Asked) -> list[MoveRecord]:
    """Return the leases of workers of a pool that are kept until a wait is over."""
    leases = [asked.get((wait.client, request)) for request in wait.holds]
    return [lease for lease in leases if lease and lease.source == source and lease.taken]


def _stuck(asked: Asked, pools: Mapping[str, Pool]) -> list[MoveRecord]:
    """Return the waits that cannot end, whatever becomes free."""
    free = {name: pool.at_home for name, pool in pools.items()}
    queues = {name: deque(pool.moves) for name, pool in pools.items()}
    left = {key: move for key, move in asked.items() if move.state is not RETURNING}
    for move in left.values():
        free[move.source] -= len(move.taken) + len(move.reserved)
    before = len(left) + 1
    while len(left) < before:
        before = len(left)
        kept = {(m.client, request) for m in left.values() if m.blocked for request in m.holds}
        for key, move in list(left.items()):
            queue = queues[move.source]
            while queue and (queue[0].client, queue[0].request) not in left:
                queue.popleft()
            comes_next = bool(queue) and queue[0] is move
            if key not in kept and _may_end(move, comes_next, free[move.source]):
                del left[key]
                _end(move, free)
    return [move for move in left.values() if move.blocked]


def _may_end(move: MoveRecord, comes_next: bool, free: int) -> bool:
    """Whether a move can be granted, or a lease come to its end."""
    if move.short or (move.lease and not move.blocked):
        return True
    missing = move.awaited - len(move.taken) if move.lease and not move.together else move.owed
    return comes_next and missing <= free


def _end(move: MoveRecord, free: dict[str, int]) -> None:
    """Count workers as they are once a move is granted, or a lease has ended."""
    if move.lease or move.short:
        free[move.source] += len(move.taken) + len(move.reserved)
    else:
        free[move.source] -= move.owed
        free[move.target] += move.count
