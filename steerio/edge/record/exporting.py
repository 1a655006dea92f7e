"""The export of a record: to SQLite, with a table for each kind of thing, or its tasks to CSV.

Lines are read and written one after the other, so memory does not grow with the record.
"""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import structs

from steerio.edge.record.export_files import (
    Exported,
    attempts_of,
    fields_of,
    fresh_file,
    listed,
    plain,
    said_of_run,
)
from steerio.edge.record.record_files import AttemptEntry, TaskEntry
from steerio.edge.record.record_head import SCHEMA, read_head
from steerio.edge.record.record_lines import (
    EventLine,
    event_lines,
    task_lines,
)

BATCH = 1_000
"""Lines whose rows are handed to SQLite together."""
RUN_FILES = ("parameters.json", "summary.json")
"""The files of a run directory that stand as rows in the table ``run``."""
_SQL_TYPES = {int: "INTEGER", float: "REAL", float | None: "REAL"}
"""The SQL types of fields; all others are text, or JSON as text."""
_NUMBERS = frozenset({"number", "task_id", "attempt", "incarnation"})
_TASK_COLUMNS = {f.name: _SQL_TYPES.get(f.type, "TEXT") for f in structs.fields(TaskEntry)}
_ATTEMPT_COLUMNS = {f.name: _SQL_TYPES.get(f.type, "TEXT") for f in structs.fields(AttemptEntry)}
_EVENT_COLUMNS = {
    name: "REAL" if name == "at" else "INTEGER" if name in _NUMBERS else "TEXT"
    for name in EventLine.__struct_fields__
}
del _TASK_COLUMNS["earlier"]  # the table of attempts has those
TABLES: dict[str, dict[str, str]] = {
    "run": {"name": "TEXT", "value": "TEXT"},
    "tasks": _TASK_COLUMNS,
    "attempts": {"task_id": "INTEGER", **_ATTEMPT_COLUMNS},
    "tags": {"task_id": "INTEGER", "name": "TEXT", "value": "TEXT"},
    "reasons": {"task_id": "INTEGER", "because": "INTEGER"},
    "events": {**_EVENT_COLUMNS, "line": "TEXT"},
}
"""The columns of each table, with their SQL types."""
INDEXES = {
    "tasks": ("task_id", "task_type", "cause"),
    "attempts": ("task_id", "worker"),
    "tags": ("task_id", "name"),
    "reasons": ("task_id", "because"),
    "events": ("number", "task_id", "type"),
}


def export_csv(folder: Path, to: Path, *, force: bool) -> Exported:
    """Write the tasks of a record to a CSV file, whose columns are those of ``tasks.jsonl``.

    Raises:
        UsageError: the record cannot be read, or the file not be written, or it is there already
            and not ``force``.
    """
    done = Exported()
    with (
        fresh_file(folder, to, force=force) as fresh,
        fresh.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        names = [*_TASK_COLUMNS]
        writer.writerow(names)
        for line in task_lines(folder, done.unread_tasks):
            writer.writerow([plain(getattr(line, name)) for name in names])
            done.tasks += 1
    return done


def export_sqlite(folder: Path, to: Path, *, force: bool) -> Exported:
    """Write a record to an SQLite database; see ``TABLES``.

    Raises:
        UsageError: as `export_csv`.
    """
    done = Exported()
    with fresh_file(folder, to, force=force) as fresh:
        database = sqlite3.connect(fresh, isolation_level=None)
        try:
            # nothing is lost if this stops half-way: the file has not got its name yet
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            database.execute("BEGIN")
            for table, columns in TABLES.items():
                listed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
                database.execute(f'CREATE TABLE "{table}" ({listed})')
            rows = _Rows(database)
            for name, value in _about(folder):
                rows.add("run", (name, value))
            for line in task_lines(folder, done.unread_tasks):
                _add_task(rows, line)
                done.tasks += 1
            for event, text in event_lines(folder, done.unread_events):
                about = map(plain, structs.astuple(event))
                rows.add("events", (*about, text.decode().rstrip("\n")))
                done.events += 1
            rows.flush()
            for table, indexed in INDEXES.items():
                for name in indexed:
                    database.execute(f'CREATE INDEX "{table}_{name}" ON "{table}" ("{name}")')
            database.execute("COMMIT")
        finally:
            database.close()
    return done


class _Rows:
    """Rows on their way into their tables, some at a time."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._waiting: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
        self._insert = {
            table: f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(columns))})'
            for table, columns in TABLES.items()
        }

    def add(self, table: str, row: tuple[Any, ...]) -> None:
        waiting = self._waiting[table]
        waiting.append(row)
        if len(waiting) >= BATCH:
            self._write(table)

    def flush(self) -> None:
        for table in TABLES:
            self._write(table)

    def _write(self, table: str) -> None:
        self._database.executemany(self._insert[table], self._waiting[table])
        self._waiting[table].clear()


def _add_task(rows: _Rows, line: Any) -> None:
    number = plain(line.task_id)
    rows.add("tasks", tuple([plain(getattr(line, name)) for name in _TASK_COLUMNS]))
    for attempt in attempts_of(line):
        rows.add("attempts", (number, *(plain(attempt.get(name)) for name in _ATTEMPT_COLUMNS)))
    for name, value in fields_of(line.tags).items():
        rows.add("tags", (number, name, plain(value)))
    for because in listed(line.because):
        rows.add("reasons", (number, plain(because)))


def _about(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield the rows on the run itself, each a name and its JSON."""
    head = read_head(folder)
    yield "schema", SCHEMA if head is None else head.schema
    for name in RUN_FILES:
        for key, value in said_of_run(folder, name).items():
            yield f"{name.removesuffix('.json')}.{key}", json.dumps(value)
