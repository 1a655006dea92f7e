"""Draws: the next entry of a board by chance, each with a probability in proportion to its score.

Theory.  The scores are the leaves of a binary tree, and each inner node is the sum of its two
children.  A number between 0 and the sum of all leads from the root to an entry; a new score
changes the nodes above it: both take O(log n).  A node is always computed from its children, and
never by adding a difference, so no rounding error stays when an entry goes.
"""

from __future__ import annotations

import sys
from array import array
from operator import add
from random import Random
from typing import Any

from steerio.campaign.entry_order import LARGE, taken_over
from steerio.campaign.entry_table import GONE, EntryTable
from steerio.errors import UsageError

HIGHEST = 1e200
"""The highest score of an entry that is drawn: the sum of any number of these is finite."""
LEAST_LEAVES = 64


class Lottery:
    """The draws of one lane of a board.

    Entries of score 0 are drawn when no others wait, each with the same probability.

    Args:
        table: the entries.
        lane: the number of the lane.
        chance: the random numbers.
    """

    def __init__(self, table: EntryTable[Any], lane: int, chance: Random) -> None:
        self._table = table
        self._lane = lane
        self._chance = chance
        self._leaves = 0
        """How many leaves the tree has; 0: it is to be built."""
        self._sums = array("d")

    def __len__(self) -> int:
        """Return how many nodes the tree has."""
        return len(self._sums)

    def __repr__(self) -> str:
        return f"<Lottery of {self._table.counts[self._lane]} entries>"

    def added(self, slot: int) -> None:
        """Take in an entry, or the new score of one."""
        if slot < self._leaves:
            self._set(slot, self._table.scores[slot])
        else:
            self.changed()

    def removed(self, slot: int) -> None:
        """Take in that an entry waits no longer."""
        if slot < self._leaves:
            self._set(slot, 0.0)

    def changed(self) -> None:
        """Take in that any entries have other scores, or other places."""
        self._leaves, self._sums = 0, array("d")

    @property
    def total(self) -> float:
        """The sum of the scores of all entries."""
        if not self._leaves:
            self._build()
        return self._sums[1]

    def best(self) -> int | None:
        """Draw an entry; return its place."""
        if not self._table.counts[self._lane]:
            return None
        if not self._leaves:
            self._build()
        sums, leaves = self._sums, self._leaves
        if sums[1] <= 0:
            return self._any()
        point, node = self._chance.random() * sums[1], 1
        while node < leaves:
            node *= 2
            if point >= sums[node] and sums[node + 1] > 0:
                point -= sums[node]
                node += 1
        return node - leaves

    def _any(self) -> int:
        """Draw one of the entries, all of which have score 0."""
        scores, lanes = self._table.scores, self._table.lanes
        for _ in range(LEAST_LEAVES):
            slot = self._chance.randrange(len(scores))
            if scores[slot] != GONE and lanes[slot] == self._lane:
                return slot
        return self._chance.choice(self._table.above(GONE, self._lane))  # it is hard to hit one

    def _build(self) -> None:
        """Build the tree, with room for as many entries again."""
        table, leaves = self._table, LEAST_LEAVES
        while leaves < 2 * len(table.scores):
            leaves *= 2
        numpy: Any = sys.modules.get("numpy") if len(table.scores) > LARGE else None
        if numpy is not None:
            self._sums, self._leaves = self._summed_by_numpy(numpy, leaves), leaves
            return
        level = array("d", bytes(8 * leaves))
        if table.counts[self._lane] == len(table.scores):
            level[: len(table.scores)] = table.scores
        else:
            for slot in table.above(GONE, self._lane):
                level[slot] = table.scores[slot]
        levels = [level]
        while len(level) > 1:
            level = array("d", map(add, level[::2], level[1::2]))
            levels.append(level)
        self._sums, self._leaves = array("d", [0.0]), leaves
        for level in reversed(levels):
            self._sums += level

    def _summed_by_numpy(self, numpy: Any, leaves: int) -> array[float]:
        """Return the nodes of the tree: the same as without NumPy."""
        scores = numpy.frombuffer(self._table.scores)
        is_one = numpy.frombuffer(self._table.lanes, dtype="L") == self._lane
        is_one &= scores != GONE
        sums = numpy.zeros(2 * leaves)
        sums[leaves : leaves + len(scores)][is_one] = scores[is_one]
        level = leaves
        while level > 1:
            below = sums[level : 2 * level]
            level //= 2
            sums[level : 2 * level] = below[::2] + below[1::2]
        return taken_over("d", sums)

    def _set(self, slot: int, score: float) -> None:
        sums, node = self._sums, slot + self._leaves
        sums[node] = score
        while node > 1:
            node //= 2
            sums[node] = sums[2 * node] + sums[2 * node + 1]


def checked_chance(score: float, key: object) -> float:
    """Return the score of an entry that is to be drawn.

    Raises:
        UsageError: it cannot be in proportion to a probability.
    """
    if not 0 <= score <= HIGHEST:
        raise UsageError(
            f"the score of {key!r} is {score}, but a board with draw=True draws entries in "
            f"proportion to their scores: these are from 0 to {HIGHEST:g}"
        )
    return score
