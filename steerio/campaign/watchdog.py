"""The watchdog, which ends a process although its main thread goes on.

Theory.  A callback of an event loop cannot end an agent that keeps this loop, and a cancellation
cannot end an agent that swallows it.  So each step of an end that must come is told to a
*watchdog*, a thread of its own: if a step lasts longer than it may, the watchdog ends the process.
Before that it closes the record, and kills all processes of the run.
"""

from __future__ import annotations

import _thread
import contextlib
import math
import os
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from steerio.edge.system import inheritance

LOOK_S = 0.5
"""Seconds between two looks of a watchdog at the time."""
SLACK_S = 1.0
"""Seconds by which a watchdog acts later than the event loop, so that the loop comes first."""
CLOSE_S = 1.0
"""Seconds that closing a record may take, as the main thread may be in the middle of it."""
FLUSH_S = 0.2
"""Seconds that flushing the output may take in a process that is ended."""
SHOW_CURSOR = b"\x1b[?25h"
"""Written to a terminal, this undoes the effects of the live progress."""


class Watchdog:
    """Ends the process when a step lasts longer than it may.

    Args:
        give_up: called then, on the watchdog's thread, with that step; ends the process.
    """

    def __init__(self, give_up: Callable[[str], None]) -> None:
        self._give_up = give_up
        self._what = ""
        self._due = math.inf
        self._unheard: Callable[[], str] | None = None
        self._heeded_s = 0.0
        self._closed = threading.Event()
        self._watching = False

    def __repr__(self) -> str:
        left = self._due - time.monotonic()
        return f"<Watchdog: {self._what or 'nothing'}, {left:.1f} s left>"

    def expect(self, what: str, within_s: float | None) -> None:
        """Expect a step to be over in time, in place of the last one; ``None``: at any time.

        It takes no lock, so it may be called from any thread and in the handler of a signal.
        """
        self._due = math.inf
        self._what = what
        if within_s is None:
            return
        self._due = time.monotonic() + within_s + SLACK_S
        self._begin()

    def heed(self, unheard: Callable[[], str], within_s: float) -> None:
        """Expect the event loop to notice within so many seconds a happening elsewhere.

        Args:
            unheard: called at each look, on the watchdog's thread: returns, in words, a
                happening that the event loop has not noticed; ``""`` if there is none.
            within_s: seconds for which that may go on without a break.
        """
        self._unheard, self._heeded_s = unheard, within_s + SLACK_S
        self._begin()

    def close(self) -> None:
        """Expect nothing any more."""
        self._closed.set()

    def _begin(self) -> None:
        if not self._watching:
            self._watching = True
            _thread.start_new_thread(self._watch, ())

    def _watch(self) -> None:
        looked = heard = time.monotonic()
        while not self._closed.wait(LOOK_S):
            now = time.monotonic()
            if now - looked > LOOK_S + SLACK_S:  # this process was stopped: no thread had that time
                self._due += now - looked - LOOK_S
                heard += now - looked - LOOK_S
            looked = now
            what = self._unheard() if self._unheard is not None else ""
            if not what:
                heard = now
            overdue = what if now > heard + self._heeded_s else ""
            if now > self._due:
                overdue = self._what
            if overdue:
                self._give_up(overdue)
                return


def within(seconds: float, function: Callable[[], object]) -> None:
    """Call a function in a thread, and wait ``seconds`` at most; its errors are dropped.

    Not a ``threading.Thread``: the main thread may hold a lock that starting one takes.
    """
    ended = _thread.allocate_lock()
    ended.acquire()

    def call() -> None:
        with contextlib.suppress(Exception):
            function()
        ended.release()

    _thread.start_new_thread(call, ())
    ended.acquire(timeout=seconds)


def end_process(status: int, why: str) -> NoReturn:
    """End this process at once, from any thread or handler of a signal."""
    cursor = SHOW_CURSOR if os.isatty(2) else b""
    say(b"%s\n%s\n" % (cursor, why.encode(errors="backslashreplace")))
    within(FLUSH_S, inheritance.flush_output)  # the main thread may be in the middle of a print
    os._exit(status)


def say(what: bytes) -> None:
    """Print without a lock, because the code that a signal interrupted may hold it."""
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(2, what)
