"""The shares of boards that feed the same workers: which of them hands out next, by weight.

Theory.  With weights w out of W in all, a board is owed w / W of each task that goes out.  Its
*lag* is the number of tasks that it is owed, less those that it has handed out.  Next is, of the
boards with a lag above 0, the one that would have to hand out its next task first to keep up: the
earliest deadline, as for packets in Bennett and Zhang, "WF2Q", INFOCOM 1996.  So while the same
boards have entries, the number that each has handed out differs from its share by less than one.
The lag of a board that has no entry left is shared out among the others: it saves nothing up.
"""

from __future__ import annotations

from collections.abc import Sequence

NOTHING_OWED = 1e-9
"""A lag that is less than this is 0, but for rounding."""


def next_in_turn(weights: Sequence[float], lags: list[float]) -> int:
    """Return which board hands out the next task, by its place, and bring the lags up to date.

    Args:
        weights: those of the boards that have entries, at least one.
        lags: theirs.
    """
    whole = sum(weights)
    for place, weight in enumerate(weights):
        lags[place] += weight / whole
    owed = [place for place, lag in enumerate(lags) if lag > NOTHING_OWED]

    def deadline(place: int) -> tuple[float, int]:
        return round((1 - lags[place]) / weights[place], 9), place

    chosen = min(owed or range(len(lags)), key=deadline)
    lags[chosen] -= 1
    return chosen


def share_out(lag: float, weights: Sequence[float], lags: list[float]) -> None:
    """Share the lag of a board that has no entries among those that have some."""
    whole = sum(weights)
    for place, weight in enumerate(weights):
        lags[place] += lag * weight / whole
