"""The search for lines in the files of a record: their text, which may be long, is mapped."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from steerio.edge.record.record_lines import open_regular
from steerio.view.seen_lines import SeenTask, events_decoder, tasks_decoder

NEAR_BYTES = 1 << 16
"""When so much of a file is left it is looked through line by line."""


class MappedText:
    """The text of a file as it is now, mapped; empty if there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map: mmap.mmap | None = None

    def __enter__(self) -> mmap.mmap | bytes:
        try:
            with open_regular(self.path) as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (FileNotFoundError, ValueError):  # a file that is empty cannot be mapped
            return b""
        return self._map

    def __exit__(self, *_: object) -> None:
        if self._map is not None:
            self._map.close()


def line_at(text: mmap.mmap | bytes, place: int) -> bytes:
    """Return the line around a place; it may be one of which only a part is written."""
    end = text.find(b"\n", place)
    return bytes(text[text.rfind(b"\n", 0, place) + 1 : len(text) if end < 0 else end])


def lines_with(path: Path, needle: bytes, task_id: int) -> Iterator[tuple[SeenTask, bytes]]:
    """Yield the lines on a task, each with its text."""
    with MappedText(path) as text:
        place = text.find(needle)
        while place >= 0:
            found = decoded(line_at(text, place))
            if found is not None and found[0].task_id == task_id:
                yield found
            place = text.find(needle, place + 1)


def decoded(line: bytes) -> tuple[SeenTask, bytes] | None:
    """Return a line of ``tasks.jsonl`` with its text; ``None`` if it cannot be read."""
    try:
        line.decode()  # the decoder passes over fields that it does not know
        return tasks_decoder.decode(line), line
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def when_ended(line: bytes) -> float | None:
    """Return the time of a line of ``tasks.jsonl``; ``None`` if it cannot be read."""
    found = decoded(line)
    return None if found is None else found[0].received


def when_it_was(line: bytes) -> float | None:
    """Return the time of a line of ``events.jsonl``; ``None`` if it cannot be read."""
    try:
        return events_decoder.decode(line).at
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def place_of(
    text: mmap.mmap | bytes,
    at: float,
    when: Callable[[bytes], float | None],
    *,
    behind: bool = False,
) -> int:
    """Return a place in lines that are in order of time, near before those of a time and later.

    Args:
        text: the lines.
        at: the time.
        when: returns the time of a line.
        behind: return a place near behind those of that time and before.
    """
    low, high = 0, len(text)
    while high - low > NEAR_BYTES:
        middle = (low + high) // 2
        place = text.find(b"\n", middle, high) + 1
        found = when(line_at(text, place)) if place else None
        if found is not None and (found <= at if behind else found < at):
            low = place
        else:
            high = middle
    return high if behind else low


def tasks_from(path: Path, at: float) -> Iterator[SeenTask]:
    """Yield the tasks that ended at a time or later."""
    with MappedText(path) as text:
        place = place_of(text, at, when_ended)
        while (end := text.find(b"\n", place)) >= 0:
            found = decoded(text[place:end])
            place = end + 1
            if found is not None and found[0].received >= at:
                yield found[0]
