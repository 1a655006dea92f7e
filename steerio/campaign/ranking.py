"""The order of the entries of a board: its best in a heap, the rest unsorted.

Theory.  Few entries of a large board are handed out before it is ranked anew, so sorting all of
them would be for nothing.  A `Ranking` keeps a heap of those at or above a *floor*, with lazy
deletion; the others are only known to be below.  When the heap is used up, a new floor is found by
a sample of the scores, and one search brings the entries above it into the heap: at least a fixed
share of all.  So taking all entries of a board costs O(n log n) in all, adding one O(log n) at
most, and ranking all of them anew nothing at all, until the next is taken.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

from steerio.campaign.entry_table import SLACK, EntryTable

LEAST, SHARE = 256, 64
"""Entries that are brought into the heap at a time: so many, or one of so many if that is more."""
EVERYTHING, NOTHING = (inf, inf), (-inf, -inf)


class Ranking:
    """The order of one lane of a board.

    Args:
        table: the entries.
        lane: the number of the lane.
    """

    def __init__(self, table: EntryTable[Any], lane: int) -> None:
        self._table = table
        self._lane = lane
        self._heap: list[tuple[float, int, int]] = []
        self._floor: tuple[float, float] = EVERYTHING

    def __len__(self) -> int:
        """Return how long the heap is."""
        return len(self._heap)

    def __repr__(self) -> str:
        return f"<Ranking: {len(self)} of {self._table.counts[self._lane]} in the heap>"

    def added(self, slot: int) -> None:
        """Take in an entry, or the new score of one."""
        rank = self._table.rank(slot)
        if rank[:2] <= self._floor:
            heappush(self._heap, rank)
            self._tidy()

    def removed(self, slot: int) -> None:
        """Take in that an entry waits no longer."""
        self._tidy()

    def changed(self) -> None:
        """Take in that any entries have other scores, or other places."""
        self._heap = []
        self._floor = NOTHING if self._table.counts[self._lane] else EVERYTHING

    def best(self) -> int | None:
        """Return the place of the best entry."""
        scores, heap = self._table.scores, self._heap
        while self._table.counts[self._lane]:
            while heap:
                negative, _, slot = heap[0]
                if scores[slot] == -negative:
                    return slot
                heappop(heap)
            self._fill()
            heap = self._heap
        return None

    def _tidy(self) -> None:
        """Drop the heap if most of it is entries that wait no longer, or have other scores."""
        if len(self._heap) > 2 * self._table.counts[self._lane] + SLACK:
            self.changed()

    def _fill(self) -> None:
        """Bring the best entries into the heap, which is empty."""
        table, lane = self._table, self._lane
        wanted = max(LEAST, table.counts[lane] // SHARE)
        score = table.threshold(wanted, lane)
        found = table.above(score, lane)
        self._floor = EVERYTHING if table.counts[lane] == len(found) else (-score, -inf)
        if not found:  # more than are wanted are equal, and none is better
            found = table.at(score, wanted, lane)
            self._floor = table.rank(found[-1])[:2]
        self._heap = list(map(table.rank, found))
        heapify(self._heap)
