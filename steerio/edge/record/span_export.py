"""The export of a record as spans of OpenTelemetry: a file of requests of OTLP, a line for each.

It is made from the record, so nothing waits for a collector, and nothing is lost if there is none:
the file is sent when it suits, and as often as it takes. The numbers of traces and spans follow
from the run and the task, so a repeated export has the same spans.

A trace is one task: its span, and a span for each attempt below it. The results that it is because
of are links to their spans. (All tasks of a run in one trace would be more than collectors and
viewers take in.)
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

import msgspec

from steerio.edge.record.export_files import (
    INTEGERS,
    Exported,
    attempts_of,
    fields_of,
    fresh_stream,
    in_utf8,
    listed,
    plain,
    said_of_run,
)
from steerio.edge.record.record_head import read_head
from steerio.edge.record.record_lines import Unread, task_lines
from steerio.version import __version__

BATCH = 500
"""Tasks of one request; servers refuse requests of some 20 MiB."""
INTERNAL, CONSUMER = 1, 5
"""Kinds of spans: of a task, and of the work on it elsewhere."""
UNSET, OK, ERROR = 0, 1, 2
"""Codes of a span's status."""
STATUS = {"succeeded": OK, "failed": ERROR, "timed_out": ERROR, "lost": ERROR}
COLUMNS = {
    "task_id": "steerio.task.id",
    "task_type": "steerio.task.type",
    "pool": "steerio.pool",
    "ended_as": "steerio.task.ended_as",
    "attempt": "steerio.task.attempts",
    "cause": "steerio.cause",
    "priority": "steerio.task.priority",
    "reason": "steerio.task.reason",
    "args": "steerio.task.args",
    "value": "steerio.task.value",
    "args_bytes": "steerio.task.args_bytes",
    "value_bytes": "steerio.task.value_bytes",
    "incarnation": "steerio.incarnation",
}
"""The columns of a task that are attributes of its span."""
OF_ATTEMPT = {
    "attempt": "steerio.attempt",
    "worker": "steerio.worker",
    "node": "steerio.node",
    "versions": "steerio.versions",
}
ABOUT = {"host": "host.name", "user": "steerio.user", "random_seed": "steerio.random_seed"}
"""Values of ``parameters.json`` that are attributes of the resource."""
FAR = 1e10
"""No time of a record is so far off, in seconds."""
_encode = msgspec.json.Encoder().encode


def export_spans(folder: Path, to: Path, *, force: bool) -> Exported:
    """Write the tasks of a record as spans; compressed, if the name of the file ends with ``.gz``.

    Raises:
        UsageError: the record cannot be read, or the file not be written, or it is there already
            and not ``force``.
    """
    done = Exported()
    with fresh_stream(folder, to, force=force) as file:
        ids = _Ids(folder)
        resource = {"attributes": _resource(folder, ids.run)}
        scope = {"name": "steerio", "version": __version__}
        spans: list[dict[str, Any]] = []

        def write() -> None:
            scoped = {"scope": scope, "spans": spans}
            request = {"resourceSpans": [{"resource": resource, "scopeSpans": [scoped]}]}
            file.write(_encode(request) + b"\n")
            spans.clear()

        for line in task_lines(folder, done.unread_tasks):
            spans += _spans(line, ids)
            done.tasks += 1
            if done.tasks % BATCH == 0 and spans:
                write()
        if spans:
            write()
    return done


class _Ids:
    """The numbers of traces and spans, which are the same in each export of a run.

    Attributes:
        run: the number of the run, which its folder's name is no part of.
    """

    def __init__(self, folder: Path) -> None:
        head = read_head(folder)
        began = None if head is None else head.began
        if began is None:  # of a version before there was a head
            first = next(task_lines(folder, Unread()), None)
            began = None if first is None else first.received
        seed = said_of_run(folder, "parameters.json").get("random_seed")
        self.run = blake2b(f"{began!r} {seed!r}".encode(), digest_size=16).hexdigest()
        self._key = bytes.fromhex(self.run)

    def trace(self, task_id: Any) -> str:
        """Return the number of a task's trace."""
        return self._number(16, f"trace {task_id}")

    def task(self, task_id: Any) -> str:
        """Return the number of a task's span."""
        return self._number(8, f"task {task_id}")

    def attempt(self, task_id: Any, attempt: Any) -> str:
        """Return the number of an attempt's span."""
        return self._number(8, f"attempt {task_id} {attempt}")

    def _number(self, length: int, of: str) -> str:
        return blake2b(of.encode(), digest_size=length, key=self._key).hexdigest()


