"""The link of a worker to its broker, over which one thread at a time speaks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import cast

from steerio.edge.wire.endpoint import BlockingLink, Frames
from steerio.errors import EncodingError, ProtocolError
from steerio.model import messages as ms
from steerio.worker.stop_signal import StopSignal


class BrokerLink:
    """A worker's end of the link to its broker.

    Args:
        link: the way to the broker.
        stop: the signal that must not strike amid a message.
    """

    def __init__(self, link: BlockingLink, stop: StopSignal) -> None:
        self.ending = False
        """Whether the worker is to end: the broker is gone or has said so, or its node has."""
        self.failure = ""
        """Why a message could not be read or sent, if so."""
        self.forked = False
        """Whether this process is not the worker, but was forked by one of its tasks."""
        self._link = link
        self._stop = stop
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<BrokerLink by {self._link!r}>"

    def end(self) -> None:
        """Have the worker end."""
        self.ending = True

    def let_go(self) -> None:
        """In a fork, say nothing any more."""
        self.forked = True
        self._link.let_go()

    def close(self) -> None:
        """Close the link."""
        self._link.close()

    def say(self, message: ms.ToBroker, frames: Frames = ()) -> None:
        """Send a message; a task may have threads that report, so one at a time."""
        if self.forked:
            return
        with self._lock:
            try:
                self._link.send(message, frames)
                self._link.flush()
            except OSError:  # the broker is gone
                self.ending = True
            except EncodingError as error:
                self.fail(f"a message to the broker could not be sent: {error}")

    def say_inside(self, message: ms.ToBroker, frames: Frames = ()) -> None:
        """Send a message for a task while that runs."""
        if threading.current_thread() is threading.main_thread():
            with self._stop.uninterrupted():
                self.say(message, frames)
        else:
            self.say(message, frames)

    def send_progress(self, run: int, fraction: float | None, message: str) -> None:
        """Tell how far a running task is."""
        self.say_inside(ms.ReportProgress(run, fraction, message))

    def arrived(self, timeout_s: float) -> Sequence[tuple[ms.ToWorker, Frames]]:
        """Return the messages that have arrived; none if this is the end."""
        try:
            arrived = self._link.receive_within(timeout_s)
            return cast("Sequence[tuple[ms.ToWorker, Frames]]", arrived)  # it decodes no other
        except OSError:  # the broker is gone
            self.ending = True
        except ProtocolError as error:
            self.fail(f"a message of the broker could not be read: {error}")
        return ()

    def fail(self, reason: str) -> None:
        """End because a message could not be read or sent: the tasks are lost."""
        self.ending = True
        self.failure = self.failure or reason
