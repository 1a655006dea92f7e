"""Questions on single tasks and windows of time, answered by a look into the record's files.

A record may be long: its text is searched for the few lines that matter, from the time on at which
they can be there, and only these are decoded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from math import inf
from pathlib import Path

import msgspec

from steerio.edge.record.export_files import record_of
from steerio.edge.record.record_files import EVENTS_FILE, TASKS_FILE
from steerio.edge.record.record_lines import open_regular
from steerio.errors import UsageError
from steerio.view.answers import AttemptView, Span, SpanWindow, TaskBrief, TaskStory
from steerio.view.record_search import (
    MappedText,
    decoded,
    line_at,
    lines_with,
    place_of,
    tasks_from,
    when_ended,
    when_it_was,
)
from steerio.view.seen_lines import (
    SeenEvent,
    SeenRank,
    SeenTask,
    details_of,
    events_decoder,
)
from steerio.view.task_figures import NOT_WELL
from steerio.view.things_noted import failure_of, raw_text

MOST_AFTER, MOST_SPANS, MOST_EVENTS = 100, 5_000, 100
MOST_LOG_LINES, LOG_BYTES = 200, 16 << 20
"""Most lines of a task's output; and how much of the end of the file is searched for them."""
LOG_FILES = "workers*.log"


def story_of(folder: Path, task_id: int) -> TaskStory:
    """Return all that the record in a run directory tells of one task.

    Raises:
        UsageError: it cannot be read.
    """
    record, _ = record_of(folder)
    try:
        return _story(record, folder, task_id)
    except OSError as error:
        raise UsageError(f"{record} cannot be read: {error}") from None


def spans_of(
    folder: Path,
    begin: float,
    end: float,
    most: int = MOST_SPANS,
    workers: Collection[str] = (),
    longest_s: float = inf,
) -> SpanWindow:
    """Return the attempts in a window of time.

    Args:
        folder: the run directory.
        begin: the window, in Unix seconds.
        end: its end.
        most: how many are returned at most; the others are counted.
        workers: only those on these workers, if any are named.
        longest_s: how long a task takes at most, from its first attempt to its end, if that is
            known: so much of the record behind the window is read.

    Raises:
        UsageError: the record cannot be read.
    """
    record, _ = record_of(folder)
    rows: dict[str, int] = {}
    types: dict[str, int] = {}
    spans: list[Span] = []
    left_out = 0
    wanted = frozenset(workers)
    try:
        for task in tasks_from(record / TASKS_FILE, begin):
            if task.received > end + longest_s:
                break
            for worker, started, ended, ended_as in _runs(task):
                if started >= end or ended <= begin or (wanted and worker not in wanted):
                    continue
                if len(spans) >= most:
                    left_out += 1
                    continue
                row = rows.setdefault(worker, len(rows))
                kind = types.setdefault(task.task_type, len(types))
                spans.append(Span(task.task_id, row, kind, started, ended, ended_as))
    except OSError as error:
        raise UsageError(f"{record} cannot be read: {error}") from None
    return SpanWindow(begin, end, tuple(rows), tuple(types), tuple(spans), left_out)


def _runs(task: SeenTask) -> Iterator[tuple[str, float, float, str]]:
    """Yield the attempts of a task: worker, begin, end, and how it ended."""
    for attempt in task.earlier or ():
        begin = attempt.started if attempt.started is not None else attempt.sent
        if begin is not None:
            end = attempt.ended if attempt.ended is not None else attempt.received
            yield attempt.worker or "", begin, end, attempt.reason
            yield from _runs_of_others(attempt.others, begin, end, attempt.reason)
    begin = task.started if task.started is not None else task.sent
    if begin is not None and task.worker is not None:
        end = task.ended if task.ended is not None else task.received
        yield task.worker, begin, end, task.ended_as
        yield from _runs_of_others(task.others, begin, end, task.ended_as)


def _runs_of_others(
    others: list[SeenRank] | None, begin: float, end: float, ended_as: str
) -> Iterator[tuple[str, float, float, str]]:
    for rank in others or ():
        began = begin if rank.started is None else rank.started
        yield rank.worker or "", began, end if rank.ended is None else rank.ended, ended_as


def _story(record: Path, folder: Path, task_id: int) -> TaskStory:
    found = next(lines_with(record / TASKS_FILE, b'"task_id":%d,' % task_id, task_id), None)
    if found is None:
        return _unended(task_id, _events(record, task_id, -inf, inf))
    task, line = found
    events = _events(record, task_id, task.queued or -inf, task.received)
    details = details_of(line)
    before, known = _before(record, task.because or [])
    after, more_after = _after(record, task_id, task.received)
    failure = failure_of(task, line) if task.ended_as in NOT_WELL else None
    if failure is not None:
        failure = msgspec.structs.replace(failure, log=log_lines(folder, task_id))
    return TaskStory(
        task_id=task_id,
        state="ended",
        task_type=task.task_type,
        pool=task.pool,
        ended_as=task.ended_as,
        cause=task.cause,
        tags=details.tags or {},
        priority=details.priority or 0.0,
        args=raw_text(details.args),
        value=raw_text(details.value),
        created=task.created,
        queued=task.queued,
        received=task.received,
        reaction_s=task.queued - known if known is not None and task.queued is not None else None,
        attempts=_attempts(task),
        failure=failure,
        before=before,
        after=after,
        more_after=more_after,
        events=tuple(text for _, text in events),
    )


