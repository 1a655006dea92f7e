"""The options of commands for standing brokers: their start, nodes, sessions and end."""

from __future__ import annotations

import sys
from typing import Any

import click

STORE = "Store of large values [shared memory; with other hosts, files in the run directory]."
RANDOM_SEED = "Seed of the workers' random numbers [drawn; in RUN_DIR/random_seed]."
ALLOW = "Workers run these functions only (module:* has all of a module), and read no pickle"
NEEDS = "with the share of each: POOL=N:cpus=4:gpus=1:memory=8G:tags=big+fast"


@click.command()
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
@click.option(
    "--lease", metavar="TIME", help="How long a node may be silent before it is lost [15s]."
)
@click.option("--allow", metavar="MODULE:FUNCTION,...", help=f"{ALLOW}.")
def broker(**given: Any) -> None:
    """Run a broker that campaigns and workers join and leave."""
    from steerio.cli import standing  # each command loads only its own code

    standing.run_broker(**given)


@click.command()
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
@click.option("--allow", metavar="MODULE:FUNCTION,...", help=f"{ALLOW} [the broker's].")
def worker(**given: Any) -> None:
    """Start a node whose workers join a running broker, until that ends."""
    from steerio.cli import nodes_command  # each command loads only its own code

    sys.exit(nodes_command.run_worker(**given))


@click.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--scheduler", metavar="NAME", help="The batch system: slurm, pbs, lsf or flux.")
@click.option("--nodes", type=click.IntRange(1), default=1, show_default=True, metavar="N")
@click.option("--walltime", metavar="TIME", help="How long the job runs: 10m, 2h, 1:30:00.")
@click.option(
    "--workers",
    metavar="POOL=N,...",
    default="default=1",
    show_default=True,
    help=f"Workers of each node; {NEEDS}.",
)
@click.option("--queue", metavar="NAME", default="", help="Queue, or partition [the default one].")
@click.option("--account", metavar="NAME", default="", help="Account, project or bank.")
@click.option("--cpus", type=click.IntRange(1), help="Cores of each node [whole nodes].")
@click.option(
    "--option", "options", multiple=True, metavar="LINE", help="A line for the script's head."
)
@click.option("--setup", multiple=True, metavar="LINE", help="A line before steerio starts.")
@click.option("--launcher", metavar="COMMAND", default="", help="Starts one process a node.")
@click.option("--dry-run", is_flag=True, help="Print the script, and submit nothing.")
@click.option("--script", metavar="FILE", help="Submit this script, an edited one.")
@click.option("--list", "as_list", is_flag=True, help="Show the jobs of RUN_DIR.")
@click.option("--json", "as_json", is_flag=True, help="With --list: as JSON.")
@click.option(
    "--cancel", "to_cancel", multiple=True, metavar="JOB", help="Cancel this job, or block."
)
def launch(**given: Any) -> None:
    """Submit a batch job whose nodes join the broker that runs in RUN_DIR.

    Its script and output are in RUN_DIR/batch. To edit a script: --dry-run > FILE, then --script.
    """
    from steerio.cli import launch_command  # each command loads only its own code

    given["cpus"] = given["cpus"] or 0
    launch_command.launch_or_look(**given)


@click.command()
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


@click.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(run_dir: str, as_json: bool) -> None:
    """Show pools, workers, nodes and clients of a running broker."""
    from steerio.cli import standing  # each command loads only its own code

    standing.show_status(run_dir, as_json)


@click.command()
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


@click.command()
@click.argument("run_dir", metavar="RUN_DIR")
@click.argument("node", metavar="NODE")
def undrain(run_dir: str, node: str) -> None:
    """Let a node that is draining or drained take tasks again."""
    from steerio.cli import standing  # each command loads only its own code

    standing.undrain_node(run_dir, node)


@click.command()
@click.argument("run_dir", metavar="RUN_DIR")
def stop(run_dir: str) -> None:
    """End a running broker, with everything that joined it."""
    from steerio.cli import standing  # each command loads only its own code

    standing.stop_broker(run_dir)


@click.group()
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


STANDING = (broker, worker, launch, nodes, status, drain, undrain, stop, session)
"""All of them."""
