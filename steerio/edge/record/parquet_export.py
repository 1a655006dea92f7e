"""The export of one table of a record to Parquet, whose columns have types.

Rows are written in groups, so memory does not grow with the record. pyarrow is loaded only here.
"""

from __future__ import annotations

from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from steerio.edge.record.export_files import INTEGERS, Exported, fresh_file, listed, plain
from steerio.edge.record.export_tables import TABLES, rows_of
from steerio.errors import UsageError

GROUP = 20_000
"""Rows of one group; as many are in memory."""
LISTS = {("tasks", "because")}
"""The columns that are lists of numbers; in other tables lists are JSON."""


def export_parquet(folder: Path, to: Path, *, force: bool, table: str = "tasks") -> Exported:
    """Write one table of a record to a Parquet file; see ``TABLES``.

    A value that is not of its column's type is left out: steerio writes none.

    Raises:
        UsageError: pyarrow is not installed, or the record cannot be read, or the file not be
            written, or it is there already and not ``force``.
    """
    try:
        arrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError(
            f"Parquet files are written by pyarrow, which cannot be imported ({error}): "
            "pip install 'steerio[parquet]'"
        ) from None
    types = {"INTEGER": arrow.int64(), "REAL": arrow.float64(), "TEXT": arrow.string()}
    kinds = ["LIST" if (table, name) in LISTS else kind for name, kind in TABLES[table].items()]
    types["LIST"] = arrow.list_(arrow.int64())
    named = zip(TABLES[table], kinds, strict=True)
    schema = arrow.schema([(name, types[kind]) for name, kind in named])
    done = Exported()
    with fresh_file(folder, to, force=force) as fresh:
        # not by its path: pyarrow reads a path as a URL, and its text must be UTF-8
        with (
            fresh.open("wb") as file,
            parquet.ParquetWriter(file, schema, compression="zstd") as writer,
        ):
            rows = rows_of(table, folder, done)
            while group := list(islice(rows, GROUP)):
                columns = [
                    arrow.array([_of_kind(value, kind) for value in values], field.type)
                    for values, kind, field in zip(
                        zip(*group, strict=True), kinds, schema, strict=True
                    )
                ]
                batch = arrow.record_batch(columns, schema)
                writer.write_batch(batch, row_group_size=GROUP)
    return done


def _of_kind(value: Any, kind: str) -> Any:
    """Return a value as one of a column's type; ``None`` if it has no such form."""
    match kind:
        case "INTEGER":
            return value if _is_integer(value) else None
        case "REAL":
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            return float(value) if is_number else None
        case "LIST":
            return None if value is None else [v for v in listed(value) if _is_integer(v)]
        case _:
            text = plain(value)
            return text if text is None or isinstance(text, str) else str(text)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in INTEGERS
