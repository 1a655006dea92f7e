"""The entries of a board as a value."""

from __future__ import annotations

from collections.abc import Callable, Hashable, ItemsView, Iterable
from itertools import chain
from operator import itemgetter
from types import NoneType
from typing import Any, Generic, TypeVar

from steerio.campaign.entry_calls import Ranked
from steerio.campaign.entry_table import EntryTable

K = TypeVar("K", bound=Hashable)
_item: Callable[[Ranked], Any] = itemgetter(2)

TABLES = frozenset(
    {"running", "ended", "on_change", "waits_until", "displaced", "lags", "_entries", "_out"}
    | {"_again", "_again_in", "_order", "_chance", "_seeded", "_call", "_placed", "_mark"}
)
"""The attributes of a board that change."""


class BoardState(Generic[K]):
    """The state of a board: its entries, by key, each as `Ranked`.

    Attributes:
        waiting, out: those that wait, the oldest first, and those that are handed out and have not
            ended.
        ended: the keys of those that have.
        order: the number of the entry that was added last.
        more: other attributes of the board that change; empty in snapshots of earlier versions.
    """

    def __init__(
        self,
        waiting: EntryTable[K] | dict[K, Ranked],
        out: dict[K, Ranked],
        ended: set[K],
        order: int,
        more: dict[str, Any] | None = None,
    ) -> None:
        self.waiting, self.out, self.ended, self.order = waiting, out, ended, order
        self.more: dict[str, Any] = more or {}

    def pairs(self) -> ItemsView[K, Ranked] | Iterable[tuple[K, Ranked]]:
        """Return the keys and entries that wait, the oldest first."""
        if isinstance(self.waiting, EntryTable):
            return self.waiting.values()
        return self.waiting.items()

    @property
    def has_objects(self) -> bool:
        """Whether an item is an object that is equal to nothing but itself: others may hold it."""
        if isinstance(self.waiting, EntryTable):
            waiting: Iterable[Any] = self.waiting.items
        else:
            waiting = list(map(_item, self.waiting.values()))
        items = list(chain(waiting, map(_item, self.out.values())))
        kinds: set[type] = set(map(type, items))  # no loop of Python's: they are many
        if tuple in kinds:
            kinds.update(map(type, chain.from_iterable(filter(_is_tuple, items))))
        kinds.discard(NoneType)  # of gaps in the table
        by_identity: Any = object.__eq__
        return any(kind.__eq__ is by_identity for kind in kinds)

    def __getstate__(self) -> dict[str, Any]:
        """Return its parts, as earlier versions have them, too."""
        return vars(self) | {"waiting": dict(self.pairs())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the parts of a state, which earlier versions may have written."""
        self.more = {}
        vars(self).update(state)

    def __repr__(self) -> str:
        return f"<BoardState: {len(self.waiting)} waiting, {len(self.out)} out>"


def _is_tuple(item: Any) -> bool:
    return type(item) is tuple
