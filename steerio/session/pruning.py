"""The removal of runs: only the files that steerio writes, and only of runs that no process has."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from steerio.edge.record.disk import Folder
from steerio.edge.record.journal_segments import FRESH
from steerio.edge.record.owners import Owner, take, this_process
from steerio.edge.store.folders import sweep_stale
from steerio.errors import JournalFenced, JournalTaken
from steerio.launch.stores import OBJECTS
from steerio.session.recorded_runs import ENDED, RecordedRun, RunState, is_own, is_run, state_of
from steerio.session.run_dir import JOURNAL

_JOURNAL_FILES = (".frames", ".owner", FRESH)
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Choice(Struct, frozen=True):
    """The runs that are to be removed.

    Attributes:
        older_s: only those that were last written to so many seconds ago.
        keep: not the so many that were written to last.
        cut_off: also those that were cut off, of whose process it is certain that it has ended.
        journals: only their journals, if they have one.
    """

    older_s: float = 0.0
    keep: int = 0
    cut_off: bool = False
    journals: bool = False

    @property
    def states(self) -> frozenset[RunState]:
        """The states of runs that may be removed."""
        return frozenset((*ENDED, "cut off")) if self.cut_off else ENDED


class Pruned(Struct):
    """The outcome of a removal.

    Attributes:
        nbytes: the size of the files that were removed.
        kept: the names of files in the folder that steerio did not write, and that were kept.
        refused: why nothing was removed, if nothing was.
    """

    nbytes: int = 0
    kept: list[str] = []
    refused: str = ""


def chosen(runs: Iterable[RecordedRun], choice: Choice, now: float) -> list[RecordedRun]:
    """Return the runs that are to be removed, in their order; ``now``: in Unix seconds."""
    all_of_them = list(runs)
    may_go = [run for run in all_of_them if run.state in choice.states]
    newest = sorted(may_go, key=lambda run: run.changed, reverse=True)[: choice.keep]
    return [
        run
        for run in may_go
        if run not in newest
        and now - run.changed >= choice.older_s
        and (run.journal_nbytes or not choice.journals)
    ]


def foreign_files(run: Path) -> list[str]:
    """Return the names in a run directory that are no names of files which steerio writes.

    Raises:
        OSError: it cannot be read.
    """
    own = {JOURNAL, OBJECTS}
    return sorted(p.name for p in run.iterdir() if p.name not in own and not is_own(p.name))


def prune(run: RecordedRun, choice: Choice) -> Pruned:
    """Remove a run that was chosen, if it still stands as it did.

    While that is done no other process can go on with it: this one has its journal. Its folder is
    removed if nothing is left in it.

    Raises:
        OSError: a file cannot be removed; it can be tried again.
    """
    path, disk = run.path, Folder(run.path / JOURNAL)
    refused = _why_not(run)
    if refused:
        return Pruned(refused=refused)
    try:
        owner = _taken(disk)
    except JournalTaken as error:
        return Pruned(refused=f"process {error.pid} on {error.host} has it by now")
    done = Pruned()
    try:
        if not choice.journals:
            _remove_files(path, [p.name for p in path.iterdir() if is_own(p.name)], done)
            sweep_stale(path / OBJECTS)
            _remove_folder(path / OBJECTS)
        if disk.path.is_dir():
            _remove_journal(disk, owner, done)
    finally:
        if owner is not None:
            _give_up(owner)
    if not choice.journals:
        _remove_folder(path)
        done.kept = sorted(p.name for p in path.iterdir()) if path.is_dir() else []
    return done


def _why_not(run: RecordedRun) -> str:
    """Return why a run that was chosen may not be removed any more, if so."""
    if not is_run(run.path):
        return "it is not there any more"
    if (run.path / JOURNAL).is_symlink():
        return "its journal is a link, which is not followed"
    state, holder = state_of(run.path)
    by = f" ({holder})" if holder else ""
    return "" if state == run.state else f"it is {state} by now{by}"


def _taken(disk: Folder) -> Owner | None:
    """Take a journal, so that no other process can; ``None``: there is none, or no room.

    Raises:
        JournalTaken: another process has it.
        OSError: it cannot be taken.
    """
    if not disk.path.is_dir():
        return None
    try:
        return take(disk, this_process(), take_over=False)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        return None  # a full disk has no room for this, and all the more need to be pruned


def _remove_journal(disk: Folder, owner: Owner | None, done: Pruned) -> None:
    """Remove the files of a journal, that of this process last."""
    own = "" if owner is None else owner.file_name
    names = [name for name in disk.names() if name.endswith(_JOURNAL_FILES) and name != own]
    _remove_files(disk.path, sorted(names), done)
    if owner is not None:
        _give_up(owner)  # from here on another may begin there, and its files stay
        _remove_files(disk.path, [own], Pruned())
    _remove_folder(disk.path)


def _give_up(owner: Owner) -> None:
    with contextlib.suppress(OSError, JournalFenced):  # it was given up, and is not there
        owner.release()


def _remove_files(folder: Path, names: Sequence[str], done: Pruned) -> None:
    """Remove files, and links themselves; the folder cannot be exchanged for another meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for name in names:
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                nbytes = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_size
                os.unlink(name, dir_fd=descriptor)
                done.nbytes += nbytes
    finally:
        os.close(descriptor)


def _remove_folder(folder: Path) -> None:
    """Remove a folder, unless it has something in it, is not there or is none."""
    with contextlib.suppress(OSError):
        folder.rmdir()
