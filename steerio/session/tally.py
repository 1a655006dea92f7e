"""A tally of tasks: how many ended in which way, and the last that did not succeed."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

from msgspec import Struct

from steerio.model import results as rs
from steerio.model.showing import counted, in_one_line, short_name

FAILURES = 3
"""The failures that are kept."""
WHY_CHARACTERS = 300
"""Longer reasons of failures are cut."""


class FailedTask(Struct, frozen=True, gc=False):
    """A task that did not succeed, in texts of one line, cut.

    Attributes:
        task_id: its number; ``name``: the last part of its type's name.
        how: ``failed``, ``timed out`` or ``lost``; ``why``: the error, or the reason.
    """

    task_id: int
    name: str
    how: str
    why: str

    def __str__(self) -> str:
        return f"task {self.task_id} {self.name} {self.how}: {self.why}"


class Tally:
    """Counts results.  One of a success costs as little as can be."""

    def __init__(self) -> None:
        self._succeeded = 0
        self._others: Counter[str] = Counter()
        self.failures: deque[FailedTask] = deque(maxlen=FAILURES)
        """The last that did not succeed, nor were cancelled, the newest last."""

    def __repr__(self) -> str:
        return f"<Tally: {in_kinds(self.ended) or 'none ended'}>"

    @property
    def ended(self) -> Counter[str]:
        """How many ended in which way, as ``ended_as`` says."""
        return self._others + Counter(succeeded=self._succeeded)

    @property
    def total(self) -> int:
        """How many have ended."""
        return self._succeeded + self._others.total()

    def count(self, result: rs.Result) -> None:
        """Count a result."""
        how = result.ended_as
        if how == "succeeded":
            self._succeeded += 1
            return
        self._others[how] += 1
        if how != "cancelled":
            self.failures.append(failed_task(result))


def failed_task(result: rs.Result) -> FailedTask:
    """Return a result that is no success in texts of one line."""
    match result:
        case rs.Failed(error=error):
            why = f"{error.type}: {error.message}"
        case rs.TimedOut(timeout_s=seconds):
            why = f"it ran longer than {seconds:g} s"
        case rs.Lost(reason=reason) | rs.Cancelled(reason=reason):
            why = reason
        case _:
            why = ""
    how = result.ended_as.replace("_", " ")
    name = in_one_line(short_name(result.task_type), WHY_CHARACTERS)
    return FailedTask(result.task_id, name, how, in_one_line(why, WHY_CHARACTERS))


def ends_in_words(ended: Mapping[str, int]) -> str:
    """Return how many tasks ended, and of each kind, like ``3 tasks (2 done, 1 cancelled)``.

    The end line of a run, ``steerio top`` and reports say it by this.
    """
    kinds = in_kinds(ended)
    return counted(sum(ended.values()), "task") + (f" ({kinds})" if kinds else "")


def in_kinds(ended: Mapping[str, int]) -> str:
    """Return the numbers of tasks that ended, by kind, like ``12 done, 2 failed, 1 timed out``."""
    kinds = [("succeeded", "done"), ("failed", "failed"), ("timed_out", "timed out")]
    kinds += [("lost", "lost"), ("cancelled", "cancelled")]
    return ", ".join(f"{ended[kind]} {words}" for kind, words in kinds if ended.get(kind))
