"""The record of one run: its journal, its parameters, and the summary of its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from steerio.campaign.campaign import Campaign
from steerio.campaign.conductor import Conductor
from steerio.campaign.keeping import Keeping
from steerio.campaign.limits import Limits, Spent
from steerio.campaign.parameters import write_parameters
from steerio.campaign.plan import Plan
from steerio.campaign.planned_journal import (
    RunValues,
    begin_planned,
    end_planned,
    open_planned,
)
from steerio.campaign.progress import tell
from steerio.campaign.run_journal import RunJournal
from steerio.campaign.summing_up import RunOutcome
from steerio.errors import JournalFenced
from steerio.session.run_dir import remove_summary, write_summary
from steerio.session.session import Session


class RunRecord:
    """The record of one run.

    Args:
        campaign: the campaign that is run.
        plan: how to run it.
        limits: its limits.
    """

    def __init__(self, campaign: Campaign, plan: Plan, limits: Limits) -> None:
        self.conductor: Conductor | None = None
        """The conductor, once there is one."""
        self.recorded_ends: Callable[[], Mapping[str, int]] | None = None
        """Returns how many tasks of the record here ended in which way, if there is one."""
        self._campaign = campaign
        self._plan = plan
        self._limits = limits
        self._began = time.monotonic()
        self._journal: RunJournal | None = None
        self._keeping: Keeping | None = None
        self._left_behind = False

    def __repr__(self) -> str:
        return f"<RunRecord of {type(self._campaign).__name__} in {self._campaign.run_dir}>"

    async def open(self, folder: Path) -> None:
        """Open the journal, if the plan has one; see `open_planned`."""
        self._journal = await open_planned(self._plan, folder, self._journal_failed)

    def begin(self, folder: Path, values: RunValues) -> RunValues:
        """Begin the record; return the values of the run, some of earlier incarnations.

        Raises:
            UsageError: another campaign ran there, or the run directory cannot be written to.
            JournalFull, JournalFailed, JournalFenced: the journal cannot be written.
        """
        try:
            if self._journal is not None:
                values = begin_planned(self._journal, self._campaign, self._plan, values)
            remove_summary(folder)  # of the incarnation before
            write_parameters(
                folder,
                self._campaign,
                values.workers,
                values.needs,
                self._limits,
                values.random_seed,
                None if self._plan.join is None else str(Path(self._plan.join).absolute()),
            )
        except BaseException:
            if self._journal is not None:
                self._journal.close()
            raise
        self._campaign.run_dir = folder
        return values

    def keeping(self, session: Session) -> Keeping | None:
        """Return the keeping of the campaign on a session, if there is a journal."""
        if self._journal is not None:
            asked = self._plan.durability is not None
            past = self._journal.past
            self._keeping = Keeping(
                self._journal,
                past,
                settings=self._plan.settings,
                strictly=asked,
                began=self._journal.began,
            )
            session.client.count_from(past.incarnations)
        return self._keeping

    def end(self, ended: str, because: str) -> None:
        """Close the journal, and sum the run up.

        Raises:
            JournalFenced: the run ended well, but is another process's by now.
        """
        fenced = self._close_journal(ended, because)
        ended_well = ended in ("completed", "limited")
        if fenced is not None and ended_well:
            ended = "failed"
        if fenced is None and not self._left_behind:
            self.write_summary(ended, because)
        if self._plan.progress != "off":
            name = type(self._campaign).__name__
            tell(self._outcome(ended, because).in_short(name, self._ends()), sys.stderr)
        if fenced is not None and ended_well:
            raise fenced  # the other process may not know what agents have heard last

    def leave_behind(self, because: str) -> None:
        """Close the journal, and sum the run up, although agents go on.

        The caller was told that it has ended, and may begin it again.
        """
        self._left_behind = True
        if self._close_journal("failed", because) is None:
            self.write_summary("failed", because)

    def write_summary(self, ended: str, because: str) -> None:
        """Record how the run ended (any thread)."""
        folder = self._campaign.run_dir
        assert folder is not None
        write_summary(folder, self._outcome(ended, because).summary())

    def _journal_failed(self, error: BaseException) -> None:
        if self._keeping is not None and isinstance(error, Exception):
            self._keeping.recorder.fail(error)

    def _close_journal(self, ended: str, because: str) -> JournalFenced | None:
        """Close the journal; return the error if the run is another process's by now."""
        journal, self._journal = self._journal, None
        if journal is None:
            return None
        return end_planned(journal, ended, self._outcome(ended, because).because)

    def _ends(self) -> Mapping[str, int]:
        """Return how many tasks ended in which way, as ``steerio record list`` does."""
        if self.recorded_ends is not None:
            return self.recorded_ends()
        if self.conductor is None:
            return {}
        spent, ended = self.conductor.spent, self.conductor.tally.ended
        ended["succeeded"] = spent.successes - spent.recalled
        # of earlier incarnations only the number is known
        kinds = ended["failed"] + ended["timed_out"] + ended["lost"]
        ended["failed"] += max(0, spent.failures - kinds)
        return ended

    def _outcome(self, ended: str, because: str) -> RunOutcome:
        conductor = self.conductor
        seconds = time.monotonic() - self._began
        if conductor is None:
            return RunOutcome(ended, because, seconds, Spent(self._limits), {})
        busy = conductor.pools.used.busy()
        before = 0 if self._keeping is None else self._keeping.recorded_before
        because = because or conductor.stopping
        notes = dict(conductor.session.notes)
        return RunOutcome(ended, because, seconds, conductor.spent, busy, before, notes)
