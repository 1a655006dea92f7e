"""A loop that does one thing to many and goes on past failures, which it raises at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from steerio.errors import StoreFailed

T = TypeVar("T")


def do_each(things: Iterable[T], do: Callable[[T], None], where: str, what: str) -> None:
    """Do something to each of several things.

    Args:
        things: the things, in this order.
        do: does it to one; it may raise anything.
        where: the store, in words.
        what: its task in words, with ``{}`` for the number of failures.

    Raises:
        StoreFailed: some have failed; it gives their number, and the error of the first.
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
