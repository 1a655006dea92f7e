"""The export of a record as a trace, in the JSON of Chrome's trace events, which Perfetto opens.

The tasks come first: their runs, and the arrows to them from the results that they are because of.
Then the events: queues and busy workers as counters, moves, losses and notes as instants, and the
runs of tasks that have not ended. The lines are read one after the other; of each run its place and
time are kept, some 36 bytes, to draw arrows from it.

Times are whole microseconds since the record began, so that no viewer rounds them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from steerio.edge.record.by_task import NumberByTask
from steerio.edge.record.export_files import (
    Exported,
    attempts_of,
    fresh_stream,
    in_utf8,
    listed,
    parts_of,
    said_of_run,
)
from steerio.edge.record.record_head import read_head
from steerio.edge.record.record_lines import Unread, event_lines, task_lines
from steerio.edge.record.trace_events import EventTrace
from steerio.edge.record.trace_tracks import Tracks, function_name
from steerio.version import __version__

SHOWN = ("task_id", "ended_as", "attempt", "cause", "because", "tags", "priority", "worker", "node")
SHOWN_LATER = (
    *("args", "value", "args_bytes", "value_bytes"),
    *("error", "traceback", "reason", "versions"),
)
"""The columns of a task that its run shows as its arguments, with ``waited_s`` between."""
FAR = 1e10
"""No time of a record is so far off, in seconds."""
_encode = msgspec.json.Encoder().encode
_NOTHING = (None, "", msgspec.Raw(b"null"))


def export_trace(folder: Path, to: Path, *, force: bool) -> Exported:
    """Write a record as a trace; compressed, if the name of the file ends with ``.gz``.

    Raises:
        UsageError: the record cannot be read, or the file not be written, or it is there already
            and not ``force``.
    """
    done = Exported()
    with fresh_stream(folder, to, force=force) as file:
        began = _began(folder)
        writer = _TraceFile(file, _about(folder, began))
        tracks = Tracks(writer.emit)
        tasks = _TaskTrace(tracks, writer, began)
        for line in task_lines(folder, done.unread_tasks):
            tasks.add(line)
            done.tasks += 1
        events = EventTrace(tracks, writer.emit, tasks.micros, tasks.last, tasks.has_ended)
        for event, text in event_lines(folder, done.unread_events):
            events.add(event, text)
            done.events += 1
        events.close()
        writer.close()
    return done


class _TraceFile:
    """The JSON object of a trace: values that describe it, and a list of events."""

    def __init__(self, file: BinaryIO, about: dict[str, str]) -> None:
        self._file = file
        head = _encode({"displayTimeUnit": "ms", "otherData": about})
        file.write(head[:-1] + b',"traceEvents":[')
        self._before = b"\n"

    def emit(self, event: dict[str, Any]) -> None:
        self._file.write(self._before + _encode(event))
        self._before = b",\n"

    def close(self) -> None:
        self._file.write(b"\n]}\n")


class _TaskTrace:
    """The runs of tasks, and the arrows between them.

    Attributes:
        last: when the last of them was over, in microseconds.
    """

    def __init__(self, tracks: Tracks, writer: _TraceFile, began: float) -> None:
        self._tracks, self._emit, self._began = tracks, writer.emit, began
        self._track_of, self._began_at, self._ended_at = map(NumberByTask, "iqq")
        self._arrows = 0
        self.last = 0

    def micros(self, at: Any) -> int | None:
        """Return a time of the record in microseconds of the trace; ``None``: it is none."""
        if isinstance(at, (int, float)) and abs(at) < FAR:
            return max(0, round((at - self._began) * 1e6))
        return None

    def has_ended(self, task_id: int) -> bool:
        """Say whether there was a line for this task."""
        return self._track_of[task_id] != 0

    def add(self, line: Any) -> None:
        """Write the attempts at a task, and the arrows that lead to the first."""
        task_id, attempts = line.task_id, [*attempts_of(line)]
        received = self.micros(line.received) or 0
        self.last = max(self.last, received)
        first: tuple[int, int, int] | None = None
        for attempt in attempts:
            is_last = attempt is attempts[-1]
            run = self._run(line, attempt, is_last)
            if run is None:
                continue
            first = first or run
            for part in parts_of(attempt):
                self._run(line, part, is_last)
            if is_last and _is_id(task_id):
                self._track_of[task_id], self._began_at[task_id], self._ended_at[task_id] = run
        if first is not None:
            for because in listed(line.because):
                self._arrow(because, first)
        else:  # it ended in the queue
            track = self._tracks.of_pool(str(line.pool))
            if _is_id(task_id):
                self._track_of[task_id] = -track.number
            self._emit(
                {
                    "ph": "i",
                    "name": f"{function_name(str(line.task_type))} {line.ended_as}",
                    "cat": str(line.ended_as),
                    "s": "t",
                    "ts": received,
                    "pid": track.pid,
                    "tid": track.tid,
                    "args": _shown(line, None),
                }
            )

    def _run(
        self, line: Any, attempt: dict[str, Any], is_last: bool
    ) -> tuple[int, int, int] | None:
        """Write one attempt that a worker got; return its track, and when it began and ended."""
        begin = self.micros(attempt.get("started"))
        begin = self.micros(attempt.get("sent")) if begin is None else begin
        if begin is None:
            return None
        end = self.micros(attempt.get("ended"))
        end = self.micros(attempt.get("received")) if end is None else end
        track = self._tracks.of_worker(
            str(attempt.get("node")), str(line.pool), str(attempt.get("worker"))
        )
        begin, end = track.take(begin, max(begin, end or 0))
        ending = str(line.ended_as) if is_last else "tried again"
        self._emit(
            {
                "ph": "X",
                "name": function_name(str(line.task_type)),
                "cat": ending,
                "ts": begin,
                "dur": end - begin,
                "pid": track.pid,
                "tid": track.tid,
                "args": _shown(line, attempt) if is_last else {"task_id": line.task_id, **attempt},
            }
        )
        return track.number, begin, end

    def _arrow(self, because: Any, to: tuple[int, int, int]) -> None:
        """Write the arrow from the result of a task to the task that was submitted for it."""
        number = self._track_of[because] if _is_id(because) else 0
        if number <= 0:
            return
        begin, end = self._began_at[because], self._ended_at[because]
        target, at, _ = to
        # inside its run, which viewers look for at the time of the arrow, and not after its head
        since = min(max(begin, end - 1), at)
        if since < begin:
            return
        self._arrows += 1
        for phase, track, moment in (
            ("s", self._tracks.by_number(number), since),
            ("f", self._tracks.by_number(target), at),
        ):
            event = {
                "ph": phase,
                "id": self._arrows,
                "name": "because",
                "cat": "because",
                "ts": moment,
                "pid": track.pid,
                "tid": track.tid,
            }
            self._emit(event if phase == "s" else {**event, "bp": "e"})


def _shown(line: Any, attempt: dict[str, Any] | None) -> dict[str, Any]:
    """Return the columns of a task that its run shows."""
    shown = {name: getattr(line, name) for name in SHOWN}
    sent = None if attempt is None else attempt.get("sent")
    if isinstance(sent, (int, float)) and isinstance(line.queued, (int, float)):
        shown["waited_s"] = round(sent - line.queued, 6)
    shown |= {name: getattr(line, name) for name in SHOWN_LATER}
    if attempt is not None and "rank" in attempt:
        shown |= {name: attempt.get(name) for name in ("worker", "node", "rank")}
        shown["value"] = None
    return {name: value for name, value in shown.items() if value not in _NOTHING}


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _began(folder: Path) -> float:
    """Return the first time that a record tells of, in Unix seconds."""
    head = read_head(folder)
    times: list[Any] = [] if head is None else [head.began]
    for _, (event, _text) in zip(range(1), event_lines(folder, Unread()), strict=False):
        times.append(event.at)
    for _, line in zip(range(1), task_lines(folder, Unread()), strict=False):
        times.append(line.queued)
    return min((at for at in times if isinstance(at, (int, float)) and abs(at) < FAR), default=0.0)


def _about(folder: Path, began: float) -> dict[str, str]:
    said = said_of_run(folder, "parameters.json")
    about = {
        "run": folder.resolve().name,
        "campaign": said.get("campaign", ""),
        "began": f"{began:.6f}",
        "exported_by": f"steerio {__version__}",
    }
    return {name: in_utf8(value) for name, value in about.items()}
