"""Two sides measured in turn, and what may be said about their ratio.

A shared machine drifts: the same program was seen to vary tenfold within minutes. A ratio
of two averages taken one after the other measures that drift. A ratio of two short rounds
taken side by side does not, and the median over many such pairs ignores the rounds that
somebody else's work fell into. Which side goes first alternates, so that warming up and
cooling down favour neither.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, between their quartiles."""

    median: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Pair:
    """One round of each side, in the same unit."""

    floor: float
    ours: float

    @property
    def ratio(self) -> float:
        """Ours over the floor."""
        return self.ours / self.floor


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of `values`; raises ValueError when there are none."""
    if not values:
        raise ValueError("no rounds were measured, so there is no median to quote")
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high, len(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of `values` that at least `percent` per cent of them do not exceed."""
    if not values:
        raise ValueError("no values, so there is no percentile to quote")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, min(len(ordered) - 1, int(rank) - 1))]


def alternate(
    floor: Callable[[], float], ours: Callable[[], float], rounds: int, warm_up: int = 1
) -> list[Pair]:
    """Run both sides `rounds` times in turn, after `warm_up` pairs that do not count."""
    pairs: list[Pair] = []
    for number in range(rounds + warm_up):
        if number % 2:
            ours_figure = ours()
            floor_figure = floor()
        else:
            floor_figure = floor()
            ours_figure = ours()
        if number >= warm_up:
            pairs.append(Pair(floor_figure, ours_figure))
    return pairs


def ratios(pairs: Sequence[Pair]) -> Spread:
    """Ours over the floor, pair by pair."""
    return spread([pair.ratio for pair in pairs])
