"""The task that a worker runs, as code in it sees it through `worker.context`."""

from __future__ import annotations

import threading

from steerio.worker.meeting import ALONE
from steerio.worker.progress_reports import ProgressReports
from steerio.worker.random_streams import RandomStreams
from steerio.worker.slots import Slot
from steerio.worker.stop_signal import StopSignal


class RunningTask:
    """Says and answers for the task that runs, one after the other.

    Args:
        stop: keeps a signal from striking amid a report.
        slot: tells whether the task was asked to stop.
        progress: sends its reports.
        streams: its random numbers.
    """

    def __init__(
        self, stop: StopSignal, slot: Slot, progress: ProgressReports, streams: RandomStreams
    ) -> None:
        self.task_id = 0
        self.attempt = 0
        self.gang = ALONE
        self.on_engine = False
        self.gang_token = b""
        self._stop = stop
        self._slot = slot
        self._progress = progress
        self._streams = streams

    def __repr__(self) -> str:
        return f"<RunningTask {self.task_id}>"

    def report(self, fraction: float | None, message: str) -> None:
        """Send progress, now or in a moment."""
        if threading.current_thread() is threading.main_thread():
            # amid the start of a thread a signal would leave half of one
            with self._stop.uninterrupted():
                self._progress.report(fraction, message)
        else:
            self._progress.report(fraction, message)

    def should_stop(self) -> bool:
        """Say whether it was asked to stop."""
        return self._slot.asked_to_stop

    def random_seed(self, bits: int) -> int:
        """Return a number that follows from the run's seed and the task."""
        return self._streams.of_task(self.task_id, bits)
