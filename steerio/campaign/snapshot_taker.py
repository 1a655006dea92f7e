"""Snapshots of a campaign: its state between two calls, so that a resume need not replay all.

Theory. The state can be told between calls: when no handler is under way, and each ``@agent`` has
ended or waits in ``checkpoint()``. When a snapshot is due, calls that would begin are held for a
moment, so that the others come to their end. If they do not, the next try is later. Nothing depends
on a snapshot: without one the results are given to the campaign again from the start.

A call that waits for a person's answer may not end for hours, so then no call is held, and the
snapshot that is due is given up.

Between two turns of the loop the attributes are pickled, and the tables of boards are copied. A
thread does the rest, and the journal takes it in parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from steerio.campaign.captured import Captured, encode_captured
from steerio.edge.record.entries import Began, EntryKind, Parts, SnapshotEntry, encode_entry
from steerio.edge.record.known_results import KnownResults
from steerio.errors import JournalDamaged, JournalFailed, JournalFenced, StateError
from steerio.model.objects import StoredObject
from steerio.session.recorder import ResultRecorder, in_parts

log = logging.getLogger("steerio.campaign")

HOLD_S = 1.0
"""Longest hold of calls for a snapshot,"""
SHARE_HELD = 0.02
"""or this share of the time since the last was taken, if that is longer."""
IN_VAIN_S = 60.0
"""A wait for an answer that may last longer keeps no call held, and no order for a snapshot."""
LONG_S = 0.1
"""A copy of the state that takes so long is warned of."""
SHARE = 0.01
"""Largest share of the loop's time that is spent on copies of the state."""
NONE = "no snapshot can be taken now, so a resume would replay the results from the last one"
KEPT = 3
"""Snapshots of which the frames behind them are kept."""


class Durable(Protocol):
    """A journal, as seen by the snapshots in it."""

    @property
    def written_to(self) -> int:
        """The last number that was written."""
        ...

    def sync(self) -> int:
        """Wait until all that was appended is synced."""
        ...

    def remove_below(self, number: int, keeps: Callable[[int], bool] | None) -> None:
        """Remove the files that have only frames below a number, but for those to be kept."""
        ...


