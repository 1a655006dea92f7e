"""Percentiles of many numbers in little memory: counts in buckets that grow with the number.

A bucket has the numbers that agree in their exponent and in the first six bits of their fraction,
so its middle is within 0.8 % of each of them. This is the log-linear histogram of HdrHistogram (G.
Tene, 2012), with the guarantee on relative error of DDSketch (C. Masson, J. Rim, H. Lee, PVLDB 12
(2019) 2195). The bits are those of the number itself, so no logarithm is taken.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from steerio.view.snapshot import Spread

_DROPPED_BITS = 46
"""Bits of a double behind the sign, the exponent and six bits of the fraction."""
_PER_OCTAVE = 64
DRAWN = 40
"""Most buckets of the histogram to draw."""
_unpack = struct.Struct("=d").unpack
_pack = struct.Struct("=Q").pack


class Sketch:
    """The distribution of numbers that are not negative; others count as 0."""

    __slots__ = ("add", "count", "counts", "fresh", "least", "most", "take_all", "total")

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.count = 0
        self.total = 0.0
        self.least = self.most = 0.0
        self.fresh: list[float] = []
        self.add = self.fresh.append
        """Take a number in; it is counted at the next `settle`."""
        self.take_all = self.fresh.extend
        """Take many numbers in."""

    def take(self, other: Sketch) -> None:
        """Take in all the numbers of another one."""
        other.settle()
        if other.count:
            self.least = min(self.least, other.least) if self.count else other.least
            self.most = max(self.most, other.most)
            self.count += other.count
            self.total += other.total
            self.counts.update(other.counts)

    def settle(self) -> None:
        """Count the numbers that came since."""
        if self.fresh:
            numbers = _not_negative(self.fresh)
            self.counts.update(_buckets(numbers))
            self._sum_up(numbers, len(numbers), sum(numbers))
            self.fresh.clear()

    def take_equal(self, numbers: Sequence[float]) -> None:
        """Take in numbers of which many are equal, such as sizes, and count them at once."""
        times = Counter(numbers)
        different = _not_negative(list(times))
        for bucket, count in zip(_buckets(different), times.values(), strict=True):
            self.counts[bucket] += count
        self._sum_up(different, len(numbers), sum(map(mul, different, times.values())))

    def _sum_up(self, numbers: Sequence[float], count: int, total: float) -> None:
        least, most = min(numbers), max(numbers)
        self.least = min(self.least, least) if self.count else least
        self.most = max(self.most, most)
        self.count += count
        self.total += total

    def spread(self) -> Spread:
        """Return its percentiles, and a histogram of all that is in it."""
        self.settle()
        if not self.count:
            return NOTHING
        keys = sorted(self.counts)
        below = list(accumulate(self.counts[key] for key in keys))

        def at_share(share: float) -> float:
            rank = share * (self.count - 1)
            index = next(i for i, so_far in enumerate(below) if so_far > rank)
            return shown(min(max(_middle(keys[index]), self.least), self.most))

        edges, counts = self._drawn(keys)
        return Spread(
            self.count,
            shown(self.total / self.count),
            shown(self.least),
            at_share(0.1),
            at_share(0.5),
            at_share(0.9),
            at_share(0.99),
            shown(self.most),
            edges,
            counts,
            self.total,
        )

    def _drawn(self, keys: list[int]) -> tuple[tuple[float, ...], tuple[int, ...]]:
        """Return a histogram of few buckets, each an octave or an even part of one."""
        wide = _PER_OCTAVE // 4
        while keys[-1] // wide - keys[0] // wide >= DRAWN and wide < 1 << 20:
            wide *= 2
        drawn: Counter[int] = Counter()
        for key in keys:
            drawn[key // wide] += self.counts[key]
        first, last = keys[0] // wide, keys[-1] // wide
        if last - first >= DRAWN:  # zeros, far below all others
            first = last - DRAWN + 1
            drawn[first] += sum(count for key, count in drawn.items() if key < first)
        edges = tuple(shown(_edge(key * wide)) for key in range(first, last + 2))
        return edges, tuple(drawn[key] for key in range(first, last + 1))


def _not_negative(numbers: list[float]) -> list[float]:
    return numbers if min(numbers) > 0 else [n if n > 0 else 0.0 for n in numbers]


def _buckets(numbers: list[float]) -> list[int]:
    """Return the bucket of each number: the first bits of it."""
    count = len(numbers)
    bits = struct.unpack(f"={count}Q", struct.pack(f"={count}d", *numbers))
    return [number >> _DROPPED_BITS for number in bits]


def shown(number: float) -> float:
    """Return a number with four digits, as charts need no more."""
    return float(f"{number:.4g}")


def _edge(key: int) -> float:
    (number,) = _unpack(_pack(key << _DROPPED_BITS))
    return float(number)


def _middle(key: int) -> float:
    return (_edge(key) + _edge(key + 1)) / 2 if key else 0.0


NOTHING = Spread(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""The spread of no numbers."""
