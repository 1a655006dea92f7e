"""The reports of tasks, passed on at a bounded rate, the last in any case."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from steerio.worker.context import PROGRESS_EVERY_S


class ProgressReports:
    """Passes on the reports of one attempt after the other.

    A report that comes soon after another waits, and one after that takes its place.  A thread
    sends it when it is time, for the task may report nothing more for hours.

    Args:
        send: takes a report's run, fraction and message.
    """

    def __init__(self, send: Callable[[int, float | None, str], None]) -> None:
        self._send = send
        self._run = 0
        self._sent = 0.0
        self._waiting: tuple[float | None, str] | None = None
        self._timed = False
        """Whether a thread is going to send the report that waits."""
        self._thread: threading.Timer | None = None
        self._lock = threading.Lock()

    def begin(self, run: int) -> None:
        """Begin with the reports of another attempt."""
        self._run = run
        self._sent = 0.0

    def report(self, fraction: float | None, message: str) -> None:
        """Pass a report on, now or in a moment."""
        now = time.monotonic()
        with self._lock:
            due = self._sent + PROGRESS_EVERY_S
            if self._timed or now < due:
                self._waiting = (fraction, message)
                if not self._timed:
                    self._timed = True
                    self._thread = threading.Timer(due - now, self._send_waiting, [self._run])
                    self._thread.daemon = True
                    self._thread.start()
                return
            self._sent = now
        self._send(self._run, fraction, message)

    def end(self) -> None:
        """Pass on the last report, before the attempt is over."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.cancel()
            thread.join()  # it may be sending
            self._send_waiting(self._run)

    def _send_waiting(self, run: int) -> None:
        with self._lock:
            self._timed = False
            waiting, self._waiting = self._waiting, None
            self._sent = time.monotonic()
        if waiting is not None and run == self._run:
            self._send(run, *waiting)
