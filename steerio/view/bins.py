"""Time in bins whose width doubles when there are too many: memory does not grow with time.

All series of a run share one `BinAxis`, so that charts of it stand beneath each other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Protocol

MOST_BINS = 300
"""Most bins; when one more is needed each two neighbours become one."""
FIRST_WIDTH_S = 0.05
"""The width of a bin at first, in seconds."""


class Halved(Protocol):
    """Something that counts in bins."""

    def halve(self) -> None:
        """Make one bin of each two neighbours."""
        ...


class BinAxis:
    """The bins of time, and all that counts in them.

    Args:
        began: where the first bin begins; whatever was before that is counted there.
    """

    def __init__(self, began: float) -> None:
        self.began = began
        self.width_s = FIRST_WIDTH_S
        self.per_s = 1 / FIRST_WIDTH_S
        self._counting: list[Halved] = []

    def __repr__(self) -> str:
        return f"<BinAxis from {self.began:g}, bins of {self.width_s:g} s>"

    def follow(self, counting: Halved) -> None:
        """Have something halved with the others from now on."""
        self._counting.append(counting)

    def leave(self, counting: Halved) -> None:
        """Forget something that counts no more."""
        self._counting = [other for other in self._counting if other is not counting]

    def index(self, at: float) -> int:
        """Return the bin of a time, after which there is room for it."""
        index = int((at - self.began) * self.per_s)
        while index >= MOST_BINS:
            self.width_s *= 2
            self.per_s /= 2
            for counting in self._counting:
                counting.halve()
            index = int((at - self.began) * self.per_s)
        return max(0, index)

    def shares(self, begin: float, end: float) -> tuple[int, list[float]]:
        """Return the first bin of an interval, and the seconds of it in that bin and the next ones.

        An interval that ends before it begins has none.
        """
        if end <= begin:
            return 0, []
        last = self.index(end)  # this first: it may halve
        first = self.index(begin)
        if first == last:
            return first, [end - begin]
        began, width = self.began, self.width_s
        seconds = [width] * (last - first + 1)
        seconds[0] = began + (first + 1) * width - begin
        seconds[-1] = end - (began + last * width)
        return first, seconds


class Sums:
    """A sum for each bin."""

    __slots__ = ("_begins", "_bin", "_ends", "axis", "total", "values")

    def __init__(self, axis: BinAxis) -> None:
        self.axis = axis
        self.values = [0.0] * MOST_BINS
        self.total = 0.0
        self._bin = 0
        """The last bin into which a whole interval went, for the next one is near it."""
        self._begins = self._ends = 0.0
        axis.follow(self)

    def add(self, at: float, amount: float = 1.0) -> None:
        """Add an amount to the bin of a time."""
        index = self.axis.index(at)
        self.values[index] += amount
        self.total += amount

    def add_bins(self, amounts: Mapping[int, float]) -> None:
        """Add amounts to bins by their index."""
        for index, amount in amounts.items():
            self.values[index] += amount
            self.total += amount

    def spread(self, begin: float, end: float, weight: float = 1.0) -> None:
        """Add the seconds of an interval, times ``weight``, to the bins that it is in."""
        if end <= begin:
            return
        seconds = (end - begin) * weight
        self.total += seconds
        if begin >= self._begins and end < self._ends:
            self.values[self._bin] += seconds
            return
        axis = self.axis
        last = axis.index(end)
        first = int((begin - axis.began) * axis.per_s)
        if first == last:
            self.values[first] += seconds
            self._bin = first
            self._begins = axis.began + first * axis.width_s
            self._ends = self._begins + axis.width_s
            return
        first, shares = axis.shares(begin, end)
        for index, share in enumerate(shares, first):
            self.values[index] += share * weight

    def halve(self) -> None:
        """Make one bin of each two neighbours."""
        values = self.values
        merged = [a + b for a, b in zip(values[::2], values[1::2], strict=True)]
        self.values = merged + [0.0] * (MOST_BINS - len(merged))
        self._ends = self._begins


class Peaks:
    """The largest value for each bin."""

    __slots__ = ("_ends", "_least", "axis", "values")

    def __init__(self, axis: BinAxis) -> None:
        self.axis = axis
        self.values = [0.0] * MOST_BINS
        self._least, self._ends = 0.0, axis.began
        """The largest value of the bin of the last one, and when that bin ends."""
        axis.follow(self)

    def add(self, at: float, value: float) -> None:
        """Note a value at a time that is not before the last one's."""
        if value <= self._least and at < self._ends:
            return
        index = self.axis.index(at)
        self._ends = self.axis.began + (index + 1) * self.axis.width_s
        self._least = self.values[index] = max(value, self.values[index])

    def halve(self) -> None:
        """Make one bin of each two neighbours."""
        values = self.values
        merged = [max(a, b) for a, b in zip(values[::2], values[1::2], strict=True)]
        self.values = merged + [0.0] * (MOST_BINS - len(merged))


