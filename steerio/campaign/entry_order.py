"""All entries of a board in the order of their scores, for those that look at them.

Theory.  Nothing that hands out needs all entries in order, so they are sorted when an agent asks
for them.  The order is kept until an entry is added or has another score; entries that go are left
out of it.  So the keys that wait cost a sort after a new ranking, and a copy after that.
"""

from __future__ import annotations

import sys
from array import array
from itertools import compress
from typing import Any, cast

LARGE = 10_000
"""Entries from which on NumPy is asked, if it is there."""
RARE = 100
"""Ranks that rounding has mixed up are mended one by one, and gaps passed one by one, up to one of
so many."""


class BestFirst:
    """The places of all entries of a table, best first, and its columns in this order.

    Args:
        places: the places, best first.
    """

    def __init__(self, places: Any) -> None:
        self._places: Any = places
        self._is_list = type(places) is list
        """Whether NumPy had no part in it."""
        self._keys: list[Any] | None = None
        self._all_wait = True

    def __repr__(self) -> str:
        return f"<BestFirst: {len(self._places)} places>"

    def has_gaps(self) -> None:
        """Take in that some of these entries wait no longer."""
        self._all_wait = False

    def places(self, waits: bytearray, most: int | None = None) -> list[int]:
        """Return the places of the entries, or of the best of them.

        Args:
            waits: for each place whether its entry waits.
            most: so many.
        """
        self._leave_out(waits)
        first = self._places[:most]
        found: list[int] = first if self._is_list else first.tolist()
        return found

    def keys(self, keys: list[Any], waits: bytearray) -> list[Any]:
        """Return the keys of the entries, best first.

        Args:
            keys: of each place.
            waits: for each place whether its entry waits.
        """
        self._leave_out(waits)
        if self._keys is None:
            self._keys = _taken(keys, self._places)
        return self._keys[:]

    def items(self, items: list[Any], waits: bytearray) -> list[Any]:
        """Return the items of the entries, best first; they may be large, and are not kept.

        Args:
            items: of each place.
            waits: for each place whether its entry waits.
        """
        self._leave_out(waits)
        return _taken(items, self._places)

    def _leave_out(self, waits: bytearray) -> None:
        if self._all_wait:
            return
        places = self._places
        if self._is_list:
            wait = bytearray(map(waits.__getitem__, places))
            self._places = kept(places, wait)
        else:
            there = sys.modules["numpy"].frombuffer(waits, dtype=bool)[places]
            self._places, wait = places[there], bytearray(there)
        if self._keys is not None:
            self._keys = kept(self._keys, wait)
        self._all_wait = True


def kept(values: list[Any], wait: bytearray) -> list[Any]:
    """Return the values of the entries that wait, in a new list.

    Args:
        values: of all places.
        wait: for each place whether its entry waits.
    """
    gaps = wait.count(0)
    if gaps > len(wait) // RARE:
        return list(compress(values, wait))
    if not gaps:
        return values[:]
    gap = wait.find(0)
    found = values[:gap]
    for _ in range(gaps):
        begin = gap + 1
        gap = wait.find(0, begin)
        found += values[begin:] if gap < 0 else values[begin:gap]
    return found


def best_first(scores: array[float], waits: bytearray, *, newest_first: bool) -> BestFirst:
    """Sort entries by their scores, the highest first.

    Args:
        scores: of each place; the entries are in the order of their ages.
        waits: for each place whether its entry waits.
        newest_first: whether the newest of equal score goes first.
    """
    numpy: Any = sys.modules.get("numpy") if len(waits) > LARGE else None
    if numpy is None:
        slots = list(compress(range(len(waits)), waits))
        if newest_first:
            slots.reverse()
        slots.sort(key=scores.__getitem__, reverse=True)  # keeps the order of equal scores
        return BestFirst(slots)
    places = numpy.flatnonzero(numpy.frombuffer(waits, dtype=bool))
    if newest_first:
        places = places[::-1]
    return BestFirst(places[_sorted_by_numpy(numpy, 0.0 - numpy.frombuffer(scores)[places])])


def _sorted_by_numpy(numpy: Any, values: Any) -> Any:
    """Return the order that sorts finite numbers, least first; equal ones stay in order.

    A stable sort of indices takes ten times as long as one of integers.  So each number is rounded
    down to an integer in the same order, of which the last bits are its index, and the few of those
    are mended afterwards that differ only in bits which were left out.
    """
    low = (1 << len(values).bit_length()) - 1
    ranks = values.view(numpy.int64)
    ranks = numpy.where(ranks < 0, ranks ^ numpy.int64(2**63 - 1), ranks)
    ranks = (ranks & ~low) | numpy.arange(len(values))
    ranks.sort()
    order = ranks & low
    found = values[order]
    wrong = numpy.flatnonzero(found[1:] < found[:-1])
    if len(wrong) > len(values) // RARE:
        return numpy.argsort(values, kind="stable")
    ranks &= ~low
    for rank in numpy.unique(ranks[wrong]):
        begin, end = numpy.searchsorted(ranks, rank), numpy.searchsorted(ranks, rank, "right")
        part = order[begin:end]
        order[begin:end] = part[numpy.argsort(values[part], kind="stable")]
    return order


def _taken(values: list[Any], places: Any) -> list[Any]:
    """Return the values at these places."""
    if type(places) is list:
        return list(map(values.__getitem__, cast("list[int]", places)))
    taken: list[Any] = sys.modules["numpy"].fromiter(values, object, len(values))[places].tolist()
    return taken
