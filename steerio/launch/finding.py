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
        raise UsageError(f"there is no run directory {run_dir}")
    connection = read_connection(run_dir)
    if has_ended(connection):
        raise UsageError(
            f"no broker is running in {run_dir}: the last one there (process {connection.pid}) "
            "has ended without cleaning up"
        )
    return connection


def folder_of(run_dir: Path | str) -> Path:
    """Return the run directory, of which a connection file may have been named."""
    place = Path(run_dir)
    return place if place.is_dir() else place.parent


def has_ended(connection: Connection) -> bool:
    """Say whether a broker of this machine has surely ended; ``False`` for other machines."""
    if not connection.counted_here or listens(connection.local):
        return False
    # its socket may be out of sight, for instance from within a container
    return not (connection.remote and _runs(connection.pid))


def is_gone(connection: Connection, run_dir: Path | str) -> bool:
    """Say whether a broker that ran there has surely ended, or another has its place."""
    place = Path(run_dir)
    try:
        if not (place / FILE_NAME if place.is_dir() else place).exists():
            return True
        return read_connection(place) != connection or has_ended(connection)
    except (OSError, UsageError):  # a file system that does not answer says nothing
        return False


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return descendants.lives(pid)