def _spans(line: Any, ids: _Ids) -> Iterator[dict[str, Any]]:
    """Yield the span of a task, and those of its attempts."""
    begin, end = _first(line.queued, line.created, line.received), _first(line.received)
    if begin is None or end is None:
        return
    task_id, ended_as = line.task_id, str(line.ended_as)
    trace, span = ids.trace(task_id), ids.task(task_id)
    columns = {name: getattr(line, column) for column, name in COLUMNS.items()}
    tags = {f"steerio.tag.{name}": value for name, value in fields_of(line.tags).items()}
    whole = {
        "traceId": trace,
        "spanId": span,
        "name": str(line.task_type),
        "kind": INTERNAL,
        "startTimeUnixNano": begin,
        "endTimeUnixNano": max(begin, end, key=int),
        "attributes": _attributes({**columns, **tags}),
        "status": _status(ended_as, line.error or line.reason),
    }
    links = [
        {"traceId": ids.trace(each), "spanId": ids.task(each)} for each in listed(line.because)
    ]
    if links:
        whole["links"] = links
    if line.error:
        at = _first(line.ended, line.received)
        whole["events"] = [_raised(str(line.error), line.traceback, at)]
    yield whole
    attempts = [*attempts_of(line)]
    for attempt in attempts:
        begin = _first(attempt.get("started"), attempt.get("sent"))
        end = _first(attempt.get("ended"), attempt.get("received"))
        if begin is None or end is None:
            continue
        is_last = attempt is attempts[-1]
        reason = str(attempt.get("reason"))
        yield {
            "traceId": trace,
            "spanId": ids.attempt(task_id, attempt.get("attempt")),
            "parentSpanId": span,
            "name": f"attempt {attempt.get('attempt')} at {line.task_type}",
            "kind": CONSUMER,
            "startTimeUnixNano": begin,
            "endTimeUnixNano": max(begin, end, key=int),
            "attributes": _attributes(
                {name: attempt.get(column) for column, name in OF_ATTEMPT.items()}
            ),
            "status": _status(ended_as, line.error or line.reason)
            if is_last
            else {"code": ERROR, "message": reason},
        }


def _status(ended_as: str, message: Any) -> dict[str, Any]:
    code = STATUS.get(ended_as, UNSET)
    if code != ERROR:
        return {"code": code} if code else {}
    text = str(message) if message else ended_as
    return {"code": code, "message": text}


def _raised(error: str, traceback: Any, at: str | None) -> dict[str, Any]:
    """Return the event that tells of an exception, with the names that OpenTelemetry gives it."""
    kind, colon, message = error.partition(": ")
    fields = {
        "exception.type": kind,
        "exception.message": message if colon else None,
        "exception.stacktrace": traceback,
    }
    return {"name": "exception", "timeUnixNano": at, "attributes": _attributes(fields)}


def _resource(folder: Path, run: str) -> list[dict[str, Any]]:
    """Return the attributes of the run, which is the resource that its spans come from."""
    said = said_of_run(folder, "parameters.json")
    campaign = str(said.get("campaign") or "steerio").rpartition(":")[2]
    head = read_head(folder)
    about: dict[str, Any] = {
        "service.name": campaign,
        "service.namespace": "steerio",
        "service.instance.id": run,
        "service.version": None if head is None else head.steerio,
        "steerio.run": folder.resolve().name,
    }
    about |= {name: said.get(key) for key, name in ABOUT.items()}
    # of Python's own reader: names of folders and users need not have a form in UTF-8
    shown = {k: in_utf8(v) if isinstance(v, str) else v for k, v in about.items()}
    return _attributes(shown)


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return attributes with their types; those without a value are left out."""
    found: list[dict[str, Any]] = []
    for name, value in values.items():
        typed = _typed(value)
        if typed is not None:
            found.append({"key": name, "value": typed})
    return found


def _typed(value: Any) -> dict[str, Any] | None:
    kind = cast("type[object]", type(value))
    if kind is str:
        return {"stringValue": value} if value else None
    if kind is int and value in INTEGERS:
        return {"intValue": str(value)}  # JSON's numbers do not hold 64 bits
    if kind is float:
        return {"doubleValue": value}
    if kind is bool:
        return {"boolValue": value}
    text = plain(value)
    return None if text is None else {"stringValue": text}


def _first(*times: Any) -> str | None:
    """Return the first of some times that there is, in nanoseconds, as text."""
    for at in times:
        if isinstance(at, (int, float)) and 0 <= at < FAR:
            return str(round(at * 1e6) * 1000)  # the record has no more than microseconds
    return None
