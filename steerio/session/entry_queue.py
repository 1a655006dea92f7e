"""Entries for a journal, appended a batch at a time: so none keeps the loop for long."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

Batch = Sequence[tuple[int, bytes]]
"""Entries that are appended together: their kinds and bodies."""


class _Queued(NamedTuple):
    """Batches to append, the call that follows, and the numbers of those that were appended."""

    batches: Iterator[Batch]
    then: Callable[[list[int]], None]
    numbers: list[int]


class EntryQueue:
    """A queue of content; one batch of it is appended in each turn of the loop.

    Args:
        append: appends a batch, and returns its last number; 0: there is no room now, or the
            journal has failed.
    """

    def __init__(self, append: Callable[[Batch], int]) -> None:
        self._append = append
        self._loop = asyncio.get_running_loop()
        self._contents: deque[_Queued] = deque()
        self._next: Batch | None = None
        """The batch that is next, once it was made."""

    def __repr__(self) -> str:
        return f"<EntryQueue of {len(self._contents)}>"

    @property
    def busy(self) -> bool:
        """Whether some content is only half written."""
        return bool(self._contents)

    def add(self, batches: Iterable[Batch], then: Callable[[list[int]], None]) -> None:
        """Append batches, behind all that is queued.

        Args:
            batches: none of them is empty; their content must not change until ``then`` is called.
            then: called with the numbers of all entries, when these are appended; never, if the
                journal fails before.
        """
        self._contents.append(_Queued(iter(batches), then, []))
        if len(self._contents) == 1:
            self.go_on()

    def go_on(self) -> None:
        """Append the next batch, and call again in the next turn if others follow."""
        if not self._contents:
            return
        batches, then, numbers = self._contents[0]
        self._next = self._next or next(batches, None)
        if self._next is not None:
            last = self._append(self._next)
            if last:
                numbers += range(last + 1 - len(self._next), last + 1)
                self._next = None
                self._loop.call_soon(self.go_on)
            return
        self._contents.popleft()
        if self._contents:
            self._loop.call_soon(self.go_on)
        then(numbers)

    def clear(self) -> None:
        """Append nothing any more."""
        self._contents.clear()
        self._next = None
