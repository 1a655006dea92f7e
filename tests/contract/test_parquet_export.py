"""Tables of a record become Parquet files whose columns have types, whatever reads them."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.edge.record import parquet_export
from steerio.edge.record.export_tables import TABLES
from steerio.edge.record.parquet_export import export_parquet
from steerio.edge.record.record_files import EVENTS_FILE, TASKS_FILE, AttemptEntry, RecordFiles
from steerio.edge.record.record_lines import TASK_COLUMNS
from steerio.errors import UsageError
from steerio.model import events as ev
from tests.contract.test_record_files import ODD, entry

# Polars opens descriptors when it first reads a file, and keeps them.
_FILE = BytesIO()
pl.DataFrame({"a": [1]}).write_parquet(_FILE)
_FILE.seek(0)
pl.read_parquet(_FILE)
EARLIER = AttemptEntry(1, "lost: killed", "simulate-2", "node", 1.0, None, None, 2.0, {"m": 1})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    (run / "parameters.json").write_text(json.dumps({"campaign": "search:Search"}))
    files = RecordFiles(run)
    retried = entry(2, because=(1, 2), attempt=2, earlier=[EARLIER], started=None, ended=None)
    files.write([entry(1), retried], [ev.TaskQueued(1, 5.0, 1, "search:energy", "simulate")])
    files.close()
    return run


def test_columns_have_types(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "run.parquet"
    assert export_parquet(folder, to, force=False).tasks == 2
    schema = {field.name: str(field.type) for field in pq.read_schema(to)}
    assert set(schema) == set(TASK_COLUMNS) - {"earlier"}
    assert (schema["task_id"], schema["started"], schema["worker"]) == ("int64", "double", "string")
    assert schema["because"] == "list<element: int64>"


def test_pandas_and_polars_read_it(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "run.parquet"
    export_parquet(folder, to, force=False)
    of_pandas = pd.read_parquet(to)
    assert list(of_pandas.task_id) == [1, 2]
    assert [list(because) for because in of_pandas.because] == [[7], [1, 2]]
    assert list(of_pandas.started.isna()) == [False, True]
    of_polars = pl.read_parquet(to)
    assert of_polars["because"].to_list() == [[7], [1, 2]]
    assert of_polars["args"].to_list() == ['[["C"],{}]'] * 2
    assert of_polars["ended"].to_list() == [12.0, None]


@pytest.mark.parametrize("table", TABLES)
def test_every_table_can_be_written(folder: Path, tmp_path: Path, table: str) -> None:
    to = tmp_path / "run.parquet"
    export_parquet(folder, to, force=False, table=table)
    found = pl.read_parquet(to)
    assert found.columns == list(TABLES[table])
    rows = {"run": 2, "tasks": 2, "attempts": 3, "tags": 2, "reasons": 3, "events": 1}
    assert len(found) == rows[table]


def test_rows_are_written_in_groups(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_export, "GROUP", 2)
    files = RecordFiles(folder)
    files.write([entry(number) for number in range(3, 6)], [])
    files.close()
    to = tmp_path / "run.parquet"
    assert export_parquet(folder, to, force=False).tasks == 5
    assert pq.ParquetFile(to).num_row_groups == 3
    assert list(pd.read_parquet(to).task_id) == [1, 2, 3, 4, 5]


def test_a_record_without_tasks_has_the_columns(tmp_path: Path) -> None:
    folder = tmp_path / ODD
    folder.mkdir()
    RecordFiles(folder).close()
    to = folder / f"{ODD}.parquet"
    export_parquet(folder, to, force=False)
    with to.open("rb") as file:
        assert pl.read_parquet(file).shape == (0, len(TABLES["tasks"]))


def test_without_pyarrow_it_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError, match=r"pip install 'steerio\[parquet\]'"):
        export_parquet(folder, tmp_path / "run.parquet", force=False)
    assert not (tmp_path / "run.parquet").exists()


@given(value=st.text() | st.integers() | st.floats(allow_nan=False) | st.none())
def test_values_of_any_type_in_any_column_are_no_hindrance(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    folder = tmp_path_factory.mktemp("run", numbered=True)
    odd = [value, [value], {"a": value}, True]
    with (folder / TASKS_FILE).open("w") as file:
        for each in odd:
            file.write(json.dumps(dict.fromkeys(TASK_COLUMNS, each)) + "\n")
    (folder / EVENTS_FILE).touch()
    done = export_parquet(folder, folder / "run.parquet", force=False)
    assert len(pl.read_parquet(folder / "run.parquet")) == done.tasks
