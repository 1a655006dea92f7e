"""The export of a record: to SQLite, with a table for each kind of thing, or one of them to CSV.

Lines are read and written one after the other, so memory does not grow with the record.
"""

from __future__ import annotations

import csv
import sqlite3
from pathlib import Path

from steerio.edge.record.export_files import Exported, fresh_file, plain
from steerio.edge.record.export_tables import TABLES, Row, rows_of, run_rows, task_rows
from steerio.edge.record.record_lines import task_lines

BATCH = 1_000
"""Lines whose rows are handed to SQLite together."""
INDEXES = {
    "tasks": ("task_id", "task_type", "cause"),
    "attempts": ("task_id", "worker"),
    "tags": ("task_id", "name"),
    "reasons": ("task_id", "because"),
    "events": ("number", "task_id", "type"),
}


def export_csv(folder: Path, to: Path, *, force: bool, table: str = "tasks") -> Exported:
    """Write one table of a record to a CSV file; see ``TABLES``.

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
        writer.writerow(TABLES[table])
        for row in rows_of(table, folder, done):
            writer.writerow(map(plain, row))
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
            for row in run_rows(folder):
                rows.add("run", row)
            for line in task_lines(folder, done.unread_tasks):
                for table, row in task_rows(line):
                    rows.add(table, row)
                done.tasks += 1
            for row in rows_of("events", folder, done):
                rows.add("events", row)
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
        self._waiting: dict[str, list[Row]] = {table: [] for table in TABLES}
        self._insert = {
            table: f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(columns))})'
            for table, columns in TABLES.items()
        }

    def add(self, table: str, row: Row) -> None:
        waiting = self._waiting[table]
        waiting.append(tuple(map(plain, row)))
        if len(waiting) >= BATCH:
            self._write(table)

    def flush(self) -> None:
        for table in TABLES:
            self._write(table)

    def _write(self, table: str) -> None:
        self._database.executemany(self._insert[table], self._waiting[table])
        self._waiting[table].clear()