class Ages(Peaks):
    """The greatest age, in each bin, of the oldest of some things that wait.

    Attributes:
        ends: from then on time has to pass by `to` before a change.
    """

    __slots__ = ("_at", "ends")

    def __init__(self, axis: BinAxis, at: float) -> None:
        super().__init__(axis)
        self._at = self.ends = at

    def to(self, at: float, since: float | None) -> None:
        """Let time pass in which the oldest waited since then; ``None``: none did."""
        if at > self._at:
            index = self.axis.index(at)
            self._raise(self.values, at, since)
            self._at, self.ends = at, self.axis.began + (index + 1) * self.axis.width_s

    def ahead(self, at: float, since: float | None) -> list[float]:
        """Return the ages by bin as they are if time passes so far."""
        self.axis.index(at)
        values = self.values[:]
        self._raise(values, at, since)
        return values

    def _raise(self, values: list[float], at: float, since: float | None) -> None:
        """Let the ages since the last look be those of something that waits since then."""
        if since is None or since >= at:
            return
        began, width = self.axis.began, self.axis.width_s
        last = self.axis.index(at)
        for index in range(self.axis.index(max(self._at, since)), last):
            values[index] = max(values[index], began + (index + 1) * width - since)
        values[last] = max(values[last], at - since)


class Level:
    """A number that changes now and then; its integral over time, by bin and in all.

    The integral over the present bin is kept aside until time leaves the bin, for numbers change
    often within one.

    Attributes:
        value: the number now.
        since: when it was last looked at.
        above_s: seconds in which it was above 0.
    """

    __slots__ = ("_aside", "_axis", "_bin", "_bin_ends", "_sums", "above_s", "since", "value")

    def __init__(self, axis: BinAxis, at: float) -> None:
        self.value = 0
        self.since = at
        self.above_s = 0.0
        self._axis = axis
        self._sums = Sums(axis)
        self._aside = 0.0
        self._bin = 0
        self._bin_ends = at
        axis.leave(self._sums)  # it is halved with this
        axis.follow(self)

    @property
    def total(self) -> float:
        """The integral in all, in seconds."""
        return self._sums.total + self._aside

    @property
    def values(self) -> list[float]:
        """The integral by bin, up to the last look."""
        self._store()
        return self._sums.values

    def to(self, at: float) -> None:
        """Let time pass; it never goes back."""
        since = self.since
        if at <= since:
            return
        value = self.value
        if value:
            self.above_s += at - since
            if at < self._bin_ends:
                self._aside += value * (at - since)
                self.since = at
                return
            self._store()
            self._sums.spread(since, at, value)
        self.since = at
        if at >= self._bin_ends:
            self._store()
            axis = self._axis
            self._bin = axis.index(at)
            self._bin_ends = axis.began + (self._bin + 1) * axis.width_s

    def step(self, at: float, by: int) -> None:
        """Change the number by so much."""
        past_s = at - self.since
        if past_s > 0:
            if at < self._bin_ends:  # as `to` does, which is not called, as this is done so often
                if self.value:
                    self.above_s += past_s
                    self._aside += self.value * past_s
                self.since = at
            else:
                self.to(at)
        self.value = value = self.value + by
        if value < 0:
            self.value = 0

    def set(self, at: float, value: int) -> None:
        """Give it another value."""
        self.to(at)
        self.value = max(0, value)

    def ahead(self, at: float) -> Callable[[], None]:
        """Let time pass for a look; return a function that undoes it.

        Changes of before that time may still come. No bins may double meanwhile.
        """
        values, total = self._sums.values[:], self._sums.total
        state = self.since, self.above_s, self._aside, self._bin, self._bin_ends

        def back() -> None:
            self._sums.values, self._sums.total = values, total
            self.since, self.above_s, self._aside, self._bin, self._bin_ends = state

        self.to(at)
        return back

    def halve(self) -> None:
        """Make one bin of each two neighbours."""
        self._store()
        self._sums.halve()
        self._bin_ends = self.since  # the present bin is another one now

    def _store(self) -> None:
        if self._aside:
            self._sums.values[self._bin] += self._aside
            self._sums.total += self._aside
            self._aside = 0.0


@contextlib.contextmanager
def passing(levels: Iterable[Level], axis: BinAxis, at: float) -> Generator[None, None, None]:
    """Let time pass for levels while the context lasts: changes of before may still come."""
    axis.index(at)
    back = [level.ahead(at) for level in levels]
    try:
        yield
    finally:
        for undo in back:
            undo()
