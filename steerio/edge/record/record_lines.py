"""The lines of a record as values, whichever version wrote them: a column may be missing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Raw, Struct

from steerio.edge.record.record_files import EVENTS_FILE, NO_LINK, TASKS_FILE, TaskEntry
from steerio.edge.record.record_head import SCHEMA, read_head
from steerio.errors import UsageError

NULL = Raw(b"null")
VERBATIM = ("args", "value")
"""The columns whose JSON is passed on as it was written."""
TASK_COLUMNS = TaskEntry.__struct_fields__

TaskLine: Any = msgspec.defstruct(
    "TaskLine",
    [(name, Raw, NULL) if name in VERBATIM else (name, Any, None) for name in TASK_COLUMNS],
)
"""A line of ``tasks.jsonl``: the fields of `TaskEntry`, each of any type."""


class EventLine(Struct):
    """A line of ``events.jsonl``: its number and time, and those fields that many events share."""

    number: Any = None
    type: Any = None
    at: Any = None
    incarnation: Any = None
    task_id: Any = None
    task_type: Any = None
    pool: Any = None
    attempt: Any = None
    worker: Any = None
    node: Any = None


class Unread(Struct):
    """The lines of one file that could not be read.

    Attributes:
        count: how many there were.
        first: the number of the first of them, from 1.
    """

    count: int = 0
    first: int = 0


class _Ending(Struct):
    ended_as: str


_task = msgspec.json.Decoder(TaskLine).decode
_event = msgspec.json.Decoder(EventLine).decode
_ending = msgspec.json.Decoder(_Ending).decode


def check_schema(folder: Path) -> None:
    """Refuse a record that a later version has written.

    Raises:
        UsageError: it is one.
    """
    head = read_head(folder)
    if head is not None and head.schema > SCHEMA:
        raise UsageError(
            f"steerio {head.steerio} wrote the record in {folder}, with schema {head.schema}; this "
            f"version reads up to schema {SCHEMA}: use that one"
        )


def task_lines(folder: Path, unread: Unread) -> Iterator[Any]:
    """Yield the lines on tasks, each a ``TaskLine``; note those that cannot be read.

    Raises:
        OSError: the file cannot be read.
    """
    yield from _decoded(folder / TASKS_FILE, _task, unread)


def event_lines(folder: Path, unread: Unread) -> Iterator[tuple[EventLine, bytes]]:
    """Yield the lines on events, each with its text; note those that cannot be read.

    Raises:
        OSError: the file cannot be read.
    """
    for number, line in enumerate(whole_lines(folder / EVENTS_FILE), 1):
        try:
            yield _event(_in_utf8(line)), line
        except (msgspec.DecodeError, UnicodeDecodeError):
            _note(unread, number)


def endings(folder: Path) -> Iterator[str]:
    """Yield how each task ended.

    Raises:
        OSError: the file cannot be read.
    """
    for line in _decoded(folder / TASKS_FILE, _ending, Unread()):
        yield line.ended_as


def whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines that a file has now, without a last one of which a part is written.

    Raises:
        OSError: it is no file, or a link, or cannot be read.
    """
    with open_regular(path) as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0:  # more may be written meanwhile
            line = file.readline(left)
            left -= len(line)
            if not line.endswith(b"\n"):
                return
            yield line


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read it; nothing waits if the name is that of a pipe.

    Raises:
        OSError: it is no file, or a link, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | NO_LINK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a file")
    return os.fdopen(descriptor, "rb")


def _decoded(path: Path, decode: Any, unread: Unread) -> Iterator[Any]:
    for number, line in enumerate(whole_lines(path), 1):
        try:
            yield decode(_in_utf8(line))
        except (msgspec.DecodeError, UnicodeDecodeError):
            _note(unread, number)


def _in_utf8(line: bytes) -> bytes:
    """Return a line, all of which can be read: a decoder passes over fields that it does not know.

    Raises:
        UnicodeDecodeError: it is damaged.
    """
    line.decode()
    return line


def _note(unread: Unread, number: int) -> None:
    unread.count += 1
    unread.first = unread.first or number
