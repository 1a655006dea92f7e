"""When a simulated attempt says how far it is.

A plain function takes no virtual time: it is called as its attempt begins, and what it reports is
told when it would have been said in a function that takes as long as the model has it take. Of
that the fractions speak; what is said without one comes between those before and after it.
Functions that are on the clock themselves report when they do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple

from steerio.worker.context import PROGRESS_EVERY_S


class Said(NamedTuple):
    """A report: the share done, where that was said, and the message."""

    fraction: float | None
    message: str


def planned(reports: Sequence[Said], duration_s: float) -> list[tuple[float, Said]]:
    """Return the reports of an attempt of such a length that are told, each with its second.

    As from a real worker they come at most so often, and the last is always among them.
    """
    told: list[tuple[float, Said]] = []
    last_s = -inf
    for number, (share, said) in enumerate(zip(_shares(reports), reports, strict=True), 1):
        at_s = share * duration_s
        if number == len(reports):
            at_s = max(at_s, min(last_s + PROGRESS_EVERY_S, duration_s))
        elif at_s < last_s + PROGRESS_EVERY_S:
            continue
        told.append((at_s, said))
        last_s = at_s
    return told


def _shares(reports: Sequence[Said]) -> list[float]:
    """Return, for each report, the share of the time that is over when it is said."""
    shares: list[float] = []
    for said in (*reports, Said(1.0, "")):
        if said.fraction is None:
            continue
        before = shares[-1] if shares else 0.0
        after = min(max(said.fraction, before), 1.0)
        between = _without_fraction(reports, len(shares))
        step = (after - before) / (between + 1)
        shares += [before + step * (index + 1) for index in range(between)]
        shares.append(after)
    return shares[: len(reports)]


def _without_fraction(reports: Sequence[Said], first: int) -> int:
    """Return how many reports from the given one on have no fraction."""
    count = 0
    while first + count < len(reports) and reports[first + count].fraction is None:
        count += 1
    return count


class Told:
    """What an attempt tells while it is on the clock: not too often, and at last the last."""

    def __init__(self, send: Callable[[Said], None], now: Callable[[], float]) -> None:
        self._send = send
        self._now = now
        self._last_s = -inf
        self._held: Said | None = None

    def say(self, said: Said) -> None:
        """Tell a report, or keep it where the one before was told a moment ago."""
        if self._now() - self._last_s < PROGRESS_EVERY_S:
            self._held = said
            return
        self._held = None
        self._last_s = self._now()
        self._send(said)

    def end(self) -> None:
        """Tell what was kept last."""
        if self._held is not None:
            self._send(self._held)
            self._held = None
