"""The signal that stops a task: raised in the task's own code, and put off amid messages and forks.

SIGTERM comes from the node, which has noted in the shared page whether it is about the current task
or about the worker, which is to leave.  From any other process it has its usual meaning.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Generator

from steerio.errors import TaskStopped
from steerio.worker.slots import Slot

SOON_S, SOON_LOOKS = 0.001, 100
"""Time and number of looks whether a signal that came amid a fork can come again."""


class StopSignal:
    """SIGTERM, as one worker takes it.

    Args:
        slot: shared with the node; says what the signal is about.
        end: has the worker end once its task has.
    """

    def __init__(self, slot: Slot, end: Callable[[], None]) -> None:
        self.run = 0
        """The attempt that runs, or ran last."""
        self.inside = False
        """Whether a task's own code runs: only there the signal raises."""
        self.stopped = False
        """Whether it has come during this attempt."""
        self.waiting = False
        """Whether the worker waits for messages, and can be told there to leave."""
        self.leaving = False
        """Whether the worker was told to leave."""
        self.handlers: dict[int, Callable[..., None]] = {
            signal.SIGTERM: self._come,
            # a handler and not SIG_IGN, which programs that a task starts would inherit
            signal.SIGINT: _do_nothing,
        }
        self._slot = slot
        self._end = end
        self._pid = os.getpid()
        self._inside_before = self._stopped_before = False

    def __repr__(self) -> str:
        return f"<StopSignal in attempt {self.run}{', which has come' if self.stopped else ''}>"

    def handle(self) -> None:
        """Handle the signal from now on."""
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def _come(self, *_: object) -> None:
        if os.getpid() != self._pid:  # a fork so young that its handler is still ours
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        if self._slot.asked_to_leave:
            self._leave()
            return
        if not self._slot.asked_to_stop:  # not from our node: take it as any program does
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(self._pid, signal.SIGTERM)
        self.stopped = True
        if self.inside:
            raise TaskStopped

    def _leave(self) -> None:
        """End as soon as the task does, which is told to; do not wait for its value."""
        again, self.leaving, self.stopped = self.leaving, True, True
        self._end()
        if (self.waiting or self.inside) and not again:
            raise TaskStopped

    @contextlib.contextmanager
    def uninterrupted(self) -> Generator[None, None, None]:
        """Put ``TaskStopped`` off, which would ruin the link if it were raised amid a message."""
        inside, self.inside = self.inside, False
        try:
            yield
        finally:
            self.inside = inside
        if inside and self.stopped:
            raise TaskStopped

    def fork_begins(self) -> None:
        """Put ``TaskStopped`` off."""
        self._inside_before, self.inside = self.inside, False
        self._stopped_before = self.stopped

    def fork_ended(self) -> None:
        """Raise it, if it was put off; not here, but in a moment."""
        if self._inside_before and self.stopped and not self._stopped_before:
            again = threading.Thread(target=self._stop_again, args=[self.run], daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread is left: it is killed, later
                again.start()
        self.inside = self._inside_before  # last: the wait for a thread's start is in here

    def _stop_again(self, run: int) -> None:
        seen = 0
        for _ in range(SOON_LOOKS):
            time.sleep(SOON_S)
            seen = seen + 1 if self.inside and self.run == run else 0
            if seen == 2:  # so the hooks have ended
                os.kill(self._pid, signal.SIGTERM)
                return


def _do_nothing(*_: object) -> None:
    """Ignore SIGINT, which is meant for the campaign."""
