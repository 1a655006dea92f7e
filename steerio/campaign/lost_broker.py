"""The watch for a broker that is gone while an agent keeps the event loop.

A client learns on the loop that its broker ends; a process that serves the broker learns it beside
the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

TICK_S = 0.5
"""Seconds between two signs of the event loop that it runs."""
STILL_S = 2.0
"""Seconds without a sign after which the broker is looked for."""


class Unheard:
    """Tells that a broker is gone while the event loop cannot notice it; made on the loop.

    Args:
        is_gone: returns whether the broker is gone; called on any thread, and only while the loop
            stands still.
    """

    def __init__(self, is_gone: Callable[[], bool]) -> None:
        self._is_gone = is_gone
        self._loop = asyncio.get_running_loop()
        self._tick()

    def __call__(self) -> str:
        """Return, in words, that the broker is gone; ``""`` if the loop runs and may notice."""
        if time.monotonic() < self._at + STILL_S or not self._is_gone():
            return ""
        return "an agent keeps the event loop, and its broker is gone"

    def close(self) -> None:
        """Give no more signs that the loop runs."""
        self._timer.cancel()

    def _tick(self) -> None:
        self._at = time.monotonic()
        self._timer = self._loop.call_later(TICK_S, self._tick)
