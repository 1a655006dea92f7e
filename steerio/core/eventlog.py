"""The one sequence in which events are numbered, and its bounded memory.

The log keeps the last ``kept`` events for subscribers that fell behind; older ones are
in the run directory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import TypeVarTuple

from msgspec import structs

from steerio.model.events import Announcement, AnyEvent

Fields = TypeVarTuple("Fields")

KEPT_EVENTS = 30_000
"""Events that a broker keeps in memory for subscribers that come late or fall behind."""


class EventLog:
    """Events in order of their numbers, without a gap: from 1, or behind an earlier incarnation's.

    ``epoch`` is the difference of Unix time to the core's clock.
    """

    def __init__(self, epoch: float = 0.0, kept: int = KEPT_EVENTS) -> None:
        self.epoch = epoch
        self.count = 0
        self.fresh: list[AnyEvent] = []
        self._kept: deque[AnyEvent] = deque(maxlen=kept)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[AnyEvent]:
        """Go through the events that are kept, the oldest first."""
        return chain(self._kept, self.fresh)

    def emit(
        self, kind: Callable[[int, float, *Fields], AnyEvent], now: float, *fields: *Fields
    ) -> None:
        """Add an event of this kind, with these fields behind its number and its time."""
        self.count = number = self.count + 1
        self.fresh.append(kind(number, now + self.epoch, *fields))

    def announce(self, event: Announcement, by: str, now: float) -> int:
        """Add an event that a client made, under its name, and return its number."""
        self.count += 1
        at = now + self.epoch
        self.fresh.append(structs.replace(event, number=self.count, at=at, client=by))
        return self.count

    def take_fresh(self) -> list[AnyEvent]:
        """Return the events since the last call, and keep them for late subscribers."""
        fresh, self.fresh = self.fresh, []
        self._kept.extend(fresh)
        return fresh

    def after(self, number: int) -> tuple[int, Sequence[AnyEvent]]:
        """Return how many events after ``number`` are no longer kept, and those that are."""
        oldest = self.count - len(self.fresh) - len(self._kept) + 1
        missed = max(0, oldest - max(number, 0) - 1)
        wanted = max(0, len(self._kept) - max(0, number + 1 - oldest))
        newest = list(islice(reversed(self._kept), wanted))  # as a deque is slow in the middle
        newest.reverse()
        return missed, newest
