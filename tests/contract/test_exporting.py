"""A record is exported to SQLite and CSV, all of it, whichever version wrote it."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.edge.record.exporting import TABLES, export_csv, export_sqlite
from steerio.edge.record.record_files import EVENTS_FILE, TASKS_FILE, AttemptEntry, RecordFiles
from steerio.edge.record.record_head import HEAD_FILE, SCHEMA, RecordHead, read_head
from steerio.edge.record.record_lines import TASK_COLUMNS, check_schema, endings
from steerio.edge.record.trace_export import export_trace
from steerio.errors import UsageError
from steerio.model import events as ev
from tests.contract.test_record_files import ODD, entry, published

EARLIER = AttemptEntry(1, "lost: killed", "simulate-2", "node", 1.0, None, None, 2.0, {"m": 1})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run directory with tasks and events of two incarnations."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "parameters.json").write_text(json.dumps({"campaign": "search:Search", "pid": 7}))
    files = RecordFiles(run)
    files.write([entry(1), entry(2, because=(1, 2), attempt=2, earlier=[EARLIER])], [])
    files.write([], [ev.TaskQueued(1, 5.0, 1, "search:energy", "simulate")])
    files.close()
    files = RecordFiles(run)
    lost = entry(3, ended_as="lost", attempt=0, tags=None, worker=None, value=[1, "ä"])
    files.write([msgspec.structs.replace(lost, incarnation=2)], [published({"x": [1]}, 2)])
    files.close()
    return run


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(path)
    database.row_factory = sqlite3.Row
    try:
        yield database
    finally:
        database.close()


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with opened(path) as database:
        return [tuple(row) for row in database.execute(query)]


def test_all_of_a_record_is_in_the_database(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "run.sqlite"
    done = export_sqlite(folder, to, force=False)
    assert (done.tasks, done.events, done.unread_tasks.count) == (3, 2, 0)
    assert rows(to, "SELECT task_id, because, incarnation, priority, args FROM tasks") == [
        (1, "[7]", 1, 0.5, '[["C"],{}]'),
        (2, "[1,2]", 1, 0.5, '[["C"],{}]'),
        (3, "[7]", 2, 0.5, '[["C"],{}]'),
    ]
    assert rows(to, "SELECT value, worker, tags FROM tasks WHERE ended_as = 'lost'") == [
        ('[1,"ä"]', None, None)
    ]
    assert rows(to, "SELECT task_id, attempt, reason, worker, versions FROM attempts") == [
        (1, 1, "succeeded", "simulate-1", None),
        (2, 1, "lost: killed", "simulate-2", '{"m":1}'),
        (2, 2, "succeeded", "simulate-1", None),
    ]
    assert rows(to, "SELECT * FROM tags") == [(1, "batch", "3"), (2, "batch", "3")]
    assert rows(to, "SELECT * FROM reasons WHERE task_id = 2") == [(2, 1), (2, 2)]
    assert rows(to, "SELECT number, type, incarnation, task_id, pool FROM events") == [
        (1, "TaskQueued", 1, 1, "simulate"),
        (2, "Published", 2, None, None),
    ]
    about = dict(rows(to, "SELECT * FROM run"))
    assert about["schema"] == str(SCHEMA)
    assert about["parameters.campaign"] == '"search:Search"'
    assert rows(to, "SELECT typeof(task_id), typeof(ended), typeof(value) FROM tasks LIMIT 1") == [
        ("integer", "real", "text")
    ]
    lines = (folder / EVENTS_FILE).read_text().splitlines()
    assert [line for (line,) in rows(to, "SELECT line FROM events")] == lines


def test_tables_have_the_columns_that_are_stated_and_indexes(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "run.sqlite"
    export_sqlite(folder, to, force=False)
    for table, columns in TABLES.items():
        found = rows(to, f"SELECT name, type FROM pragma_table_info('{table}')")
        assert found == list(columns.items())
    assert set(TASK_COLUMNS) - set(TABLES["tasks"]) == {"earlier"}
    plan = rows(to, "EXPLAIN QUERY PLAN SELECT * FROM tasks WHERE task_id = 2")
    assert "INDEX" in str(plan)


def test_csv_has_a_row_for_each_task(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "run.csv"
    assert export_csv(folder, to, force=False).tasks == 3
    with to.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [row["task_id"] for row in found] == ["1", "2", "3"]
    assert found[2]["value"] == '[1,"ä"]'
    assert found[2]["worker"] == ""


def test_lines_of_earlier_versions_have_no_value_in_columns_that_came_later(
    folder: Path, tmp_path: Path
) -> None:
    (folder / HEAD_FILE).unlink()
    (folder / TASKS_FILE).write_text('{"task_id":1,"ended_as":"succeeded","new_one":{}}\n')
    (folder / EVENTS_FILE).write_text('{"type":"NodeJoined","number":1,"at":2,"node":"n"}\n')
    to = tmp_path / "run.sqlite"
    export_sqlite(folder, to, force=False)
    assert rows(to, "SELECT task_id, because, incarnation, args FROM tasks") == [
        (1, None, None, None)
    ]
    assert rows(to, "SELECT type, at, node FROM events") == [("NodeJoined", 2.0, "n")]


def test_a_line_that_is_being_written_is_left_out(folder: Path, tmp_path: Path) -> None:
    with (folder / TASKS_FILE).open("a") as file:
        file.write('{"task_id":4,"ended_')
    to = tmp_path / "run.sqlite"
    done = export_sqlite(folder, to, force=False)
    assert (done.tasks, done.unread_tasks.count) == (3, 0)
    assert list(endings(folder)) == ["succeeded", "succeeded", "lost"]


def test_lines_that_cannot_be_read_are_counted_and_the_others_exported(
    folder: Path, tmp_path: Path
) -> None:
    """As of a disk that had lost a block."""
    lines = (folder / TASKS_FILE).read_bytes().splitlines(keepends=True)
    odd = [b"\x00" * 50 + b"\n", b'"text"\n', b'{"task_id":"\xff"}\n', b"\n"]
    (folder / TASKS_FILE).write_bytes(b"".join([lines[0], *odd, *lines[1:]]))
    to = tmp_path / "run.sqlite"
    done = export_sqlite(folder, to, force=False)
    assert (done.tasks, done.unread_tasks.count, done.unread_tasks.first) == (3, 4, 2)


def test_lines_with_a_damaged_byte_anywhere_are_counted_and_the_others_exported(
    folder: Path, tmp_path: Path
) -> None:
    for name, text in ((TASKS_FILE, b'"args":['), (EVENTS_FILE, b'"task_type":"')):
        whole = (folder / name).read_bytes()
        assert whole.count(text) >= 1
        broken = whole.replace(text, text + b'"\xff",', 1)
        if name == EVENTS_FILE:  # of no field that exports look at
            broken = whole.replace(b"{", b'{"later":"\xff",', 1)
        (folder / name).write_bytes(broken)
    done = export_sqlite(folder, tmp_path / "run.sqlite", force=False)
    assert (done.tasks, done.unread_tasks.count, done.unread_tasks.first) == (2, 1, 1)
    assert (done.events, done.unread_events.count, done.unread_events.first) == (1, 1, 1)
    traced = export_trace(folder, tmp_path / "run.json", force=False)
    assert (traced.unread_tasks.count, traced.unread_events.count) == (1, 1)


@given(value=st.text() | st.integers() | st.floats(allow_nan=False) | st.none())
def test_values_of_any_type_in_any_column_are_exported(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    folder = tmp_path_factory.mktemp("run", numbered=True)
    odd = [value, [value], {"a": value}, True]
    with (folder / TASKS_FILE).open("w") as file:
        for each in odd:
            file.write(json.dumps(dict.fromkeys(TASK_COLUMNS, each)) + "\n")
    with (folder / EVENTS_FILE).open("w") as file:
        for each in odd:
            file.write(json.dumps({"type": each, "number": each, "at": each}) + "\n")
    done = export_sqlite(folder, folder / "run.sqlite", force=False)
    read = len(odd) - done.unread_tasks.count
    assert (done.tasks, done.events) == (read, len(odd) - done.unread_events.count)
    assert export_csv(folder, folder / "run.csv", force=False).tasks == read


def test_numbers_of_any_size_are_exported(folder: Path, tmp_path: Path) -> None:
    number = 2**64 - 1
    with (folder / TASKS_FILE).open("w") as file:
        file.write(json.dumps({"task_id": number, "value": number, "because": [number]}) + "\n")
    to = tmp_path / "run.sqlite"
    export_sqlite(folder, to, force=False)
    assert rows(to, "SELECT value FROM tasks") == [(str(number),)]
    assert str(rows(to, "SELECT task_id FROM tasks")[0][0]) in (str(number), str(float(number)))


def test_a_file_that_is_there_is_only_replaced_if_asked_for(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "run.sqlite"
    to.write_text("mine")
    for export in (export_sqlite, export_csv):
        with pytest.raises(UsageError, match=r"is there already: name another file.*--force"):
            export(folder, to, force=False)
    assert to.read_text() == "mine"
    export_sqlite(folder, to, force=True)
    assert len(rows(to, "SELECT * FROM tasks")) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run.sqlite"]


def test_a_link_in_the_place_of_the_file_is_not_followed(folder: Path, tmp_path: Path) -> None:
    elsewhere, to = tmp_path / "elsewhere", tmp_path / "run.sqlite"
    elsewhere.write_text("mine")
    to.symlink_to(elsewhere)
    with pytest.raises(UsageError, match="is there already"):
        export_sqlite(folder, to, force=False)
    export_sqlite(folder, to, force=True)
    assert elsewhere.read_text() == "mine"


def test_an_export_that_fails_leaves_nothing_and_says_why(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is a folder: name a file"):
        export_sqlite(folder, tmp_path, force=True)
    with pytest.raises(UsageError, match=r"cannot be exported to .*absent"):
        export_sqlite(folder, tmp_path / "absent" / "run.sqlite", force=False)
    (folder / EVENTS_FILE).unlink()
    with pytest.raises(UsageError, match=r"cannot be exported to .*No such file"):
        export_sqlite(folder, tmp_path / "run.sqlite", force=False)
    os.mkfifo(folder / EVENTS_FILE)
    with pytest.raises(UsageError, match=r"events.jsonl is not a file"):
        export_sqlite(folder, tmp_path / "run.sqlite", force=False)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_names_of_any_bytes_are_fine(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / f"{ODD}.sqlite"
    export_sqlite(folder, to, force=False)
    assert len(rows(to, "SELECT * FROM tasks")) == 3


def test_a_record_of_a_later_schema_is_refused(folder: Path) -> None:
    check_schema(folder)
    head = read_head(folder)
    assert isinstance(head, RecordHead)
    later = msgspec.structs.replace(head, schema=SCHEMA + 1, steerio="9.0")
    (folder / HEAD_FILE).write_bytes(msgspec.json.encode(later))
    with pytest.raises(UsageError, match=rf"steerio 9\.0 wrote .*schema {SCHEMA + 1}.*up to"):
        check_schema(folder)
