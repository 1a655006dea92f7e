"""Tasks of a record that are looked for by other things than their number: by key, by trouble."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from steerio.edge.record.export_files import fields_of
from steerio.edge.record.mapped_lines import MappedLines
from steerio.edge.record.record_files import EVENTS_FILE, TASKS_FILE
from steerio.edge.system.own_files import to_json
from steerio.errors import UsageError

KEY = "key"
"""The tag that has a task's key."""
TROUBLES = ("failed", "timed_out", "lost")
_JSON = dict[str, Any]
_STEPS = re.compile(rb'"type":"Task(?:Queued|Retried|Started|Ended)"')


class Troubles(Struct, frozen=True):
    """The tasks of a record that may need a look.

    Attributes:
        failed: the lines of the last that failed, were too slow, or lost; in the order of ends.
        more_failed: whether there are others before these.
        waiting: the lines of `TaskQueued`, or `TaskRetried`, of the first that wait for a worker.
        more_waiting: how many wait besides those.
    """

    failed: tuple[_JSON, ...]
    more_failed: bool
    waiting: tuple[_JSON, ...]
    more_waiting: int


def task_of_key(folder: Path, key: str) -> int | None:
    """Return the number of the last task to end that has a key; ``None`` if no ended one has it.

    Raises:
        UsageError: the record cannot be read.
    """
    try:
        with MappedLines(folder / TASKS_FILE) as tasks:
            for _, line in tasks.containing_before(b'"key":' + to_json(key), tasks.end):
                fields = _fields(line)
                number = fields.get("task_id")
                if fields_of(fields.get("tags")).get(KEY) == key and isinstance(number, int):
                    return number
    except OSError as error:
        raise _unread(folder, error) from None
    return None


def troubles_of(folder: Path, most: int) -> Troubles:
    """Return the tasks of a record that may need a look, ``most`` of each kind.

    Raises:
        UsageError: the record cannot be read.
    """
    try:
        with (
            MappedLines(folder / TASKS_FILE) as tasks,
            MappedLines(folder / EVENTS_FILE) as events,
        ):
            failed = _last_failed(tasks, most + 1)
            waiting = _waiting(events)
    except OSError as error:
        raise _unread(folder, error) from None
    shown = tuple(waiting.values())[:most]
    more = len(waiting) - len(shown)
    return Troubles(tuple(failed[-most:]), len(failed) > most, shown, more)


def _last_failed(tasks: MappedLines, most: int) -> list[_JSON]:
    found: list[tuple[int, _JSON]] = []
    for end in TROUBLES:
        count = 0
        for place, line in tasks.containing_before(b'"ended_as":"%s"' % end.encode(), tasks.end):
            fields = _fields(line)
            if fields.get("ended_as") == end:  # and not just its value
                found.append((place, fields))
                count += 1
            if count == most:
                break
    found.sort(key=lambda each: each[0])
    return [fields for _, fields in found[-most:]]


def _waiting(events: MappedLines) -> dict[int, _JSON]:
    waiting: dict[int, _JSON] = {}
    for _, line in events.matching(_STEPS):
        event = _fields(line)
        number = event.get("task_id")
        if not isinstance(number, int):
            continue
        if event.get("type") in ("TaskQueued", "TaskRetried"):
            waiting[number] = event
        else:
            waiting.pop(number, None)
    return waiting


def _fields(line: bytes) -> _JSON:
    """Return the fields of a line; none if it cannot be read."""
    try:
        return fields_of(msgspec.json.decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _unread(folder: Path, error: OSError) -> UsageError:
    return UsageError(f"the record in {folder} cannot be read: {error}")
