"""``steerio audit``: the orders of a run, from its record."""

from __future__ import annotations

from pathlib import Path

import click

from steerio.edge.record.record_files import EVENTS_FILE
from steerio.edge.record.record_lines import check_schema
from steerio.errors import UsageError
from steerio.model.showing import printable
from steerio.view.audit_lines import audited


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
