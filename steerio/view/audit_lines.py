"""The orders of a run, its questions and their effects, from its record: as values and in lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from steerio.edge.record.export_files import record_of
from steerio.edge.record.record_files import EVENTS_FILE
from steerio.edge.record.record_lines import check_schema, whole_lines
from steerio.errors import UsageError
from steerio.model.showing import in_one_line

KINDS: dict[str, tuple[str, ...]] = {
    "order": ("Ordered",),
    "question": ("Asked", "Answered", "QuestionClosed"),
    "advice": ("Advised",),
    "change": ("ParameterChanged", "PoolPaused", "PoolResumed"),
}
"""The kinds of entries, and the events that tell of each."""
AUDITED = tuple(name for names in KINDS.values() for name in names)
"""The events that tell of orders, questions, advice and their effects."""
VIEW_CHARACTERS = 120
"""Longest view of an advisor in a line."""


class AuditEntry(Struct, frozen=True):
    """An order, a question, or a change that no order tells of.

    Attributes:
        at: when, in Unix seconds; ``number``: of the event.
        kind: the type of the event, such as ``Ordered``.
        campaign: the name of the campaign; empty for pools.
        by: the person or program that gave the order, or the agent that asked.
        reason: why, in its words.
        words: all of it in words.
        done: of an order: whether it was carried out, or could have been if it was a ``dry_run``.
    """

    at: float
    number: int
    kind: str
    campaign: str
    by: str
    reason: str
    words: str
    done: bool = True
    dry_run: bool = False


class AuditQuery(Struct, frozen=True):
    """The entries that are asked for.

    Attributes:
        by: of this giver or agent; empty: of all.
        kinds: of these, if any are named.
        since: from this time on, in Unix seconds.
    """

    by: str = ""
    kinds: tuple[str, ...] = ()
    since: float = 0.0

    def wants(self, entry: AuditEntry) -> bool:
        """Say whether an entry is one of those."""
        return (
            (not self.by or entry.by == self.by)
            and (not self.kinds or any(entry.kind in KINDS[kind] for kind in self.kinds))
            and entry.at >= self.since
        )


class Audit(Struct, frozen=True):
    """The last entries of the audit of a run, the oldest first, and how many were left out."""

    entries: list[AuditEntry]
    left_out: int


def audit_of(folder: Path, most: int) -> Audit:
    """Return the last entries of the audit of a run directory.

    Raises:
        UsageError: its record is of a later version, or cannot be read.
    """
    record, _ = record_of(folder)
    check_schema(record)
    last: deque[AuditEntry] = deque(maxlen=most)
    count = 0
    try:
        for entry in entries(record):
            count += 1
            last.append(entry)
    except FileNotFoundError:  # no event has been written yet
        pass
    except OSError as error:
        raise UsageError(f"{record} cannot be read: {error}") from None
    return Audit(list(last), count - len(last))


def audited(folder: Path) -> Iterator[str]:
    """Yield a line for each order, question and change in the record of a run."""
    return map(line_of, entries(folder))


def line_of(entry: AuditEntry) -> str:
    """Return an entry as a line."""
    when = datetime.fromtimestamp(entry.at).astimezone()
    return f"{when:%Y-%m-%d %H:%M:%S}  {entry.words}"


def entries(folder: Path) -> Iterator[AuditEntry]:
    """Yield an entry for each order, question and change in the record of a run.

    Raises:
        OSError: it cannot be read.
    """
    for line in whole_lines(folder / EVENTS_FILE):
        if not any(name.encode() in line for name in AUDITED):
            continue
        try:
            event: dict[str, Any] = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue
        words = _told(event)
        if words:
            yield AuditEntry(
                at=float(event.get("at", 0.0)),
                number=int(event.get("number", 0)),
                kind=str(event["type"]),
                campaign=str(event.get("client", "")),
                by=str(event.get("by", "")),
                reason=str(event.get("reason", "")),
                words=words,
                done=bool(event.get("done", True)),
                dry_run=bool(event.get("dry_run", False)),
            )


def _told(event: dict[str, Any]) -> str:
    """Return an event in words; empty, if an order tells of it, or it is none of these."""
    of = f"{event['client']}: " if event.get("client") else ""
    match event.get("type"):
        case "Ordered":
            dry = "tried to " if event.get("dry_run") else ""
            effect = event["outcome"] if event["done"] else f"refused: {event['outcome']}"
            why = f" ({event['reason']})" if event.get("reason") else ""
            approved = f", approved by {event['approved_by']}" if event.get("approved_by") else ""
            return f"{of}{event['by']}: {dry}{event['order']}{why}{approved} -> {effect}"
        case "Asked":
            options = " | ".join(event["options"])
            return f"{of}{event['by']} asked ({event['question']}): {event['text']} [{options}]"
        case "Answered" if not event.get("order"):
            return f"{of}question {event['question']} {event['choice']!r}: {event['reason']}"
        case "QuestionClosed":
            return (
                f"{of}question {event['question']} was closed without an answer: {event['reason']}"
            )
        case "Advised":
            return of + _advice_told(event)
        case "ParameterChanged" if not event.get("order"):
            change = f"from {event['old']!r} to {event['new']!r}"
            return f"{of}{event['by']} set {event['name']} {change}"
        case "PoolPaused":
            return f"pool {event['pool']} paused {event['reason']}"
        case "PoolResumed":
            return f"pool {event['pool']} resumed {event['reason']}"
        case _:
            return ""


def _advice_told(event: dict[str, Any]) -> str:
    notes = [*event.get("clipped", ())]
    if event["source"] == "fallback":
        notes.insert(0, f"by the fallback: {event['reason']}")
    view = in_one_line(event["view"], VIEW_CHARACTERS)
    told = f"{event['by']} consulted {event['advisor']}: {view} -> {event['answer']}"
    return told + (f" ({'; '.join(notes)})" if notes else "")
