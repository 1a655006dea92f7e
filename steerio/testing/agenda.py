"""The agenda of a simulated cluster: the calls to come, by their time.

It is one heap of tuples and one timer of the loop, in place of a timer for each of 10,000 attempts:
the next call is found by comparing numbers, not objects.  Calls due at the same time are made in
the order in which they were added.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import Any

from msgspec import Struct


class DueCall(Struct, eq=False):
    """One call to come; cancelled by setting ``call`` to ``None``."""

    call: Callable[..., None] | None
    args: tuple[Any, ...]

    def cancel(self) -> None:
        """Drop the call."""
        self.call = None


class Agenda:
    """The calls to come on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, DueCall]] = []
        self._order = 0
        self._timer: asyncio.TimerHandle | None = None
        self._armed = inf

    def __repr__(self) -> str:
        return f"<Agenda of {len(self._heap)} things>"

    @property
    def now(self) -> float:
        """The virtual time, in seconds."""
        return self._loop.time()

    def add(self, delay_s: float, call: Callable[..., None], *args: Any) -> DueCall:
        """Call back after so many seconds; 0 seconds, too, are not at once."""
        entry = DueCall(call, args)
        self._order += 1
        due = self._loop.time() + delay_s
        heappush(self._heap, (due, self._order, entry))
        if due < self._armed:
            self._arm()
        return entry

    def awaits(self, background: tuple[type, ...]) -> bool:
        """Whether a call is to come of anything but a method of a ``background`` class."""
        return any(
            not isinstance(getattr(entry.call, "__self__", None), background)
            for _, _, entry in self._heap
            if entry.call is not None
        )

    def _arm(self) -> None:
        """Set the timer to the first call."""
        heap = self._heap
        while heap and heap[0][2].call is None:
            heappop(heap)
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._armed = None, inf
        if heap:
            self._armed = heap[0][0]
            self._timer = self._loop.call_at(self._armed, self._turn)

    def _turn(self) -> None:
        """Make the calls that are due."""
        self._timer, self._armed = None, -inf  # so a call added meanwhile does not set it
        heap, now, last = self._heap, self._loop.time(), self._order
        while heap and heap[0][0] <= now and heap[0][1] <= last:
            entry = heappop(heap)[2]
            if entry.call is not None:
                entry.call(*entry.args)
        self._arm()
