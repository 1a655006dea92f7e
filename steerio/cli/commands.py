"""The ``steerio`` command.

Exit codes: 0 all went well; 1 the campaign, broker or node failed; 2 wrong usage; 130 Ctrl-C;
143 SIGTERM.
"""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any

import click

from steerio.cli.failures import show_failure
from steerio.cli.key_commands import key
from steerio.cli.record_options import READING
from steerio.cli.standing_options import ALLOW, NEEDS, RANDOM_SEED, STANDING, STORE
from steerio.cli.steer_commands import steer
from steerio.cli.token_commands import token
from steerio.cli.uncollected import uncollected
from steerio.errors import SteerioError, UsageError
from steerio.version import __version__

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
GRACE = (
    "How long the steps of an end take at most: drain (tasks, after --limit-wall), calls, finish, "
    "leave [drain=60,calls=10,finish=60,leave=30]."
)
LEVELS = ["process", "machine", "strict", "none"]
DURABILITY = "The end that results survive, so that the run can be resumed [machine]."
TAKE_OVER = "The process that had the run has surely ended."
MEMO = "An earlier run whose results are known to task types with a memo; may be repeated."
REPL = "Let Python prompts of yours attach to this process: steerio attach."
MPI = "Whether this is a rank of a launcher's job [as the launcher says]."
WAYS = ["file", "mpi"]
RENDEZVOUS = "How ranks find each other: in a folder that they share, or by mpi4py [file]."


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
        click.option("--allow", metavar="MODULE:FUNCTION,...", help=f"{ALLOW}."),
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
@click.option("--rendezvous", type=click.Choice(WAYS), help=RENDEZVOUS)
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
        from steerio.cli.leading import leading  # each command loads only its own code
    alone, run_dir = contextlib.nullcontext(), given["resume"] or given["run_dir"]
    with alone if asks_help else leading(given, run_dir) as followers:
        with uncollected():
            from steerio.cli import run_command

        run_command.run_file(context, target, asks_help, given, followers)


@steerio.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--workers", metavar="POOL=N,...", help="Workers for each pool [as they were].")
@click.option("--join", metavar="RUN_DIR", help="Use the broker that runs there.")
@click.option("--take-over", is_flag=True, help=TAKE_OVER)
@click.option("--limit-tasks", type=int, metavar="N", help="Stop after N tasks in all have ended.")
@_bounds_and_views
@click.option("--pin/--no-pin", default=True, help="Cores for each worker, if possible.")
@click.option("--mpi/--no-mpi", default=None, help=MPI)
@click.option("--rendezvous", type=click.Choice(WAYS), help=RENDEZVOUS)
@click.option("--durability", type=click.Choice(LEVELS[:-1]), help=DURABILITY)
def resume(**given: Any) -> None:
    """Go on with the campaign in RUN_DIR from the point at which it ended or was cut off.

    Finished tasks are not run again. Limits are not those of the run before: name them again.
    """
    with uncollected():
        from steerio.cli import resuming  # each command loads only its own code

    resuming.resume_run(given)


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


for each in (steer, token, key, *STANDING, *READING):
    steerio.add_command(each)


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
