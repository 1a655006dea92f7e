"""The tables that records are exported to: their columns, and the rows that each line gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import structs

from steerio.edge.record.export_files import (
    Exported,
    attempts_of,
    fields_of,
    listed,
    said_of_run,
)
from steerio.edge.record.record_files import AttemptEntry, TaskEntry
from steerio.edge.record.record_head import SCHEMA, read_head
from steerio.edge.record.record_lines import EventLine, event_lines, task_lines

Row = tuple[Any, ...]
RUN_FILES = ("parameters.json", "summary.json")
"""The files of a run directory that stand as rows in the table ``run``."""
_SQL_TYPES = {int: "INTEGER", float: "REAL", float | None: "REAL"}
"""The SQL types of fields; all others are text, or JSON as text."""
_NUMBERS = frozenset({"number", "task_id", "attempt", "incarnation"})
TASKS = {f.name: _SQL_TYPES.get(f.type, "TEXT") for f in structs.fields(TaskEntry)}
ATTEMPTS = {f.name: _SQL_TYPES.get(f.type, "TEXT") for f in structs.fields(AttemptEntry)}
EVENTS = {
    name: "REAL" if name == "at" else "INTEGER" if name in _NUMBERS else "TEXT"
    for name in EventLine.__struct_fields__
}
del TASKS["earlier"]  # the table of attempts has those
TABLES: dict[str, dict[str, str]] = {
    "run": {"name": "TEXT", "value": "TEXT"},
    "tasks": TASKS,
    "attempts": {"task_id": "INTEGER", **ATTEMPTS},
    "tags": {"task_id": "INTEGER", "name": "TEXT", "value": "TEXT"},
    "reasons": {"task_id": "INTEGER", "because": "INTEGER"},
    "events": {**EVENTS, "line": "TEXT"},
}
"""The columns of each table, with their SQL types."""
OF_TASKS = ("tasks", "attempts", "tags", "reasons")
"""The tables whose rows come from ``tasks.jsonl``."""


def rows_of(table: str, folder: Path, done: Exported) -> Iterator[Row]:
    """Yield the rows of one table, whose values are as in the record; count the lines.

    Raises:
        OSError: the record cannot be read.
    """
    if table == "run":
        yield from run_rows(folder)
    elif table == "events":
        for event, text in event_lines(folder, done.unread_events):
            yield event_row(event, text)
            done.events += 1
    else:
        for line in task_lines(folder, done.unread_tasks):
            yield from (row for name, row in task_rows(line) if name == table)
            done.tasks += 1


def task_rows(line: Any) -> Iterator[tuple[str, Row]]:
    """Yield the rows on a task, each with its table."""
    number = line.task_id
    yield "tasks", tuple([getattr(line, name) for name in TASKS])
    for attempt in attempts_of(line):
        yield "attempts", (number, *(attempt.get(name) for name in ATTEMPTS))
    for name, value in fields_of(line.tags).items():
        yield "tags", (number, name, value)
    for because in listed(line.because):
        yield "reasons", (number, because)


def event_row(event: EventLine, text: bytes) -> Row:
    """Return the row on an event."""
    return (*structs.astuple(event), text.decode().rstrip("\n"))


def run_rows(folder: Path) -> Iterator[Row]:
    """Yield the rows on the run itself, each a name and its JSON."""
    head = read_head(folder)
    yield "schema", str(SCHEMA if head is None else head.schema)
    for name in RUN_FILES:
        for key, value in said_of_run(folder, name).items():
            yield f"{name.removesuffix('.json')}.{key}", json.dumps(value)
