"""Rules: functions from the loads of pools to the number of workers that each should have.

A rule is any function from a view of the pools (a mapping of names to ``PoolLoad``) to the number
of workers for each pool that it names; other pools are left alone.  It is pure: `Pools.follow`
calls it whenever the pools have changed, waits until a wish has held for a while, and moves
workers.  So a rule needs no memory and no clock, and is tested by calling it.

A rule shares out the workers *at home* in its pools: one that is out on lease counts for the pool
it belongs to, so leases and rules do not pull at the same worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import lcm

from steerio.errors import UsageError
from steerio.model.status import PoolLoad

View = Mapping[str, PoolLoad]
"""The pools as a rule sees them."""
Rule = Callable[[View], Mapping[str, int]]
"""A function from a view to numbers of workers; called often, so quick and pure."""


def demand(load: PoolLoad) -> int:
    """Return the number of workers a pool could use now: one for each task that it has."""
    return load.running if load.paused else load.queued + load.running


class Proportional:
    """A rule that shares workers out in proportion to the tasks of pools, queued or running.

    Each pool with tasks has at least one worker, as long as there are enough.  While nothing is
    queued no worker is wanted elsewhere, and all stay in their pools.

    Args:
        pools: two or more.
        weights: the weight of a task, by pool, if it is not 1: the usual duration, say, if the
            tasks of one pool take longer than those of another.

    Raises:
        UsageError: there are fewer than two pools; a weight is below 0, or of another pool.
    """

    def __init__(self, *pools: str, weights: Mapping[str, float] | None = None) -> None:
        self.pools = _distinct(pools, "Proportional")
        self.weights = dict(weights or {})
        for pool, weight in self.weights.items():
            if pool not in pools or not 0 <= weight < float("inf"):
                raise UsageError(f"weights: {pool!r}: {weight!r} is none of a pool of {pools}")

    def __repr__(self) -> str:
        return f"Proportional({', '.join(map(repr, self.pools))}, weights={self.weights})"

    def __call__(self, view: View) -> dict[str, int]:
        """Return the number of workers that each should have."""
        shares = {p: demand(view[p]) * self.weights.get(p, 1.0) for p in self.pools}
        total = _at_home(view, self.pools)
        if not any(view[pool].queued and shares[pool] for pool in self.pools):
            return {pool: view[pool].at_home for pool in self.pools}
        wish = apportion(total, shares)
        needy = [pool for pool in self.pools if shares[pool] > 0]
        if all(wish[pool] for pool in needy) or total < len(needy):
            return wish
        rest = apportion(total - len(needy), shares)  # of the rest when each has one
        return {pool: rest[pool] + (pool in needy) for pool in self.pools}


class Priority:
    """A rule that gives the first pool a worker for each task, then the second, and so on.

    The rest goes to the last one.

    Args:
        pools: two or more, the most urgent first.

    Raises:
        UsageError: fewer than two pools.
    """

    def __init__(self, *pools: str) -> None:
        self.pools = _distinct(pools, "Priority")

    def __repr__(self) -> str:
        return f"Priority({', '.join(map(repr, self.pools))})"

    def __call__(self, view: View) -> dict[str, int]:
        """Return the number of workers that each should have."""
        left = _at_home(view, self.pools)
        wish: dict[str, int] = {}
        for pool in self.pools[:-1]:
            wish[pool] = min(left, demand(view[pool]))
            left -= wish[pool]
        wish[self.pools[-1]] = left
        return wish


class KeepIdle:
    """A rule that keeps some workers of a pool idle, so that its next tasks begin at once.

    Args:
        pool: the urgent one.
        workers: the number to keep idle.
        source: the pool they come from, and go to when there are more than that.

    Raises:
        UsageError: fewer than one worker, or a pool that is its own source.
    """

    def __init__(self, pool: str, workers: int, *, source: str) -> None:
        self.pools = _distinct((pool, source), "KeepIdle")
        self.workers = _some(workers, "KeepIdle")

    def __repr__(self) -> str:
        return f"KeepIdle({self.pools[0]!r}, {self.workers}, source={self.pools[1]!r})"

    def __call__(self, view: View) -> dict[str, int]:
        """Return the number of workers that both should have."""
        pool, source = self.pools
        total = _at_home(view, self.pools)
        wanted = min(total, demand(view[pool]) + self.workers)
        return {pool: wanted, source: total - wanted}


class FirstThen:
    """A rule that gives workers to one pool while it has tasks, and to another when it has none.

    ``FirstThen("learn", "infer", workers=4)``: inference gets the trainer's workers when
    training ends, and the trainer has four again when there is something to learn.

    Args:
        first: the pool that has ``workers`` while a task is queued or running there.
        then: the pool that has all the others, and those too when ``first`` is done.
        workers: the number that ``first`` has.

    Raises:
        UsageError: fewer than one worker, or twice the same pool.
    """

    def __init__(self, first: str, then: str, *, workers: int) -> None:
        self.pools = _distinct((first, then), "FirstThen")
        self.workers = _some(workers, "FirstThen")

    def __repr__(self) -> str:
        return f"FirstThen({self.pools[0]!r}, {self.pools[1]!r}, workers={self.workers})"

    def __call__(self, view: View) -> dict[str, int]:
        """Return the number of workers that both should have."""
        first, then = self.pools
        total = _at_home(view, self.pools)
        wanted = min(total, self.workers) if demand(view[first]) else 0
        return {first: wanted, then: total - wanted}


def at_least(bounds: Mapping[str, int], rule: Rule) -> Rule:
    """Return a rule with the wishes of another, but for some pools no fewer than this.

    The workers that they get more are taken from the rule's other pools, from each in proportion to
    the number it can spare.

    Raises:
        UsageError: a bound is below 0; when called: the rule does not name a pool.
    """
    lows = _bounds(bounds)

    def bounded(view: View) -> dict[str, int]:
        wish = rule(view)
        _spoken_of(lows, wish)
        return within(wish, lows, {})

    return bounded


def at_most(bounds: Mapping[str, int], rule: Rule) -> Rule:
    """Return a rule with the wishes of another, but for some pools no more than this.

    The workers that they get less go to the rule's other pools, in proportion to their sizes; if
    every pool is full, the rule wishes nothing for the remaining workers, and they stay.

    Raises:
        UsageError: a bound is below 0; when called: the rule does not name a pool.
    """
    highs = _bounds(bounds)

    def bounded(view: View) -> dict[str, int]:
        wish = rule(view)
        _spoken_of(highs, wish)
        return within(wish, {}, highs)

    return bounded


def within(
    wish: Mapping[str, int], lows: Mapping[str, int], highs: Mapping[str, int]
) -> dict[str, int]:
    """Bring wished sizes between bounds, as far as that goes, and keep their sum."""
    total = sum(wish.values())
    floors = {pool: lows.get(pool, 0) for pool in wish}
    if sum(floors.values()) > total:
        return apportion(total, floors)
    sizes = {
        pool: max(floors[pool], min(highs.get(pool, total), size)) for pool, size in wish.items()
    }
    over = sum(sizes.values()) - total
    if over > 0:
        spare = {pool: size - floors[pool] for pool, size in sizes.items()}
        taken = apportion(over, spare)
        sizes = {pool: size - taken[pool] for pool, size in sizes.items()}
    while over < 0:
        room = {pool: min(highs.get(pool, total), total) - size for pool, size in sizes.items()}
        open_to = {pool: sizes[pool] + 1 for pool in sizes if room[pool] > 0}
        if not open_to:
            break
        given = {p: min(n, room[p]) for p, n in apportion(-over, open_to).items()}
        sizes = {pool: size + given.get(pool, 0) for pool, size in sizes.items()}
        over += sum(given.values())
    return sizes


def apportion(seats: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Share out a whole number in proportion to weights (largest remainder, Hamilton's method).

    The shares add up to ``seats``; a name without weight has no share. Ties go to the first.

    Raises:
        UsageError: there are seats to share out and no weight above 0.
    """
    if not seats:
        return dict.fromkeys(weights, 0)
    # in whole numbers, which are exact, so that equal weights have equal remainders
    ratios = {name: float(weight).as_integer_ratio() for name, weight in weights.items()}
    scale = lcm(*(below for _, below in ratios.values()))
    whole = {name: above * (scale // below) for name, (above, below) in ratios.items()}
    total = sum(whole.values())
    if total <= 0:
        raise UsageError(f"{seats} cannot be shared out by weights of 0: {dict(weights)}")
    quotas = {name: divmod(seats * weight, total) for name, weight in whole.items()}
    shares = {name: quota for name, (quota, _) in quotas.items()}
    by_remainder = sorted(quotas, key=lambda name: -quotas[name][1])
    for name in by_remainder[: seats - sum(shares.values())]:
        shares[name] += 1
    return shares


def _at_home(view: View, pools: tuple[str, ...]) -> int:
    return sum(view[pool].at_home for pool in pools)


def _distinct(pools: tuple[str, ...], rule: str) -> tuple[str, ...]:
    if len(pools) < 2 or len(set(pools)) < len(pools):
        raise UsageError(f"{rule} is of two or more different pools, not of {pools}")
    return pools


def _some(workers: int, rule: str) -> int:
    if type(workers) is not int or workers < 1:
        raise UsageError(f"{rule}: workers is a whole number above 0, not {workers!r}")
    return workers


def _bounds(bounds: Mapping[str, int]) -> dict[str, int]:
    for pool, bound in bounds.items():
        if type(bound) is not int or bound < 0:
            raise UsageError(f"the bound of {pool!r} is a whole number from 0, not {bound!r}")
    return dict(bounds)


def _spoken_of(bounds: Mapping[str, int], wish: Mapping[str, int]) -> None:
    for pool in bounds.keys() - wish.keys():
        raise UsageError(f"{pool!r} has a bound, but the rule only speaks of {sorted(wish)}")
