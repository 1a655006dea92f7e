"""When tasks leave the broker, noted at its endpoint.

A task has left once the flush that carries it has returned. The broker is embedded, so that
moment is on the same clock as the policy's.
"""

from __future__ import annotations

import time

from steerio.edge.wire.endpoint import Frames
from steerio.edge.wire.unix import StreamRouter
from steerio.launch import listening
from steerio.model.messages import FromBroker, RunTask


def note_sends() -> dict[int, float]:
    """Have brokers opened from now on note, by task, when it was sent (monotonic seconds).

    The caller clears what it has read, or it grows with every task.
    """
    sent_at: dict[int, float] = {}
    carried: list[int] = []

    class NotingRouter(StreamRouter):
        """The local workers' endpoint, noting which tasks a flush carried and when it was done."""

        def send(self, peer: bytes, message: FromBroker, frames: Frames = ()) -> None:
            super().send(peer, message, frames)
            if type(message) is RunTask:
                carried.append(message.task_id)

        def flush(self) -> list[bytes]:
            gone = super().flush()
            if carried:
                now = time.monotonic()
                for task_id in carried:
                    sent_at[task_id] = now
                carried.clear()
            return gone

    listening.StreamRouter = NotingRouter  # type: ignore[attr-defined]
    return sent_at
