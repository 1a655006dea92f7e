"""The subjects of orders: when each has changed last, by the numbers of events.

An order may say which event it is based on. It is refused if one of its subjects has changed since:
a parameter, a question, an agent, a pool or a task. As long as the broker has not numbered a
change, that counts as later than any event.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from steerio.client.campaign_line import CampaignLine
from steerio.errors import UsageError
from steerio.model.campaign_orders import GivenOrder
from steerio.model.events import Announcement

MOST_SUBJECTS = 10_000
"""So many are remembered; of others, the oldest, a change is forgotten."""


class Subjects:
    """The changes of all subjects of one run.

    Args:
        line: announces events.
    """

    def __init__(self, line: CampaignLine) -> None:
        self._line = line
        self._changed: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Subjects: {len(self._changed)} have changed>"

    @property
    def newest(self) -> int:
        """The number of the last event that tells of a change."""
        return int(max((each for each in self._changed.values() if each < inf), default=0))

    def check(self, subjects: Iterable[str], given: GivenOrder) -> None:
        """Refuse an order if a subject has changed since the event that it is based on.

        Raises:
            UsageError: one has.
        """
        if given.based_on is None:
            return
        for subject in subjects:
            last = self._changed.get(subject, 0.0)
            if last > given.based_on:
                when = "just now" if last == inf else f"at event {last:.0f}"
                raise UsageError(
                    f"{subject} has changed since event {given.based_on}, {when}: look again"
                )

    def begin(self, subjects: Iterable[str]) -> dict[str, float]:
        """Take in that subjects are about to change; return the changes before."""
        before = {subject: self._changed.get(subject, 0.0) for subject in subjects}
        for subject in before:
            self._note(subject, inf)
        return before

    def undo(self, before: dict[str, float]) -> None:
        """Take in that subjects have not changed after all."""
        for subject, number in before.items():
            if self._changed.get(subject) == inf:
                self._changed[subject] = number

    def changed(self, subject: str, number: int) -> None:
        """Take in an event that tells of a change."""
        if self._changed.get(subject) != inf:
            self._note(subject, number)

    def announce(self, event: Announcement, *subjects: str) -> None:
        """Announce an event that tells that these have changed."""
        for subject in subjects:
            self._note(subject, inf)

        def numbered(number: int) -> None:
            for subject in subjects:
                self._note(subject, number)

        self._line.announce(event, numbered if subjects else None)

    def _note(self, subject: str, number: float) -> None:
        self._changed.pop(subject, None)
        self._changed[subject] = number
        if len(self._changed) > MOST_SUBJECTS:
            del self._changed[next(iter(self._changed))]
