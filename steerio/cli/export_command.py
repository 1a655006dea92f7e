"""``steerio record export``: writes the record of a run in the forms that other programs read."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec import Struct

from steerio.edge.record.export_files import GZIP, Exported
from steerio.edge.record.record_files import TASKS_FILE
from steerio.edge.record.record_lines import Unread, check_schema
from steerio.errors import UsageError
from steerio.model.showing import counted
from steerio.session.recorded_runs import is_run


class ExportFormat(Struct, frozen=True):
    """A form that a record is exported to.

    Attributes:
        ends: the ends of the names of its files; the first is given to a file without a name.
        content: the content of its files: ``all`` of a record, one ``table``, or its ``tasks``.
        packs: whether its files are compressed if their names end with ``.gz``.
    """

    ends: tuple[str, ...]
    content: str
    packs: bool = False


FORMATS = {
    "sqlite": ExportFormat((".sqlite", ".sqlite3", ".db"), "all"),
    "csv": ExportFormat((".csv",), "table"),
    "parquet": ExportFormat((".parquet",), "table"),
    "trace": ExportFormat((".trace.json", ".json"), "all", packs=True),
    "otlp": ExportFormat((".otlp.jsonl", ".jsonl"), "tasks", packs=True),
}


def export(run_dir: str, to: str | None, form: str | None, table: str | None, force: bool) -> None:
    """Export the record of a run directory.

    Args:
        run_dir: the run directory.
        to: the file to write; by default beside the run directory, with the end of its form
            behind its name.
        form: one of ``FORMATS``; by default the one that the name of the file says, or SQLite.
        table: the table to write, if the form takes one; by default ``tasks``.
        force: whether to replace a file that is there.

    Raises:
        UsageError: there is no record, or it cannot be read, or the file not be written.
    """
    folder = Path(run_dir)
    _refuse_without_record(folder, run_dir)
    name = form or ("sqlite" if to is None else _form_of(to))
    chosen = FORMATS[name]
    if table is not None and chosen.content != "table":
        takers = " and ".join(n for n, each in FORMATS.items() if each.content == "table")
        raise UsageError(f"--table is for {takers}; a file of {name} has no tables to choose from")
    named = folder if folder.name not in ("", "..") else folder.resolve()
    inner = "" if table is None else f".{table}"
    target = named.with_name(f"{named.name}{inner}{chosen.ends[0]}") if to is None else Path(to)
    done = _write(name, folder, target, table or "tasks", force)
    _tell_unread(done)
    counts = {"task": done.tasks, "event": done.events}
    shown: tuple[str, ...] = ("task", "event") if chosen.content == "all" else ("task",)
    if table is not None:
        shown = tuple(noun for noun, count in counts.items() if count)
    what = ", ".join(counted(counts[noun], noun) for noun in shown)
    click.echo(f"wrote {target} ({what})" if what else f"wrote {target}")


def _refuse_without_record(folder: Path, run_dir: str) -> None:
    if not (folder / TASKS_FILE).is_file():
        why = "there is no such folder" if not folder.is_dir() else f"it has no {TASKS_FILE}"
        if is_run(folder):
            why += ", as the record of a campaign that joined a broker is in the broker's folder"
        raise UsageError(f"{run_dir} has no record to export: {why}")
    check_schema(folder)


def _form_of(to: str) -> str:
    """Return the form that the name of a file says."""
    for name, each in FORMATS.items():
        if to.endswith(each.ends) or (each.packs and to.removesuffix(GZIP).endswith(each.ends)):
            return name
    known = ", ".join(end for each in FORMATS.values() for end in each.ends)
    raise UsageError(
        f"--to {to}: the end of the name says the kind of file: {known}; or say it with --format"
    )


def _write(name: str, folder: Path, to: Path, table: str, force: bool) -> Exported:
    # each form loads only its own code
    match name:
        case "csv":
            from steerio.edge.record.exporting import export_csv

            return export_csv(folder, to, force=force, table=table)
        case "parquet":
            from steerio.edge.record.parquet_export import export_parquet

            return export_parquet(folder, to, force=force, table=table)
        case "trace":
            from steerio.edge.record.trace_export import export_trace

            return export_trace(folder, to, force=force)
        case "otlp":
            from steerio.edge.record.span_export import export_spans

            return export_spans(folder, to, force=force)
        case _:
            from steerio.edge.record.exporting import export_sqlite

            return export_sqlite(folder, to, force=force)


def _tell_unread(done: Exported) -> None:
    unread: dict[str, Unread] = {"tasks": done.unread_tasks, "events": done.unread_events}
    for name, lines in unread.items():
        if lines.count:
            click.echo(
                f"steerio: {counted(lines.count, 'line')} of {name}.jsonl could not be read, the "
                f"first of them line {lines.first}; all others are exported",
                err=True,
            )
