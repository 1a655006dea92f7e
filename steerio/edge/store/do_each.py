"""Doing something to many things, of which some may fail: the others are done all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from steerio.errors import StoreFailed

T = TypeVar("T")


def do_each(things: Iterable[T], do: Callable[[T], None], where: str, what: str) -> None:
    """Do something to each.

    Args:
        things: to which, in this order.
        do: what; it may raise anything.
        where: which store.
        what: it was asked to do, with ``{}`` for how many.

    Raises:
        StoreFailed: some have failed; it says how many, and how the first did.
    """
    count = 0
    failed: list[Exception] = []
    for thing in things:
        count += 1
        try:
            do(thing)
        except Exception as error:  # noqa: BLE001 - a connector may raise anything
            failed.append(error)
    if failed:
        first: BaseException = failed[0]
        if isinstance(first, StoreFailed) and first.__cause__ is not None:
            first = first.__cause__
        raise StoreFailed(where, what.format(f"{len(failed)} of {count}"), first) from first
