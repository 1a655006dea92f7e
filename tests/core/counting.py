"""Work that is counted: calls of functions, and visits to the entries of a mapping.

A test that would say that something is fast says here that it does not do more than it must, which
is the same on every machine and on every day.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")


def calls(work: Callable[[], object]) -> int:
    """Return how many calls of functions some work takes, those written in C included."""
    count = 0

    def count_one(frame: object, event: str, argument: object) -> None:
        del frame, argument
        nonlocal count
        count += event in ("call", "c_call")

    before: Any = sys.getprofile()
    sys.setprofile(count_one)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def growth(work: Callable[[int], Callable[[], object]], size: int = 40) -> float:
    """Return how many times as much work it is for twice the size.

    ``work`` prepares it for a size, uncounted, and returns it.
    """
    return calls(work(2 * size)) / calls(work(size))


class Visited(dict[K, V]):
    """A mapping that counts the entries which somebody goes through, and looks for a key."""

    def __init__(self, entries: dict[K, V]) -> None:
        super().__init__(entries)
        self.visits = self.looks = 0

    def __contains__(self, key: object) -> bool:
        self.looks += 1
        return super().__contains__(key)

    def __iter__(self) -> Iterator[K]:
        self.visits += len(self)
        return super().__iter__()

    def keys(self) -> KeysView[K]:  # type: ignore[override]
        self.visits += len(self)
        return super().keys()

    def values(self) -> ValuesView[V]:  # type: ignore[override]
        self.visits += len(self)
        return super().values()

    def items(self) -> ItemsView[K, V]:  # type: ignore[override]
        self.visits += len(self)
        return super().items()
