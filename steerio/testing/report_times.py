"""The times at which a simulated attempt reports its progress.

A plain function takes no virtual time: it is called as its attempt begins, and each of its reports
is sent when a function that takes the model's duration would have made it. The report's fraction
gives that time; a report without one is sent between those before and after it. Functions that take
virtual time report at their own time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import inf, isnan
from typing import NamedTuple

from steerio.worker.context import PROGRESS_EVERY_S


class Said(NamedTuple):
    """A report: the share done, if it gives one, and the message."""

    fraction: float | None
    message: str


def planned(reports: Sequence[Said], duration_s: float) -> list[tuple[float, Said]]:
    """Return the reports that an attempt of this length sends, each after its second.

    As in a real worker, a report that comes soon after another waits, and the next replaces it.
    """
    told: list[tuple[float, Said]] = []
    waiting: Said | None = None
    due_s = -inf
    for share, said in zip(_shares(reports), reports, strict=True):
        at_s = share * duration_s
        if waiting is not None and due_s <= at_s:
            told.append((due_s, waiting))
            waiting, due_s = None, due_s + PROGRESS_EVERY_S
        if at_s < due_s:
            waiting = said
        else:
            told.append((at_s, said))
            due_s = at_s + PROGRESS_EVERY_S
    if waiting is not None:
        told.append((min(due_s, duration_s), waiting))
    return told


def _shares(reports: Sequence[Said]) -> list[float]:
    """Return, for each report, the share of the attempt's time that is over when it is made."""
    shares: list[float] = []
    for said in (*reports, Said(1.0, "")):
        if said.fraction is None or isnan(said.fraction):
            continue
        before = shares[-1] if shares else 0.0
        after = min(max(said.fraction, before), 1.0)
        between = _without_fraction(reports, len(shares))
        step = (after - before) / (between + 1)
        shares += [before + step * (index + 1) for index in range(between)]
        shares.append(after)
    return shares[: len(reports)]


def _without_fraction(reports: Sequence[Said], first: int) -> int:
    """Return how many reports in a row, from index ``first`` on, have no fraction."""
    count = 0
    for fraction, _ in reports[first:]:
        if fraction is not None and not isnan(fraction):
            break
        count += 1
    return count


class Told:
    """Sends an attempt's reports in virtual time: not too often, and the last in any case."""

    def __init__(self, send: Callable[[Said], None], loop: asyncio.AbstractEventLoop) -> None:
        self._send = send
        self._loop = loop
        self._due_s = -inf
        self._waiting: Said | None = None
        self._timer: asyncio.TimerHandle | None = None

    def say(self, said: Said) -> None:
        """Send a report, now or in a moment."""
        if self._timer is not None or self._loop.time() < self._due_s:
            self._waiting = said
            if self._timer is None:
                self._timer = self._loop.call_at(self._due_s, self.tell_waiting)
            return
        self._due_s = self._loop.time() + PROGRESS_EVERY_S
        self._send(said)

    def tell_waiting(self) -> None:
        """Send the report that waits: its time has come, or the attempt ends."""
        waiting = self._waiting
        self.drop()
        if waiting is not None:
            self._due_s = self._loop.time() + PROGRESS_EVERY_S
            self._send(waiting)

    def drop(self) -> None:
        """Send nothing more."""
        self._waiting = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
