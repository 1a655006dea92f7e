"""``steerio clean``: removes the objects and sockets that killed processes have left."""

from __future__ import annotations

from pathlib import Path

import click

from steerio.edge.store.folders import sweep_stale
from steerio.edge.wire.socket_folders import sweep_sockets
from steerio.errors import UsageError
from steerio.launch.stores import OBJECTS
from steerio.model.places import say_bytes
from steerio.model.showing import counted


def clean(dry_run: bool, folder: str | None) -> None:
    """Remove them, and print their folders and sizes.

    Raises:
        UsageError: there is no such folder.
    """
    within = None if folder is None else Path(folder).absolute()
    if within is not None and not within.is_dir():
        raise UsageError(f"--folder {folder} is no folder")
    found = sweep_stale(within, dry_run=dry_run)
    if within is not None:  # it may be a run directory
        found += sweep_stale(within / OBJECTS, dry_run=dry_run)
    verb = "would remove" if dry_run else "removed"
    for removed in found:
        click.echo(f"{verb} {removed.folder} ({say_bytes(removed.nbytes)})")
    for folder_of_sockets in sweep_sockets(dry_run=dry_run) if within is None else ():
        click.echo(f"{verb} {folder_of_sockets} (the sockets of a broker or node)")
    total = sum(removed.nbytes for removed in found)
    click.echo(f"{verb} {counted(total, 'byte')} in {counted(len(found), 'folder')}")
