"""The orders of a run in lines, from its record."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from steerio.edge.record.record_files import EVENTS_FILE
from steerio.edge.record.record_lines import whole_lines

AUDITED = ("Ordered", "Asked", "Answered", "ParameterChanged", "PoolPaused", "PoolResumed")
"""The events that tell of orders, questions and their effects."""


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
            approved = f", approved by {event['approved_by']}" if event.get("approved_by") else ""
            return f"{of}{event['by']}: {dry}{event['order']}{why}{approved} -> {effect}"
        case "Asked":
            options = " | ".join(event["options"])
            return f"{of}{event['by']} asked ({event['question']}): {event['text']} [{options}]"
        case "Answered" if not event.get("order"):
            return f"{of}question {event['question']} {event['choice']!r}: {event['reason']}"
        case "ParameterChanged" if not event.get("order"):
            change = f"from {event['old']!r} to {event['new']!r}"
            return f"{of}{event['by']} set {event['name']} {change}"
        case "PoolPaused":
            return f"pool {event['pool']} paused {event['reason']}"
        case "PoolResumed":
            return f"pool {event['pool']} resumed {event['reason']}"
        case _:
            return ""
