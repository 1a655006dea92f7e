"""The ``steerio`` command.

Exit codes: 0 all went well; 1 the campaign, broker or node failed; 2 wrong usage; 130 Ctrl-C;
143 SIGTERM.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from steerio.cli.failures import show_failure
from steerio.cli.steer_commands import steer
from steerio.cli.token_commands import token
from steerio.cli.uncollected import uncollected
from steerio.errors import SteerioError, UsageError
from steerio.model.roles import ROLES
from steerio.version import __version__

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
STORE = "Store of large values [shared memory; with other hosts, files in the run directory]."
RANDOM_SEED = "Seed of the workers' random numbers [drawn; in RUN_DIR/random_seed]."
GRACE = (
    "How long the steps of an end take at most: drain (tasks, after --limit-wall), calls, finish, "
    "leave [drain=60,calls=10,finish=60,leave=30]."
)
LEVELS = ["process", "machine", "strict", "none"]
DURABILITY = "The end that results survive, so that the run can be resumed [machine]."
TAKE_OVER = "The process that had the run has surely ended."
MEMO = "An earlier run whose results are known to task types with a memo; may be repeated."
EXPORTS = ["sqlite", "csv", "parquet", "trace", "otlp"]
REPL = "Let Python prompts of yours attach to this process: steerio attach."
TABLES = ["tasks", "attempts", "tags", "reasons", "events", "run"]
MPI = "Whether this is a rank of a launcher's job [as the launcher says]."
NEEDS = "with the share of each: POOL=N:cpus=4:gpus=1:memory=8G:tags=big+fast"


def _bounds_and_views(command: Any) -> Any:
    """Give a command the options that ``run`` and ``resume`` share, in this order."""
    options = (
        click.option("--limit-failures", type=int, metavar="N", help="Tolerate N tasks that fail."),
        click.option("--limit-wall", type=float, metavar="SECONDS", help="Stop after so long."),
        click.option("--grace", metavar="STEP=SECONDS,...", help=GRACE),
        click.option(
            "--limit-worker-seconds",
            type=float,
            metavar="S",
            help="Stop when workers spent so much.",
        ),
        click.option(
            "--progress",
            type=click.Choice(["auto", "live", "plain", "off"]),
            default="auto",
            show_default=True,
        ),
        click.option("--store", metavar="KIND|FILE.toml", help=STORE),
        click.option("--memo", metavar="RUN_DIR", multiple=True, help=MEMO),
        click.option("--dashboard", is_flag=True, help="Show the run as a web page meanwhile."),
        click.option("--report", is_flag=True, help="Write RUN_DIR/report.html at the end."),
        click.option("--repl", is_flag=True, help=REPL),
    )
    for option in reversed(options):  # as decorators that are written one above the other
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="steerio")
def steerio() -> None:
    """Steer computational campaigns with asyncio agents."""


@steerio.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
@click.argument("target", metavar="FILE[:CAMPAIGN]", required=False)
@click.option("--workers", metavar="POOL=N,...", help=f"Workers for each pool; {NEEDS}.")
@click.option("--run-dir", metavar="DIR", help="Folder of the record [runs/NAME-TIME].")
@click.option("--join", metavar="RUN_DIR", help="Use the broker that runs there.")
@click.option("--limit-tasks", type=int, metavar="N", help="Stop after N tasks have ended.")
@_bounds_and_views
@click.option("--random-seed", type=int, metavar="N", help=RANDOM_SEED)
@click.option("--pin/--no-pin", default=True, help="Cores for each worker, if possible.")
@click.option("--mpi/--no-mpi", default=None, help=MPI)
@click.option("--resume", metavar="RUN_DIR", help="Go on with that run, or begin it there.")
@click.option("--take-over", is_flag=True, help=TAKE_OVER)
@click.option("--durability", type=click.Choice(LEVELS), help=DURABILITY)
@click.option("-h", "--help", "asks_help", is_flag=True, help="Show this, and FILE's own options.")
@click.pass_context
def run(context: click.Context, /, target: str | None, asks_help: bool, **given: Any) -> None:
    """Run the campaign in FILE.

    Keyword arguments of the campaign's __init__ are options too: --help with a FILE shows
    them.  Under mpiexec rank 0 steers and the other ranks become workers.
    """
    if target is None:
        click.echo(context.get_help())
        context.exit(0 if asks_help else WRONG_USAGE)
    with uncollected():
        from steerio.cli import run_command  # each command loads only its own code

    run_command.run_file(context, target, asks_help, given)


@steerio.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--workers", metavar="POOL=N,...", help="Workers for each pool [as they were].")
@click.option("--join", metavar="RUN_DIR", help="Use the broker that runs there.")
@click.option("--take-over", is_flag=True, help=TAKE_OVER)
@click.option("--limit-tasks", type=int, metavar="N", help="Stop after N tasks in all have ended.")
@_bounds_and_views
@click.option("--pin/--no-pin", default=True, help="Cores for each worker, if possible.")
@click.option("--mpi/--no-mpi", default=None, help=MPI)
@click.option("--durability", type=click.Choice(LEVELS[:-1]), help=DURABILITY)
def resume(**given: Any) -> None:
    """Go on with the campaign in RUN_DIR from the point at which it ended or was cut off.

    Finished tasks are not run again. Limits are not those of the run before: name them again.
    """
    with uncollected():
        from steerio.cli import resuming  # each command loads only its own code

    resuming.resume_run(given)


@steerio.command()
@click.option("--run-dir", metavar="DIR", help="Folder of the record [runs/broker-TIME].")
@click.option("--host", metavar="ADDRESS", help="Listen on the network, on this address.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="TCP port [any free one].")
@click.option("--no-encryption", is_flag=True, help="TCP without CURVE, open to all that reach it.")
@click.option("--store", metavar="KIND|FILE.toml", help=STORE)
@click.option("--random-seed", type=int, metavar="N", help=RANDOM_SEED)
@click.option(
    "--take-over",
    is_flag=True,
    help="The broker that began there on another host has ended: take its place.",
)
@click.option(
    "--wait",
    metavar="TIME",
    help="How long clients and nodes wait for another if this one dies [2m; nodes 5m].",
)
def broker(**given: Any) -> None:
    """Run a broker that campaigns and workers join and leave."""
    from steerio.cli import standing  # each command loads only its own code

    standing.run_broker(**given)


@steerio.command()
@click.option(
    "--join", "run_dir", metavar="RUN_DIR", required=True, help="The broker's run directory."
)
@click.option(
    "--workers",
    metavar="POOL=N,...",
    default="default=1",
    show_default=True,
    help=f"Workers for each pool; {NEEDS}.",
)
@click.option("--preload", metavar="MODULE,...", default="", help="Modules to import once, before.")
@click.option("--name", metavar="NAME", help="Name of this node [the host's].")
@click.option(
    "--walltime",
    metavar="TIME",
    help="How long this node may run: 3600, 90m, 1:30:00, or none [as Slurm says].",
)
@click.option("--pin/--no-pin", default=True, help="Cores for each worker, if possible.")
@click.option(
    "--direct",
    is_flag=True,
    help="A shorter way to a broker on this host, for tasks of milliseconds. Those that run are "
    "run again if it dies.",
)
def worker(**given: Any) -> None:
    """Start a node whose workers join a running broker, until that ends."""
    from steerio.cli import nodes_command  # each command loads only its own code

    sys.exit(nodes_command.run_worker(**given))


@steerio.command()
@click.option("--workers", metavar="POOL=N,...", help=f"Workers to find places for; {NEEDS}.")
@click.option("--explain", is_flag=True, help="Say why each worker gets its place.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--record", metavar="FILE", help="Also write the topology there, for --topology.")
@click.option("--topology", metavar="FILE", help="A node that was recorded, not this one.")
@click.option("--pin/--no-pin", default=True, help="Cores for each worker, if possible.")
@click.option(
    "--campaign/--no-campaign",
    "shared",
    default=True,
    help="Whether a campaign's process shares this node; one core is then left to it.",
)
def nodes(**given: Any) -> None:
    """Show this machine's cores and accelerators, and the places that workers get.

    The affinity mask, control groups, Slurm, and variables such as CUDA_VISIBLE_DEVICES bound them.
    Exits with 1 if a pool's workers find no place.
    """
    from steerio.cli import topology as command  # each command loads only its own code

    sys.exit(command.show_nodes(**given))


@steerio.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(run_dir: str, as_json: bool) -> None:
    """Show pools, workers, nodes and clients of a running broker."""
    from steerio.cli import standing  # each command loads only its own code

    standing.show_status(run_dir, as_json)


@steerio.command()
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


@steerio.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.argument("node", metavar="NODE")
@click.option(
    "--within", metavar="TIME", help="Stop then the tasks that still run, and queue them again."
)
@click.option("--retire", is_flag=True, help="Have the node end when it is drained.")
def drain(**given: Any) -> None:
    """Give a node no more tasks, and wait until its running tasks have ended."""
    from steerio.cli import standing  # each command loads only its own code

    standing.drain_node(**given)


@steerio.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.argument("node", metavar="NODE")
def undrain(run_dir: str, node: str) -> None:
    """Let a node that is draining or drained take tasks again."""
    from steerio.cli import standing  # each command loads only its own code

    standing.undrain_node(run_dir, node)


@steerio.command()
@click.argument("run_dir", metavar="RUN_DIR")
def stop(run_dir: str) -> None:
    """End a running broker, with everything that joined it."""
    from steerio.cli import standing  # each command loads only its own code

    standing.stop_broker(run_dir)


@steerio.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--folder", metavar="DIR", help="Look in this folder only, of file stores or a run.")
def clean(dry_run: bool, folder: str | None) -> None:
    """Remove the objects that killed campaigns have left in shared memory and on disk.

    Each start does the same by itself. Objects of living processes stay.
    """
    from steerio.cli import cleaning  # each command loads only its own code

    cleaning.clean(dry_run, folder)


@steerio.command()
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


@steerio.command()
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


@steerio.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--plain", is_flag=True, help="Print lines, also on a terminal.")
def top(run_dir: str, plain: bool) -> None:
    """Show the run in RUN_DIR as it goes on, until it ends or Ctrl-C."""
    from steerio.cli import top_command  # each command loads only its own code

    top_command.show_top(run_dir, plain)


steerio.add_command(steer)
steerio.add_command(token)


@steerio.command()
@click.argument("run_dir", metavar="RUN_DIR")
def audit(run_dir: str) -> None:
    """List the orders of a run: by which person, when, why, and with which effect."""
    from steerio.cli import audit as auditing  # each command loads only its own code

    auditing.show_audit(run_dir)


@steerio.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option(
    "--role",
    type=click.Choice(("look", "propose", "steer")),
    default="propose",
    show_default=True,
    help="Look only; have orders approved; or give them.",
)
@click.option(
    "--by", default="assistant", show_default=True, metavar="NAME", help="Its name, for the audit."
)
@click.option(
    "--tasks-per-hour", type=click.IntRange(0), metavar="N", help="Tasks that it may submit."
)
@click.option(
    "--worker-hours", type=click.FloatRange(0), metavar="H", help="Time of workers for its tasks."
)
def mcp(**given: Any) -> None:
    """Serve the run in RUN_DIR to an AI assistant, by the Model Context Protocol.

    An assistant's program starts this itself, and speaks to it over standard input and output.
    """
    from steerio.cli import assistant_command  # each command loads only its own code

    assistant_command.serve_assistant(**given)


@steerio.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--repl", is_flag=True, help="A Python prompt in the campaign's own process.")
def attach(run_dir: str, repl: bool) -> None:
    """Run Python statements in the process of the campaign in RUN_DIR.

    The campaign must have been started with --repl. Statements may use campaign, session, steerio
    and await; Ctrl-C interrupts one at its await. They are read from a terminal or a pipe.
    """
    from steerio.cli import attach_command  # each command loads only its own code

    sys.exit(attach_command.attach(run_dir, repl=repl))


@steerio.group()
def session() -> None:
    """List and drop the detached sessions that a standing broker keeps tasks for."""


@session.command("list")
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def session_list(run_dir: str, as_json: bool) -> None:
    """Show the names of detached sessions with tasks in RUN_DIR, and how many have ended."""
    from steerio.cli import session_command  # each command loads only its own code

    session_command.list_sessions(run_dir, as_json)


@session.command("drop")
@click.argument("run_dir", metavar="RUN_DIR")
@click.argument("name", metavar="NAME")
@click.option("--cancel", is_flag=True, help="Cancel its tasks that have not ended.")
def session_drop(run_dir: str, name: str, cancel: bool) -> None:
    """Forget the tasks and results of the detached sessions of a name."""
    from steerio.cli import session_command  # each command loads only its own code

    session_command.drop_session(run_dir, name, cancel)


@steerio.group()
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


def main() -> None:
    """Run the command line, with exit codes and errors as people expect them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not every file's name has a form in its encoding
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(steerio.main(prog_name="steerio", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(WRONG_USAGE)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except SteerioError as error:
        click.echo(f"steerio: error: {error}", err=True)
        sys.exit(WRONG_USAGE if isinstance(error, UsageError) else FAILED)
    except BaseExceptionGroup as group:
        show_failure(group)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
