"""Moves of workers between pools, and leases, as users hold them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Generator
from types import TracebackType
from typing import Any, cast, get_args

from steerio.client.client import Client
from steerio.errors import MoveDeadlock, MoveFailed, UsageError
from steerio.model.bounds import named, seconds
from steerio.model.moving import How, MoveProgress
from steerio.model.objects import NO_WORD
from steerio.model.showing import short
from steerio.session.current_agent import current_agent

_held: weakref.WeakKeyDictionary[asyncio.Task[Any], list[Move]] = weakref.WeakKeyDictionary()
"""The leases whose scopes each asyncio task is in."""


def check_count(workers: object) -> None:
    """Refuse a number of workers that is none.

    Raises:
        UsageError: it is none.
    """
    if type(workers) is not int or not 1 <= workers < NO_WORD:
        raise UsageError(f"workers is a whole number above 0, not {workers!r}")


def check_how(how: object, what: str = "how") -> How:
    """Return a way for busy workers to get free.

    Raises:
        UsageError: there is no such way.
    """
    if not isinstance(how, str) or how not in get_args(How):
        raise UsageError(f"{what} is {' or '.join(get_args(How))}, not {short(how)}")
    return cast("How", how)


class Move:
    """A move of workers to another pool: await it, look at its progress, or `cancel` it."""

    def __init__(
        self,
        client: Client,
        source: str,
        target: str,
        count: int,
        how: How,
        preempt_after_s: float | None,
        together: bool,
        *,
        lease: bool = False,
    ) -> None:
        check_count(count)
        how = check_how(how)
        source = named(source, "the pool that workers come from")
        target = named(target, "the pool that workers go to")
        if preempt_after_s is not None:
            preempt_after_s = seconds(preempt_after_s, "preempt_after_s", or_zero=True)
        self.source, self.target, self.count = source, target, count
        self.state: MoveProgress = "waiting"
        """``waiting``, ``granted``, ``returning``, ``ended`` or ``refused``; in between, for a
        moment, ``deadlocked``."""
        self.reason = ""
        """Why it was refused, or ended unasked."""
        self._client = client
        self._waiters: list[asyncio.Future[None]] = []
        self._there: dict[str, None] = {}
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
        there = f"{len(self._there)} of {self.count}"
        return f"<Move {self.source} -> {self.target}: {there}, {self.state}>"

    @property
    def workers(self) -> list[str]:
        """The workers that are at the target for it."""
        return list(self._there)

    def __await__(self) -> Generator[Any, None, list[str]]:
        """Wait until all workers are there, and return their names.

        Cancelling the await undoes the move (``asyncio.shield`` it to let it go on).

        Raises:
            MoveFailed: it can never succeed, or too few workers are left, or it was cancelled.
            MoveDeadlock: it would wait for ever, for workers whose borrower waits for some that are
                lent in a scope around this.
        """
        return self._wait(self.count).__await__()

    def cancel(self, how: How = "drain") -> None:
        """Undo the move, unless it is granted: the workers that it has moved go back.

        Raises:
            UsageError: there is no such way to free the busy ones.
        """
        how = check_how(how)
        if self.state == "waiting":
            self.end(how)

    # -- for leases, and from the client -------------------------------------------------------

    async def wait_for(self, count: int) -> list[str]:
        """Wait until so many workers are there; see ``await``."""
        return await self._wait(count)

    async def wait_ended(self) -> None:
        """Wait until all workers are home again."""
        while self.state not in ("ended", "refused"):
            await self._news()

    def end(self, how: How) -> None:
        """Have all workers go home."""
        if self.state not in ("ended", "refused"):
            self._client.requests.end_move(self._request, how)

    def news(self, state: MoveProgress, came: list[str], gone: list[str], reason: str) -> None:
        """Take in its progress, and which workers came and went since the last news."""
        self._heard, self.state = True, state
        self._there |= dict.fromkeys(came)
        for name in gone:
            self._there.pop(name, None)
        if state == "ended":
            self._there.clear()
        self.reason = reason or self.reason
        self._deadlocked |= state == "deadlocked"
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def begin_again(self) -> None:
        """Take in that another broker is asked for it: none of the workers is there."""
        self.news("waiting", [], list(self._there), "")

    async def _wait(self, count: int) -> list[str]:
        self._say_who_waits(count)
        try:
            while not self._heard or (self.state == "waiting" and len(self._there) < count):
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
        """Tell the broker that this task waits, and gives back none of its leases until then."""
        task = asyncio.current_task()
        if task is not None and self.state == "waiting" and len(self._there) < count:
            held = [move for move in _held.get(task, ()) if move._client is self._client]
            holds = [move._request for move in held]
            self._client.requests.await_move(self._request, count, holds, current_agent.get())

    async def _news(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter


class Lease:
    """Workers that one pool lends to another while an ``async with`` lasts."""

    def __init__(self, move: Move, at_least: int, give_back: How) -> None:
        self._move = move
        self._at_least = at_least
        self._give_back: How = give_back
        self._beside: list[Move] = []

    def __repr__(self) -> str:
        return f"<Lease of {self._move!r}>"

    @property
    def workers(self) -> list[str]:
        """The names of the workers that are there for it; one that was lost is replaced."""
        return self._move.workers

    @property
    def state(self) -> MoveProgress:
        """``waiting`` (for more), ``granted``, ``returning`` or ``ended``."""
        return self._move.state

    async def wait_returned(self) -> None:
        """Wait, after the scope, until all workers are home."""
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
