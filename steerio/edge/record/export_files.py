"""The files that records are exported to, and the parts of lines that several exports use.

A file is written beside its place under another name, and gets its own when it is whole.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import sqlite3
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
from msgspec import Raw, Struct, field

from steerio.edge.record.record_files import TASKS_FILE, AttemptEntry
from steerio.edge.record.record_lines import Unread, open_regular
from steerio.errors import UsageError

GZIP = ".gz"
"""The end of the names of files that are written compressed."""
ATTEMPT_COLUMNS = AttemptEntry.__struct_fields__
INTEGERS = range(-(2**63), 2**63)
_encode = msgspec.json.Encoder().encode


class Exported(Struct):
    """The content of a file that was exported.

    Attributes:
        tasks, events: how many there are.
        unread_tasks, unread_events: the lines that could not be read, and are not in it.
    """

    tasks: int = 0
    events: int = 0
    unread_tasks: Unread = field(default_factory=Unread)
    unread_events: Unread = field(default_factory=Unread)


def attempts_of(line: Any) -> Iterator[dict[str, Any]]:
    """Yield the attempts of a task, those before the last as they were recorded."""
    yield from map(fields_of, listed(line.earlier))
    if line.attempt:
        last = {name: getattr(line, name, None) for name in ATTEMPT_COLUMNS}
        yield {**last, "reason": line.ended_as}


def parts_of(attempt: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the parts of the other workers of its gang in an attempt, each as an attempt."""
    for place, other in enumerate(listed(attempt.get("others")), start=1):
        times = {"started": None, "ended": None, "others": None}
        yield {**attempt, **times, **fields_of(other), "rank": place}


def fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a value of the record; none if it is no object."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    """Return the elements of a value of the record; none if it is no list."""
    return [*cast("Any", value)] if isinstance(value, list) else []


def said_of_run(folder: Path, name: str) -> dict[str, Any]:
    """Return the values of a JSON file of a run directory; none if it cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        # of Python's own reader: names of folders in it need not be UTF-8
        with open_regular(folder / name) as file:
            return fields_of(json.load(file))
    return {}


def record_of(folder: Path) -> tuple[Path, str]:
    """Return the folder that has the record of a run, and the name of the broker's if it is that.

    A campaign that has joined a standing broker has its record there.
    """
    if not (folder / TASKS_FILE).is_file():
        joined = said_of_run(folder, "parameters.json").get("joined")
        if isinstance(joined, str) and (Path(joined) / TASKS_FILE).is_file():
            return Path(joined), joined
    return folder, ""


def in_utf8(value: Any) -> str:
    """Return a value as a text that UTF-8 has a form for."""
    return str(value).encode(errors="backslashreplace").decode()


def plain(value: Any) -> Any:
    """Return a value as SQLite and CSV take it: numbers and text as they are, others as JSON."""
    if value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value in INTEGERS else str(value)
    if isinstance(value, Raw):
        text = bytes(value).decode()
        return None if text == "null" else text
    return _encode(value).decode()


@contextlib.contextmanager
def fresh_file(folder: Path, to: Path, *, force: bool) -> Generator[Path]:
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


@contextlib.contextmanager
def fresh_stream(folder: Path, to: Path, *, force: bool) -> Generator[BinaryIO]:
    """Yield a stream to write, whose file is moved to its place if all goes well.

    It is compressed if the name of the place ends with `GZIP`.

    Raises:
        UsageError: as `fresh_file`.
    """
    with fresh_file(folder, to, force=force) as fresh:
        with fresh.open("wb") as file:
            if to.suffix != GZIP:
                yield file
                return
            # without a name and a time, so that the same record makes the same file
            with gzip.GzipFile("", "wb", 5, file, mtime=0) as packed:
                yield cast("BinaryIO", packed)


def _refuse_there(to: Path, *, force: bool) -> None:
    if not force and (to.exists() or to.is_symlink()):
        raise UsageError(f"{to} is there already: name another file with --to, or say --force")
