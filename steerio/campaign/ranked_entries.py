"""The waiting entries of a board: a table of them, and for each lane the order in which they go."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Sequence
from random import Random
from typing import Any, Generic, TypeVar

from steerio.campaign.entry_calls import EntryCall, Lane, Ranked, RankedBy
from steerio.campaign.entry_table import EntryTable
from steerio.campaign.lottery import Lottery
from steerio.campaign.ranking import Ranking

K = TypeVar("K", bound=Hashable)

FEW = 8
"""Of new scores for less than one of so many entries each is entered into the order by itself."""


class RankedEntries(Generic[K]):
    """The waiting entries of one board.

    Args:
        home: the lane of entries without a call of their own.
        newest_first: whether the newest of equal score goes first.
        chance: draws the entry that goes next, if the best is not to.
    """

    def __init__(self, home: Lane, *, newest_first: bool, chance: Random | None) -> None:
        self.table: EntryTable[K] = EntryTable(newest_first=newest_first)
        self.lanes: dict[Lane, int] = {home: 0}
        """The lanes that it has had entries in, by number."""
        self._chance = chance
        self._orders = [self._new_order(0)]

    def __len__(self) -> int:
        """Return how many entries wait."""
        return len(self.table.slots)

    def __repr__(self) -> str:
        return f"<RankedEntries: {len(self)} in {len(self.lanes)} lanes>"

    @property
    def searched(self) -> int:
        """How long the heaps, or trees, of its orders are."""
        return sum(map(len, self._orders))

    def count(self, lane: Lane) -> int:
        """Return how many entries wait in a lane."""
        number = self.lanes.get(lane)
        return 0 if number is None else self.table.counts[number]

    def add(
        self, key: K, item: Any, score: float, number: int, by: RankedBy, call: EntryCall | None
    ) -> None:
        """Add an entry, the newest."""
        lane = 0 if call is None else self._lane(call.lane)
        slot = self.table.append(key, item, score, number, by, call, lane)
        self._orders[lane].added(slot)

    def remove(self, slot: int) -> None:
        """Take an entry out; the places of all others may change."""
        table = self.table
        order = self._orders[table.lanes[slot]]
        table.remove(slot)
        order.removed(slot)
        if table.is_crowded:
            table.close_up()
            self._reorder()

    def best(self, lane: Lane | None = None) -> int | None:
        """Return the place of the entry of a lane that goes next; by default, of all lanes."""
        if lane is not None:
            number = self.lanes.get(lane)
            return None if number is None else self._orders[number].best()
        if len(self._orders) == 1:
            return self._orders[0].best()
        heads = [slot for order in self._orders if (slot := order.best()) is not None]
        return min(heads, key=self.table.rank, default=None)

    def next_lane(self, lanes: Iterable[Lane]) -> Lane | None:
        """Return the lane, of some, whose entry goes next; ``None``: they have none."""
        there = [lane for lane in lanes if self.count(lane)]
        if len(there) < 2:
            return there[0] if there else None
        if self._chance is None:
            heads = [(self.best(lane), lane) for lane in there]
            return min((self.table.rank(slot), lane) for slot, lane in heads if slot is not None)[1]
        orders = [self._orders[self.lanes[lane]] for lane in there]
        sums = [order.total for order in orders if isinstance(order, Lottery)]
        return self._chance.choices(there, sums if any(sums) else list(map(self.count, there)))[0]

    def rescore(self, slots: Sequence[int], scores: array[float], by: RankedBy) -> None:
        """Give entries new scores."""
        table = self.table
        if FEW * len(slots) < len(table):
            for slot, score in zip(slots, scores, strict=True):
                table.score(slot, score, by)
                self._orders[table.lanes[slot]].added(slot)
            return
        table.score_many(slots, scores, by)
        self._reorder()

    def rescore_all(self, scores: array[float], by: RankedBy) -> None:
        """Give all entries new scores, which come in the order of their ages."""
        self.table.score_all(scores, by)
        self._reorder()

    def load(self, entries: Iterable[tuple[K, Ranked]]) -> None:
        """Add entries of a snapshot, the oldest first."""
        for key, (score, number, item, cause, *rest) in entries:
            because = rest[0] if rest else ()
            self.add(key, item, score, number, (cause, because), rest[1] if rest[1:] else None)

    def _lane(self, lane: Lane) -> int:
        """Return the number of a lane, which may be a new one."""
        number = self.lanes.setdefault(lane, len(self.lanes))
        if number == len(self._orders):
            self.table.counts.append(0)
            self._orders.append(self._new_order(number))
        return number

    def _new_order(self, number: int) -> Ranking | Lottery:
        if self._chance is None:
            return Ranking(self.table, number)
        return Lottery(self.table, number, self._chance)

    def _reorder(self) -> None:
        for order in self._orders:
            order.changed()
