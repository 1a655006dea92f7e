"""The entries that wait on a board, as columns in the order in which they were added.

Theory.  A board of a million entries is ranked anew as a whole, so its scores are one array: they
are taken over, checked and searched without a Python object for each.  An entry that goes leaves a
gap, whose score is below all scores; when more than half are gaps the columns are closed up.  So
all operations on one entry are O(1), amortised, and the oldest is found at once.  NumPy makes some
searches faster if the program has it anyway; they find the same without it.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from heapq import nsmallest
from itertools import compress
from math import inf
from random import Random
from typing import Any, Generic, TypeVar

from steerio.campaign.entry_calls import EntryCall, Ranked, RankedBy
from steerio.campaign.entry_order import LARGE, BestFirst, as_array, best_first, kept, taken_over

K = TypeVar("K", bound=Hashable)

GONE = -inf
"""The score of a gap."""
SLACK = 64
"""Gaps that there may always be, even if few entries wait."""
SAMPLE = 1_024
"""Scores that are drawn to guess how the others are spread."""


class EntryTable(Generic[K]):
    """The entries that wait on one board.

    Args:
        newest_first: whether the newest of equal score goes first.
    """

    def __init__(self, *, newest_first: bool = False) -> None:
        self.slots: dict[K, int] = {}
        """The place of each entry in the columns, by its key."""
        self.keys: list[Any] = []
        self.items: list[Any] = []
        self.scores: array[float] = array("d")
        self.numbers: array[int] = array("q")
        self.by: list[RankedBy] = []
        self.calls: list[EntryCall | None] = []
        self.lanes: array[int] = array("L")
        self.counts: list[int] = [0]
        """How many entries wait in each lane."""
        self.newest_first = newest_first
        self._waits = bytearray()
        self._first = 0
        self._best_first: BestFirst | None = None
        self._by_themselves = True
        """Whether each item is its key."""
        self._key_array: Any = None
        """The first keys as an array of NumPy's, which takes long to make of a list."""

    def __len__(self) -> int:
        """Return how many entries wait."""
        return sum(self.counts)

    def __repr__(self) -> str:
        return f"<EntryTable: {len(self)} entries, {len(self.keys) - len(self)} gaps>"

    # -- one entry -----------------------------------------------------------------------------

    def append(
        self,
        key: K,
        item: Any,
        score: float,
        number: int,
        by: RankedBy,
        call: EntryCall | None = None,
        lane: int = 0,
    ) -> int:
        """Add an entry, the newest; return its place."""
        slot = self.slots[key] = len(self.keys)
        self.keys.append(key)
        self.items.append(item)
        if item is not key:
            self._by_themselves = False
        self.scores.append(score)
        self.numbers.append(number)
        self.by.append(by)
        self.calls.append(call)
        self.lanes.append(lane)
        self._waits.append(1)
        self.counts[lane] += 1
        self._best_first = None
        return slot

    def remove(self, slot: int) -> None:
        """Take an entry out; its place is a gap from now on."""
        del self.slots[self.keys[slot]]
        self.keys[slot] = self.items[slot] = self.calls[slot] = None
        self.scores[slot] = GONE
        self._waits[slot] = 0
        self.counts[self.lanes[slot]] -= 1
        if self._best_first is not None:
            self._best_first.has_gaps()
        if self._key_array is not None and slot < len(self._key_array):
            self._key_array[slot] = None

    def score(self, slot: int, score: float, by: RankedBy) -> None:
        """Give an entry another score."""
        self.scores[slot] = score
        self.by[slot] = by
        self._best_first = None

    def ranked(self, slot: int) -> Ranked:
        """Return an entry as a value."""
        head = self.scores[slot], self.numbers[slot], self.items[slot], *self.by[slot]
        call = self.calls[slot]
        return head if call is None else (*head, call)

    def rank(self, slot: int) -> tuple[float, int, int]:
        """Return the rank of an entry: the least goes first, and its last part is the place."""
        number = self.numbers[slot]
        return -self.scores[slot], -number if self.newest_first else number, slot

    @property
    def oldest(self) -> int | None:
        """The place of the entry that was added first."""
        self._first = max(self._waits.find(1, self._first), 0)
        return self._first if self.slots else None

    # -- all entries ---------------------------------------------------------------------------

    @property
    def has_no_gaps(self) -> bool:
        """Whether all of it is entries."""
        return len(self.keys) == len(self.slots)

    @property
    def is_crowded(self) -> bool:
        """Whether most of it is gaps."""
        return len(self.keys) > 2 * len(self.slots) + SLACK

    def close_up(self) -> None:
        """Close the gaps; all places change."""
        self.keys = list(compress(self.keys, self._waits))
        self.items = list(compress(self.items, self._waits))
        self.by = list(compress(self.by, self._waits))
        self.calls = list(compress(self.calls, self._waits))
        self.scores = array("d", compress(self.scores, self._waits))
        self.numbers = array("q", compress(self.numbers, self._waits))
        self.lanes = array("L", compress(self.lanes, self._waits))
        self.slots = {key: slot for slot, key in enumerate(self.keys)}
        self._waits = bytearray(b"\1") * len(self.keys)
        self._first, self._best_first, self._key_array = 0, None, None

    def all_slots(self) -> list[int]:
        """Return the places of all entries, the oldest first."""
        return list(compress(range(len(self.keys)), self._waits))

    def all_items(self) -> list[Any]:
        """Return the items of all entries, the oldest first."""
        return kept(self.items, self._waits)

    def all_keys(self) -> list[K]:
        """Return the keys of all entries, the oldest first."""
        return kept(self.keys, self._waits)

    def all_entries(self) -> tuple[list[K], list[Any]]:
        """Return the keys and the items of all entries, the oldest first, each in its own list."""
        keys = self.all_keys()
        return keys, keys[:] if self._by_themselves else self.all_items()

    def all_numbers(self) -> array[int]:
        """Return the numbers of all entries, the oldest first."""
        if self.has_no_gaps:
            return self.numbers[:]
        numpy: Any = sys.modules.get("numpy") if len(self.keys) > LARGE else None
        if numpy is None:
            return array("q", compress(self.numbers, self._waits))
        waits = numpy.frombuffer(self._waits, dtype=bool)
        return taken_over("q", numpy.frombuffer(self.numbers, dtype="q")[waits])

    def numbered(
        self, numbers: array[int], scores: array[float]
    ) -> tuple[Sequence[int], array[float]]:
        """Find those that wait of entries with these numbers, which ascend.

        Returns:
            Their places, and which of the scores are theirs.
        """
        numpy: Any = sys.modules.get("numpy") if len(numbers) > LARGE else None
        if numpy is None or not self.numbers:
            place = dict(zip(self.all_numbers(), self.all_slots(), strict=True))
            there = [index for index, number in enumerate(numbers) if number in place]
            wait = [place[numbers[index]] for index in there]
            return wait, array("d", [scores[index] for index in there])
        mine, wanted = (numpy.frombuffer(each, dtype="q") for each in (self.numbers, numbers))
        if mine[-1] - mine[0] == len(mine) - 1:  # gaps have kept their places
            places = (wanted - mine[0]).clip(0, len(mine) - 1)
        else:
            places = numpy.minimum(numpy.searchsorted(mine, wanted), len(mine) - 1)
        found = mine[places] == wanted
        found &= numpy.frombuffer(self._waits, dtype=bool)[places]
        return places[found], taken_over("d", numpy.frombuffer(scores)[found])

    def score_many(self, slots: Sequence[int], scores: array[float], by: RankedBy) -> None:
        """Give many entries other scores; of two for one entry the last counts."""
        self._best_first = None
        numpy: Any = sys.modules.get("numpy") if len(slots) > LARGE else None
        if numpy is None:
            column = self.scores
            for slot, score in zip(slots, scores, strict=True):
                column[slot] = score
                self.by[slot] = by
            return
        places = numpy.asarray(slots)
        numpy.frombuffer(self.scores)[places] = numpy.frombuffer(scores)
        others = numpy.ones(len(self.by), dtype=bool)
        others[places] = False
        old, self.by = self.by, [by] * len(self.by)
        for slot in numpy.flatnonzero(others).tolist():
            self.by[slot] = old[slot]

    def score_all(self, scores: array[float], by: RankedBy) -> None:
        """Give all entries other scores, which come in the order of `all_items`."""
        if self.has_no_gaps:
            self.scores[:] = scores
        else:
            self._score_between_gaps(scores)
        self.by = [by] * len(self.by)
        self._best_first = None

    def copy(self) -> EntryTable[K]:
        """Return a copy, for a snapshot: it has no lanes and no places by key."""
        copy: EntryTable[K] = EntryTable(newest_first=self.newest_first)
        copy.keys, copy.items, copy.scores = self.keys[:], self.items[:], self.scores[:]
        copy.numbers, copy.by, copy.calls = self.numbers[:], self.by[:], self.calls[:]
        copy._waits, copy.counts = self._waits[:], [len(self)]
        copy._by_themselves = self._by_themselves
        return copy

    def values(self) -> Iterator[tuple[K, Ranked]]:
        """Yield all keys and their entries, the oldest first."""
        for slot, waits in enumerate(self._waits):
            if waits:
                yield self.keys[slot], self.ranked(slot)

    def _score_between_gaps(self, scores: array[float]) -> None:
        numpy: Any = sys.modules.get("numpy") if len(self.keys) > LARGE else None
        if numpy is not None:
            waits = numpy.frombuffer(self._waits, dtype=bool)
            numpy.frombuffer(self.scores)[waits] = numpy.frombuffer(scores)
            return
        given = iter(scores)
        for slot, waits in enumerate(self._waits):
            if waits:
                self.scores[slot] = next(given)

    # -- the order -----------------------------------------------------------------------------

    def order(self) -> list[int]:
        """Return the places of all entries, best first."""
        return self._sorted().places(self._waits)

    def ordered_keys(self) -> list[K]:
        """Return the keys of all entries, best first."""
        order = self._sorted()
        return order.keys(self._keys_as_array() if order.by_numpy else self.keys, self._waits)

    def ordered_items(self) -> list[Any]:
        """Return the items of all entries, best first."""
        if self._by_themselves:
            return self.ordered_keys()
        return self._sorted().items(self.items, self._waits)

    def best(self, most: int) -> list[int]:
        """Return the places of the best entries, best first; a few without sorting the others."""
        if self._best_first is not None or most > LARGE:
            return self._sorted().places(self._waits, most)
        score = self.threshold(2 * most)
        found = self.above(score)
        if len(found) < most and score != GONE:  # many are equal
            found += self.at(score, most - len(found))
        if len(found) < most:
            found = self.all_slots()
        return [rank[2] for rank in nsmallest(most, map(self.rank, found))]

    def threshold(self, wanted: int, lane: int | None = None) -> float:
        """Return a score above which about so many entries should be; by a sample."""
        count = len(self) if lane is None else self.counts[lane]
        if count <= 2 * wanted:
            return GONE
        among: Sequence[int] = range(len(self.keys))
        if lane is not None and count < len(self):
            among = self._of_lane(GONE, lane)
        drawn = Random(count).choices(among, k=SAMPLE)  # of places; it decides only the costs
        scores = sorted(s for slot in drawn if (s := self.scores[slot]) != GONE)
        return scores[-1 - min(len(scores) - 1, len(scores) * wanted // count)] if scores else GONE

    def above(self, score: float, lane: int | None = None) -> list[int]:
        """Return the places of the entries with higher scores, the oldest first."""
        if lane is not None and self.counts[lane] < len(self):
            return self._of_lane(score, lane)
        numpy: Any = sys.modules.get("numpy") if len(self.keys) > LARGE else None
        if numpy is not None:
            found: list[int] = numpy.flatnonzero(numpy.frombuffer(self.scores) > score).tolist()
            return found
        return [slot for slot, has in enumerate(self.scores) if has > score]

    def at(self, score: float, most: int, lane: int | None = None) -> list[int]:
        """Return the places of the first entries in order of those with just this score."""
        slots: Iterable[int] = range(len(self.keys))
        if self.newest_first:
            slots = reversed(range(len(self.keys)))
        scores, lanes, found = self.scores, self.lanes, list[int]()
        for slot in slots:
            if scores[slot] == score and (lane is None or lanes[slot] == lane):
                found.append(slot)
                if len(found) == most:
                    break
        return found

    def _of_lane(self, score: float, lane: int) -> list[int]:
        numpy: Any = sys.modules.get("numpy") if len(self.keys) > LARGE else None
        if numpy is not None:
            is_one = numpy.frombuffer(self.lanes, dtype="L") == lane
            is_one &= numpy.frombuffer(self.scores) > score
            found: list[int] = numpy.flatnonzero(is_one).tolist()
            return found
        both = enumerate(zip(self.scores, self.lanes, strict=True))
        return [slot for slot, (has, of) in both if of == lane and has > score]

    def _sorted(self) -> BestFirst:
        if self._best_first is None:
            self._best_first = best_first(self.scores, self._waits, newest_first=self.newest_first)
        return self._best_first

    def _keys_as_array(self) -> Any:
        made = self._key_array
        if made is None:
            made = as_array(self.keys)
        elif len(made) < len(self.keys):
            more = as_array(self.keys[len(made) :])
            made = sys.modules["numpy"].concatenate([made, more])
        self._key_array = made
        return made
