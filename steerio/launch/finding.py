"""The broker of a run directory: finds it, and tells a running one from files of an ended one."""

from __future__ import annotations

import os
from pathlib import Path

from steerio.edge.system import descendants
from steerio.edge.wire.connection import FILE_NAME, Connection, listens, read_connection
from steerio.errors import UsageError


def find_broker(run_dir: Path | str) -> Connection:
    """Return the connection of the broker that runs there.

    Raises:
        UsageError: none runs there, or it cannot be reached from this machine.
    """
    try:
        found = Path(run_dir).exists()
    except OSError as error:
        name = str(run_dir)[:80]
        raise UsageError(f"{name!r} is no run directory: {error.strerror}") from None
    if not found:
        if str(run_dir).endswith(".json"):
            raise UsageError(f"there is no file {run_dir}: it goes when its broker ends")
        raise UsageError(f"there is no run directory {run_dir}")
    connection = read_connection(run_dir)
    if has_ended(connection):
        raise UsageError(
            f"no broker is running in {run_dir}: the last one there (process {connection.pid}) "
            "has ended without cleaning up. If it was a standing one, start another in its place: "
            f"steerio broker --run-dir {run_dir}"
        )
    return connection


def folder_of(run_dir: Path | str) -> Path:
    """Return the run directory, of which a connection file may have been named."""
    place = Path(run_dir)
    return place if place.is_dir() else place.parent


def has_ended(connection: Connection) -> bool:
    """Say whether a broker of this machine has surely ended; ``False`` for other machines."""
    if not connection.counted_here or (connection.local and listens(connection.local)):
        return False
    # its socket may be out of sight, for instance from within a container
    return not (connection.remote and _runs(connection.pid))


def waits_for(run_dir: Path | str, away_s: float) -> float | None:
    """Return how long to wait for the broker of a run directory; ``None``: it is there.

    One that ended in good order has taken its connection file away: it is waited for no longer. One
    that was killed is waited for ``away_s`` seconds.
    """
    place = Path(run_dir)
    try:
        if not (place / FILE_NAME if place.is_dir() else place).exists():
            return 0.0
        return away_s if has_ended(read_connection(place)) else None
    except (OSError, UsageError):  # a file system that does not answer says nothing
        return None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return descendants.lives(pid)
