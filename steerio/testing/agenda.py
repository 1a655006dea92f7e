"""What is to happen at which time, for everything that a cluster simulates.

One heap of tuples and one timer of the loop, in place of a timer for each of 10,000
attempts: what is due is found by comparing numbers, not objects.  Things due at the same
time happen in the order in which they were put in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import Any

from msgspec import Struct


class Entry(Struct, eq=False):
    """One thing to happen; cancelled by setting ``call`` to ``None``."""

    call: Callable[..., None] | None
    args: tuple[Any, ...]

    def cancel(self) -> None:
        """Let it not happen."""
        self.call = None


class Agenda:
    """Things to happen on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Entry]] = []
        self._order = 0
        self._timer: asyncio.TimerHandle | None = None
        self._armed = inf

    def __repr__(self) -> str:
        return f"<Agenda of {len(self._heap)} things>"

    @property
    def now(self) -> float:
        """The virtual time, in seconds."""
        return self._loop.time()

    def add(self, delay_s: float, call: Callable[..., None], *args: Any) -> Entry:
        """Call back after so many seconds, and not at once even where these are 0."""
        entry = Entry(call, args)
        self._order += 1
        due = self._loop.time() + delay_s
        heappush(self._heap, (due, self._order, entry))
        if due < self._armed:
            self._arm()
        return entry

    def awaits(self, background: tuple[type, ...]) -> bool:
        """Whether anything is to happen that calls no method of a ``background`` class."""
        return any(
            not isinstance(getattr(entry.call, "__self__", None), background)
            for _, _, entry in self._heap
            if entry.call is not None
        )

    def _arm(self) -> None:
        """Set the timer to what is due first."""
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
        """Do what is due."""
        self._timer, self._armed = None, -inf  # nothing that is added now needs to set it
        heap, now, last = self._heap, self._loop.time(), self._order
        while heap and heap[0][0] <= now and heap[0][1] <= last:
            entry = heappop(heap)[2]
            if entry.call is not None:
                entry.call(*entry.args)
        self._arm()
