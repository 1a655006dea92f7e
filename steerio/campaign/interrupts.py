"""Ctrl-C and its like: once, a run ends in good order; twice, at once, whatever its agents do.

Theory.  A handler that an event loop calls is not called while an agent keeps the loop, and a
cancellation does not end an agent that swallows it.  So signals are counted by handlers of the
interpreter, which calls them between any two instructions of the main thread.  The first signal is
passed to the loop.  The second kills the workers, cancels the run, and gives it ``AT_ONCE_S`` to
unwind; a thread ends the process after that.  The third ends the process at once.

One request may arrive as several signals: ``timeout`` and launchers signal a process and its group,
closing a terminal brings SIGHUP from the shell and the kernel.  So signals that follow within
``SAME_S`` are not counted; a person who presses a key again takes longer.

A process that an agent forks (`multiprocessing`, ``os.fork``) inherits these handlers, but is no
part of the run: there a signal has its ordinary effect.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from steerio.campaign.watchdog import end_process, say
from steerio.node.setup import SAME_S

HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AT_ONCE_S = 1.0
"""How long a run may take to unwind after a second signal, in seconds."""


class Interrupts:
    """Counts the signals that ask this process to end, while it is entered, on a running loop.

    Signals that were ignored before, as under ``nohup``, stay ignored; in a thread that is not the
    main one it counts none.

    Args:
        begun: returns whether there is a campaign yet that can end in good order; if not, the first
            signal counts as the second.
        heard: called for the first signal, in the signal's handler.
        in_order: called on the loop for the first signal.
        kill: called for the second, in the signal's handler: kills the workers.
        cancel: called for the second, on the loop: cancels the run.
        abandon: called before the process is ended, on any thread: leaves no files behind.
    """

    def __init__(
        self,
        *,
        begun: Callable[[], bool],
        heard: Callable[[], None],
        in_order: Callable[[], None],
        kill: Callable[[], None],
        cancel: Callable[[], None],
        abandon: Callable[[signal.Signals], None],
    ) -> None:
        self.by: signal.Signals | None = None
        """The signal that was counted last."""
        self.count = 0
        self._pid = os.getpid()
        self._at = -math.inf
        self._begun = begun
        self._heard = heard
        self._in_order = in_order
        self._kill = kill
        self._cancel = cancel
        self._abandon = abandon
        self._loop = asyncio.get_running_loop()
        self._before: dict[signal.Signals, Any] = {}
        self._left = threading.Event()

    def __repr__(self) -> str:
        return f"<Interrupts: {self.count}>"

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in HEEDED:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._heed)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.set()
        for number, handler in self._before.items():
            # a handler that was not set from Python cannot be set again
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _heed(self, number: int, frame: FrameType | None) -> None:
        """Take in a signal, between any two instructions of the main thread."""
        del frame
        if os.getpid() != self._pid:
            self._be_ordinary(signal.Signals(number))
            return
        now = time.monotonic()
        if now < self._at + SAME_S:
            return
        self._at = now
        self.by = signal.Signals(number)
        self.count += 1
        if self.count == 1 and self._begun():
            self._heard()
            say(b"\nending in good order; press Ctrl-C again to end at once\n")
            self._loop.call_soon_threadsafe(self._in_order)
        elif self.count <= 2:
            self._at_once()
        else:
            self._end_process()

    def _be_ordinary(self, number: signal.Signals) -> None:
        """Take a signal as any process does: an agent forked this one, and it is no run."""
        for each, handler in self._before.items():
            usual = signal.SIG_DFL if handler is None else handler
            # an event loop's own handler is of no use here, as that loop does not run
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else usual)
        os.kill(os.getpid(), number)

    def _at_once(self) -> None:
        with contextlib.suppress(OSError):  # the signal may have come in the middle of this
            self._kill()
        # not a threading.Thread: the main thread may hold a lock that starting one takes
        _thread.start_new_thread(self._see_to_it, ())
        self._loop.call_soon_threadsafe(self._cancel)

    def _see_to_it(self) -> None:
        if not self._left.wait(AT_ONCE_S):
            self._end_process()

    def _end_process(self) -> None:
        """End this process although its main thread goes on."""
        assert self.by is not None
        with contextlib.suppress(Exception):  # nothing may keep the process from its end
            self._abandon(self.by)
        end_process(128 + self.by, f"ended at once by {self.by.name}")
