"""``steerio audit``: the orders of a run, from its record."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from steerio.edge.record.record_files import EVENTS_FILE
from steerio.edge.record.record_lines import check_schema, whole_lines
from steerio.errors import UsageError
from steerio.model.showing import in_one_line, printable

AUDITED = (
    "Ordered", "Asked", "Answered", "Advised", "ParameterChanged", "PoolPaused", "PoolResumed",
)  # fmt: skip
"""The events that tell of orders, questions, advice and their effects."""
VIEW_CHARACTERS = 120
"""Longest view of an advisor in a line."""


def show_audit(run_dir: str) -> None:
    """Print the orders of a run: by which person or program, when, why, and with which effect.

    Raises:
        UsageError: there is no record, or of a later version.
    """
    folder = Path(run_dir)
    if not (folder / EVENTS_FILE).is_file():
        raise UsageError(
            f"there is no record in {run_dir}: it has no {EVENTS_FILE}; the orders of a campaign "
            "that joined a broker are in the record of the broker's folder"
        )
    check_schema(folder)
    lines = list(audited(folder))
    for line in lines:
        click.echo(printable(line))
    if not lines:
        click.echo("no orders were given, and no questions asked")


def audited(folder: Path) -> Iterator[str]:
    """Yield a line for each order, question and change in the record of a run."""
    for line in whole_lines(folder / EVENTS_FILE):
        if not any(name.encode() in line for name in AUDITED):
            continue
        try:
            event: dict[str, Any] = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue
        told = _told(event)
        if told:
            when = datetime.fromtimestamp(float(event.get("at", 0.0))).astimezone()
            yield f"{when:%Y-%m-%d %H:%M:%S}  {told}"


def _told(event: dict[str, Any]) -> str:
    """Return an event in words; empty, if an order tells of it, or it is none of these."""
    of = f"{event['client']}: " if event.get("client") else ""
    match event.get("type"):
        case "Ordered":
            dry = "tried to " if event.get("dry_run") else ""
            effect = event["outcome"] if event["done"] else f"refused: {event['outcome']}"
            why = f" ({event['reason']})" if event.get("reason") else ""
            return f"{of}{event['by']}: {dry}{event['order']}{why} -> {effect}"
        case "Asked":
            options = " | ".join(event["options"])
            return f"{of}{event['by']} asked ({event['question']}): {event['text']} [{options}]"
        case "Answered" if not event.get("order"):
            return f"{of}question {event['question']} {event['choice']!r}: {event['reason']}"
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
