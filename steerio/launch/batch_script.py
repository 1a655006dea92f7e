"""The script of a batch job whose nodes join a standing broker, for people to read and edit."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from steerio.errors import UsageError
from steerio.launch.batch_systems import BatchSystem, Request
from steerio.launch.walltime import END_VARIABLES
from steerio.launch.workers import check_workers, parse_workers

MOST_NODES = 100_000
"""Most nodes of a job."""


class Wish(Struct, frozen=True, kw_only=True):
    """A wish for a batch job, as users state it.

    Attributes:
        nodes: how many; each has the workers.
        walltime_s: how long the job runs, in seconds.
        workers: of each node, as ``steerio worker --workers`` takes them.
        queue, account: of the batch system; ``""``: its default.
        cpus: the cores that it asks for on each node; 0: whole nodes.
        options: more lines for the head of the script, without ``#SBATCH`` or its like.
        setup: lines of the shell that come before steerio starts, like ``module load gcc``.
        launcher: the command that starts one process on each node; ``""``: the batch system's own.
    """

    nodes: int = 1
    walltime_s: float
    workers: str = "default=1"
    queue: str = ""
    account: str = ""
    cpus: int = 0
    options: Sequence[str] = ()
    setup: Sequence[str] = ()
    launcher: str = ""

    def check(self) -> None:
        """Check each of them.

        Raises:
            UsageError: one cannot be.
        """
        if type(self.nodes) is not int or not 1 <= self.nodes <= MOST_NODES:
            raise UsageError(f"nodes is a whole number from 1 to {MOST_NODES}, not {self.nodes!r}")
        if not 0 < self.walltime_s < float("inf"):
            raise UsageError(f"walltime_s is a number of seconds above 0, not {self.walltime_s!r}")
        if type(self.cpus) is not int or self.cpus < 0:
            raise UsageError(f"cpus is a whole number from 0, not {self.cpus!r}")
        check_workers(parse_workers(self.workers))
        for name in ("queue", "account"):
            if not re.fullmatch(r"[\w@.:+-]*", getattr(self, name)):
                raise UsageError(f"{name}: {getattr(self, name)!r} is no name of a batch system")
        for line in (*self.options, *self.setup, self.launcher):
            if "\n" in line or "\r" in line:
                raise UsageError(f"{line!r} is more than one line: give each by itself")


def script_of(system: BatchSystem, wish: Wish, name: str, run_dir: Path, output: Path) -> str:
    """Return the script of a job whose nodes join the broker of a run directory.

    Args:
        system: the batch system.
        wish: as it was checked.
        name: of the block, and of its nodes.
        run_dir: of the broker, absolute.
        output: the file for the job's output, absolute.

    Raises:
        UsageError: a path has a line break, or a space where the batch system allows none.
    """
    request = Request(
        name=f"steerio-{name}",
        nodes=wish.nodes,
        walltime_s=wish.walltime_s,
        output=str(output),
        queue=wish.queue,
        account=wish.account,
        cpus=wish.cpus,
        options=wish.options,
    )
    if re.search(r"\s", str(output)):
        raise UsageError(f"{output}: batch systems take no path with spaces for a job's output")
    worker = [sys.executable, "-m", "steerio", "worker", "--join", str(run_dir)]
    worker += ["--workers", wish.workers, "--name", name]
    searched = os.environ.get("PYTHONPATH", "")
    lines = [
        "#!/bin/bash",
        *(system.mark + line for line in system.head(request)),
        "",
        f"# Nodes for the broker in {run_dir}, by steerio launch; to be edited as needed.",
        f"cd {shlex.quote(str(Path.cwd()))} || exit",
        *([f"export PYTHONPATH={shlex.quote(searched)}"] if searched else []),
        "# The end of this job, in Unix seconds: keep it in step with the walltime above.",
        f"export {END_VARIABLES[0]}=$(($(date +%s) + {int(wish.walltime_s)}))",
        "# Each process is a node by itself, and no rank.",
        "export STEERIO_MPI=no",
        *wish.setup,
        f"{wish.launcher or system.start(wish.nodes)} {shlex.join(worker)}",
    ]
    return "\n".join(lines) + "\n"
