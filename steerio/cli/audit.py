"""``steerio audit``: the orders of a run, from its record."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from steerio.view.audit_entries import audited


def show_audit(run_dir: str) -> None:
    """Print the orders of a run: by which person or program, when, why, and with which effect.

    Raises:
        UsageError: there is no record, or of a later version.
    """
    entries = list(audited(Path(run_dir)))
    for entry in entries:
        when = datetime.fromtimestamp(entry.at).astimezone()
        click.echo(f"{when:%Y-%m-%d %H:%M:%S}  {entry.words}")
    if not entries:
        click.echo("no orders were given, and no questions asked")
