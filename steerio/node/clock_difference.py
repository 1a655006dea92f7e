"""The difference of a node's clock to its broker's, as far as it is known.

Cristian 1989: half of the shortest of recent round trips bounds the error.
"""

from __future__ import annotations

from collections import deque

ROUND_TRIPS = 8
"""The number of recent round trips from which the clock difference is taken."""


class ClockDifference:
    """How far a node's clock is behind, and how long a message and its answer take.

    Args:
        same_clock: whether the broker is on this host, so that their clocks are one.
    """

    def __init__(self, same_clock: bool) -> None:
        self.same_clock = same_clock
        self._trips: deque[tuple[float, float]] = deque(maxlen=ROUND_TRIPS)

    @property
    def offset_s(self) -> float | None:
        """The lag in seconds; ``None``: nothing was measured yet."""
        if self.same_clock:
            return 0.0
        return min(self._trips)[1] if self._trips else None

    @property
    def trip_s(self) -> float:
        """The shortest of recent round trips, in seconds."""
        return min(self._trips)[0] if self._trips else 0.0

    def forget(self) -> None:
        """Take in that another broker is there, with a clock of its own."""
        self._trips.clear()

    def measure(self, sent: float, answered: float, now: float) -> None:
        """Take in a round trip.

        Args:
            sent: when a beat was sent, on this clock; 0: the answer is to none.
            answered: the broker's clock as it answered.
            now: this clock.
        """
        if self.same_clock or not sent:
            return
        self._trips.append((now - sent, answered - (sent + now) / 2))
