"""The journal of one run: opened in its run directory, read, and closed with the run's end."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from steerio.campaign.campaign import Campaign
from steerio.campaign.past import Past, read_began, read_past
from steerio.campaign.state import Places, StateWriter, read_state
from steerio.campaign.steered_values import values_of
from steerio.edge.record.disk import Folder
from steerio.edge.record.durable import Durability, DurableJournal
from steerio.edge.record.entries import FORMAT, Began, EndedEntry, EntryKind, encode_entry
from steerio.edge.record.frame_finder import FrameFinder
from steerio.edge.record.journal_segments import JournalReader
from steerio.edge.record.opening_journals import OpenJournal, open_folder, remove_below
from steerio.edge.system.own_files import writing_to
from steerio.edge.wire.headers import escape
from steerio.errors import JournalFailed, JournalFenced, JournalFull, StateError, UsageError
from steerio.model.places import WorkerNeeds
from steerio.session.run_dir import JOURNAL
from steerio.version import __version__

log = logging.getLogger("steerio.campaign")


class RunJournal:
    """The journal of one run.

    Args:
        opened: the journal of its folder.
        level: how long entries survive.
        on_failure: called once, by a thread, if syncing fails.
    """

    def __init__(
        self,
        opened: OpenJournal,
        level: Durability,
        on_failure: Callable[[BaseException], object],
    ) -> None:
        finder = FrameFinder(opened.disk, (EntryKind.MEMO, EntryKind.PART))
        self.past: Past = read_past(finder.frames(opened.before), finder.find)
        """The incarnations before, as it was opened."""
        self._opened = opened
        self._journal = DurableJournal(opened.writer, level, on_failure=on_failure)
        self.began: Began | None = None
        """The present incarnation."""
        self.fenced: JournalFenced | None = None
        """That another process had taken over, as it turned out when this one ended."""
        self.append = self._journal.append
        self.sync = self._journal.sync

    def __repr__(self) -> str:
        return f"<RunJournal in {self._opened.disk.where}, {self.written_to} entries>"

    @property
    def written_to(self) -> int:
        """The last number that was written."""
        return self._journal.written_to

    def remove_below(self, number: int, keeps: Callable[[int], bool] | None) -> None:
        """Remove the files that have only entries below a number, but for those to be kept."""
        remove_below(self._opened.disk, number, self._opened.owner, keeps)

    def begin(self, began: Began) -> None:
        """Note that an incarnation begins.

        Raises:
            JournalFull, JournalFailed, JournalFenced: it cannot be written.
        """
        self.append([(EntryKind.BEGAN, encode_entry(began))])
        self.began = began

    def end(self, outcome: str, because: str) -> None:
        """Note how the run ended, and close the journal; problems are logged only."""
        try:
            self.append([(EntryKind.ENDED, encode_entry(EndedEntry(outcome, escape(because))))])
        except (JournalFull, JournalFailed) as error:
            log.warning("the end of the run is not in its journal: %s", error)
        except JournalFenced as error:
            self.fenced = error
        self.close()

    def close(self) -> None:
        """Close the journal; problems are logged only."""
        try:
            self._journal.close()
        except JournalFailed as error:
            log.warning("%s", error)
        except JournalFenced as error:  # its last entries may be unknown to the successor
            self.fenced = error
        if self.fenced is not None:
            log.warning("another process goes on with the run: its end here is not recorded")


def open_run_journal(
    run_dir: Path,
    level: Durability,
    on_failure: Callable[[BaseException], object],
    *,
    take_over: bool = False,
) -> RunJournal:
    """Open the journal of a run directory, which may have none yet, and read it.

    Raises:
        UsageError: it cannot be written to, or another version wrote it.
        JournalTaken: another process may be writing to it.
        JournalDamaged: it cannot be read to its end.
        JournalFull, JournalFailed: it cannot be written.
    """
    folder = run_dir / JOURNAL
    with writing_to(run_dir):
        folder.mkdir(exist_ok=True)
    opened = open_folder(folder, take_over=take_over)
    try:
        return RunJournal(opened, level, on_failure)
    except BaseException:
        opened.writer.close()
        raise


def read_latest(run_dir: Path) -> Began | None:
    """Return the latest incarnation in the journal of a run directory, without writing to it.

    Raises:
        UsageError: there is none, or it cannot be read, or another version wrote it.
        JournalDamaged: it cannot be read to its end.
    """
    folder = run_dir / JOURNAL
    if not folder.is_dir():
        why = "has no journal to resume from" if run_dir.is_dir() else "is not a folder"
        if folder.exists():
            why = f"has no folder {JOURNAL}, but something else of that name"
        raise UsageError(f"{run_dir} {why}: name the folder of a run")
    try:
        return read_began(JournalReader(Folder(folder)).frames())
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror or error}") from None


def began_now(
    campaign: Campaign,
    file: str,
    random_seed: int,
    asked: tuple[dict[str, int], dict[str, WorkerNeeds]],
    run: str = "",
    allow: tuple[str, ...] | None = None,
) -> Began:
    """Return the entry for an incarnation that begins now.

    Args:
        campaign: the campaign.
        file: the file that it was loaded from.
        random_seed: of workers and tasks.
        asked: the workers of each pool that were asked for, and their needs.
        run: the name of the run.
        allow: the functions that workers may run; ``None``: any.
    """
    kind = type(campaign)
    try:
        arguments = StateWriter(campaign, []).write(getattr(campaign, "_made_with", None) or {})
    except StateError:
        arguments = b""
    name = escape(f"{kind.__module__}:{kind.__qualname__}")
    return Began(
        FORMAT,
        escape(name),
        os.fsencode(file),
        arguments,
        random_seed,
        __version__,
        *asked,
        values_of(campaign),
        run,
        allow,
    )


def arguments_of(began: Began) -> dict[str, Any]:
    """Return the arguments of ``__init__`` that an incarnation was made with.

    Raises:
        UsageError: they are not known, or cannot be read with the code as it is now.
    """
    try:
        arguments = read_state(began.arguments, Places()) if began.arguments else None
    except StateError as error:
        raise UsageError(f"the arguments of {began.campaign} cannot be read: {error}") from None
    if not isinstance(arguments, dict):
        raise UsageError(
            f"the arguments of {began.campaign} could not be recorded: make the campaign yourself, "
            "and give it to steerio.run(campaign, resume=...)"
        )
    return cast("dict[str, Any]", arguments)


def pools_of(past: Past) -> dict[str, int]:
    """Return the workers of each pool that were there last, as far as it is known."""
    asked = {} if past.began is None else past.began.workers
    content = past.content()
    return asked | (content.pools if content is not None else {})
