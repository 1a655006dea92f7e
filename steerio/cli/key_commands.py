"""``steerio key``: the keys of single holders, by which they join a broker over the network."""

from __future__ import annotations

from typing import Any

import click

from steerio.edge.wire.keys import ROLES


@click.group()
@click.argument("run_dir", metavar="RUN_DIR")
@click.pass_context
def key(context: click.Context, run_dir: str) -> None:
    """Give others keys of their own to the broker in RUN_DIR, and revoke them while it runs."""
    context.obj = run_dir


@key.command("add")
@click.argument("name", metavar="NAME")
@click.option("--role", type=click.Choice(ROLES), required=True, help="As which its holder joins.")
@click.option("--file", metavar="FILE", help="The file for its holder [RUN_DIR/NAME.key.json].")
@click.pass_obj
def key_add(run_dir: str, /, **given: Any) -> None:
    """Make a key, and write the connection file that its holder joins by."""
    from steerio.cli import giving_keys  # each command loads only its own code

    giving_keys.add_key(run_dir, **given)


@key.command("list")
@click.pass_obj
def key_list(run_dir: str, /) -> None:
    """Show the names and roles of all keys, and which were revoked."""
    from steerio.cli import giving_keys  # each command loads only its own code

    giving_keys.list_keys(run_dir)


@key.command("revoke")
@click.argument("name", metavar="NAME")
@click.pass_obj
def key_revoke(run_dir: str, /, name: str) -> None:
    """Refuse a key from now on, and end the connections that it has opened.

    The run's own keys have the names of their roles: client, node, observer.
    """
    from steerio.cli import giving_keys  # each command loads only its own code

    giving_keys.revoke_key(run_dir, name)
