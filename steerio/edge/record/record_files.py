"""The record of a run for people: tasks and events as lines of files in its run directory.

``tasks.jsonl`` has one line per task that ended, ``events.jsonl`` one per event; both
are read with ``pandas.read_json(path, lines=True)``.  Each line ends with the incarnation that
wrote it; the version of their columns is in `record_head`. Lines reach the operating system
before the result they tell of reaches any agent, so killing every process of a
campaign loses no finished result.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from steerio.edge.encoding.boxing import ARRAY, array_head, buffer_of
from steerio.edge.record.record_head import begin_head, close_head
from steerio.edge.wire.headers import escape
from steerio.model.events import AnyEvent
from steerio.model.showing import in_words

TASKS_FILE = "tasks.jsonl"
EVENTS_FILE = "events.jsonl"
NO_LINK = os.O_NOFOLLOW
LOOKED_BACK = 1 << 16
"""Bytes that are read at a time to find the end of the last line."""
SHOWN_BYTES = 2048
"""Longer arguments and values are left out of the record of a task."""
TRACEBACK_CHARACTERS = 8_000
"""Of a longer traceback the middle is left out of the record."""
SHOWN_DEPTH = 32
"""More deeply nested ones are left out, too: decoding takes deeper ones than encoding."""

_NESTING = bytes({*range(0x80, 0xA0), *range(0xDC, 0xE0)})
_NOT_NESTING = bytes(set(range(256)) - set(_NESTING))
"""First bytes of msgpack's arrays and maps, and all others."""

_PLACEHOLDERS = {2: "<object>", 3: "<bytes>", 4: "<reference>", 5: "<latest>"}
_ORDER = "<" if sys.byteorder == "little" else ">"
_CASTS: dict[str, Any] = {
    "|b1": "?",
    "|i1": "b",
    "|u1": "B",
    **{_ORDER + f"i{n}": kind for n, kind in ((2, "h"), (4, "i"), (8, "q"))},
    **{_ORDER + f"u{n}": kind for n, kind in ((2, "H"), (4, "I"), (8, "Q"))},
    **{_ORDER + f"f{n}": kind for n, kind in ((4, "f"), (8, "d"))},
}
"""NumPy's names of numbers in this machine's order, and those of ``memoryview.cast``."""

_ends_of_lines = re.compile(rb"}\n").sub  # in a quarter of the time of `bytes.replace`
_lines = msgspec.json.Encoder(enc_hook=in_words).encode_lines


class RankEntry(Struct, frozen=True, gc=False):
    """The part of a worker other than the first in a gang's attempt.  Times in Unix seconds."""

    worker: str
    node: str
    started: float | None
    ended: float | None


class AttemptEntry(Struct, frozen=True, omit_defaults=True):
    """An attempt after which there was another, as recorded.  Times in Unix seconds."""

    attempt: int
    reason: str
    worker: str
    node: str
    sent: float | None
    started: float | None
    ended: float | None
    received: float
    versions: dict[str, int] | None
    others: list[RankEntry] | None = None


class _LastLine(Struct):
    number: int = 0
    incarnation: int = 1
    """Lines of versions before the first schema do not tell."""


class TaskEntry(Struct, frozen=True, gc=False):
    """One task as recorded.  Times in Unix seconds; ``args`` and ``value`` if they are small."""

    task_id: int
    task_type: str
    pool: str
    ended_as: str
    attempt: int
    worker: str | None
    node: str | None
    cause: str
    because: tuple[int, ...] | None
    tags: dict[str, str] | None
    priority: float
    created: float
    queued: float
    sent: float | None
    started: float | None
    ended: float | None
    received: float
    args_bytes: int
    value_bytes: int
    error: str | None
    traceback: str | None
    reason: str
    args: Any
    value: Any
    versions: dict[str, int] | None = None
    earlier: list[AttemptEntry] | None = None
    others: list[RankEntry] | None = None
    incarnation: int = 1


def shown(body: bytes, frames: Sequence[Any] = ()) -> Any:
    """Return the content of a small body, for the record; ``None`` if it is not small.

    Nothing is unpickled: values that msgpack cannot tell are shown as ``<...>``. Small arrays of
    numbers are lists.
    """
    if not 0 < len(body) <= SHOWN_BYTES:
        return None
    try:
        value = _reader_of(frames)(body) if frames else _decode(body)
    except Exception:  # noqa: BLE001 - a peer's bytes may raise anything, and must harm no other
        return None
    if len(body) <= SHOWN_DEPTH:  # a byte at least for each level
        return value
    if len(body.translate(None, _NOT_NESTING)) > SHOWN_DEPTH and _deeper(value, SHOWN_DEPTH):
        return None
    return value


def _in_place_of(code: int, data: memoryview, frames: Sequence[Any] = ()) -> Any:
    if code == ARRAY:
        return _array(data, frames)
    return _PLACEHOLDERS.get(code, "<?>")


def _array(data: memoryview, frames: Sequence[Any]) -> Any:
    """Return a small array of numbers as lists; NumPy may not be there, nor be worth loading."""
    dtype, shape, where = array_head(data)
    cast = _CASTS.get(dtype)
    in_words = f"<array {dtype.lstrip('<|=')} {'x'.join(map(str, shape))}>"
    if isinstance(where, int):
        if where >= len(frames):  # its frame is in the store
            return in_words
        where = buffer_of(frames[where])
    content: Any = memoryview(where).cast("B")
    if cast is None or content.nbytes > SHOWN_BYTES or len(shape) > SHOWN_DEPTH:
        return in_words
    numbers: Any = content.cast(cast).tolist()
    if not shape:
        return numbers[0]
    for length in reversed(shape[1:]):
        numbers = [numbers[i : i + length] for i in range(0, len(numbers), length or 1)]
    return numbers


