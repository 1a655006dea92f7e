"""The memo of a session: the known results of task types that are declared with ``memo=True``.

Theory. Such a task type is a function of its arguments alone, so that a value which was computed
once may be given to every equal call. The values stay in journals: that of this run, which never
removes them, and those of earlier runs that the user has named. Only the digests of calls are in
memory, and the values of the last results, as far as they have room there. Without a journal of its
own a session knows no more than these.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from steerio.edge.encoding.values import total_bytes
from steerio.edge.record.disk import Folder
from steerio.edge.record.entries import Began, EntryKind, check_format, decode_entry
from steerio.edge.record.frame_finder import FrameFinder
from steerio.edge.record.known_results import KnownResults
from steerio.edge.system.threads import in_thread
from steerio.errors import JournalDamaged, UsageError
from steerio.model.messages import TaskSettled
from steerio.model.showing import counted
from steerio.session.run_dir import JOURNAL

log = logging.getLogger("steerio.session")

MEMO_BYTES = 128 << 20
"""Most bytes of values that are kept in memory."""
RESULT_BYTES = 500
"""Bytes that a result counts for besides its value."""
THIS_RUN = "this run"
"""The name of the run itself, as one from which results are recalled."""
TRIES = 5
"""How often the journal of another run is read anew if files vanish meanwhile."""


class Recalled(Struct, frozen=True):
    """A known result.

    Attributes:
        settled: the broker's message on the task that computed it.
        frames: those of the value.
        origin: the run in which that was: `THIS_RUN`, or the folder of an earlier one.
        is_own: whether this session's own memo had it.
    """

    settled: TaskSettled
    frames: Sequence[Any]
    origin: str
    is_own: bool


class EarlierRun(Struct, frozen=True):
    """The results that another run has in its journal: those of all its successes.

    Attributes:
        name: its folder, as it was given.
        known: the results.
    """

    name: str
    known: KnownResults


class Memo:
    """The known results of one session, by the digests of their calls.

    Args:
        earlier: runs whose results are known, too.
    """

    def __init__(self, earlier: Iterable[EarlierRun] = ()) -> None:
        self.own: KnownResults | None = None
        """Those in the journal of this run, if there is one."""
        self._earlier = tuple(earlier)
        self._recent: OrderedDict[bytes, Recalled] = OrderedDict()
        self._nbytes = 0
        for run in self._earlier:
            if len(run.known):
                log.info("%s of %s may be recalled", counted(len(run.known), "result"), run.name)
            else:
                log.warning(
                    "nothing can be recalled from %s: no task has succeeded there, or snapshots "
                    "have made the results superfluous (those of a memo stay)",
                    run.name,
                )

    def __repr__(self) -> str:
        return f"<Memo: {self.own}, {len(self._recent)} in memory, earlier: {self._earlier}>"

    def has(self, key: bytes) -> bool:
        """Say whether the result of a call is known."""
        if key in self._recent or (self.own is not None and key in self.own):
            return True
        return any(key in run.known for run in self._earlier)

    def keep(
        self, key: bytes, settled: TaskSettled, frames: Sequence[Any], origin: str = THIS_RUN
    ) -> None:
        """Keep the result of a call in memory, in place of the oldest ones there."""
        nbytes = total_bytes(frames) + len(settled.body)
        if nbytes > MEMO_BYTES or key in self._recent:
            return
        kept = [bytes(frame) for frame in frames]  # they may be mapped, and their reader's
        self._recent[key] = Recalled(settled, kept, origin, is_own=True)
        self._nbytes += nbytes + RESULT_BYTES
        while self._nbytes > MEMO_BYTES:
            _, oldest = self._recent.popitem(last=False)
            self._nbytes -= _size(oldest)

    def forget(self, key: bytes) -> None:
        """Take in that the value of a call, which this session has computed, cannot be used."""
        found = self._recent.pop(key, None)
        if found is not None:
            self._nbytes -= _size(found)
        if self.own is not None:
            self.own.forget(key)

    def read(self, key: bytes) -> Recalled | None:
        """Return the result of a call; ``None``: it is not known, or cannot be read any more."""
        found = self._recent.get(key)
        if found is not None:
            self._recent.move_to_end(key)
            return found
        if self.own is not None and key in self.own:
            found = _read(self.own, key, THIS_RUN, is_own=True)
        for run in self._earlier:
            if found is None and key in run.known:
                found = _read(run.known, key, run.name, is_own=False)
        return found


def _size(recalled: Recalled) -> int:
    return total_bytes(recalled.frames) + len(recalled.settled.body) + RESULT_BYTES


def _read(known: KnownResults, key: bytes, origin: str, *, is_own: bool) -> Recalled | None:
    """Read a known result; forget it if it cannot be read, so that it is computed again."""
    try:
        entry, frames = known.read(key)
    except KeyError:  # another process has removed it
        log.debug("a result of %s is gone, and is computed again", origin)
    except (JournalDamaged, OSError) as error:
        log.warning("a result of %s cannot be read, and is computed again: %s", origin, error)
    else:
        return Recalled(entry.settled, frames, entry.recalled or origin, is_own)
    known.forget(key)
    return None


async def open_earlier(folders: Sequence[Path]) -> list[EarlierRun]:
    """Return the runs in these folders; a thread reads their journals.

    Raises:
        UsageError: a folder has no journal, or a later version of steerio wrote it.
        JournalDamaged: a journal cannot be read to its end.
    """
    return [await in_thread(open_run, folder) for folder in folders]


def open_run(run_dir: Path) -> EarlierRun:
    """Return the run in a folder, whose journal is only read.

    Raises:
        UsageError, JournalDamaged: as `open_earlier`.
    """
    folder = run_dir / JOURNAL
    if not folder.is_dir():
        why = "is not a folder"
        if run_dir.is_dir():
            why = "has no journal, so no results can be recalled from it"
        raise UsageError(f"{run_dir} {why}: name the folder of an earlier run as memo")
    try:
        known = _results_in(folder, TRIES)
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror or error}") from None
    return EarlierRun(str(run_dir), known)


def _results_in(folder: Path, tries: int) -> KnownResults:
    finder = FrameFinder(Folder(folder), (EntryKind.RESULT, EntryKind.MEMO, EntryKind.PART))
    known = KnownResults(finder.find, all_kinds=True)
    try:
        for frame in finder.frames():
            if frame.kind == EntryKind.BEGAN:
                began: Began = decode_entry(Began, frame.body)
                check_format(began)
            else:
                known.see(frame)
    except FileNotFoundError:  # another process is writing there, and removed it
        if tries == 1:
            raise
        return _results_in(folder, tries - 1)
    return known
