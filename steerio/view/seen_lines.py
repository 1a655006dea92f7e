"""The lines of a record as a view needs them: few fields, whichever version wrote them.

Fields that are missing, or null, have the defaults.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

NULL = Raw(b"null")


class SeenRank(Struct, gc=False):
    """The part of another worker of a gang, as `RankEntry` has it."""

    worker: str | None = None
    node: str | None = None
    started: float | None = None
    ended: float | None = None
    ended_as: str = ""
    """As the attempt did, once that is known."""

    @property
    def run_s(self) -> float:
        """How long it ran, in seconds; 0 if that is not known."""
        if self.started is None or self.ended is None:
            return 0.0
        return self.ended - self.started


class SeenAttempt(Struct, gc=False):
    """An attempt before the last one, as `AttemptEntry` has it."""

    attempt: int = 0
    reason: str = ""
    worker: str | None = None
    node: str | None = None
    sent: float | None = None
    started: float | None = None
    ended: float | None = None
    received: float = 0.0
    versions: dict[str, int] | None = None
    others: list[SeenRank] | None = None

    @property
    def ended_as(self) -> str:
        """How it ended: not well, for there was another."""
        return self.reason


class SeenTask(Struct, gc=False):
    """A line of ``tasks.jsonl``."""

    task_id: int
    received: float
    task_type: str = ""
    pool: str = ""
    ended_as: str = ""
    attempt: int = 0
    worker: str | None = None
    node: str | None = None
    cause: str = ""
    because: list[int] | None = None
    created: float | None = None
    queued: float | None = None
    sent: float | None = None
    started: float | None = None
    ended: float | None = None
    args_bytes: int = 0
    value_bytes: int = 0
    error: str | None = None
    reason: str | None = None
    versions: dict[str, int] | None = None
    earlier: list[SeenAttempt] | None = None
    others: list[SeenRank] | None = None
    incarnation: int | None = 1


class SeenTaskEvent(Struct, gc=False):
    """A line of ``events.jsonl``: the fields of the events of tasks, which nearly all lines are."""

    type: str
    at: float
    task_id: int | None = None
    task_type: str = ""
    pool: str = ""
    worker: str | None = None
    others: list[str] | None = None
    incarnation: int | None = 1


class SeenEvent(SeenTaskEvent, gc=False):
    """A line of ``events.jsonl``: the fields of all events that a view looks at."""

    number: int = 0
    attempt: int = 0
    node: str = ""
    ended_as: str = ""
    reason: str = ""
    source: str = ""
    lent: bool = False
    workers: Any = None
    name: str = ""
    version: int = 0
    nbytes: int = 0
    topic: str = ""
    client: str = ""
    value: Raw = NULL
    count: int = 0
    question: int = 0
    waiting: int = 0
    out: int = 0
    ended: int = 0
    oldest_s: float = 0.0
    agent: str = ""
    seconds: float = 0.0
    where: str = ""


TASK_EVENTS = frozenset({"TaskQueued", "TaskStarted", "TaskEnded", "TaskRetried"})
"""The events of which a view needs no fields but those of a `SeenTaskEvent`."""


class SeenDetails(Struct):
    """The other columns of a line of ``tasks.jsonl``, for a look at one task."""

    tags: dict[str, str] | None = None
    priority: float | None = None
    traceback: str | None = None
    args: Raw = NULL
    value: Raw = NULL


tasks_decoder = msgspec.json.Decoder(SeenTask)
events_decoder = msgspec.json.Decoder(SeenEvent)
_task_events = msgspec.json.Decoder(SeenTaskEvent)
_details = msgspec.json.Decoder(SeenDetails).decode
numbers_of = msgspec.json.Decoder(dict[str, Any]).decode


class EventLines:
    """The decoder of lines of events: it takes a third less time than one of all their fields."""

    def decode_lines(self, data: bytes) -> list[SeenTaskEvent]:
        """Return the events of some lines; those that are not of tasks have all fields.

        Raises:
            DecodeError, UnicodeDecodeError: one of them cannot be read.
        """
        events = _task_events.decode_lines(data)
        others = [place for place, event in enumerate(events) if event.type not in TASK_EVENTS]
        if others:
            lines = data.splitlines()
            if len(lines) != len(events):  # some are empty
                return list(events_decoder.decode_lines(data))
            for place in others:
                events[place] = events_decoder.decode(lines[place])
        return events

    def decode(self, line: bytes) -> SeenTaskEvent:
        """Return the event of one line, with all fields.

        Raises:
            DecodeError, UnicodeDecodeError: it cannot be read.
        """
        return events_decoder.decode(line)


def lines_at(places: list[int], numbers: list[int], text: bytes) -> list[bytes]:
    """Return the lines at some places; each is searched for, and no other one is copied.

    Args:
        places: those of the lines, in order.
        numbers: of the tasks of these lines, with which a line begins.
        text: all lines.
    """
    found: list[bytes] = []
    begin = 0
    for number in numbers:
        begin = text.find(b'{"task_id":%d,' % number, begin)
        if begin < 0 or text[begin - 1 : begin] not in (b"", b"\n"):  # it is not as we write it
            lines = text.split(b"\n")
            return [lines[place] for place in places]
        end = text.find(b"\n", begin)
        found.append(text[begin : end if end >= 0 else len(text)])
    return found


def details_of(line: bytes) -> SeenDetails:
    """Return the other columns of a line; none if one is of another type."""
    try:
        return _details(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return SeenDetails()
