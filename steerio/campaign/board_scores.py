"""The scores that are given to a board, in any of the forms in which they may be."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from operator import itemgetter
from typing import Any, cast

from steerio.campaign.entry_order import LARGE, taken_over
from steerio.errors import UsageError
from steerio.model.showing import counted

DOUBLE = 8
"""Bytes of a float."""


def score_of(score: object, key: object) -> float:
    """Return a score as a finite number, which can be ranked.

    Raises:
        UsageError: it is not a finite number.
    """
    given: Any = score
    try:
        if isinstance(score, (str, bytes, bytearray)):  # which float() would read
            raise TypeError
        number = float(given)
    except (TypeError, ValueError):
        raise UsageError(f"the score of {key!r} must be a number, not {score!r}") from None
    if not math.isfinite(number):
        raise UsageError(
            f"the score of {key!r} is {number}, but a score must be finite: leave out items "
            "without one"
        )
    return number


def checked_scores(
    scores: Sequence[object] | array[float],
    keys: Callable[[], Iterable[object]],
    check: Callable[[float, object], float] | None = None,
) -> array[float]:
    """Return scores as finite numbers, at the speed of C if they are.

    Args:
        scores: one for each key.
        keys: returns the keys, for an error that names one.
        check: refuses scores that this board cannot have, too low or too high.

    Raises:
        UsageError: one is not.
    """
    try:
        given: Any = scores
        numbers = cast("array[float]", given) if type(given) is array else array("d", given)
        if not _are_finite(numbers):
            raise TypeError
    except (TypeError, ValueError, OverflowError):
        pairs = zip(scores, keys(), strict=True)
        numbers = array("d", [score_of(score, key) for score, key in pairs])
    if check is not None and numbers:
        try:
            for extreme in _extremes(numbers):
                check(extreme, None)
        except UsageError:
            for number, key in zip(numbers, keys(), strict=True):
                check(number, key)
    return numbers


def scores_at_once(function: object, items: list[Any]) -> Sequence[object] | array[float]:
    """Return the scores that a function has for all items, which it takes at once.

    Raises:
        UsageError: it is no function, or does not return one number for each of them.
    """
    if not callable(function):
        raise UsageError(
            "rescore_all takes a function of the list of all items that wait, which returns their "
            f"scores, not {function!r:.80}"
        )
    return scores_in_order(function(items), len(items), f"{_name(function)} returned")


def scores_in_order(scores: object, count: int, given_by: str) -> Sequence[object] | array[float]:
    """Return scores that were given for many items, in their order.

    Args:
        scores: in any form.
        count: of the items.
        given_by: begins the sentence that says what is wrong.

    Raises:
        UsageError: there is not one number for each of them.
    """
    given: Any = scores
    if not isinstance(scores, Iterable):
        raise UsageError(
            f"{given_by} {scores!r:.80} for {counted(count, 'item')}: "
            "return one number for each, in their order"
        )
    shape = getattr(given, "shape", None)
    if shape is not None and len(shape) != 1:
        raise UsageError(
            f"{given_by} an array of shape {tuple(shape)} for "
            f"{counted(count, 'item')}: return one number for each, as by .ravel()"
        )
    floats = _as_floats(given)
    if floats is not None:
        numbers: list[object] | array[float] = floats
    else:
        numbers = list(given.tolist() if hasattr(given, "tolist") else given)
    if len(numbers) != count:
        raise UsageError(
            f"{given_by} {counted(len(numbers), 'score')} for "
            f"{counted(count, 'item')}: return one number for each, in their order"
        )
    return numbers


def scores_one_by_one(
    function: Callable[[Any], object], items: list[Any]
) -> tuple[Sequence[object] | array[float], list[bool] | None]:
    """Return the scores that a function of one item has for those items that it has one for.

    Returns:
        The scores; and for each item whether it has one, or ``None`` if all have.
    """
    values: list[Any] = list(map(function, items))
    try:
        return array("d", values), None
    except (TypeError, ValueError, OverflowError):
        named = [value is not None for value in values]
        return list(compress(values, named)), named


def scores_by_key(
    scores: object, keys_of: Callable[[list[Any]], list[Any]]
) -> tuple[list[Any], list[Any]]:
    """Return keys and new scores: of a dict, or of pairs of items and scores.

    Args:
        scores: in one of these forms.
        keys_of: returns the keys of items.

    Raises:
        UsageError: they are in none of these forms.
    """
    if isinstance(scores, Mapping):
        by_key: Mapping[Any, Any] = scores  # pyright: ignore[reportUnknownVariableType] - of any
        return list(by_key), list(by_key.values())
    pairs = _pairs_in(scores)
    return keys_of(list(map(itemgetter(0), pairs))), list(map(itemgetter(1), pairs))


def _pairs_in(scores: object) -> list[tuple[Any, Any]]:
    if isinstance(scores, Iterable):
        given: list[Any] = list(scores)  # pyright: ignore[reportUnknownArgumentType] - of any
        if set(map(type, given)) <= {tuple} and set(map(len, given)) <= {2}:
            return given
    raise UsageError(
        "rescore takes a dict of scores by key, pairs as from zip(items, scores), or a function "
        f"of an item, not {scores!r:.80}"
    )


def _as_floats(given: Any) -> array[float] | None:
    """Return an array of numbers, of any library, as one of Python's; or ``None`` if it is none."""
    if isinstance(given, array):
        return array("d", cast("array[float]", given))
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not hasattr(given, "__array__"):
        return None
    if isinstance(given, numpy.ma.MaskedArray):
        return None  # it has numbers also in the place of masked ones
    try:
        numbers = numpy.asarray(given)
    except Exception:  # noqa: BLE001 - it is in a device's memory, or part of a model: it has tolist
        return None
    if numbers.ndim != 1 or numbers.dtype.kind not in "fiub" or numbers.itemsize > DOUBLE:
        return None
    return taken_over("d", numbers.astype(float, copy=False))


def _extremes(numbers: array[float]) -> tuple[float, float]:
    numpy: Any = sys.modules.get("numpy") if len(numbers) > LARGE else None
    if numpy is None:
        return min(numbers), max(numbers)
    column = numpy.frombuffer(numbers)
    return float(column.min()), float(column.max())


def _are_finite(numbers: array[float]) -> bool:
    numpy: Any = sys.modules.get("numpy") if len(numbers) > LARGE else None
    if numpy is not None:
        return bool(numpy.isfinite(numpy.frombuffer(numbers)).all())
    return math.isfinite(sum(numbers)) or all(map(math.isfinite, numbers))


def _name(function: object) -> str:
    name: str = getattr(function, "__qualname__", type(function).__name__)
    return name
