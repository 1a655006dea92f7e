"""``steerio report --text``: the figures of a run as tables, or as plain text if it is piped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from steerio.model.showing import printable
from steerio.view.figures import Figures, all_figures, encoded, headline, remarks
from steerio.view.run_reader import RunReader
from steerio.view.snapshot import FailureView, RunSnapshot

SHOWN_FAILURES = 3
"""The last failures that are shown in full."""
TRACEBACK_LINES = 12
"""The last lines of a traceback that are shown."""


def show_text(run_dir: str) -> None:
    """Print the figures of a run.

    Raises:
        UsageError: there is no record, or it cannot be read.
    """
    reader = RunReader(Path(run_dir))
    reader.read_all()
    snapshot = reader.snapshot()
    from rich.console import Console  # slow to load

    console = Console()
    if console.is_terminal:
        console.print(printable(headline(snapshot)), style="bold", markup=False, highlight=False)
        for line in remarks(snapshot):
            console.print(printable(line), markup=False, highlight=False)
        for table in all_figures(snapshot):
            console.print(as_table(table))
        for line in _failures(snapshot):
            console.print(printable(line, lines=True), markup=False, highlight=False)
        return
    lines = [printable(headline(snapshot)), *map(printable, remarks(snapshot))]
    text = printable("\n".join([*lines, *as_lines(snapshot)]), lines=True)
    click.echo(encoded(text, sys.stdout.encoding))


def as_lines(snapshot: RunSnapshot) -> Iterator[str]:
    """Yield the tables of a snapshot as lines of plain text."""
    for table in all_figures(snapshot):
        yield ""
        yield from plain(table)
    yield from _failures(snapshot)


def plain(table: Figures) -> Iterator[str]:
    """Yield a table as lines, the columns beside each other."""
    yield table.title
    rows = [table.columns, *(tuple(map(printable, row)) for row in table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    for row in rows:
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        yield ("  " + "  ".join(cells)).rstrip()


def as_table(table: Figures) -> Any:
    """Return a table for rich, which fits it to the terminal."""
    from rich.box import SIMPLE_HEAD  # loaded already by those who print it
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=table.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for number, column in enumerate(table.columns):
        drawn.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(printable(encoded(cell, sys.stdout.encoding))) for cell in row))
    return drawn


def _failures(snapshot: RunSnapshot) -> Iterator[str]:
    """Yield the last failures in full, without tasks that were only cancelled."""
    failures = [each for each in snapshot.failures if each.ended_as != "cancelled"]
    for failure in failures[:SHOWN_FAILURES]:
        yield ""
        yield from _failure(failure)


def _failure(failure: FailureView) -> Iterator[str]:
    where = f" on {failure.worker} ({failure.node})" if failure.worker else ""
    ended = failure.ended_as.replace("_", " ")
    yield f"task {failure.task_id} {failure.task_type} {ended}{where}: {failure.error}"
    yield f"  attempts: {failure.attempts}; submitted by {failure.cause or 'a session'}"
    if failure.args:
        yield f"  arguments: {failure.args}"
    lines = failure.traceback.rstrip().splitlines()
    if len(lines) > TRACEBACK_LINES:
        yield "  ..."
    for line in lines[-TRACEBACK_LINES:]:
        yield f"  {line}"
