"""``steerio record list`` and ``prune``: lists runs, and removes those that are over."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from steerio.edge.system.own_files import to_json
from steerio.errors import UsageError
from steerio.launch.walltime import parse_seconds
from steerio.model.places import say_bytes
from steerio.model.showing import counted, printable
from steerio.session.pruning import Choice, Pruned, chosen, foreign_files, prune
from steerio.session.recorded_runs import RecordedRun, find_runs, recorded_run
from steerio.session.tally import in_kinds

RUNS = "runs"
"""The folder in which runs are that were not told where to be."""


def list_runs(folder: str | None, as_json: bool) -> None:
    """Print the runs in a folder.

    Raises:
        UsageError: there is no such folder.
    """
    runs = _runs_in(folder)
    if as_json:
        click.echo(to_json([_as_dict(run) for run in runs], indent=2))
    elif runs:
        _print(runs)
    else:
        click.echo(f"no runs in {folder or RUNS}")


def prune_runs(
    folder: str | None,
    older: str | None,
    keep: int | None,
    journals: bool,
    cut_off: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Remove runs that are over, and return the exit code.

    Args:
        folder: the folder of the runs, or a run directory.
        older: only those that were last written to so long ago.
        keep: not the so many that were written to last.
        journals: remove only the journals.
        cut_off: also those that were cut off.
        dry_run: only tell.
        yes: do not ask.

    Raises:
        UsageError: it is not said which, or there is no such folder.
    """
    if older is None and keep is None:
        raise UsageError(
            "say which runs are to be removed: --older 30d, --keep 10, or --keep 0 for all that "
            "have ended"
        )
    choice = Choice(0.0 if older is None else parse_seconds(older), keep or 0, cut_off, journals)
    runs = _runs_in(folder)
    found = chosen(runs, choice, time.time())
    if not found:
        click.echo(f"nothing to remove among {counted(len(runs), 'run')} in {folder or RUNS}")
        return 0
    _print(found)
    nbytes = sum(run.journal_nbytes if journals else run.nbytes for run in found)
    what = (
        f"the journals of {counted(len(found), 'run')}" if journals else counted(len(found), "run")
    )
    if journals:
        click.echo("without their journals they cannot be resumed")
    else:
        _tell_foreign(found)
    if dry_run:
        click.echo(f"would remove {what} ({say_bytes(nbytes)})")
        return 0
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask at: say --yes, or --dry-run to look only")
        if not click.confirm(f"remove {what} ({say_bytes(nbytes)})?"):
            click.echo("removed nothing")
            return 0
    return _remove(found, choice, what)


def _remove(found: Sequence[RecordedRun], choice: Choice, what: str) -> int:
    removed, nbytes = 0, 0
    for run in found:
        try:
            done = prune(run, choice)
        except OSError as error:
            done = Pruned(refused=f"{error.filename or 'a file'}: {error.strerror or error}")
        if done.refused:
            click.echo(f"steerio: kept {run.path}: {done.refused}", err=True)
            continue
        removed, nbytes = removed + 1, nbytes + done.nbytes
        if done.kept:
            click.echo(f"kept in {run.path}: {', '.join(done.kept)}")
    of = f"{removed} of " if removed < len(found) else ""
    click.echo(f"removed {of}{what} ({say_bytes(nbytes)})")
    return 0 if removed == len(found) else 1


def _runs_in(folder: str | None) -> list[RecordedRun]:
    place = Path(RUNS if folder is None else folder)
    if not place.is_dir():
        other = "" if folder is not None else ": name the folder of your runs"
        raise UsageError(f"there is no folder {place}{other}")
    runs: list[RecordedRun] = []
    for path in find_runs(place):
        try:
            runs.append(recorded_run(path))
        except OSError as error:
            click.echo(f"steerio: {path} is passed over: {error.strerror or error}", err=True)
    return sorted(runs, key=lambda run: (run.began or 0.0, str(run.path)))


def _as_dict(run: RecordedRun) -> dict[str, Any]:
    return {**msgspec.structs.asdict(run), "path": str(run.path)}


def _print(runs: Sequence[RecordedRun]) -> None:
    from rich.console import Console  # slow to load, and not needed for JSON
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in ("run", "campaign", "began", "state", "tasks", "size"):
        table.add_column(column, overflow="fold", justify="right" if column == "size" else "left")
    for run in runs:
        state = f"{run.state}, can be resumed" if run.resumable else run.state
        tasks = in_kinds(run.tasks)
        size = say_bytes(run.nbytes)
        cells = (str(run.path), run.campaign, _when(run.began), state, tasks or "none", size)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console().print(table)


def _when(began: float | None) -> str:
    if began is None:
        return "?"
    return datetime.fromtimestamp(began).strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ006 - people read it


def _tell_foreign(found: Sequence[RecordedRun]) -> None:
    """Say which folders stay, since they have files that steerio did not write."""
    for run in found:
        names = foreign_files(run.path)
        if names:
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            line = f"{counted(len(names), 'file')} of yours will stay in {run.path}: {shown}"
            click.echo(printable(line))
