"""The past of one task, gathered from the files of a run directory: its reasons and its effects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from steerio.edge.record.export_files import attempts_of, fields_of, listed, record_of
from steerio.edge.record.mapped_lines import MappedLines
from steerio.edge.record.record_files import EVENTS_FILE, TASKS_FILE
from steerio.edge.record.record_lines import TaskLine, check_schema
from steerio.errors import UsageError
from steerio.model.tasks import CLIENT_BITS

LOGS = "workers*.log"
"""The files that workers' lines are in."""
CAMPAIGN_LOG = "campaign.log"
REASONS = 64
"""Results that are looked for to tell of the reasons of one task, at most."""
FOLLOWERS = 1_000
"""Tasks that are because of one, at most, of which the lines are kept; others are counted."""
HELD = 10
"""Stalls of the event loop of which the story of a task tells, at most: the last ones."""
_task = msgspec.json.Decoder(TaskLine).decode
_JSON = dict[str, Any]


class WaitEnd(Struct, frozen=True):
    """The reason why a worker had time for a task only when it got it.

    Attributes:
        kind: ``busy`` (it was at another task before), ``joined``, or ``moved`` (from another
            pool).
        at: when that was over, in Unix seconds.
        worker: the worker.
        task_id: of ``busy`` the other task; else ``None``.
        source: of ``moved`` the other pool; else empty.
    """

    kind: str
    at: float
    worker: str
    task_id: int | None = None
    source: str = ""


class Reason(Struct, frozen=True):
    """A result that a task is because of, with its own reasons.

    Attributes:
        task_id: its number.
        task: its line of the record; ``None`` if the record has none.
        because: its reasons, as far as they were followed.
        more: how many reasons it has that were not.
        repeated: whether it was told of before, with its reasons.
    """

    task_id: int
    task: _JSON | None
    because: tuple[Reason, ...] = ()
    more: int = 0
    repeated: bool = False


class TaskPast(Struct, frozen=True):
    """The past of a task.

    Attributes:
        task_id: its number.
        task: its line of the record; ``None``: it has not ended there.
        attempts: of its attempts the columns of ``earlier``; the last one's reason is its end.
        because: the results behind it.
        events: the lines on it in ``events.jsonl``.
        wait: the end of its first wait; ``None``: the record does not tell.
        held: the last lines of `LoopStalled` from the results behind it to its submission.
        stalls: the lines of `PoolStalled` while it waited.
        followed: tasks that are because of it, in the order in which they ended.
        more_followed: how many there are besides those.
        printed: its lines in the logs of workers.
        decided: the lines on it in the log of the campaign, at level ``debug``.
    """

    task_id: int
    task: _JSON | None
    attempts: tuple[_JSON, ...]
    because: tuple[Reason, ...]
    events: tuple[_JSON, ...]
    wait: WaitEnd | None
    held: tuple[_JSON, ...]
    stalls: tuple[_JSON, ...]
    followed: tuple[_JSON, ...]
    more_followed: int
    printed: tuple[str, ...]
    decided: tuple[str, ...]


def past_of(folder: Path, task_id: int, depth: int) -> TaskPast:
    """Return the past of a task.

    Args:
        folder: the run directory.
        task_id: its number.
        depth: the number of steps that reasons are followed back.

    Raises:
        UsageError: there is no record, or no such task in it.
    """
    folder = folder_of_record(folder)
    try:
        with (
            MappedLines(folder / TASKS_FILE) as tasks,
            MappedLines(folder / EVENTS_FILE) as events,
        ):
            return _Search(folder, tasks, events).past_of(task_id, depth)
    except OSError as error:
        raise UsageError(f"the record in {folder} cannot be read: {error}") from None


