"""The trials of an optimizer: those that are open, and how the others ended.  Pure bookkeeping.

Theory.  An optimizer has its own memory, which does not outlive its process. `Trials` is the memory
that does: it is an attribute of the campaign, so it is in each snapshot, and from it an optimizer
that was made anew is taught all that was told before. A trial is open from the ask on, and ends
once. A value, a failure, a cancellation and a pruning are four different things.
"""

from __future__ import annotations

import math
import numbers
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from msgspec import Struct

from steerio.campaign.gathering import whole
from steerio.errors import UsageError

TrialEnd = Literal["succeeded", "pruned", "failed", "timed_out", "lost", "cancelled", "interrupted"]
"""How a trial ended: as its task did, or ``pruned``: cancelled as the optimizer said so.

``interrupted``: cancelled as the campaign ended; it is run again if the campaign is resumed."""


class Suggestion(Struct, frozen=True):
    """The answer of an optimizer to an ask.

    Attributes:
        args: the arguments of the trial's task, by name.
        note: anything that can be pickled; the optimizer finds it again in the trial.
    """

    args: dict[str, Any]
    note: Any = None


class Trial(Struct):
    """A trial that is open.

    Attributes:
        number: counts the trials of one `Trials`, from 0.
        args: the arguments of its task, by name.
        note: as the optimizer gave it.
        reports: the intermediate values that it has reported: step and value.
    """

    number: int
    args: dict[str, Any]
    note: Any = None
    reports: list[tuple[int, float]] = []


class EndedTrial(Struct):
    """A trial that has ended.

    Attributes:
        number, args, note, reports: as of the `Trial`.
        ended: how.
        value: the value of its task, if it ``succeeded``; of one that was ``pruned`` the last that
            it has reported; ``None`` of others.
        reason: why it did not succeed, in words.
    """

    number: int
    args: dict[str, Any]
    ended: TrialEnd
    value: Any = None
    reason: str = ""
    note: Any = None
    reports: list[tuple[int, float]] = []

    @property
    def succeeded(self) -> bool:
        """Whether it has a value."""
        return self.ended == "succeeded"


class Trials:
    """The trials that one optimizer has asked for: an attribute of a campaign, part of its state.

    Args:
        limit: how many there are to be, those that fail, are pruned or cancelled included.
        name: the name of the tag that tells the tasks of these trials, and says which each is. Two
            in one campaign need different names.

    Raises:
        UsageError: the limit is no number above 0, or the name is no identifier.
    """

    def __init__(self, limit: int, name: str = "trial") -> None:
        self.limit = whole("limit", limit)
        if not str(name).isidentifier():
            raise UsageError(f"the name of Trials becomes a tag: it is an identifier, not {name!r}")
        self.name = name
        self.open: dict[int, Trial] = {}
        """Those that are open, by their numbers."""
        self.ended: list[EndedTrial] = []
        """The others, in the order in which they ended."""
        self._next = 0

    def __repr__(self) -> str:
        ends = ", ".join(f"{count} {kind}" for kind, count in sorted(self.counts.items()))
        return f"<Trials: {len(self.open)} open, {ends or 'none ended'}, of {self.limit}>"

    @property
    def counts(self) -> Counter[str]:
        """How many ended in which way."""
        return Counter(str(each.ended) for each in self.ended)

    @property
    def left(self) -> int:
        """How many may still begin."""
        return max(0, self.limit - len(self.open) - len(self.ended))

    @property
    def next_number(self) -> int:
        """The number of the trial that begins next."""
        return self._next

    def begin(self, args: Mapping[str, Any], note: Any = None) -> Trial:
        """Take in that a trial begins."""
        trial = Trial(self._next, dict(args), note, [])
        self._next += 1
        self.open[trial.number] = trial
        return trial

    def begin_again(self, number: int) -> Trial:
        """Take in that the task of an open trial was submitted again, in a later incarnation."""
        self.open[number].reports = []
        return self.open[number]

    @staticmethod
    def report(trial: Trial, step: int, value: float) -> bool:
        """Take in an intermediate value; return whether it is news.

        A task that is tried again reports its first steps again.
        """
        if trial.reports and step <= trial.reports[-1][0]:
            return False
        trial.reports.append((step, value))
        return True

    def end(self, number: int, how: TrialEnd, *, value: Any = None, reason: str = "") -> EndedTrial:
        """Take in that a trial has ended, and return it; one that was interrupted stays open."""
        trial = self.open[number]
        if how == "pruned" and trial.reports:
            value = trial.reports[-1][1]
        ended = EndedTrial(
            number, trial.args, how, value, reason, note=trial.note, reports=trial.reports
        )
        if how != "interrupted":
            del self.open[number]
            self.ended.append(ended)
        return ended

    def learn(self, ended: EndedTrial) -> None:
        """Take in a trial of an earlier incarnation, which only the optimizer's storage knows."""
        self.open.pop(ended.number, None)
        self.ended.append(ended)
        self._next = max(self._next, ended.number + 1)


def no_number(value: object) -> str:
    """Say why a value cannot be told as one; empty: it can."""
    several = cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else (value,)
    for each in several:
        if not isinstance(each, numbers.Real) or math.isnan(each):
            return f"its value is {value!r}, which is no number"
    return "" if several else "its value is empty"
