"""``steerio audit``: the orders of a run, from its record."""

from __future__ import annotations

import time
from pathlib import Path

import click

from steerio.edge.record.record_files import EVENTS_FILE
from steerio.edge.record.record_lines import check_schema
from steerio.edge.system.own_files import to_json
from steerio.errors import UsageError
from steerio.launch.walltime import parse_seconds
from steerio.model.showing import counted, printable
from steerio.view.audit_lines import AuditQuery, entries, line_of


def show_audit(
    run_dir: str, by: str, kinds: tuple[str, ...], since: str | None, as_json: bool
) -> None:
    """Print the orders of a run: by which person or program, when, why, and with which effect.

    Args:
        run_dir: the run directory.
        by: only those of this giver or agent; empty: of all.
        kinds: only of these kinds, if any are named.
        since: only those of the last so long, as people write it.
        as_json: print JSON.

    Raises:
        UsageError: there is no record, or of a later version, or ``since`` is no length of time.
    """
    query = AuditQuery(by, kinds, time.time() - parse_seconds(since) if since else 0.0)
    folder = Path(run_dir)
    if not (folder / EVENTS_FILE).is_file():
        raise UsageError(
            f"there is no record in {run_dir}: it has no {EVENTS_FILE}; the orders of a campaign "
            "that joined a broker are in the record of the broker's folder"
        )
    check_schema(folder)
    there = list(entries(folder))
    found = [entry for entry in there if query.wants(entry)]
    if as_json:
        click.echo(to_json(found, indent=2))
        return
    for entry in found:
        click.echo(printable(line_of(entry)))
    if not there:
        click.echo("no orders were given, and no questions asked")
    elif not found:
        givers = ", ".join(sorted({entry.by for entry in there if entry.by})) or "not named"
        count = counted(len(there), "line")
        click.echo(printable(f"none of these: the audit has {count}, and the givers are {givers}"))
