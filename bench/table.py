"""The print-out: one line per claim, with rich where it is installed and plain where not."""

from __future__ import annotations

from collections.abc import Sequence

from bench.measurement import Measurement, amount

HEADINGS = ("claim", "figure", "quartiles", "bar", "aim", "met", "rounds", "measured")


def cells(row: Measurement) -> tuple[str, ...]:
    """The columns of one claim, as text."""
    sign = "≥" if row.better == "higher" else "≤"
    figure = "-" if row.figure is None else f"{amount(row.figure)} {row.unit}"
    quartiles = "-" if row.spread is None else " … ".join(amount(edge) for edge in row.spread)
    met = "-" if row.figure is None else "aim" if row.aim_met else "yes" if row.met else "NO"
    bar, aim = f"{sign} {amount(row.bar)}", f"{sign} {amount(row.aim)}"
    return (row.claim, figure, quartiles, bar, aim, met, str(row.rounds), row.detail)


def plain_table(rows: Sequence[Measurement]) -> str:
    """The table as lines of text with aligned columns."""
    lines = [HEADINGS, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def print_table(rows: Sequence[Measurement]) -> None:
    """Print the claims; a terminal that is too narrow, a pipe or no rich gets plain lines."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(plain_table(rows))
        return
    console = Console()
    if not console.is_terminal:
        print(plain_table(rows))
        return
    table = Table(show_lines=True)
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for row in rows:
        style = "green" if row.met else "red"
        columns = list(cells(row))
        columns[5] = f"[{style}]{columns[5]}[/{style}]"
        table.add_row(*columns)
    console.print(table)