def folder_of_record(folder: Path) -> Path:
    """Return the folder that has the record of a run: its own, or its broker's.

    Raises:
        UsageError: there is no record.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    record, _ = record_of(folder)
    if not (record / TASKS_FILE).is_file():
        raise UsageError(f"{folder} has no record: it has no {TASKS_FILE}")
    check_schema(record)
    return record


class _Search:
    """Looks for lines of one record."""

    def __init__(self, folder: Path, tasks: MappedLines, events: MappedLines) -> None:
        self._folder, self._tasks, self._events = folder, tasks, events
        self._told: dict[int, _JSON | None] = {}

    def past_of(self, task_id: int, depth: int) -> TaskPast:
        place, task = self._find(task_id)
        events = [*self._events_of(task_id)]
        if task is None and not events:
            raise UsageError(self._no_such(task_id))
        self._told[task_id] = task
        because = self._reasons(_because(task), depth, place)
        attempts = [*attempts_of(_task(msgspec.json.encode(task)))] if task else []
        waited = _wait_of(task, events)
        followed, more = self._followers(task_id, 0 if task is None else place)
        return TaskPast(
            task_id,
            task,
            (*attempts,),
            because,
            (*events,),
            None if waited is None else self._wait_end(*waited, place),
            (*self._held(task, because),),
            () if waited is None else (*self._stalls(waited),),
            (*followed,),
            more,
            (*self._printed(task_id),),
            (*self._decided(task_id),),
        )

    def _find(self, task_id: int, before: int | None = None) -> tuple[int, _JSON | None]:
        """Return the line of a task and its place, the last one before a place if that is said."""
        text = b'{"task_id":%d,' % task_id
        found = (
            self._tasks.containing(text)
            if before is None
            else self._tasks.containing_before(text, before)
        )
        for place, line in found:
            if line.startswith(text) and (fields := _fields(line)) is not None:
                return place, fields
        return self._tasks.end, None

    def _events_of(self, task_id: int) -> Iterator[_JSON]:
        for _, line in self._events.containing(b'"task_id":%d,' % task_id):
            fields = _fields(line)
            if fields is not None and fields.get("task_id") == task_id:
                yield fields

    def _reasons(self, numbers: list[int], depth: int, before: int) -> tuple[Reason, ...]:
        """Return results with their reasons: they ended before the tasks that they led to."""
        found: list[Reason] = []
        for number in numbers:
            if number in self._told:
                found.append(Reason(number, self._told[number], repeated=True))
                continue
            place, task = self._find(number, before)
            self._told[number] = task
            further = _because(task)
            if depth > 1 and len(self._told) + len(further) <= REASONS:
                reasons = self._reasons(further, depth - 1, place)
                found.append(Reason(number, task, reasons))
            else:
                found.append(Reason(number, task, more=len(further)))
        return (*found,)

    def _followers(self, task_id: int, since: int) -> tuple[list[_JSON], int]:
        """Return the tasks that are because of one, which end later than it."""
        pattern = re.compile(rb'"because":\[(?:\d+,)*%d[,\]]' % task_id)
        found: list[_JSON] = []
        more = 0
        for _, line in self._tasks.matching(pattern, since):
            fields = _fields(line)
            if fields is None or task_id not in listed(fields.get("because")):
                continue
            if len(found) < FOLLOWERS:
                found.append(fields)
            else:
                more += 1
        return found, more

    # -- waiting ----------------------------------------------------------------------------------

    def _wait_end(
        self, queued: float, sent: float | None, pool: str, worker: str | None, place: int
    ) -> WaitEnd | None:
        """Return the last thing that its worker did before it had time for a task."""
        if worker is None or sent is None:
            return None
        name = b'"worker":' + msgspec.json.encode(worker)
        ends: list[WaitEnd] = []
        for _, line in self._tasks.containing_before(name, place):
            other = _fields(line)
            ended = None if other is None else other.get("ended")
            if other is None or other.get("worker") != worker or ended is None:
                continue
            if ended <= sent:
                ends.append(WaitEnd("busy", ended, worker, other.get("task_id")))
                break
        for kind, text in (("joined", b"WorkerJoined"), ("moved", b"WorkerMoved")):
            for _, line in self._events.containing(b'{"type":"%s"' % text):
                event = _fields(line)
                if event and (event.get("worker"), event.get("pool")) == (worker, pool):
                    source = str(event.get("source", ""))
                    ends.append(WaitEnd(kind, event["at"], worker, source=source))
        within = [end for end in ends if queued < end.at <= sent]
        return max(within, key=lambda end: end.at, default=None)

    def _stalls(self, waited: tuple[float, float | None, str, str | None]) -> Iterator[_JSON]:
        queued, sent, pool, _ = waited
        for _, line in self._events.containing(b'{"type":"PoolStalled"'):
            event = _fields(line)
            if event is None or event.get("pool") != pool or event["at"] < queued:
                continue
            if sent is None or event["at"] <= sent:
                yield event

    def _held(self, task: _JSON | None, because: tuple[Reason, ...]) -> list[_JSON]:
        """Return the stalls of the event loop that a task was submitted later for."""
        times = [reason.task.get("received") for reason in because if reason.task is not None]
        known = max((at for at in times if isinstance(at, (int, float))), default=None)
        created = None if task is None else task.get("created")
        if known is None or not isinstance(created, (int, float)):
            return []
        found: list[_JSON] = []
        for _, line in self._events.containing(b'{"type":"LoopStalled"'):
            event = _fields(line) or {}
            at, seconds = event.get("at"), event.get("seconds")
            if not isinstance(at, (int, float)) or not isinstance(seconds, (int, float)):
                continue
            if at > known and at - seconds < created:
                found.append(event)
        return found[-HELD:]

    # -- logs -------------------------------------------------------------------------------------

    def _printed(self, task_id: int) -> Iterator[str]:
        whole = re.compile(rb"^\d\d:\d\d:\d\d\.\d{3} (?:(?! \| ).)+ task %d \| " % task_id)
        for path in sorted(self._folder.glob(LOGS)):
            with MappedLines(path) as lines:
                for _, line in lines.containing(b" task %d | " % task_id):
                    if whole.match(line):
                        yield line.decode(errors="backslashreplace").rstrip("\n")

    def _decided(self, task_id: int) -> Iterator[str]:
        with MappedLines(self._folder / CAMPAIGN_LOG) as lines:
            for _, line in lines.containing(b"task %d: " % task_id):
                if re.search(rb"\btask %d: " % task_id, line):
                    yield line.decode(errors="backslashreplace").rstrip("\n")

    # -- unknown ones -----------------------------------------------------------------------------

    def _no_such(self, task_id: int) -> str:
        """Return in words which tasks there are instead of one that is unknown."""
        ranges: dict[int, list[int]] = {}
        below, above = -1, -1
        for line in self._tasks.all():
            try:
                number = _number(line).task_id
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            first_last = ranges.setdefault(number >> CLIENT_BITS, [number, number])
            first_last[0], first_last[1] = min(first_last[0], number), max(first_last[1], number)
            if number < task_id:
                below = max(below, number)
            elif above < 0 or number < above:
                above = number
        if not ranges:
            return f"the record in {self._folder} has no task {task_id}: no task has ended there"
        shown = " and ".join(f"{first} to {last}" for first, last in sorted(ranges.values())[:5])
        nearest = " and ".join(str(number) for number in (below, above) if number >= 0)
        return (
            f"the record in {self._folder} has no task {task_id}: it has tasks from {shown}; the "
            f"nearest {'is' if below < 0 or above < 0 else 'are'} {nearest}"
        )


class _Number(Struct):
    task_id: int


_number = msgspec.json.Decoder(_Number).decode


def _fields(line: bytes) -> _JSON | None:
    """Return the fields of a line; ``None`` if it cannot be read."""
    try:
        return fields_of(msgspec.json.decode(line)) or None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _because(task: _JSON | None) -> list[int]:
    because = [] if task is None else listed(task.get("because"))
    return [number for number in because if isinstance(number, int)]


def _wait_of(
    task: _JSON | None, events: list[_JSON]
) -> tuple[float, float | None, str, str | None] | None:
    """Return when the first wait of a task began and ended, in which pool, for which worker."""
    if task is not None:
        first: _JSON = next(iter(fields_of(each) for each in listed(task.get("earlier"))), task)
        queued, sent = task.get("queued"), first.get("sent")
        worker = first.get("worker")
        if not isinstance(queued, (int, float)):
            return None
        return queued, sent, str(task.get("pool")), worker
    queued_at = next((e["at"] for e in events if e["type"] == "TaskQueued"), None)
    started = next((e for e in events if e["type"] == "TaskStarted"), None)
    if queued_at is None:
        return None
    pool = str(events[-1].get("pool"))
    if started is None:
        return queued_at, None, pool, None
    return queued_at, started["at"], pool, started["worker"]
