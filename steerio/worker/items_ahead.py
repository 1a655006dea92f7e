"""The lead of a generator task over its reader: in items, and in bytes."""

from __future__ import annotations

from collections import deque

LEAST_ITEMS = 2
"""Items that may be yielded whatever their size: one is read while the next is made."""


class Ahead:
    """The items that a generator task has yielded and its reader has not taken yet.

    Args:
        items: most items.
        nbytes: most bytes, for more items than ``LEAST_ITEMS``.
        limit_bytes: most bytes whatever the broker says, if there is no room for more.
    """

    def __init__(self, items: int, nbytes: int, limit_bytes: int | None = None) -> None:
        self._limit_bytes = limit_bytes
        self.bound(items, nbytes)

    def bound(self, items: int, nbytes: int) -> None:
        """Be bounded as the broker says, before any task has begun."""
        limit = self._limit_bytes
        self._most_items = items
        self._most_bytes = nbytes if limit is None else min(nbytes, limit)
        self.begin()

    def begin(self, *, unread: bool = False) -> None:
        """Begin with another task, which has yielded nothing; ``unread``: it has no reader."""
        self.unread = unread
        """Whether there is no reader: then it is never held back, and its items are not sent."""
        self._items = self._most_items
        self._bytes = self._most_bytes
        self._sizes: deque[int] = deque()

    @property
    def full(self) -> bool:
        """Whether the task has to wait."""
        if self.unread:
            return False
        return self._items <= 0 or (self._bytes <= 0 and len(self._sizes) >= LEAST_ITEMS)

    def yielded(self, nbytes: int) -> None:
        """Note an item."""
        self._items -= 1
        self._bytes -= nbytes
        self._sizes.append(nbytes)

    def granted(self, count: int) -> None:
        """Note that the reader has taken the first ``count`` items; 0: there is no reader."""
        self.unread = self.unread or count == 0
        self._items += count
        for _ in range(min(count, len(self._sizes))):
            self._bytes += self._sizes.popleft()
