"""The options of commands that read the records of runs: to show, explain, export, remove them."""

from __future__ import annotations

import sys
from typing import Any

import click

from steerio.errors import UsageError
from steerio.model.roles import ROLES

EXPORTS = ["sqlite", "csv", "parquet", "trace", "otlp"]
AUDIT_KINDS = ["order", "question", "advice", "change"]
TABLES = ["tasks", "attempts", "tags", "reasons", "events", "run"]


@click.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.argument("task", metavar="[TASK]", required=False)
@click.option("--depth", type=click.IntRange(0), default=3, show_default=True, help="Steps back.")
@click.option(
    "--lines",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="The last lines shown that it printed.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def why(**given: Any) -> None:
    """Tell the story of a task: its reasons, its wait, its end, and the tasks that followed.

    From the record in RUN_DIR. TASK is a number or a key (options(key=...)); without it, the last
    tasks that failed, and those that wait. Of one that waits a running broker says why.
    """
    from steerio.cli import why_command  # each command loads only its own code

    why_command.tell_why(**given)


@click.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="TCP port [any free one].")
@click.option(
    "--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="127.0.0.1 or ::1."
)
@click.option("--root-path", metavar="PATH", default="", help="The path that a proxy puts before.")
@click.option(
    "--allow-host", metavar="NAME", multiple=True, help="Its name there; may be repeated."
)
@click.option(
    "--metrics-key",
    metavar="FILE",
    help="Write a new key there, with which Prometheus reads /metrics.",
)
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="steer",
    show_default=True,
    help="The role of the page.",
)
def dashboard(**given: Any) -> None:
    """Show the run in RUN_DIR as a web page, while it goes on or afterwards, until Ctrl-C.

    Prints a URL that opens one browser. From another machine: ssh -L PORT:localhost:PORT.
    Programs ask and order below api/, each with a token of its own (steerio token).
    """
    from steerio.cli import seeing  # each command loads only its own code

    seeing.show_dashboard(**given)


@click.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("-o", "--out", metavar="FILE", help="The file to write [RUN_DIR/report.html].")
@click.option("--text", is_flag=True, help="Print the figures as text instead.")
def report(run_dir: str, out: str | None, text: bool) -> None:
    """Write the page of the run in RUN_DIR as one file, which opens without a server.

    The run may go on, have ended, or have been cut off.
    """
    from steerio.cli import report_text, seeing  # each command loads only its own code

    if not text:
        seeing.report(run_dir, out)
    elif out is None:
        report_text.show_text(run_dir)
    else:
        raise UsageError("--text is printed: leave out --out, or redirect it")


@click.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--plain", is_flag=True, help="Print lines, also on a terminal.")
def top(run_dir: str, plain: bool) -> None:
    """Show the run in RUN_DIR as it goes on, until it ends or Ctrl-C."""
    from steerio.cli import top_command  # each command loads only its own code

    top_command.show_top(run_dir, plain)


@click.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--by", default="", metavar="NAME", help="Only those of this giver or agent.")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(AUDIT_KINDS),
    multiple=True,
    help="Only of this kind; may be repeated.",
)
@click.option("--since", metavar="TIME", help="Only those of the last so long: 90m, 2d.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def audit(**given: Any) -> None:
    """List the orders of a run: by which person, when, why, and with which effect.

    With its questions, the advice that its agents took, and changes that no order tells of.
    """
    from steerio.cli import audit as auditing  # each command loads only its own code

    auditing.show_audit(**given)


@click.group()
def record() -> None:
    """List, export and remove the records of runs."""


@record.command("list")
@click.argument("folder", metavar="DIR", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def record_list(folder: str | None, as_json: bool) -> None:
    """Show the runs in DIR [runs]: their state, their tasks by how they ended, their size."""
    from steerio.cli import record_commands  # each command loads only its own code

    record_commands.list_runs(folder, as_json)


@record.command("export")
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--to", metavar="FILE", help="The file, whose name says its format [RUN_DIR.sqlite].")
@click.option("--format", "form", type=click.Choice(EXPORTS), help="The format [as FILE ends].")
@click.option("--table", type=click.Choice(TABLES), help="The table of CSV and Parquet [tasks].")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def record_export(**given: Any) -> None:
    """Write the record in RUN_DIR for other programs.

    To SQLite; a table to CSV or Parquet; a trace that Perfetto shows; spans of OpenTelemetry
    (OTLP). A run that is going on is exported as far as it has come.
    """
    from steerio.cli import export_command  # each command loads only its own code

    export_command.export(**given)


@record.command("prune")
@click.argument("folder", metavar="DIR", required=False)
@click.option("--older", metavar="TIME", help="Runs last written to so long ago: 30d, 12h.")
@click.option("--keep", type=click.IntRange(0), metavar="N", help="Keep the N latest of them.")
@click.option("--journals", is_flag=True, help="Remove journals only: records stay.")
@click.option("--cut-off", is_flag=True, help="Also runs that were cut off.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def record_prune(**given: Any) -> None:
    """Remove runs in DIR [runs] that have ended.

    Shows them first, and asks. Runs whose process may live stay, and so do files in a run directory
    that steerio did not write.
    """
    from steerio.cli import record_commands  # each command loads only its own code

    sys.exit(record_commands.prune_runs(**given))


READING = (why, dashboard, report, top, audit, record)
"""All of them."""
