"""How a run ended: its summary for the record, and in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from steerio.campaign.limits import Spent
from steerio.session.notes import in_line
from steerio.session.tally import ends_in_words


class RunOutcome(Struct, frozen=True):
    """The outcome of a run.

    Attributes:
        ended: ``completed``, ``limited``, ``interrupted`` or ``failed``; ``because``: why.
        seconds: that this incarnation has taken.
        spent: tasks and time of all incarnations.
        busy: for each pool the share of its workers' time that the campaign's tasks took, 0 to 1.
        recorded: tasks whose result was recorded before.
        notes: the latest of each.
    """

    ended: str
    because: str
    seconds: float
    spent: Spent
    busy: Mapping[str, float]
    recorded: int = 0
    notes: Mapping[str, float] = {}

    @property
    def limited(self) -> bool:
        """Whether it ended because a limit was reached, so that it may go on with others."""
        return self.ended == "limited"

    def summary(self) -> dict[str, Any]:
        """Return all of it by name."""
        return {
            "ended": "completed" if self.limited else self.ended,
            "limited": self.limited,
            "because": self.because,
            "seconds": self.seconds,
            "tasks": self.spent.tasks,
            "succeeded": self.spent.successes,
            "did_not_succeed": self.spent.failures,
            "recorded_before": self.recorded,
            "recalled": self.spent.recalled,
            "worker_s": self.spent.worker_s,
            "busy": dict(self.busy),
            "notes": dict(self.notes),
        }

    def in_short(self, name: str, ends: Mapping[str, int]) -> str:
        """Return a line on how the campaign of this name ended, with its tasks' ends by kind."""
        shares = ", ".join(f"{pool} {share:.0%}" for pool, share in self.busy.items())
        counts = {"recorded before": self.recorded, "recalled": self.spent.recalled}
        among = "".join(f", {count} {how}" for how, count in counts.items() if count)
        return (
            f"{name} {self.ended}: {ends_in_words(ends)}{among}, in {self.seconds:.1f} s; "
            f"busy: {shares or 'no workers'}" + (f"; {in_line(self.notes)}" if self.notes else "")
        )
