"""The pace at which tasks end."""

from __future__ import annotations

from collections import deque

RATE_S = 10.0
"""The time over which the present rate is measured."""


class Rate:
    """The present rate of a count that grows."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def __repr__(self) -> str:
        return f"<Rate of {len(self._seen)} looks>"

    def now(self, seconds: float, count: int) -> float:
        """Take in the count at a moment; return how fast it grew in the last seconds."""
        seen = self._seen
        seen.append((seconds, count))
        while len(seen) > 2 and seen[1][0] <= seconds - RATE_S:
            seen.popleft()
        since, before = seen[0]
        return (count - before) / (seconds - since) if seconds > since else 0.0
