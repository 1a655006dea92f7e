"""Moments at which something must be looked at again.

A heap of ``(when, order, what, about)``.  Deadlines are not cancelled but checked when
they come up: the dispatcher looks whether what they are about still holds.  Those that
do not are swept out when they may be most of the heap: an hour's timeout of a task that
took a millisecond shall not stay for an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

_SLACK = 1024
"""Deadlines that are kept without asking whether they still hold."""


class Deadlines:
    """Things to look at, each at its own time; ``about`` is a number that the caller knows."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, int]] = []
        self._order = 0
        self._sweep_at = _SLACK

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, when: float, what: str, about: int) -> None:
        """Look at ``about`` because of ``what`` at time ``when``, in seconds."""
        self._order += 1
        heappush(self._heap, (when, self._order, what, about))

    @property
    def next(self) -> float | None:
        """When the earliest deadline comes up, or ``None``."""
        return self._heap[0][0] if self._heap else None

    def sweep(self, holds: Callable[[str, int], bool]) -> None:
        """Drop what no longer holds, if there are twice as many as the last sweep left."""
        heap = self._heap
        if len(heap) > self._sweep_at:
            heap[:] = [entry for entry in heap if holds(entry[2], entry[3])]
            heapify(heap)
            self._sweep_at = 2 * len(heap) + _SLACK

    def due(self, now: float) -> Iterator[tuple[str, int]]:
        """Take out what has come up, earliest first."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, _, what, about = heappop(heap)
            yield what, about
