"""The entries of a board as a value, and the scores that they may have."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from itertools import chain
from operator import itemgetter
from typing import Any, Generic, TypeVar

from steerio.errors import UsageError

K = TypeVar("K", bound=Hashable)
Ranked = tuple[float, int, Any, str, tuple[int, ...]]
"""An entry: score, order, item, the agent that ranked it last, and the results that it handled."""
_item: Callable[[Ranked], Any] = itemgetter(2)

TABLES = frozenset(
    {"running", "ended", "on_change", "_waiting", "_out", "_again", "_heap", "_order"}
)
"""The attributes of a board that change."""


class BoardState(Generic[K]):
    """The state of a board: its entries, by key, each as `Ranked`.

    Attributes:
        waiting, out: those that wait, and those that are handed out and have not ended.
        ended: the keys of those that have.
        order: the number of the entry that was added last.
    """

    def __init__(
        self,
        waiting: dict[K, Ranked],
        out: dict[K, Ranked],
        ended: set[K],
        order: int,
    ) -> None:
        self.waiting, self.out, self.ended, self.order = waiting, out, ended, order

    @property
    def has_objects(self) -> bool:
        """Whether an item is an object that is equal to nothing but itself: others may hold it."""
        entries = chain(self.waiting.values(), self.out.values())
        kinds: set[type] = set(map(type, map(_item, entries)))  # no loop of Python's: they are many
        if tuple in kinds:
            entries = chain(self.waiting.values(), self.out.values())
            tuples = filter(_is_tuple, map(_item, entries))
            kinds.update(map(type, chain.from_iterable(tuples)))
        by_identity: Any = object.__eq__
        return any(kind.__eq__ is by_identity for kind in kinds)

    def __repr__(self) -> str:
        return f"<BoardState: {len(self.waiting)} waiting, {len(self.out)} out>"


def _is_tuple(item: Any) -> bool:
    return type(item) is tuple


def score_of(score: float, key: object) -> float:
    """Return a score as a finite number, which can be ranked.

    Raises:
        UsageError: it is not a finite number.
    """
    try:
        score = float(score)
    except (TypeError, ValueError):
        raise UsageError(f"the score of {key!r} must be a number, not {score!r}") from None
    if not math.isfinite(score):
        raise UsageError(
            f"the score of {key!r} is {score}, but a score must be finite: leave out items "
            "without one"
        )
    return score


def pairs_in(scores: object) -> list[tuple[Any, Any]]:
    """Return the pairs of an item and its score, if ``scores`` is an iterable of such pairs.

    Raises:
        UsageError: ``scores`` is something else.
    """
    if isinstance(scores, Iterable):
        given: list[Any] = list(scores)  # pyright: ignore[reportUnknownArgumentType] - of any
        if all(type(pair) is tuple and len(pair) == 2 for pair in given):
            return given
    raise UsageError(
        "rescore takes a dict of scores by key, pairs as from zip(items, scores), or a function "
        f"of an item, not {scores!r:.80}"
    )
