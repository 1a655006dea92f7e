"""The export of a record: to SQLite, with a table for each kind of thing, or its tasks to CSV.

A file is written beside its place under another name, and gets its own when it is whole. Lines are
read and written one after the other, so memory does not grow with the record.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sqlite3
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Raw, Struct, structs

from steerio.edge.record.record_files import AttemptEntry, TaskEntry
from steerio.edge.record.record_head import SCHEMA, read_head
from steerio.edge.record.record_lines import (
    EventLine,
    Unread,
    event_lines,
    open_regular,
    task_lines,
)
from steerio.errors import UsageError

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
_encode = msgspec.json.Encoder().encode
_INTEGERS = range(-(2**63), 2**63)


class Exported(Struct):
    """The content of a file that was exported.

    Attributes:
        tasks, events: how many there are.
        unread_tasks, unread_events: the lines that could not be read, and are not in it.
    """

    tasks: int
    events: int
    unread_tasks: Unread
    unread_events: Unread


def export_csv(folder: Path, to: Path, *, force: bool) -> Exported:
    """Write the tasks of a record to a CSV file, whose columns are those of ``tasks.jsonl``.

    Raises:
        UsageError: the record cannot be read, or the file not be written, or it is there already
            and not ``force``.
    """
    done = Exported(0, 0, Unread(), Unread())
    with (
        _fresh(folder, to, force=force) as fresh,
        fresh.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        names = [*_TASK_COLUMNS]
        writer.writerow(names)
        for line in task_lines(folder, done.unread_tasks):
            writer.writerow([_plain(getattr(line, name)) for name in names])
            done.tasks += 1
    return done


def export_sqlite(folder: Path, to: Path, *, force: bool) -> Exported:
    """Write a record to an SQLite database; see ``TABLES``.

    Raises:
        UsageError: as `export_csv`.
    """
    done = Exported(0, 0, Unread(), Unread())
    with _fresh(folder, to, force=force) as fresh:
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
                about = map(_plain, structs.astuple(event))
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
    number = _plain(line.task_id)
    rows.add("tasks", tuple([_plain(getattr(line, name)) for name in _TASK_COLUMNS]))
    for attempt in _attempts(line):
        rows.add("attempts", (number, *(_plain(attempt.get(name)) for name in _ATTEMPT_COLUMNS)))
    for name, value in _fields(line.tags).items():
        rows.add("tags", (number, name, _plain(value)))
    for because in _listed(line.because):
        rows.add("reasons", (number, _plain(because)))


def _attempts(line: Any) -> Iterator[dict[str, Any]]:
    """Yield the attempts of a task, those before the last as they were recorded."""
    yield from map(_fields, _listed(line.earlier))
    if line.attempt:
        last = {name: getattr(line, name, None) for name in _ATTEMPT_COLUMNS}
        yield {**last, "reason": line.ended_as}


def _about(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield the rows on the run itself, each a name and its JSON."""
    head = read_head(folder)
    yield "schema", SCHEMA if head is None else head.schema
    for name in RUN_FILES:
        content: Any = None
        with contextlib.suppress(OSError, ValueError):
            # of Python's own reader: names of folders in it need not be UTF-8
            with open_regular(folder / name) as file:
                content = json.load(file)
        for key, value in _fields(content).items():
            yield f"{name.removesuffix('.json')}.{key}", json.dumps(value)


def _fields(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _listed(value: Any) -> list[Any]:
    return [*cast("Any", value)] if isinstance(value, list) else []


def _plain(value: Any) -> Any:
    """Return a value as SQLite and CSV take it: numbers and text as they are, others as JSON."""
    if value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value in _INTEGERS else str(value)
    if isinstance(value, Raw):
        text = bytes(value).decode()
        return None if text == "null" else text
    return _encode(value).decode()


@contextlib.contextmanager
def _fresh(folder: Path, to: Path, *, force: bool) -> Generator[Path]:
    """Yield the path of a file to write, which is moved to its place if all goes well.

    Raises:
        UsageError: something cannot be read or written, or is in its place.
    """
    if to.is_dir():
        raise UsageError(f"{to} is a folder: name a file")
    _refuse_there(to, force=force)
    fresh = to.with_name(f".{to.name}.{os.urandom(4).hex()}")
    try:
        yield fresh
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        _refuse_there(to, force=force)
        fresh.replace(to)
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"{folder} cannot be exported to {to}: {reason}") from None
    finally:
        fresh.unlink(missing_ok=True)


def _refuse_there(to: Path, *, force: bool) -> None:
    if not force and (to.exists() or to.is_symlink()):
        raise UsageError(f"{to} is there already: name another file with --to, or say --force")
