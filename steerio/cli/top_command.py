"""``steerio top``: a run as it is now, redrawn on a terminal, in lines elsewhere, until it ends."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from steerio.cli.report_text import as_table
from steerio.model.showing import printable
from steerio.view.figures import (
    Figures,
    board_figures,
    encoded,
    failure_figures,
    headline,
    idle_figures,
    note_figures,
    pool_figures,
    remarks,
)
from steerio.view.run_reader import RunReader
from steerio.view.snapshot import RunSnapshot

REDRAW_S, LINE_EVERY_S = 0.5, 5.0
READ_S = 0.3
"""Seconds of reading between two drawings: a long record is shown while it is read."""
SHOWN_FAILURES = 4
OTHER_LINES = 12
"""Lines of a terminal that are not left to tables."""
NARROW = {
    "Pools": ("pool", "workers", "busy", "queued"),
    "Boards": ("board", "waiting", "out"),
    "Noted": ("quantity", "last"),
    "Not well": ("error", "count"),
}
"""The columns that are shown on a terminal of fewer than ``WIDE`` characters."""
WIDE = 100
MEDIUM = {
    "Pools": ("pool", "workers", "busy", "idle", "starting", "queued", "used"),
    "Boards": ("board", "waiting", "out", "ended", "oldest"),
    "Noted": ("quantity", "last", "least", "most"),
    "Not well": ("error", "count", "last task"),
}
"""Those of a terminal of fewer than ``WIDE`` characters, and at least ``MEDIUM_WIDTH``."""
MEDIUM_WIDTH = 70


def show_top(run_dir: str, plain: bool) -> None:
    """Show a run until it ends, or Ctrl-C.

    Args:
        run_dir: the run directory.
        plain: print lines, also on a terminal.

    Raises:
        UsageError: there is no record, or it cannot be read.
    """
    reader = RunReader(Path(run_dir))
    try:
        if not plain and sys.stdout.isatty():
            _show_live(reader)
        else:
            _show_lines(reader)
    except KeyboardInterrupt:
        click.echo("", err=True)


def _show_lines(reader: RunReader) -> None:
    """Print a line now and then, and one at the end."""
    while True:
        live = _advance(reader, whole=True)
        line = printable(line_of(reader.snapshot()))
        click.echo(encoded(line, sys.stdout.encoding))
        if not live:
            return
        time.sleep(LINE_EVERY_S)


def _show_live(reader: RunReader) -> None:
    from rich.console import Console  # slow to load
    from rich.live import Live

    console = Console()
    with Live(console=console, auto_refresh=False, screen=False) as shown:
        while True:
            live = _advance(reader, whole=False)
            shown.update(drawn(reader.snapshot(), console.width, console.height), refresh=True)
            if not live:
                return
            time.sleep(REDRAW_S)


def _advance(reader: RunReader, *, whole: bool) -> bool:
    """Read on; say whether the run may go on, or more is there to be read."""
    live = reader.facts(fresh=True).live  # first: whatever is written before an end is read then
    until = time.monotonic() + READ_S
    while reader.read():
        if not whole and time.monotonic() > until:
            return True
    return live


def line_of(snapshot: RunSnapshot) -> str:
    """Return the state of a run as one line."""
    pools = "; ".join(
        f"{pool.name} {pool.busy}/{pool.workers} busy, {pool.queued} queued"
        for pool in snapshot.pools
    )
    boards = ", ".join(f"{board.name} {board.waiting} waiting" for board in snapshot.boards)
    notes = ", ".join(f"{note.name} {note.last:.6g}" for note in snapshot.notes)
    return "; ".join(part for part in (headline(snapshot), pools, boards, notes) if part)


def drawn(snapshot: RunSnapshot, width: int, height: int) -> Any:
    """Return a snapshot for rich, in so many columns and lines."""
    from rich.console import Group  # loaded already by those who print it
    from rich.text import Text

    parts: list[Any] = [Text(printable(headline(snapshot)), style="bold")]
    told = map(printable, remarks(snapshot))
    parts += [Text(line, overflow="ellipsis", no_wrap=True) for line in told]
    parts.append(Text(_shares(snapshot)))
    left = max(3, height - OTHER_LINES)
    tables = (
        pool_figures(snapshot),
        board_figures(snapshot),
        note_figures(snapshot),
        failure_figures(snapshot, SHOWN_FAILURES),
    )
    for table in tables:
        if not table.rows:
            continue
        rows = table.rows[: max(1, left)]
        left -= len(rows) + 4
        parts.append(as_table(_fitted(Figures(table.title, table.columns, rows), width)))
    return Group(*parts)


def _shares(snapshot: RunSnapshot) -> str:
    """Return the shares of the time of all workers in a line."""
    rows = idle_figures(snapshot).rows
    return "workers: " + ", ".join(f"{cause} {share}" for cause, _, share in rows) if rows else ""


def _fitted(table: Figures, width: int) -> Figures:
    """Return a table with those of its columns for which there is room."""
    chosen = {} if width >= WIDE else MEDIUM if width >= MEDIUM_WIDTH else NARROW
    names = chosen.get(table.title, table.columns)
    places = [place for place, name in enumerate(table.columns) if name in names]
    rows = tuple(tuple(row[place] for place in places) for row in table.rows)
    return Figures(table.title, tuple(table.columns[place] for place in places), rows)