class SnapshotTaker:
    """Takes the snapshots of one run.

    Args:
        recorder, journal: where to write them.
        capture: returns the state, between two turns of the loop; raises a `StateError` if it
            cannot be told.
        content_of: returns the parts of an object of the store (any thread).
        is_quiet: says whether it may be asked for now; ``may_hold``: whether it may soon, if no
            other call begins; ``keeps_off``: why it may not for so many seconds, or nothing.
        every_s: seconds from one to the next.
        every_results: or so many results, if these come first.
        known: the results that are kept although snapshots cover them.
        covers: as of earlier incarnations.
        began, incarnations: the present incarnation, and the number of all.
    """

    def __init__(
        self,
        recorder: ResultRecorder,
        journal: Durable,
        capture: Callable[[], Captured],
        content_of: Callable[[StoredObject], Sequence[Any]],
        is_quiet: Callable[[], bool],
        may_hold: Callable[[], bool],
        keeps_off: Callable[[float], str],
        *,
        every_s: float,
        every_results: int,
        covers: list[int],
        known: KnownResults,
        began: Began | None = None,
        incarnations: int = 0,
    ) -> None:
        self._recorder = recorder
        self._journal = journal
        self._capture, self._content_of = capture, content_of
        self._is_quiet, self._may_hold, self._keeps_off = is_quiet, may_hold, keeps_off
        self._every_s, self._every_results = every_s, every_results
        self._covers = list(covers)
        self._known = known
        self._began, self._incarnations = began, incarnations
        self._loop = asyncio.get_running_loop()
        self._results = 0
        self._due = False
        self._held: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._closed = False
        self._told = ""
        self._asking: list[Callable[[str], None]] = []
        """Called when one was taken, or why not."""
        self._asked: list[Callable[[str], None]] = []
        """The same, of the one that is being written."""
        self._taken_at = self._hold_from = self._loop.time()
        self._took_s = 0.0
        """Seconds for which the loop stood still for the last one."""
        self.taken = 0
        """How many were taken."""

    def __repr__(self) -> str:
        return f"<SnapshotTaker: {self.taken} taken{', one is due' if self._due else ''}>"

    def begin(self) -> None:
        """Begin to take snapshots."""
        self._wait()

    def close(self) -> None:
        """Take none any more."""
        self._closed = True
        self._due = False
        self._let_go()
        self._tell_asking("the campaign has ended")
        self._stop_timer()
        if self._writing is not None:
            self._writing.cancel()

    @property
    def held(self) -> asyncio.Future[None] | None:
        """Done when calls that would begin need be held no more; ``None``: they need not be."""
        return self._held

    @property
    def due(self) -> bool:
        """Whether one is to be taken."""
        return self._due

    def result(self) -> None:
        """Count a result."""
        self._results += 1
        if self._results >= self._every_results and not self._due and self._writing is None:
            self._is_due()

    def ask(self, told: Callable[[str], None]) -> None:
        """Take one as soon as possible; ``told`` is called with nothing, or why it was not."""
        self._asking.append(told)
        if not self._due and self._writing is None:
            self._hold_from = self._loop.time()  # it is wanted now
            self._is_due()

    def _tell_asked(self, reason: str) -> None:
        asked, self._asked = self._asked, []
        for told in asked:
            told(reason)

    def _tell_asking(self, reason: str) -> None:
        """Tell those that asked for one that it was taken, or why not."""
        asked, self._asked = [*self._asked, *self._asking], []
        self._asking = []
        for told in asked:
            told(reason)

    def look(self) -> None:
        """Take the snapshot that is due, if the campaign is quiet; else hold calls for a moment."""
        if not self._due:
            return
        if self._recorder.dealing:  # results that the journal has are still to come, in this turn
            self._loop.call_soon(self.look)
        elif self._is_quiet() and not self._recorder.busy and not self._recorder.replay.under_way:
            self._take()
        elif reason := self._keeps_off(IN_VAIN_S):
            self.refuse(reason)
        elif self._held is None and self._may_hold() and self._loop.time() >= self._hold_from:
            self._held = self._loop.create_future()
            now = self._loop.time()
            since_s = now - self._taken_at
            self._hold_from = now + since_s  # else ever longer holds would follow one another
            self._wait(max(HOLD_S, SHARE_HELD * since_s), self._give_up)

    def refuse(self, reason: str) -> None:
        """Do without the one that is due, as the state cannot be told now."""
        self._say(f"{NONE}: {reason}")
        self._give_up(reason)

    def _wait(self, seconds: float | None = None, then: Callable[[], None] | None = None) -> None:
        self._stop_timer()
        if self._closed:  # while one was written
            return
        usual = max(self._every_s, self._took_s / SHARE)
        self._timer = self._loop.call_later(seconds or usual, then or self._is_due)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _is_due(self) -> None:
        self._due = True
        self._loop.call_soon(self.look)

    def _give_up(self, reason: str = "calls that were under way did not end in time") -> None:
        """Let calls begin again; try later."""
        self._tell_asking(reason)
        self._due = False
        self._results = 0
        self._let_go()
        self._wait()

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None and not held.done():
            held.set_result(None)

    def _take(self) -> None:
        self._due = False
        self._results = 0
        self._stop_timer()  # the next is due some time after this is written
        covers = self._journal.written_to
        began = self._loop.time()
        try:
            captured = self._capture()
        except StateError as error:
            self.refuse(str(error))
            return
        self._taken_at = self._hold_from = self._loop.time()
        self._took_s = self._taken_at - began
        if self._took_s > LONG_S:
            self._say(
                f"each snapshot keeps the event loop for {self._took_s:.2g} s, so they are taken "
                "seldom: put large attributes into the store (self.put), or make them @transient"
            )
        self._let_go()
        self._asked, self._asking = self._asking, []
        self._writing = self._loop.create_task(self._write(captured, covers))

    async def _write(self, captured: Captured, covers: int) -> None:
        try:
            content = await asyncio.to_thread(encode_captured, captured, self._content_of)
            written = self._loop.create_future()

            def entry(parts: Parts | None) -> tuple[int, bytes]:
                mark = SnapshotEntry(
                    covers, b"" if parts else content, parts, self._began, self._incarnations
                )
                return EntryKind.SNAPSHOT, encode_entry(mark)

            def done() -> None:
                if not written.done():
                    written.set_result(None)

            self._recorder.write_long(in_parts([content], entry), done)
            await written
            self.taken += 1
            self._tell_asked("")
            self._covers.append(covers)
            await asyncio.to_thread(self._forget)
        except StateError as error:
            self._say(f"{NONE}: {error}")
            self._tell_asked(str(error))
        # of the store, or of files that are not needed any more, or only for their known results
        except (OSError, JournalDamaged) as error:
            self._say(f"a snapshot was not taken, or older ones not removed: {error}")
            self._tell_asked(str(error))
        except (JournalFailed, JournalFenced) as error:
            self._recorder.fail(error)
        finally:
            self._writing = None
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._wait()
                if self._asking and not self._closed:  # while it was written
                    self._is_due()

    def _forget(self) -> None:
        """Remove frames that only older snapshots need."""
        if len(self._covers) > KEPT:
            self._journal.sync()  # the latest must be there before an older one goes
            keeps = self._known.keeps if len(self._known) else None
            self._journal.remove_below(self._covers[-KEPT] + 1, keeps)
            del self._covers[:-KEPT]

    def _say(self, text: str) -> None:
        kind = re.sub(r"\d+", "", text)  # the same of another task is no news
        if kind != self._told:
            self._told = kind
            log.warning("%s", text)