def _reader_of(frames: Sequence[Any]) -> Callable[[bytes], Any]:
    hook = partial(_in_place_of, frames=frames)
    return msgspec.msgpack.Decoder(ext_hook=hook).decode


_decode = msgspec.msgpack.Decoder(ext_hook=_in_place_of).decode


class RecordFiles:
    """Appends to the files of one run directory."""

    events_within_s = 0.1
    """How soon it wants events; it is given results before any client."""
    last_event = 0
    """The number of the last event that an earlier incarnation of the run has recorded."""
    incarnation = 1
    """The number of this process among those that wrote the record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ended: Counter[str] = Counter()
        """How many of the tasks that this process has recorded ended in which way."""
        with contextlib.ExitStack() as opened:
            self._tasks = opened.enter_context(_appending(folder / TASKS_FILE))
            self._events = opened.enter_context(_appending(folder / EVENTS_FILE))
            last = [_last_line(file) for file in (self._tasks, self._events)]
            self.last_event = max((line.number for line in last if line is not None), default=0)
            before = max((line.incarnation for line in last if line is not None), default=0)
            self._head = begin_head(folder, before)
            self.incarnation = self._head.incarnation
            opened.pop_all()

    def write(self, entries: Sequence[TaskEntry], events: Sequence[AnyEvent]) -> None:
        """Append, and hand everything to the operating system.

        Raises:
            OSError: a file cannot be written (the disk is full); it ends with a whole line.
        """
        if entries:
            _append(self._tasks, _encode(entries))
            for entry in entries:
                self.ended[entry.ended_as] += 1
        if events:
            _append(self._events, stamped(_encode(events), self.incarnation))

    def close(self) -> None:
        """Close the files."""
        self._tasks.close()
        self._events.close()
        close_head(self.folder, self._head)


def _appending(path: Path) -> FileIO:
    """Open a file to append to it; a link of that name is not followed.

    Raises:
        OSError: it cannot be opened.
    """
    file = FileIO(path, "ab+", opener=lambda name, flags: os.open(name, flags | NO_LINK, 0o666))
    _cut_torn(file)
    return file


def _cut_torn(file: FileIO) -> None:
    """Cut off a last line that is not whole, as a machine that stopped may have left it."""
    end = whole = file.seek(0, os.SEEK_END)
    while whole:
        start = max(0, whole - LOOKED_BACK)
        line_end = os.pread(file.fileno(), whole - start, start).rfind(b"\n")
        if line_end >= 0:
            whole = start + line_end + 1
            break
        whole = start
    if whole < end:
        file.truncate(whole)


def stamped(lines: bytes, incarnation: int) -> bytes:
    """Return lines on events with the incarnation at the end of each.

    So no event has to carry it to all that follow events. Each line is an object with fields, and
    within one no line ends.
    """
    return _ends_of_lines(b',"incarnation":%d}\n' % incarnation, lines)


def _last_line(file: FileIO) -> _LastLine | None:
    """Return the last line that can be read; ``None`` if there is none."""
    end = file.seek(0, os.SEEK_END)
    tail = os.pread(file.fileno(), LOOKED_BACK, max(0, end - LOOKED_BACK))
    for line in reversed(tail.splitlines()):
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(line, type=_LastLine)
    return None


def _append(file: FileIO, lines: bytes) -> None:
    left = memoryview(lines)
    try:
        while left:  # the operating system may take less than it was given
            left = left[file.write(left) :]
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(file.tell() - (len(lines) - len(left)))
        raise


def _encode(rows: Sequence[TaskEntry] | Sequence[AnyEvent]) -> bytes:
    try:
        return _lines(rows)
    except Exception:  # noqa: BLE001 - JSON has no word for something in one of them
        return b"".join(map(_encode_row, rows))


def _encode_row(row: TaskEntry | AnyEvent) -> bytes:
    try:
        return _lines([row])
    except Exception:  # noqa: BLE001 - as above
        fields = {name: _in_words(value) for name, value in msgspec.structs.asdict(row).items()}
        tag = row.__struct_config__.tag
        return _lines([fields if tag is None else {"type": tag, **fields}])


def _in_words(value: Any) -> Any:
    """Put values that JSON has no word for into words: text without a form in UTF-8, odd keys."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        pairs = cast("Any", value).items()
        texts = {key if isinstance(key, str) else in_words(key): item for key, item in pairs}
        return {escape(key): _in_words(item) for key, item in texts.items()}
    if isinstance(value, list | tuple):
        return [_in_words(item) for item in cast("Any", value)]
    return value


def _deeper(value: Any, depth: int) -> bool:
    """Say whether containers are nested more deeply than this."""
    level: list[Any] = [value]
    while level and depth >= 0:
        inner: list[Any] = []
        for outer in level:
            if isinstance(outer, dict):
                inner += outer.keys()
                inner += outer.values()
            elif isinstance(outer, list | tuple):
                inner += outer
        level, depth = inner, depth - 1
    return bool(level)
