"""The watch for a broker that is gone while an agent keeps the event loop.

A client learns on the loop that its broker ends; a process that serves the broker learns it beside
the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf

TICK_S = 0.5
"""Seconds between two signs of the event loop that it runs."""
STILL_S = 2.0
"""Seconds without a sign after which the broker is looked for."""


class Unheard:
    """Tells that a broker is gone while the event loop cannot notice it; made on the loop.

    Args:
        waits_for: returns for how many seconds the broker is waited for, if it is gone; called on
            any thread, and only while the loop stands still.
    """

    def __init__(self, waits_for: Callable[[], float | None]) -> None:
        self._waits_for = waits_for
        self._gone_at = inf
        self._loop = asyncio.get_running_loop()
        self._tick()

    def __call__(self) -> str:
        """Return, in words, that the broker is gone; ``""`` if the loop runs and may notice."""
        now = time.monotonic()
        wait_s = None if now < self._at + STILL_S else self._waits_for()
        if wait_s is None:
            self._gone_at = inf
            return ""
        self._gone_at = min(self._gone_at, now)
        if now < self._gone_at + wait_s:
            return ""
        return "an agent keeps the event loop, and its broker is gone"

    def close(self) -> None:
        """Give no more signs that the loop runs."""
        self._timer.cancel()

    def _tick(self) -> None:
        self._at = time.monotonic()
        self._timer = self._loop.call_later(TICK_S, self._tick)
