"""Pools as users see them: their loads, and ways to move workers between them."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Callable, Iterator, Mapping

from msgspec.structs import replace

from steerio.client.client import Client
from steerio.errors import PauseFailed, UnknownPool, UsageError
from steerio.model.bounds import named, said
from steerio.model.cards import pools_table
from steerio.model.messages import PauseNews
from steerio.model.moving import How
from steerio.model.status import PoolLoad
from steerio.session.allocation import SETTLE_S, SLACK, follow
from steerio.session.moves import Lease, Move, check_count, check_how
from steerio.session.rules import Rule


class Pools(Mapping[str, PoolLoad]):
    """The pools of a broker, as last heard, and the ways to move workers between them.

    A mapping of names to ``PoolLoad``: ``workers``, of which some are ``busy``, ``idle`` or
    still ``starting``, tasks ``queued`` and ``running``, workers ``promised`` to moves,
    ``draining``, ``at_home``, ``nodes``, and ``makes``.  From the start they have the workers
    that were asked for, though none may have come yet.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._still = 0
        self.on_boards: Callable[[], Mapping[str, int]] = dict
        """Returns how many entries wait on boards, by pool (a campaign sets it)."""

    def __getitem__(self, pool: str) -> PoolLoad:
        return self._client.watch.pools[pool]

    def __iter__(self) -> Iterator[str]:
        return iter(self._client.watch.pools)

    def __len__(self) -> int:
        return len(self._client.watch.pools)

    def __repr__(self) -> str:
        return f"<Pools {'; '.join(describe(name, load) for name, load in self.items())}>"

    def _repr_html_(self) -> str:
        return str(pools_table(self))

    def move(
        self,
        source: str,
        target: str,
        workers: int,
        *,
        how: How = "drain",
        preempt_after_s: float | None = None,
        together: bool = False,
    ) -> Move:
        """Move workers to another pool, for good; await the `Move` to know them there.

        Args:
            source: the pool whose own workers are moved (not those that it has borrowed).
            target: the pool they go to.
            workers: their number; those that are free first go, idle ones at once.
            how: ``drain``: wait for running tasks; ``preempt``: cancel them and queue them again,
                which counts as no failure.
            preempt_after_s: seconds after which draining becomes preempting.
            together: none goes before all can.

        Raises:
            UsageError: the number of workers, or ``how``, is none.
            BrokerLost: the broker has ended.
        """
        return Move(self._client, source, target, workers, how, preempt_after_s, together)

    def lend(
        self,
        source: str,
        *,
        to: str,
        workers: int = 1,
        at_least: int | None = None,
        how: How = "drain",
        preempt_after_s: float | None = None,
        together: bool = False,
        give_back: How = "drain",
    ) -> Lease:
        """Lend workers to another pool for the length of an ``async with``.

        However the scope ends, they go home: idle ones at once, others when their task has ended
        (``give_back="drain"``) or been cancelled and queued again (``"preempt"``). The end of the
        scope does not wait for that; the `Lease` tells.

        Args:
            source: the pool whose own workers are lent.
            to: the pool that borrows them.
            workers: their number; those that are free first go.
            at_least: the number that must be there for the scope to begin (all, unless given); the
                others come while it lasts, as they become free.
            how: ``drain`` or ``preempt``, as for `move`.
            preempt_after_s: seconds after which draining becomes preempting.
            together: none goes before all can.
            give_back: the way they return, ``drain`` or ``preempt``.

        Raises:
            MoveFailed: on entering, if the move can never succeed.
            MoveDeadlock: on entering, if it would wait for ever: the borrower of the workers waits
                for some that are lent in a scope around this one.
            UsageError: a number is out of bounds, or ``how`` or ``give_back`` is none.
            BrokerLost: the broker has ended.
        """
        give_back = check_how(give_back, "give_back")
        check_count(workers)
        least = workers if at_least is None else at_least
        if type(least) is not int or not 0 <= least <= workers:
            raise UsageError(f"at_least is between 0 and {workers}, not {at_least!r}")
        move = Move(self._client, source, to, workers, how, preempt_after_s, together, lease=True)
        return Lease(move, least, give_back)

    async def pause(self, *pools: str, reason: str = "") -> None:
        """Hand out no queued task of these pools any more, until `resume`.

        Tasks that run come to their ends, and agents hear of them; queues, workers, leases and
        limits stay as they are. This returns once no worker will begin another task of theirs.

        Args:
            pools: their names; all, unless given.
            reason: for events, and for those who wonder why nothing goes on.

        Raises:
            UnknownPool: there is no such pool; the others are paused all the same.
            PauseFailed: a pool was resumed before its pause had taken effect.
            BrokerLost: the broker has ended.
        """
        reason = said(reason, "the reason")
        names = self._named(pools)
        requests = self._client.requests
        told = await gather(*(requests.pause(pool, reason) for pool in names))
        self._look_refused(names, told)

    async def resume(self, *pools: str, reason: str = "") -> None:
        """Hand out the queued tasks of paused pools again; nothing happens to other pools.

        Args:
            pools: their names; all, unless given.
            reason: for events.

        Raises:
            UnknownPool: there is no such pool; the others are resumed all the same.
            BrokerLost: the broker has ended.
        """
        reason = said(reason, "the reason")
        names = self._named(pools)
        requests = self._client.requests
        told = await gather(*(requests.resume(pool, reason) for pool in names))
        self._look_refused(names, told)

    def _named(self, pools: tuple[str, ...]) -> list[str]:
        return [named(pool, "the name of a pool") for pool in pools] or list(self)

    def _look_refused(self, pools: list[str], told: list[PauseNews]) -> None:
        for pool, news in zip(pools, told, strict=True):
            if news.refusal and pool in self:
                raise PauseFailed(pool, news.refusal)
            if news.refusal:
                raise UnknownPool(pool, list(self))

    async def follow(
        self,
        rule: Rule,
        *others: Rule,
        settle_s: float = SETTLE_S,
        slack: float = SLACK,
        step: int | None = None,
        how: How = "drain",
    ) -> None:
        """Move workers as a rule wishes, for as long as this is awaited.

        In a campaign, rules see the entries that wait on its boards as tasks that are queued.

        Await it in an ``@agent``, or write your own loop of `changed` and `move` instead.  It
        does not end by itself, so a campaign that awaits it ends by ``stop``.  When it is
        cancelled, moves that are not granted are undone.

        Args:
            rule: called with the pools whenever they have changed; returns the number of workers
                for each pool that it names.
            others: rules for other pools. Each moves workers among its own pools only, as for
                workers with a GPU, and for workers without one.
            settle_s: seconds for which a pool must have had too few, or too many, before workers
                are moved; and no more are moved than were wished all that time.
            slack: differences up to this share of a pool are left alone.
            step: most workers that one move takes; all that differ, unless given.  There is one
                move at a time from one pool to another.
            how: ``drain`` or ``preempt``, as for `move`.

        Raises:
            UsageError: a number is out of bounds, also one that a rule returned; two rules wish for
                one pool.
            BrokerLost: the broker has ended.
        """
        await follow(self, (rule, *others), settle_s=settle_s, slack=slack, step=step, how=how)

    async def changed(self) -> None:
        """Wait for a change: the broker tells of sizes at once, of queues every 0.1 s at most.

        Raises:
            BrokerLost: the broker has ended.
        """
        await self._client.watch.pools_changed()

    async def look(self) -> None:
        """Ask the broker for the loads of the pools, and wait for the answer.

        Raises:
            BrokerLost: the broker has ended.
        """
        await self._client.watch.pools_changed(ask=True)

    def seen(self) -> dict[str, PoolLoad]:
        """Return the loads as rules see them: entries that wait on boards count as queued."""
        return self.with_boards(self)

    def with_boards(self, loads: Mapping[str, PoolLoad]) -> dict[str, PoolLoad]:
        """Return loads in which the entries that wait on boards count as queued."""
        seen = dict(loads)
        for pool, waiting in self.on_boards().items():
            if pool in seen:
                seen[pool] = replace(seen[pool], queued=seen[pool].queued + waiting)
        return seen

    async def stirred(self) -> None:
        """Wait for a change, as `changed` does, or for one of a board.

        Raises:
            BrokerLost: the broker has ended.
        """
        self._still += 1
        try:
            await self.changed()
        finally:
            self._still -= 1

    def boards_changed(self) -> None:
        """Take in that there may be other entries on boards."""
        if self._still:
            self._client.watch.wake()


def describe(name: str, load: PoolLoad) -> str:
    """Return the load of a pool, in a few words."""
    words = [f"{load.busy} busy", f"{load.idle} idle"]
    words += [f"{count} {what}" for what, count in facts(load) if count]
    if load.paused:
        words.append(f"paused {load.paused}")
    return f"{name}: {', '.join(words)}"


def facts(load: PoolLoad) -> list[tuple[str, int]]:
    """Return the facts of a pool beside its busy and idle workers, with their counts."""
    elsewhere = load.at_home - load.workers
    return [
        ("starting", load.starting),
        ("promised", load.promised),
        ("draining", load.draining),
        ("lent", max(0, elsewhere)),
        ("borrowed", max(0, -elsewhere)),
        ("queued", load.queued),
    ]
