"""The entries that waited on a board at one moment, to be ranked while the board goes on.

Theory.  A model that ranks a million entries somewhere else takes its time, and entries are handed
out and added meanwhile.  A listing keeps the numbers of its entries, which only grow along a board,
so its scores find their places by one pass over two sorted columns, and no key is looked up.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Listing(Generic[K]):
    """The entries that waited on a board at one moment, the oldest first.

    Attributes:
        keys, items: of these entries.
        mark: that of their board, in this run.
        numbers: of the entries, in the order in which they were added to the board.
    """

    def __init__(self, mark: object, keys: list[K], items: list[Any], numbers: array[int]) -> None:
        self.mark, self.keys, self.items, self.numbers = mark, keys, items, numbers

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self.numbers)

    def __repr__(self) -> str:
        return f"<Listing of {len(self)} entries>"
