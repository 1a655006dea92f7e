"""Boards that are filled from a source of items, which is held back while enough of them wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Protocol

from steerio.errors import UsageError
from steerio.session.task import Task

PULLED_AT_ONCE = 100
"""Items that are pulled from a source that never waits before others have their turn."""


class Filled(Protocol):
    """A board, as seen by a source."""

    limit: int
    waits_until: Callable[[Callable[[], object]], Awaitable[object]] | None

    def __len__(self) -> int: ...

    def add(self, item: Any, score: float = 0.0) -> bool:
        """Add an entry."""
        ...


async def fill(
    board: Filled,
    source: AsyncIterable[Any] | Iterable[Any] | Task[Any],
    keep: int,
    score: float | Callable[[Any], float],
) -> int:
    """Pull items whenever fewer than ``keep`` wait on a board; see ``Board.fill_from``.

    Raises:
        UsageError: it is no source, or the campaign does not hand out from the board.
    """
    if type(keep) is not int or not 1 <= keep <= board.limit:
        raise UsageError(
            f"fill_from pulls items while fewer than keep=... wait: a whole number from 1 to the "
            f"limit of the board, {board.limit}, not {keep!r}"
        )
    pulled = _Pulled(source)
    new = 0
    try:
        while True:
            if board.waits_until is None:
                raise UsageError(
                    f"fill_from fills a board that a running campaign hands out from, and {board!r}"
                    " is none: keep it in an attribute of the campaign, and call fill_from in an "
                    "@agent"
                )
            if len(board) >= keep:
                await board.waits_until(lambda: len(board) < keep or board.waits_until is None)
                continue
            try:
                item = await pulled.next()
            except StopAsyncIteration:
                return new
            new += board.add(item, score(item) if callable(score) else score)
    finally:
        await pulled.close()


class _Pulled:
    """The items of a source, one after the other.

    Args:
        source: any iterable, or a generator task.
    """

    def __init__(self, source: object) -> None:
        kind = type(source)
        given: Any = source.items() if isinstance(source, Task) else source
        self._of_loop: AsyncIterator[Any] | None = None
        self._plain: Iterator[Any] | None = None
        self._count = 0
        if hasattr(kind, "__aiter__") or isinstance(source, Task):
            self._of_loop = aiter(given)
        elif hasattr(kind, "__iter__") and not isinstance(source, (str, bytes)):
            self._plain = iter(given)
        else:
            raise UsageError(
                "fill_from takes items from a generator, an async generator, another iterable or a "
                f"generator task, not from {kind.__name__}"
            )

    async def next(self) -> Any:
        """Return the next item.

        Raises:
            StopAsyncIteration: there is none.
        """
        if self._of_loop is not None:
            return await anext(self._of_loop)
        assert self._plain is not None
        self._count += 1
        if self._count % PULLED_AT_ONCE == 0:
            await asyncio.sleep(0)
        for item in self._plain:
            return item
        raise StopAsyncIteration

    async def close(self) -> None:
        """End the source, if it is a generator that has not ended."""
        if self._of_loop is not None:
            aclose = getattr(self._of_loop, "aclose", None)
            if aclose is not None:
                await aclose()
        elif (close := getattr(self._plain, "close", None)) is not None:
            close()
