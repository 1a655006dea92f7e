"""All entries of a board in the order of their scores, for those that look at them.

Theory.  Nothing that hands out needs all entries in order, so they are sorted when an agent asks
for them.  The order is kept until an entry is added or has another score; entries that go are left
out of it.  So the keys that wait cost a sort after a new ranking, and a copy after that.

Entries are anywhere in memory, so a pass over a million of them waits for memory most of the time.
Lists are copied in blocks whose entries are still in the cache when they are touched again.
"""

from __future__ import annotations

import sys
from array import array
from itertools import compress
from typing import Any, Literal

LARGE = 10_000
"""Entries from which on NumPy is asked, if it is there."""
RARE = 100
"""Ranks that rounding has mixed up are mended one by one, and gaps passed one by one, up to one of
so many."""
BLOCK = 1_024
"""Entries that are copied at a time: they and their places fit into the cache of a core."""


class BestFirst:
    """The places of all entries of a table, best first, and its columns in this order.

    Args:
        places: the places, best first; an array if NumPy has sorted them.
    """

    def __init__(self, places: Any) -> None:
        self._places: Any = places
        self.by_numpy = type(places) is not list
        self._keys: Any = None
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
        seen = most = len(self._places) if most is None else most
        while True:
            first = self._places[:seen]
            found: list[int] = first.tolist() if self.by_numpy else first
            if not self._all_wait:
                found = list(compress(found, map(waits.__getitem__, found)))
            if len(found) >= most or seen >= len(self._places):
                return found[:most]
            seen *= 2

    def keys(self, keys: Any, waits: bytearray) -> list[Any]:
        """Return the keys of the entries, best first.

        Args:
            keys: of each place, as a list or an array.
            waits: for each place whether its entry waits.
        """
        wait = self._waiting(waits)
        if self._keys is None:
            self._keys, listed = self._ordered(keys)
            if wait is None and self.by_numpy:
                return listed
        return _parts(self._keys, wait)

    def items(self, items: list[Any], waits: bytearray) -> list[Any]:
        """Return the items of the entries, best first; they may be large, and are not kept.

        Args:
            items: of each place.
            waits: for each place whether its entry waits.
        """
        wait = self._waiting(waits)
        return _parts(self._ordered(items)[1], wait)

    def _waiting(self, waits: bytearray) -> bytearray | None:
        """Return for each of the places whether its entry waits; or ``None`` if all do.

        Places of gaps are dropped as soon as they are no longer few.
        """
        if self._all_wait:
            return None
        numpy: Any = sys.modules["numpy"] if self.by_numpy else None
        if numpy is None:
            wait = bytearray(map(waits.__getitem__, self._places))
        else:
            wait = bytearray(numpy.frombuffer(waits, dtype=bool)[self._places].data)
        if wait.count(0) <= len(wait) // RARE:
            return wait
        if numpy is None:
            self._places = list[Any](compress(self._places, wait))
        else:
            self._places = self._places[numpy.frombuffer(wait, dtype=bool)]
        self._keys, self._all_wait = None, True
        return None

    def _ordered(self, column: Any) -> tuple[Any, list[Any]]:
        """Return the values of a column, best first, as it is best kept, and as a list."""
        if not self.by_numpy:
            in_order: list[Any] = list(map(column.__getitem__, self._places))
            return in_order, in_order
        if _is_list(column):
            column = as_array(column)
        ordered = sys.modules["numpy"].empty(len(self._places), object)
        listed: list[Any] = []
        for begin in range(0, len(ordered), BLOCK):
            block = slice(begin, begin + BLOCK)
            column.take(self._places[block], out=ordered[block], mode="clip")
            listed += ordered[block].tolist()
        return ordered, listed


def kept(values: list[Any], wait: bytearray) -> list[Any]:
    """Return the values of the entries that wait, in a new list.

    Args:
        values: of all places.
        wait: for each place whether its entry waits.
    """
    gaps = wait.count(0)
    if gaps > len(wait) // RARE:
        return list(compress(values, wait))
    return _parts(values, wait) if gaps else values[:]


def _parts(values: Any, wait: bytearray | None) -> list[Any]:
    """Return the values of a list, or array, whose entries wait: they mostly do.

    Args:
        values: of all places.
        wait: for each place whether its entry waits; or ``None``: all do.
    """
    is_list = _is_list(values)
    if wait is None:
        everything: list[Any] = values[:] if is_list else values.tolist()
        return everything
    found: list[Any] = []
    begin, end = 0, len(values)
    while begin < end:
        gap = wait.find(0, begin)
        stop = end if gap < 0 else gap
        for at in range(begin, stop, BLOCK):
            part = values[at : min(at + BLOCK, stop)]
            found += part if is_list else part.tolist()
        begin = stop + 1
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
    values, places = numpy.frombuffer(scores), None
    if waits.count(0):
        places = numpy.flatnonzero(numpy.frombuffer(waits, dtype=bool))
        values = values[places]
    if newest_first:
        values = values[::-1]
    order = _sorted_by_numpy(numpy, 0.0 - values)
    if newest_first:
        order = len(values) - 1 - order
    return BestFirst(order if places is None else places[order])


def _sorted_by_numpy(numpy: Any, values: Any) -> Any:
    """Return the order that sorts finite numbers, least first; equal ones stay in order.

    A stable sort of indices takes ten times as long as one of integers.  So each number is rounded
    down to an integer in the same order, of which the last bits are its index, and the few of those
    are mended afterwards that differ only in bits which were left out.
    """
    low = (1 << len(values).bit_length()) - 1
    bits = values.view(numpy.int64)
    ranks = bits >> 63  # in place from here on: fresh memory takes as long as the arithmetic
    ranks &= 2**63 - 1  # the larger a negative number's bits, the lower it is
    ranks ^= bits
    ranks &= ~low
    ranks |= numpy.arange(len(values))
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


def _is_list(column: Any) -> bool:
    return type(column) is list


def as_array(values: list[Any]) -> Any:
    """Return objects as an array of NumPy's, also those that are sequences."""
    return sys.modules["numpy"].fromiter(values, object, len(values))


def taken_over(kind: Literal["d", "q"], column: Any) -> array[Any]:
    """Return an array of NumPy's as one of Python's.

    Args:
        kind: the type of its numbers, as `array` calls it.
        column: such numbers.
    """
    numbers: array[Any] = array(kind)
    numbers.frombytes(sys.modules["numpy"].ascontiguousarray(column).view("B").data)
    return numbers
