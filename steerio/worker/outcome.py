"""The outcome of an attempt, as its report tells it."""

from __future__ import annotations

import time
from typing import Any

from steerio.edge.encoding.boxing import explain_read_only
from steerio.edge.wire.cutting import check_frames
from steerio.edge.wire.endpoint import Frames
from steerio.errors import EncodingError
from steerio.model import messages as ms
from steerio.model.objects import StoredObject
from steerio.model.tasks import ReportedAs
from steerio.worker.failure import describe
from steerio.worker.loading import LoadedType
from steerio.worker.task_objects import WorkerObjects


class Outcome:
    """The outcome of an attempt; times on this host's monotonic clock, in seconds."""

    __slots__ = ("ended", "ended_as", "error", "packed", "started", "stored")

    def __init__(self, ended_as: ReportedAs = "succeeded", started: float | None = None) -> None:
        self.ended = time.monotonic()
        self.started = self.ended if started is None else started
        self.ended_as: ReportedAs = ended_as
        self.packed: tuple[bytes, Frames] = (b"", ())
        self.stored: StoredObject | None = None
        self.error: ms.RemoteError | None = None

    def pack(self, value: Any, kind: LoadedType, objects: WorkerObjects) -> None:
        """Pack a function's value for the report, by reference if it is large."""
        what = f"the value returned by {kind.name}"
        body, out = kind.codec.result.pack(value, what)
        if out:
            self.stored = objects.put_away(out, kind.spec)
            if self.stored is None:
                check_frames(out, what)
        self.packed = (body, out) if self.stored is None else (body, ())

    def failed(self, raised: BaseException, *, shares: bool) -> None:
        """Take in the exception that ended the attempt; ``shares``: arguments may be read-only."""
        self.ended_as = "failed"
        if isinstance(raised, SystemExit):
            called = f"the task called sys.exit({raised.code!r})"
            self.error = describe(RuntimeError(called), 0)
        else:
            if shares and (note := explain_read_only(raised)):
                raised.add_note(note)
            self.error = describe(raised, 0 if isinstance(raised, EncodingError) else 2)
