"""The MPI launcher of this machine, found in ``PATH`` and by the variables of the job."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from steerio.errors import UsageError, guess
from steerio.worker.launchers import COMMANDS, DIALECTS, OF_JOBS, dialect_of

ANSWER_S = 20.0
"""Longest wait for a launcher to say its version."""
PLAIN = ("mpiexec", "mpirun")
"""Names that the launchers of several libraries have."""


class Launcher(NamedTuple):
    """A launcher: the name of its dialect, and its command."""

    dialect: str
    command: str


_known: dict[str, str | None] = {}
"""The dialects of commands that were asked."""


def find_launcher(asked: str, environment: Mapping[str, str]) -> Launcher:
    """Return the launcher to use.

    Args:
        asked: the name of a dialect, or a command; ``""``: the one of the job, or of ``PATH``.
        environment: of the program to launch.

    Raises:
        UsageError: there is none, or none like that, or it is not known whose it is.
    """
    path = environment.get("PATH", "")
    if asked in DIALECTS:
        for name in COMMANDS[asked]:
            found = shutil.which(name, path=path)
            if found and (name not in PLAIN or _dialect(found) in (asked, None)):
                return Launcher(asked, found)
        names = " or ".join(COMMANDS[asked])
        raise UsageError(f"launcher {asked!r} needs {names}, and none of it is in PATH ({path})")
    if asked:
        return _named(asked, path)
    for name, variable in OF_JOBS.items():
        if variable in environment and (found := shutil.which(name, path=path)):
            return Launcher(name, found)
    for name in PLAIN:
        found = shutil.which(name, path=path)
        if found and (dialect := _dialect(found)):
            return Launcher(dialect, found)
    if found := shutil.which("aprun", path=path):
        return Launcher("aprun", found)
    raise UsageError(
        f"no MPI launcher was found: neither {' nor '.join(PLAIN)} nor that of a job is in PATH "
        f"({path}). Install one, or name it: launcher=..., in @mpi_task"
    )


def _named(asked: str, path: str) -> Launcher:
    """Return the launcher that was asked for by its command."""
    found = shutil.which(asked, path=path)
    if not found:
        known = ", ".join(DIALECTS)
        raise UsageError(
            f"launcher {asked!r} is no command in PATH ({path}), and no name of a dialect "
            f"({known}){guess(asked, DIALECTS)}"
        )
    name = Path(asked).name
    dialect = name if name in DIALECTS else _dialect(found)
    if dialect is None:
        raise UsageError(
            f"{found} --version does not say whose launcher it is: name one of "
            f"{', '.join(DIALECTS)}, and put its command into PATH"
        )
    return Launcher(dialect, found)


def _dialect(command: str) -> str | None:
    """Ask a launcher whose it is."""
    if command not in _known:
        try:
            told = subprocess.run(
                [command, "--version"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=ANSWER_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        _known[command] = dialect_of(told.stdout + told.stderr)
    return _known[command]
