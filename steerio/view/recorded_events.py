"""Events of a record, by their numbers: those behind one, or the last."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from steerio.edge.record.export_files import fields_of
from steerio.edge.record.record_files import EVENTS_FILE
from steerio.view.record_search import MappedText, place_of

LOOKED_BYTES = 64 << 20
"""So much of a file is looked through in one go, at most."""
_NUMBER = re.compile(rb'"number":(\d+)')


class FoundEvents(Struct, frozen=True):
    """Events of a record.

    Attributes:
        events: in their order.
        until: the number up to which the record was looked through; 0: nothing was.
        more: whether there may be more behind that.
    """

    events: tuple[dict[str, Any], ...]
    until: int
    more: bool


class EventQuery(Struct, frozen=True):
    """The events that are asked for: of these types, if any are named, this pool, this task."""

    types: Collection[str] = ()
    pool: str = ""
    task_id: int | None = None

    def wants(self, event: dict[str, Any]) -> bool:
        """Say whether an event is one of those."""
        return (
            (not self.types or event.get("type") in self.types)
            and (not self.pool or self.pool in (event.get("pool"), event.get("source")))
            and (self.task_id is None or event.get("task_id") == self.task_id)
        )


def events_behind(folder: Path, since: int, most: int, query: EventQuery) -> FoundEvents:
    """Return the next events behind a number.

    Args:
        folder: the folder of the record.
        since: the number.
        most: how many are returned at most.
        query: selects them.

    Raises:
        OSError: the record cannot be read.
    """
    found: list[dict[str, Any]] = []
    until, more = since, False
    with MappedText(folder / EVENTS_FILE) as text:
        first = place_of(text, since, _number_of)
        first = text.rfind(b"\n", 0, first) + 1
        for place, line in _lines(text, first):
            number = _number_of(line)
            if number is None or number <= since:
                continue
            event = _event(line)
            if event is not None and query.wants(event):
                if len(found) >= most:
                    more = True
                    break
                found.append(event)
            until = int(number)
            if place - first > LOOKED_BYTES:
                more = True
                break
    return FoundEvents((*found,), until, more)


def last_events(folder: Path, most: int, query: EventQuery) -> FoundEvents:
    """Return the last events, of those near the end of the record; see `events_behind`."""
    found: deque[dict[str, Any]] = deque(maxlen=most)
    until = 0
    with MappedText(folder / EVENTS_FILE) as text:
        end = text.rfind(b"\n")
        least = max(0, end - LOOKED_BYTES)
        while end > least and len(found) < most:
            begin = text.rfind(b"\n", 0, end) + 1
            event = _event(bytes(text[begin:end]))
            if event is not None:
                until = until or int(event.get("number") or 0)
                if query.wants(event):
                    found.appendleft(event)
            end = begin - 1
    return FoundEvents((*found,), until, more=False)


def _lines(text: Any, place: int) -> Iterator[tuple[int, bytes]]:
    while (end := text.find(b"\n", place)) >= 0:
        yield place, bytes(text[place:end])
        place = end + 1


def _number_of(line: bytes) -> float | None:
    found = _NUMBER.search(line)
    return None if found is None else int(found[1])


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        return fields_of(msgspec.json.decode(line)) or None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
