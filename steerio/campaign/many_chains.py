"""Chains of tasks as coroutines, many under way at once and no more than a limit.

Theory.  A chain is one item's way through several tasks.  If each step of every item is simply
submitted, first steps go before later ones, and many chains are begun that none finishes.  So a
limited number is under way; a task that goes on with a chain goes before one that begins one; and
an item is taken from the source only when its chain may begin.

A chain that raises ends as data, and no other with it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter, deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from typing import Any, Generic, Protocol, TypeVar, cast

from msgspec import Struct

from steerio.campaign.agent_loops import size_of
from steerio.campaign.gathering import whole
from steerio.errors import TaskDidNotSucceed, UsageError
from steerio.model.showing import short
from steerio.model.status import PoolLoad
from steerio.session.chains import ChainUnderWay, chain_under_way

log = logging.getLogger("steerio.campaign")

T = TypeVar("T")
R = TypeVar("R")


class FinishedChain(Struct, Generic[T, R], frozen=True):
    """A chain that came to its end.

    Attributes:
        item: the item that it was for.
        value: the value that its coroutine returned.
    """

    item: T
    value: R


class FailedChain(Struct, Generic[T], frozen=True):
    """A chain that did not come to its end.

    Attributes:
        item: the item that it was for.
        error: the error that its coroutine raised, such as a ``TaskFailed``.
    """

    item: T
    error: Exception


class ChainHome(Protocol):
    """A run of a campaign, as seen by the chains in it."""

    stopping: str
    """Why no other chain begins; empty: they do."""


class PoolNews(Protocol):
    """The pools, as seen by chains that are as many as one of them has workers."""

    pools: dict[str, PoolLoad]

    def on_pools(self, callback: Callable[[], None], *, idle: bool) -> None:
        """Call back with each news of them."""
        ...

    def off_pools(self, callback: Callable[[], None]) -> None:
        """Call back no more."""
        ...


def may_begin(
    under_way: int, untaken: int, limit: int, at: Mapping[str, int], pool_limits: Mapping[str, int]
) -> bool:
    """Whether another chain may begin.

    Args:
        under_way: how many are.
        untaken: how many have ended whose outcomes wait to be taken.
        limit: the most that are under way, and the most outcomes that wait.
        at: how many chains have a task in each pool.
        pool_limits: the most of them in some pools.
    """
    if under_way >= limit or untaken >= limit:
        return False
    return all(at.get(pool, 0) < most for pool, most in pool_limits.items())


class ManyChains(Generic[T, R]):
    """The chains of one call of ``Campaign.run_chains``.

    Args:
        home: the run of the campaign.
        items: the source of the items.
        chain: makes the coroutine of one.
        limit: the most that are under way; or the pool that has so many workers.
        pool_limits: no chain begins while so many have a task in one of these pools.
        news: of the pools.

    Raises:
        UsageError: one of them is wrong.
    """

    def __init__(
        self,
        home: ChainHome,
        items: Iterable[T] | AsyncIterable[T],
        chain: Callable[[T], Awaitable[R]],
        limit: int | str,
        pool_limits: Mapping[str, int] | None,
        news: PoolNews,
    ) -> None:
        self._home = home
        self._pools = news
        if not callable(chain):
            raise UsageError(
                "run_chains takes items, and an 'async def' that is called with each, as in "
                f"self.run_chains(molecules, self.relax_and_score, limit=16), not {short(chain)}"
            )
        self._chain = chain
        self._limit = limit if isinstance(limit, str) else whole("limit", limit)
        self._pool_limits = {
            pool: whole(f"pool_limits[{pool!r}]", most)
            for pool, most in (pool_limits or {}).items()
        }
        self._source: Iterator[T] | AsyncIterator[T] | None = _iterator(items)
        """``None``: it has no other item."""
        self._pulling: asyncio.Task[None] | None = None
        self._tasks: dict[asyncio.Task[None], ChainUnderWay] = {}
        self._at: Counter[str] = Counter()
        """How many of them have a task in each pool, if that counts."""
        self._outcomes: deque[FinishedChain[T, R] | FailedChain[T]] = deque()
        self._error: Exception | None = None
        self._news: asyncio.Future[None] | None = None
        self._later = self._closed = self._told = False
        self._inherited = chain_under_way.get()

    def __repr__(self) -> str:
        return f"<ManyChains: {len(self._tasks)} under way, {len(self._outcomes)} outcomes wait>"

    async def outcomes(self) -> AsyncGenerator[FinishedChain[T, R] | FailedChain[T], None]:
        """Begin the chains, and yield the outcome of each when it has ended."""
        if isinstance(self._limit, str):
            self._pools.on_pools(self._advance_later, idle=False)
        try:
            while True:
                self._advance()
                if self._error is not None:
                    raise self._error
                if self._outcomes:
                    outcome = self._outcomes.popleft()
                    self._advance()  # others go on while this one is worked on
                    yield outcome
                elif self._is_over:
                    return
                else:
                    self._news = asyncio.get_running_loop().create_future()
                    await self._news
        finally:
            await self._close()

    @property
    def _is_over(self) -> bool:
        """Whether no other outcome will come."""
        ends = self._source is None or (bool(self._home.stopping) and self._pulling is None)
        return ends and not self._tasks

    def _advance(self) -> None:
        """Begin as many chains as may begin now."""
        while self._may_begin():
            source = cast("Iterator[T] | AsyncIterator[T]", self._source)
            if isinstance(source, AsyncIterator):
                self._pulling = asyncio.ensure_future(self._pull(source))
                return
            try:
                item = next(source)
            except StopIteration:
                self._source = None
            except BaseException as error:  # noqa: BLE001 - of the user's code, raised in `outcomes`
                self._source_failed(error)
            else:
                self._begin(item)
                if self._pool_limits:  # not before it has come to its first task
                    self._advance_later()
                    return

    def _may_begin(self) -> bool:
        if self._source is None or self._pulling or self._later or self._closed:
            return False
        if self._home.stopping or self._error is not None:
            return False
        limit = self._limit
        if isinstance(limit, str):
            # at least one, to wait for workers
            limit = max(1, size_of(self._pools.pools.get(limit)))
        counts = len(self._tasks), len(self._outcomes)
        return may_begin(*counts, limit, self._at, self._pool_limits)

    def _moved(self, pool: str, by: int) -> None:
        """Take in that one more chain, or one fewer, has a task in a pool."""
        self._at[pool] += by
        if by < 0:
            self._advance_later()

    def _advance_later(self) -> None:
        """Begin others in the next turn of the loop."""
        if not self._later:
            self._later = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._later = False
        self._advance()
        self._tell()

    async def _pull(self, source: AsyncIterator[T]) -> None:
        """Take the next item from an asynchronous source."""
        try:
            item = await anext(source)
        except StopAsyncIteration:
            self._source = None
        except BaseException as error:  # of the user's code, raised in `outcomes`
            if self._closed:
                raise
            self._source_failed(error)
        else:
            if not self._closed:
                self._begin(item)
        finally:
            self._pulling = None
            self._advance_later()

    def _begin(self, item: T) -> None:
        """Begin the chain of an item."""
        chain = ChainUnderWay(self._inherited, self._moved if self._pool_limits else None)
        task = asyncio.ensure_future(self._follow(item, chain))
        self._tasks[task] = chain
        task.add_done_callback(self._ended)

    async def _follow(self, item: T, chain: ChainUnderWay) -> None:
        """Follow a chain to its end, and note the outcome."""
        chain_under_way.set(chain)
        try:
            coroutine = self._chain(item)
            if not inspect.isawaitable(cast("object", coroutine)):
                self._fail(
                    UsageError(
                        f"run_chains takes an 'async def', and {short(self._chain)} returned "
                        f"{short(coroutine)}: nothing of it can be awaited"
                    )
                )
                return
            value = await coroutine
        except asyncio.CancelledError as error:
            if self._closed:
                raise
            why = RuntimeError("a CancelledError that was not meant for it ended the chain")
            why.__cause__ = error
            self._failed(item, why)
        except (SystemExit, KeyboardInterrupt) as error:
            self._fail(RuntimeError(f"a chain raised {error!r}; self.stop() ends the campaign"))
        except Exception as error:  # noqa: BLE001 - it is the outcome
            self._failed(item, error)
        else:
            self._outcomes.append(FinishedChain(item, value))

    def _failed(self, item: T, error: Exception) -> None:
        self._outcomes.append(FailedChain(item, error))
        if not isinstance(error, TaskDidNotSucceed) and not self._told:
            self._told = True
            log.warning(
                "the chain of %s raised; run_chains tells such errors as FailedChain, and goes on",
                short(item),
                exc_info=error,
            )

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task).ends()
        self._advance()
        self._tell()

    def _source_failed(self, error: BaseException) -> None:
        if not isinstance(error, Exception):
            why = RuntimeError(f"the source of the items ended with {error!r}, which is no error")
            why.__cause__ = error
            error = why
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._source = None

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    async def _close(self) -> None:
        """Cancel the chains that are under way, and wait until they have ended."""
        self._closed = True
        self._pools.off_pools(self._advance_later)
        left: list[asyncio.Task[Any]] = list(self._tasks)
        if self._pulling is not None:
            left.append(self._pulling)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _iterator(items: Iterable[T] | AsyncIterable[T]) -> Iterator[T] | AsyncIterator[T]:
    """Return an iterator over the items.

    Raises:
        UsageError: there can be none.
    """
    if isinstance(items, AsyncIterable):
        return aiter(items)
    if isinstance(items, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        return iter(items)
    raise UsageError(f"run_chains takes a list or another iterable of items, not {short(items)}")
