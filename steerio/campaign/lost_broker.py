"""Whether the broker that a campaign has joined is gone while an agent keeps the event loop.

A client hears on the loop that its broker ends; who serves the broker hears it beside the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

TICK_S = 0.5
"""How often the event loop shows that it runs, in seconds."""
STILL_S = 2.0
"""How long it shows nothing until somebody looks whether the broker is there, in seconds."""


class Unheard:
    """Says that a broker is gone which the event loop cannot hear of; made on the loop.

    Args:
        is_gone: whether the broker is; called on any thread, and only while the loop stands still.
    """

    def __init__(self, is_gone: Callable[[], bool]) -> None:
        self._is_gone = is_gone
        self._loop = asyncio.get_running_loop()
        self._tick()

    def __call__(self) -> str:
        """Say so (any thread); nothing while the loop runs: it will hear."""
        if time.monotonic() < self._at + STILL_S or not self._is_gone():
            return ""
        return "an agent keeps the event loop, and its broker is gone"

    def close(self) -> None:
        """Show no more that the loop runs."""
        self._timer.cancel()

    def _tick(self) -> None:
        self._at = time.monotonic()
        self._timer = self._loop.call_later(TICK_S, self._tick)
