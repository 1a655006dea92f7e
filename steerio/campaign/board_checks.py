"""Checks of the things that are given to a board: each error names the entry and the way out."""

from __future__ import annotations

import math
from typing import Any

from steerio.campaign.listing import Listing
from steerio.campaign.trigger_marks import is_async
from steerio.errors import UsageError
from steerio.model.bounds import real
from steerio.model.showing import short
from steerio.session.task import Task
from steerio.session.task_type import as_arguments

MOST_WEIGHT = 1e6
"""The highest weight of a board, and one divided by the lowest."""


class BoardFull(UsageError):
    """A board has as many entries waiting as its limit allows."""


def check_order(*, newest_first: bool, draw: bool, on_displaced: object) -> None:
    """Refuse settings of a board that do not go together.

    Raises:
        UsageError: they do not.
    """
    if on_displaced is not None and not (newest_first and callable(on_displaced)):
        raise UsageError(
            "on_displaced= is a function of an item, for a board with newest_first=True: any other "
            "refuses an entry when it is full"
        )
    if is_async(on_displaced):
        raise UsageError(
            f"on_displaced= is called, not awaited, so a plain function or method, not the 'async "
            f"def' {short(on_displaced)}: add the item to a board there, or to a list for an agent"
        )
    if draw and newest_first:
        raise UsageError(
            "draw=True draws the next entry, and newest_first=True takes the newest: take one"
        )


def check_key(function: object) -> None:
    """Refuse something that makes no keys of items.

    Raises:
        UsageError: it is no plain function.
    """
    if function is not None and (not callable(function) or is_async(function)):
        raise UsageError(
            f"the key of a board is a plain function of an item, not {short(function)}"
        )


def check_entry(item: Any) -> None:
    """Refuse an item that cannot be an entry.

    Raises:
        UsageError: it holds the handle of a task.
    """
    if any(issubclass(type(part), Task) for part in as_arguments(item)):
        raise UsageError(
            f"{item!r} cannot be an entry of a board, which ranks work that can be done at "
            "once: await the task and add its value, or give its handle to submit(...)"
        )


def check_listing(listing: object, board: object, mark: object) -> None:
    """Refuse something that is no listing of a board.

    Raises:
        UsageError: it is none of this board, with its mark.
    """
    if not isinstance(listing, Listing):
        raise UsageError(
            "rescore_listing takes a listing of the board, as board.listing() returns it, and a "
            f"score for each of its entries, not {short(listing)}"
        )
    if listing.mark is not mark:
        raise UsageError(
            f"{listing!r} is of another board than {board!r}, or of a run before: take one of this"
        )


def no_key(key: object, board: object, *, by_itself: bool) -> UsageError:
    """Return the error of an item whose key is not hashable.

    Args:
        key: the key.
        board: the board.
        by_itself: whether the item is its own key.
    """
    kind = type(key).__name__
    made = "" if by_itself else f"its key function returned a {kind}, and "
    return UsageError(
        f"an item of {board!r} cannot be known by itself: {made}a {kind} cannot be a "
        "key; say what it is known by, as in Board(..., key=lambda item: item['name']) or "
        "key=bytes"
    )


def checked_weight(weight: float | None) -> float | None:
    """Return the weight of a board.

    Raises:
        UsageError: it is no share.
    """
    if weight is None:
        return None
    number = real(weight, "the weight of a board")
    if not math.isfinite(number) or not 1 / MOST_WEIGHT <= number <= MOST_WEIGHT:
        raise UsageError(
            f"the weight of a board is a number from {1 / MOST_WEIGHT:g} to {MOST_WEIGHT:g}, such "
            f"as 2 for twice the tasks of a board of weight 1, not {weight!r}"
        )
    return number


def itself(item: Any) -> Any:
    """Return the item, which is its own key."""
    return item
