"""The follower of rules, which looks at pools, waits until a wish has held, and moves workers.

Theory. Loads are noisy and moving costs something, so a difference between the wish and the present
counts only if it had the same sign for ``settle_s``, and then only the part that was there all that
time (hysteresis). Differences that are small beside the pool move no workers. Workers that are on
their way count for their target.

`Steps` decides, given the view and the time; `follow` waits and asks for moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from math import inf
from typing import Protocol

import msgspec

from steerio.errors import UsageError
from steerio.model.moving import How
from steerio.model.status import PoolLoad
from steerio.session.moves import Move, check_how
from steerio.session.rules import Rule

Pair = tuple[str, str]
SETTLE_S = 1.0
"""Seconds for which a wish has to hold before workers are moved, unless told otherwise."""
SLACK = 0.05
"""Share of a pool by which it may differ from the wish, unless told otherwise."""

EARLY_S = 1e-6
"""Seconds by which a timer may call early: loops do so within the resolution of their clock. In
virtual time the clock would stand still from one such call to the next, without end."""

LOOK_S = 0.15
"""Seconds from a change to the next question: the broker tells of queues every 0.1 s at most."""


class Lean(msgspec.Struct):
    """The lean of a pool: too many workers (+1) or too few (-1), and by how many at least.

    ``least`` is of a window that began at ``since``; ``held`` of the one before, 0 in the first.
    So the lesser of both has held for one window at least, and for two at most.
    """

    sign: int
    since: float
    least: int
    held: int = 0


class Steps(msgspec.Struct):
    """The moves to make and those to undo, decided from wishes that have held.

    Args:
        settle_s: seconds for which a difference has to have the same sign.
        slack: differences up to this share of a pool are left alone.
        step: most workers that one move takes.
    """

    settle_s: float = SETTLE_S
    slack: float = SLACK
    step: int | None = None
    leans: dict[str, Lean] = msgspec.field(default_factory=dict[str, Lean])
    due: float = inf
    """The time to look again at the latest, though nothing has changed."""

    def decide(
        self,
        have: Mapping[str, int],
        wish: Mapping[str, int],
        under_way: Mapping[Pair, int],
        now: float,
    ) -> tuple[dict[Pair, int], list[Pair]]:
        """Return the moves to make, as numbers of workers, and those under way to undo.

        Args:
            have: the workers at home in each pool.
            wish: the workers that each should have.
            under_way: moves that are not granted, of which there is one at most for a pair.
            now: seconds.
        """
        going = dict.fromkeys(wish, 0)
        for (source, target), count in under_way.items():
            going[source] = going.get(source, 0) - count
            going[target] = going.get(target, 0) + count
        excess = {pool: have[pool] + going[pool] - size for pool, size in wish.items()}
        self._lean(excess, now)
        undone = self._undone(under_way, excess)
        made = self._made(under_way, {pool: max(have[pool], wish[pool]) for pool in wish})
        for pool in {pool for pair in [*made, *undone] for pool in pair}:
            self.leans.pop(pool, None)  # the rest of the wish has to hold anew
        growing = [lean.since for lean in self.leans.values() if lean.held < lean.least]
        self.due = min(growing, default=inf) + self.settle_s
        return made, undone

    def _lean(self, excess: Mapping[str, int], now: float) -> None:
        for pool, count in excess.items():
            sign = (count > 0) - (count < 0)
            lean = self.leans.get(pool)
            if not sign:
                self.leans.pop(pool, None)
                continue
            if lean is None or lean.sign != sign:
                lean = self.leans[pool] = Lean(sign, now, abs(count))
            lean.least = min(lean.least, abs(count))
            if now >= lean.since + self.settle_s - EARLY_S:
                lean.held, lean.since, lean.least = lean.least, now, abs(count)
        for pool in self.leans.keys() - excess.keys():
            del self.leans[pool]

    def _steady(self, pool: str, sign: int) -> int:
        """Return by how many workers a pool has leaned that way for long enough."""
        lean = self.leans.get(pool)
        return min(lean.held, lean.least) if lean is not None and lean.sign == sign else 0

    def _undone(self, under_way: Mapping[Pair, int], excess: Mapping[str, int]) -> list[Pair]:
        """Return the moves whose every worker is one too many at its end, or wanted back."""
        return [
            (source, target)
            for (source, target), count in under_way.items()
            if source in excess
            and target in excess
            and max(self._steady(source, -1), self._steady(target, 1)) >= count
        ]

    def _made(self, under_way: Mapping[Pair, int], size: Mapping[str, int]) -> dict[Pair, int]:
        spare = {pool: self._steady(pool, 1) for pool in size}
        lack = {pool: self._steady(pool, -1) for pool in size}
        worth = {p for p in size if max(spare[p], lack[p]) > self.slack * size[p]}
        made: dict[Pair, int] = {}
        for source in sorted(spare, key=lambda pool: -spare[pool]):
            for target in sorted(lack, key=lambda pool: -lack[pool]):
                count = min(spare[source], lack[target], self.step or spare[source])
                # workers going the other way would meet these, so that move is undone first
                busy = (source, target) in under_way or (target, source) in under_way
                if count and not busy and {source, target} & worth:
                    made[source, target] = count
                    spare[source] -= count
                    lack[target] -= count
        return made


class FollowedPools(Protocol):
    """The pools, as the follower of rules sees and changes them."""

    def __len__(self) -> int: ...

    def seen(self) -> dict[str, PoolLoad]:
        """Return their loads, with all that waits for them."""
        ...

    def move(self, source: str, target: str, workers: int, *, how: How) -> Move:
        """Ask the broker to move workers."""
        ...

    async def changed(self) -> None:
        """Wait until the broker tells of a change."""
        ...

    async def stirred(self) -> None:
        """Wait until the broker tells of a change, or something else waits for them."""
        ...

    async def look(self) -> None:
        """Ask the broker for their loads."""
        ...


class Followed:
    """A rule that is followed, and the moves that it has led to and that are under way."""

    def __init__(self, rule: Rule, steps: Steps, how: How) -> None:
        self._rule = rule
        self._how: How = how
        self.steps = steps
        self._moves: dict[Pair, Move] = {}

    def __repr__(self) -> str:
        return f"<Followed {self._rule}, {len(self._moves)} moves under way>"

    def wish(self, seen: Mapping[str, PoolLoad]) -> Mapping[str, int]:
        """Return the wish of the rule."""
        return checked(self._rule(seen), seen)

    def step(
        self,
        pools: FollowedPools,
        seen: Mapping[str, PoolLoad],
        wish: Mapping[str, int],
        now: float,
    ) -> bool:
        """Make moves and undo them; return whether there were any."""
        self._moves = {pair: move for pair, move in self._moves.items() if move.state == "waiting"}
        have = {pool: seen[pool].at_home for pool in wish}
        counts = {pair: move.count for pair, move in self._moves.items()}
        made, undone = self.steps.decide(have, wish, counts, now)
        for pair in undone:
            self._moves.pop(pair).cancel()
        for pair, count in made.items():
            self._moves[pair] = pools.move(*pair, count, how=self._how)
        return bool(made or undone)

    def close(self) -> None:
        """Undo the moves that are not granted."""
        for move in self._moves.values():
            move.cancel()


async def follow(
    pools: FollowedPools,
    rules: Sequence[Rule],
    *,
    settle_s: float = SETTLE_S,
    slack: float = SLACK,
    step: int | None = None,
    how: How = "drain",
) -> None:
    """Move workers as rules wish, until cancelled; see ``Pools.follow``."""
    for rule in rules:
        if not callable(rule):
            raise UsageError(
                f"follow takes a rule, like Proportional('simulate', 'infer'), not {rule!r}"
            )
    _check(settle_s, slack, step)
    check_how(how)
    followed = [Followed(rule, Steps(settle_s, slack, step), how) for rule in rules]
    loop = asyncio.get_running_loop()
    before: dict[str, PoolLoad] = {}
    asked = False
    try:
        if not pools:
            await pools.changed()  # the broker has not told of them yet
        while True:
            seen = pools.seen()
            wishes = [each.wish(seen) for each in followed]
            _check_apart(wishes)
            now = loop.time()
            stepped = [
                each.step(pools, seen, wish, now)
                for each, wish in zip(followed, wishes, strict=True)
            ]
            still = asked and seen == before and not any(stepped)
            look_s = inf if still else max(settle_s, LOOK_S)
            before = seen
            due = min(each.steps.due for each in followed)
            asked = await _news(pools, min(look_s, due - loop.time()))
    finally:
        for each in followed:
            each.close()


async def _news(pools: FollowedPools, within_s: float) -> bool:
    """Wait until the broker tells of a change, or ask it; return whether it was asked.

    With no time to look again, a change of a board ends the wait as well. The broker does not tell
    of all changes (see `LOOK_S`), so it is asked once more after each; if nothing has changed then,
    only its word counts, and a still campaign stays still.
    """
    if within_s == inf:
        await pools.stirred()
        return False
    try:
        async with asyncio.timeout(within_s):
            await pools.changed()
    except TimeoutError:
        await pools.look()
        return True
    return False


def _check_apart(wishes: Sequence[Mapping[str, int]]) -> None:
    """Refuse wishes of several rules for one pool."""
    named: set[str] = set()
    for wish in wishes:
        for pool in named & wish.keys():
            raise UsageError(
                f"two rules wish for workers of pool {pool!r}: have one rule for pools that share"
            )
        named |= wish.keys()


def _check(settle_s: float, slack: float, step: int | None) -> None:
    if not 0 <= settle_s < inf:
        raise UsageError(f"settle_s is a number of seconds, not {settle_s!r}")
    if not 0 <= slack < 1:
        raise UsageError(f"slack is a share from 0 to below 1, not {slack!r}")
    if step is not None and (type(step) is not int or step < 1):
        raise UsageError(f"step is a whole number above 0, not {step!r}")


def checked(wish: Mapping[str, int], view: Mapping[str, PoolLoad]) -> Mapping[str, int]:
    """Return the wish of a rule, checked.

    Raises:
        UsageError: it is no mapping of pools that there are to numbers of workers.
    """
    if not isinstance(wish, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"a rule returns numbers of workers by pool, and not {wish!r}")
    for pool, size in wish.items():
        if pool not in view or type(size) is not int or size < 0:
            known = ", ".join(sorted(view))
            raise UsageError(
                f"a rule wished {size!r} workers for pool {pool!r}; it returns whole numbers "
                f"from 0 for pools that there are: {known}"
            )
    return wish
