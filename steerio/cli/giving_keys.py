"""``steerio key``: makes, lists and revokes keys of a running broker."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import click

from steerio.edge.system.own_files import to_json, write_own, writing_to
from steerio.edge.wire.connection import Connection
from steerio.edge.wire.keyring import KeyList, NamedKey
from steerio.edge.wire.keys import ROLES, make_pair
from steerio.errors import UsageError
from steerio.launch.finding import find_broker, folder_of


def add_key(run_dir: str, name: str, role: str, file: str | None) -> None:
    """Make a key, and write the connection file of its holder.

    Args:
        run_dir: of the broker.
        name: of the holder.
        role: as which the holder joins.
        file: the file to write; by default one in the run directory.

    Raises:
        UsageError: the broker is on no network, or has no keys, or one of these is wrong.
    """
    connection, listed = _broker(run_dir)
    assert connection.keys is not None
    server_public = next(iter(connection.keys.values())).server_public
    made = make_pair(server_public)
    listed.add(NamedKey(name, role, made.public, time.time()))
    path = listed.file_of(name) if file is None else Path(file)
    with writing_to(path.parent):
        write_own(path, to_json(connection.with_own_key(role, made)))
    click.echo(f"{path}: the key of {name}, as a {role}; hand the file on with mode 600")
    click.echo(f"revoke it: steerio key {run_dir} revoke {name}")


def list_keys(run_dir: str) -> None:
    """Print the keys of a broker, without their secrets.

    Raises:
        UsageError: no broker with keys runs there, or they cannot be read.
    """
    keys = _broker(run_dir)[1].all()
    revoked = {key.name: key.revoked for key in keys}
    for role in ROLES:
        click.echo(f"{role}: {role}, of the run itself{_since(revoked.get(role))}")
    for key in keys:
        if key.name not in ROLES:
            click.echo(f"{key.name}: {key.role}{_since(key.revoked)}")


def revoke_key(run_dir: str, name: str) -> None:
    """Revoke a key.

    Raises:
        UsageError: there is none of this name, or no broker with keys runs there.
    """
    _broker(run_dir)[1].revoke(name)
    click.echo(f"the key {name} opens nothing any more; connections by it end within seconds")


def _broker(run_dir: str) -> tuple[Connection, KeyList]:
    """Return the connection of a broker that has keys, and the list of these.

    Raises:
        UsageError: none runs there, or it is on no network, or takes no keys.
    """
    connection = find_broker(run_dir)
    if not connection.remote:
        raise UsageError(
            f"the broker in {run_dir} listens for processes of this user on this machine only, "
            "which need no keys; for others start it with 'steerio broker --host ADDRESS'"
        )
    if not connection.keys:
        raise UsageError(f"the broker in {run_dir} takes no keys: it runs with --no-encryption")
    if connection.role:
        raise UsageError(
            f"name the run directory of the broker, and not the file of a {connection.role}"
        )
    return connection, KeyList(folder_of(run_dir))


def _since(revoked: float | None) -> str:
    if revoked is None:
        return ""
    return f", revoked {datetime.fromtimestamp(revoked).astimezone():%Y-%m-%d %H:%M}"
