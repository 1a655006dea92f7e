"""``steerio token``: the access tokens of programs that look and order at a dashboard."""

from __future__ import annotations

from typing import Any

import click

from steerio.model.roles import ROLES


@click.group()
@click.argument("run_dir", metavar="RUN_DIR")
@click.pass_context
def token(context: click.Context, run_dir: str) -> None:
    """Give programs access to the dashboard of the run in RUN_DIR, and take it away."""
    context.obj = run_dir


@token.command("add")
@click.argument("name", metavar="NAME")
@click.option("--role", type=click.Choice(ROLES), required=True, help="Its role.")
@click.option(
    "--tasks-per-hour",
    type=click.IntRange(0),
    metavar="N",
    help="Tasks that it may submit within an hour [any number].",
)
@click.option(
    "--worker-hours",
    type=click.FloatRange(0),
    metavar="H",
    help="Time of workers that its tasks may take in all, in hours [any].",
)
@click.option("--expires", metavar="TIME", help="Refuse it after so long: 90m, 2d [never].")
@click.pass_obj
def token_add(run_dir: str, /, **given: Any) -> None:
    """Make a token for a program, and print it: it is shown this once."""
    from steerio.cli import tokens  # each command loads only its own code

    tokens.add_token(run_dir, **given)


@token.command("list")
@click.pass_obj
def token_list(run_dir: str, /) -> None:
    """Show the names, roles, budgets and ends of all tokens."""
    from steerio.cli import tokens  # each command loads only its own code

    tokens.list_tokens(run_dir)


@token.command("drop")
@click.argument("name", metavar="NAME")
@click.pass_obj
def token_drop(run_dir: str, /, name: str) -> None:
    """Remove a token, whose requests are refused from then on."""
    from steerio.cli import tokens  # each command loads only its own code

    tokens.drop_token(run_dir, name)
