"""Pools as users see them: how they are, and workers that move between them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Generator, Iterator, Mapping
from types import TracebackType
from typing import Any

from steerio.campaign.allocation import SETTLE_S, SLACK, follow
from steerio.campaign.rules import Rule
from steerio.campaign.submitting import current_agent
from steerio.errors import MoveDeadlock, MoveFailed, UsageError
from steerio.model.bounds import named, seconds
from steerio.model.objects import NO_WORD
from steerio.model.status import PoolLoad
from steerio.runtime.client import Client

_held: weakref.WeakKeyDictionary[asyncio.Task[Any], list[Move]] = weakref.WeakKeyDictionary()
"""The leases in whose scope each asyncio task is."""


class Pools(Mapping[str, PoolLoad]):
    """The pools of a broker, as last heard, and the ways to move workers between them.

    A mapping of names to ``PoolLoad``: ``workers``, of which some are ``busy``, ``idle`` or
    still ``starting``, tasks ``queued`` and ``running``, workers ``promised`` to moves,
    ``draining``, ``at_home``, ``nodes``, and ``makes``.  From the start they have the workers
    that were asked for, though none may have come yet.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getitem__(self, pool: str) -> PoolLoad:
        return self._client.watch.pools[pool]

    def __iter__(self) -> Iterator[str]:
        return iter(self._client.watch.pools)

    def __len__(self) -> int:
        return len(self._client.watch.pools)

    def __repr__(self) -> str:
        return f"<Pools {'; '.join(describe(name, load) for name, load in self.items())}>"

    def move(
        self,
        source: str,
        target: str,
        workers: int,
        *,
        how: str = "drain",
        preempt_after_s: float | None = None,
        together: bool = False,
    ) -> Move:
        """Move workers to another pool, for good; await the `Move` to know them there.

        Args:
            source: the pool whose own workers are moved (not those that it has borrowed).
            target: where they go.
            workers: how many; whichever are free first go, idle ones at once.
            how: ``drain``: wait for what runs; ``preempt``: cancel that and queue it again,
                which counts as no failure.
            preempt_after_s: seconds after which draining becomes preempting.
            together: none goes before all can.

        Raises:
            UsageError: a number of workers that is none.
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
        how: str = "drain",
        preempt_after_s: float | None = None,
        together: bool = False,
        give_back: str = "drain",
    ) -> Lease:
        """Lend workers to another pool for the length of an ``async with``.

        However the scope ends, they go home: idle ones at once, others when what they run
        has ended (``give_back="drain"``) or been cancelled and queued again (``"preempt"``).
        Its end does not wait for that; the `Lease` tells.

        Args:
            source: the pool whose own workers are lent.
            to: the pool that borrows them.
            workers: how many; whichever are free first go.
            at_least: how many must be there for the scope to begin (all, unless given); the
                others come while it lasts, as they become free.
            how: ``drain`` or ``preempt``, as for `move`.
            preempt_after_s: seconds after which draining becomes preempting.
            together: none goes before all can.
            give_back: how they return, ``drain`` or ``preempt``.

        Raises:
            MoveFailed: on entering, if that can never be.
            MoveDeadlock: on entering, if it would wait for ever: the workers are lent to somebody
                who waits for some that are lent in a scope around this one.
            UsageError: numbers that cannot be.
            BrokerLost: the broker has ended.
        """
        if give_back not in ("drain", "preempt"):
            raise UsageError(f"give_back is drain or preempt, not {give_back!r}")
        _check_count(workers)
        least = workers if at_least is None else at_least
        if type(least) is not int or not 0 <= least <= workers:
            raise UsageError(f"at_least is between 0 and {workers}, not {at_least!r}")
        move = Move(self._client, source, to, workers, how, preempt_after_s, together, lease=True)
        return Lease(move, least, give_back)

    async def follow(
        self,
        rule: Rule,
        *,
        settle_s: float = SETTLE_S,
        slack: float = SLACK,
        step: int | None = None,
        how: str = "drain",
    ) -> None:
        """Move workers as a rule wishes, for as long as this is awaited.

        Await it in an ``@agent``, or write your own loop of `changed` and `move` instead.  It
        does not end by itself, so a campaign that awaits it ends by ``stop``.  When it is
        cancelled, moves that are not granted are undone.

        Args:
            rule: called with the pools whenever they have changed; returns how many workers
                each of those that it speaks of should have.
            settle_s: seconds for which a pool must have had too few, or too many, before
                workers are moved; and no more are than were wished all that time.
            slack: differences up to this share of a pool are left alone.
            step: most workers that one move takes; all that differ, unless given.  There is one
                move at a time from one pool to another.
            how: ``drain`` or ``preempt``, as for `move`.

        Raises:
            UsageError: a number that cannot be, also one that the rule returned.
            BrokerLost: the broker has ended.
        """
        await follow(self, rule, settle_s=settle_s, slack=slack, step=step, how=how)

    async def changed(self) -> None:
        """Wait until something has changed: sizes are told at once, queues every 0.1 s at most.

        Raises:
            BrokerLost: the broker has ended.
        """
        await self._client.watch.pools_changed()

    async def look(self) -> None:
        """Ask the broker how the pools are, and wait for the answer.

        Raises:
            BrokerLost: the broker has ended.
        """
        await self._client.watch.pools_changed(ask=True)


def _check_count(workers: object) -> None:
    if type(workers) is not int or not 1 <= workers < NO_WORD:
        raise UsageError(f"workers is a whole number above 0, not {workers!r}")


class Move:
    """Workers on their way to another pool: await it, look how far it is, or `cancel` it."""

    def __init__(
        self,
        client: Client,
        source: str,
        target: str,
        count: int,
        how: str,
        preempt_after_s: float | None,
        together: bool,
        *,
        lease: bool = False,
    ) -> None:
        _check_count(count)
        source = named(source, "the pool that workers come from")
        target = named(target, "the pool that workers go to")
        if preempt_after_s is not None:
            preempt_after_s = seconds(preempt_after_s, "preempt_after_s", or_zero=True)
        self.source, self.target, self.count = source, target, count
        self.state = "waiting"
        """``waiting``, ``granted``, ``returning``, ``ended`` or ``refused``; in between, for a
        moment, ``deadlocked``."""
        self.workers: list[str] = []
        """Those that are at the target for it."""
        self.reason = ""
        """Why it was refused, or ended though nobody asked for that."""
        self._client = client
        self._waiters: list[asyncio.Future[None]] = []
        self._heard = self._deadlocked = False
        self._request = client.requests.ask_move(
            self,
            source,
            target,
            count,
            lease=lease,
            together=together,
            how=how,
            preempt_after_s=preempt_after_s,
        )

    def __repr__(self) -> str:
        there = f"{len(self.workers)} of {self.count}"
        return f"<Move {self.source} -> {self.target}: {there}, {self.state}>"

    def __await__(self) -> Generator[Any, None, list[str]]:
        """Wait until all workers are there, and return their names.

        Cancelling the await undoes the move (``asyncio.shield`` it to let it go on).

        Raises:
            MoveFailed: it can never be, or too few workers are left, or it was cancelled.
            MoveDeadlock: it would wait for ever, for workers that are lent to somebody who waits
                for some that are lent in a scope around this.
        """
        return self._wait(self.count).__await__()

    def cancel(self, how: str = "drain") -> None:
        """Undo the move, unless it is granted: what it has moved goes back."""
        if self.state == "waiting":
            self.end(how)

    # -- for leases, and from the client -------------------------------------------------------

    async def wait_for(self, count: int) -> list[str]:
        """Wait until so many workers are there; see ``await``."""
        return await self._wait(count)

    async def wait_ended(self) -> None:
        """Wait until everybody is home again."""
        while self.state not in ("ended", "refused"):
            await self._news()

    def end(self, how: str) -> None:
        """Have everybody go home."""
        if self.state not in ("ended", "refused"):
            self._client.requests.end_move(self._request, how)

    def news(self, state: str, workers: list[str], reason: str) -> None:
        """Take in how far it is."""
        self._heard, self.state, self.workers = True, state, workers
        self.reason = reason or self.reason
        self._deadlocked |= state == "deadlocked"
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait(self, count: int) -> list[str]:
        self._say_who_waits(count)
        try:
            while not self._heard or (self.state == "waiting" and len(self.workers) < count):
                await self._news()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self.state not in ("waiting", "granted"):
            error = MoveDeadlock if self._deadlocked else MoveFailed
            reason = self.reason or "it was cancelled"
            raise error(self.source, self.target, self.count, reason)
        return self.workers

    def _say_who_waits(self, count: int) -> None:
        """Have the broker know that this task goes no further, nor gives back what it holds."""
        task = asyncio.current_task()
        if task is not None and self.state == "waiting" and len(self.workers) < count:
            held = [move for move in _held.get(task, ()) if move._client is self._client]
            holds = [move._request for move in held]
            self._client.requests.await_move(self._request, count, holds, current_agent.get())

    async def _news(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter


class Lease:
    """Workers that one pool lends to another while an ``async with`` lasts."""

    def __init__(self, move: Move, at_least: int, give_back: str) -> None:
        self._move = move
        self._at_least = at_least
        self._give_back = give_back
        self._beside: list[Move] = []

    def __repr__(self) -> str:
        return f"<Lease of {self._move!r}>"

    @property
    def workers(self) -> list[str]:
        """The names of those that are there for it; one that was lost is replaced."""
        return self._move.workers

    @property
    def state(self) -> str:
        """``waiting`` (for more), ``granted``, ``returning`` or ``ended``."""
        return self._move.state

    async def wait_returned(self) -> None:
        """Wait, after the scope, until everybody is home."""
        await self._move.wait_ended()

    async def __aenter__(self) -> Lease:
        try:
            await self._move.wait_for(self._at_least)
        except BaseException:
            self._move.end(self._give_back)
            raise
        task = asyncio.current_task()
        if task is not None:
            self._beside = _held.setdefault(task, [])
            self._beside.append(self._move)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._move in self._beside:
            self._beside.remove(self._move)
        self._move.end(self._give_back)


def describe(name: str, load: PoolLoad) -> str:
    """Say how a pool is, in a few words."""
    words = [f"{load.busy} busy", f"{load.idle} idle"]
    words += [f"{count} {what}" for what, count in facts(load) if count]
    return f"{name}: {', '.join(words)}"


def facts(load: PoolLoad) -> list[tuple[str, int]]:
    """Return what there is to say of a pool beside its busy and idle workers."""
    elsewhere = load.at_home - load.workers
    return [
        ("starting", load.starting),
        ("promised", load.promised),
        ("draining", load.draining),
        ("lent", max(0, elsewhere)),
        ("borrowed", max(0, -elsewhere)),
        ("queued", load.queued),
    ]