def _unended(task_id: int, events: list[tuple[SeenEvent, str]]) -> TaskStory:
    """Return the story of a task that has not ended, of which the record has only events."""
    last = events[-1][0] if events else None
    queued = next((event.at for event, _ in events if event.type == "TaskQueued"), None)
    running = any(event.type == "TaskStarted" for event, _ in events) and (
        last is not None and last.type != "TaskRetried"
    )
    return TaskStory(
        task_id=task_id,
        state="unknown" if last is None else "running" if running else "queued",
        task_type="" if last is None else last.task_type,
        pool="" if last is None else last.pool,
        ended_as="",
        cause="",
        tags={},
        priority=0.0,
        args="",
        value="",
        created=None,
        queued=queued,
        received=None,
        reaction_s=None,
        attempts=tuple(
            AttemptView(
                event.attempt, "", event.worker or "", "", event.at, None, None, event.at, {}
            )
            for event, _ in events
            if event.type == "TaskStarted"
        ),
        failure=None,
        before=(),
        after=(),
        more_after=0,
        events=tuple(text for _, text in events),
    )


def _attempts(task: SeenTask) -> tuple[AttemptView, ...]:
    views = [
        AttemptView(
            attempt=attempt.attempt,
            ended_as=attempt.reason,
            worker=attempt.worker or "",
            node=attempt.node or "",
            sent=attempt.sent,
            started=attempt.started,
            ended=attempt.ended,
            received=attempt.received,
            versions=attempt.versions or {},
        )
        for attempt in task.earlier or ()
    ]
    if task.attempt:
        views.append(
            AttemptView(
                attempt=task.attempt,
                ended_as=task.ended_as,
                worker=task.worker or "",
                node=task.node or "",
                sent=task.sent,
                started=task.started,
                ended=task.ended,
                received=task.received,
                versions=task.versions or {},
            )
        )
    return tuple(views)


def _before(record: Path, because: list[int]) -> tuple[tuple[TaskBrief, ...], float | None]:
    """Return the results that a task is because of, and when the last of them was known."""
    briefs: list[TaskBrief] = []
    for number in because:
        needle = b'"task_id":%d,' % number
        found = next(lines_with(record / TASKS_FILE, needle, number), None)
        if found is not None:
            briefs.append(_brief(*found))
    known = max((brief.received for brief in briefs), default=None)
    return tuple(briefs), known


def _after(record: Path, task_id: int, at: float) -> tuple[tuple[TaskBrief, ...], int]:
    """Return the tasks that are because of one, and how many more there are."""
    briefs: list[TaskBrief] = []
    more = 0
    needle = re.compile(rb'"because":\[(?:\d+,)*%d[,\]]' % task_id)
    with MappedText(record / TASKS_FILE) as text:
        for match in needle.finditer(text, place_of(text, at, when_ended)):
            if len(briefs) >= MOST_AFTER:
                more += 1
                continue
            found = decoded(line_at(text, match.start()))
            if found is not None and task_id in (found[0].because or ()):
                briefs.append(_brief(*found))
    return tuple(briefs), more


def _brief(task: SeenTask, line: bytes) -> TaskBrief:
    details = details_of(line)
    return TaskBrief(
        task_id=task.task_id,
        task_type=task.task_type,
        cause=task.cause,
        ended_as=task.ended_as,
        queued=task.queued if task.queued is not None else task.received,
        received=task.received,
        args=raw_text(details.args),
        value=raw_text(details.value),
    )


def _events(record: Path, task_id: int, begin: float, end: float) -> list[tuple[SeenEvent, str]]:
    found: list[tuple[SeenEvent, str]] = []
    needle = re.compile(b'"task_id":%d[,}]' % task_id)
    with MappedText(record / EVENTS_FILE) as text:
        first = place_of(text, begin, when_it_was)
        for match in needle.finditer(text, first, place_of(text, end, when_it_was, behind=True)):
            line = line_at(text, match.start())
            try:
                event = events_decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if event.task_id == task_id and len(found) < MOST_EVENTS:
                found.append((event, line.decode(errors="replace")))
    return found


def log_lines(folder: Path, task_id: int) -> tuple[str, ...]:
    """Return the last lines that a task printed, of those at the end of the log of workers."""
    lines: list[str] = []
    for path in sorted(folder.glob(LOG_FILES)):
        try:
            with open_regular(path) as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - LOG_BYTES))
                lines += printed_by(file.read(LOG_BYTES), task_id)
        except OSError:
            continue
    return tuple(lines[-MOST_LOG_LINES:])


def printed_by(text: bytes, task_id: int, most: int = MOST_LOG_LINES) -> list[str]:
    """Return the last lines of a task in the text of a log, which is searched from its end."""
    mark = b" task %d | " % task_id
    head = re.compile(rb"\S+ \S+ task %d \| " % task_id)
    lines: list[str] = []
    end = len(text)
    while len(lines) < most and (place := text.rfind(mark, 0, end)) >= 0:
        end = text.rfind(b"\n", 0, place) + 1  # the next look is before this line
        line = line_at(text, place)
        if head.match(line):
            lines.append(line.decode(errors="replace"))
    return lines[::-1]
