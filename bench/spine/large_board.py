"""A board of a million entries: listing what waits, and giving all of it new scores.

The floors are a copy of a list of as many entries, for calls that give or take one; `sorted()` of
as many floats, for the call that sorts; and a call of a function for each entry, for the one that
makes these.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.pairs import alternate, spread
from steerio import Board, task

ENTRIES, ENTRIES_QUICK = 1_000_000, 100_000
GONE = 40
"""Entries that are handed out between two looks."""
CLAIMS = (
    Claim("board of 1,000,000: rescore_all by an array", 50, 25, "lower", "ms"),
    Claim("board of 1,000,000: rescore_all by float32", 50, 25, "lower", "ms"),
    Claim("board of 1,000,000: best(1000) behind new scores", 50, 25, "lower", "ms"),
    Claim("board of 1,000,000: listing()", 50, 25, "lower", "ms"),
    Claim("board of 1,000,000: rescore_listing by an array", 50, 25, "lower", "ms"),
    Claim("board of 1,000,000: rescore_listing, 40 entries gone", 50, 25, "lower", "ms"),
    Claim("board of 1,000,000: waiting, 40 entries gone", 50, 25, "lower", "ms"),
    Claim(
        "board of 1,000,000: waiting behind new scores, against sorted()", 0.6, 0.3, "lower", "x"
    ),
    Claim("board of 1,000,000: rescore by a function, against its calls", 3.0, 2.0, "lower", "x"),
)


@task
def entry(number: int) -> None:
    """Do nothing; it is never run."""


class LargeBoard:
    """A board whose entries have random scores, and are anywhere in memory."""

    def __init__(self, entries: int) -> None:
        chance = random.Random(1)
        self.items = list(range(entries))
        chance.shuffle(self.items)
        self.board: Board[int] = Board(entry, self.items)
        self.floats = [chance.random() for _ in range(entries)]
        self.scores = np.array(self.floats)
        self.short = self.scores.astype("float32")
        self.later = self.items[::-1]
        self.listed = self.board.listing()

    def take_away(self) -> None:
        """Have some entries gone since the last look; they do not come back."""
        for _ in range(GONE):
            self.board.discard(self.later.pop())

    def rescore_all(self) -> object:
        """Rank all by an array."""
        return self.board.rescore_all(lambda items: self.scores[: len(items)])

    def rescore_all_short(self) -> object:
        """Rank all by an array of half the width, as models give them."""
        return self.board.rescore_all(lambda items: self.short[: len(items)])

    def best(self) -> object:
        """List the best."""
        return self.board.best(1000)

    def list_them(self) -> object:
        """List all, the oldest first."""
        return self.board.listing()

    def rescore_listing(self) -> object:
        """Rank those of a listing by an array."""
        return self.board.rescore_listing(self.listed, self.scores[: len(self.listed)])

    def waiting(self) -> object:
        """List all, best first."""
        return self.board.waiting

    def rescore_each(self) -> object:
        """Rank each by a call of a function."""
        return self.board.rescore(float)


def measure(effort: Effort) -> list[Measurement]:
    """All calls of one round one after the other, each beside its floor."""
    entries, rounds = effort.of(ENTRIES, ENTRIES_QUICK), effort.of(7, 3)
    large = LargeBoard(entries)
    figures: list[list[float]] = [[] for _ in CLAIMS[:-2]]
    copies: list[float] = []
    for _ in range(rounds):
        copies.append(timed(large.items.copy))
        figures[0].append(timed(large.rescore_all))
        figures[1].append(timed(large.rescore_all_short))
        figures[2].append(timed(large.best))
        figures[3].append(timed(large.list_them))
        large.listed = large.board.listing()
        figures[4].append(timed(large.rescore_listing))
        large.take_away()
        figures[5].append(timed(large.rescore_listing))
        large.waiting()
        large.take_away()
        figures[6].append(timed(large.waiting))
    sorts = alternate(lambda: timed(lambda: sorted(large.floats)), lambda: looked(large), rounds)
    calls = alternate(
        lambda: timed(lambda: list(map(float, large.items))),
        lambda: timed(large.rescore_each),
        rounds,
    )
    floor = f"floor: a copy of the list of entries, {amount(spread(copies).median)} ms"
    said = [replace(each, text=each.text.replace("1,000,000", f"{entries:,}")) for each in CLAIMS]
    return [
        *(claim.measured(spread(ms), floor) for claim, ms in zip(said, figures, strict=False)),
        said[-2].against_floor(sorts, "ms (floor: sorted() of floats)"),
        said[-1].against_floor(calls, "ms (floor: the calls alone)"),
    ]


def looked(large: LargeBoard) -> float:
    """The first look at the order behind new scores."""
    large.rescore_all()
    return timed(large.waiting)


def timed(call: Callable[[], object]) -> float:
    """Milliseconds that the thread had a core for one call: others may want the cores, too."""
    began = time.thread_time()
    made = call()
    ended = time.thread_time()
    del made
    return (ended - began) * 1e3
