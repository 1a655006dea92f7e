"""Ctrl-C and its like: once, a run ends in good order; twice, at once, whatever its agents do.

Theory.  A handler that an event loop calls is not called while an agent keeps the loop, and a
cancellation does not end an agent that swallows it.  So signals are counted by handlers of the
interpreter, which calls them between any two instructions of the main thread.  The first signal is
passed to the loop.  The second kills the workers, cancels the run, and gives it ``AT_ONCE_S`` to
unwind; a thread ends the process after that.  The third ends the process at once.

One request may arrive as several signals: ``timeout`` and launchers signal a process and its group,
closing a terminal brings SIGHUP from the shell and the kernel.  So signals that follow within
``SAME_S`` are not counted; a person who presses a key again takes longer.

A process that an agent forks (`multiprocessing`, ``os.fork``) is no part of the run: there a signal
has its ordinary effect.  The fork itself sees to that.  A handler that waited for a signal would
come too late: the interpreter calls no handler while a call of the system blocks, and a signal just
before such a call interrupts nothing.  A worker of a `multiprocessing.Pool` that waits for its lock
would so outlive the pool's SIGTERM, and the agent would wait for this worker for ever.
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

_entered: Interrupts | None = None
"""Those whose handlers this process has."""
_masks = threading.local()
"""The signals that each thread had blocked before its fork."""


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
        global _entered  # noqa: PLW0603 - a process has one handler for each signal
        if threading.current_thread() is threading.main_thread():
            for number in HEEDED:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._heed)
            _entered = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _entered  # noqa: PLW0603
        self._left.set()
        if _entered is self:
            _entered = None
        for number, handler in self._before.items():
            # a handler that was not set from Python cannot be set again
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def let_go(self) -> None:
        """In a process that was just forked: give the signals their ordinary effects."""
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._heed:  # an agent may have set its own
                usual = signal.SIG_DFL if handler is None else handler
                # an event loop's own handler is of no use here, as that loop does not run
                of_loop = number == signal.SIGINT
                signal.signal(number, signal.default_int_handler if of_loop else usual)

    def _heed(self, number: int, frame: FrameType | None) -> None:
        """Take in a signal, between any two instructions of the main thread."""
        del frame
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


def _before_fork() -> None:
    _masks.before = None
    if _entered is not None:
        # a signal to the child before it has its own handlers would be lost, or ours
        _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)


def _after_fork() -> None:
    if _masks.before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _in_child() -> None:
    global _entered
    entered, _entered = _entered, None
    if entered is not None:
        entered.let_go()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
