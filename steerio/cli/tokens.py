"""``steerio token``: makes, lists and drops the access tokens of a run."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import click

from steerio.dashboard.access_tokens import AccessToken, AccessTokens
from steerio.errors import UsageError
from steerio.launch.walltime import parse_seconds
from steerio.model.roles import Budget, Role
from steerio.session.recorded_runs import is_run


def add_token(
    run_dir: str,
    name: str,
    role: Role,
    tasks_per_hour: int | None,
    worker_hours: float | None,
    expires: str | None,
) -> None:
    """Make a token, and print it.

    Args:
        run_dir: the run directory.
        name: of the program that gets it.
        role: its role.
        tasks_per_hour: tasks that it may submit within an hour.
        worker_hours: time of workers that its tasks may take, in hours.
        expires: how long it is good for, as people write it.

    Raises:
        UsageError: one of these is wrong, or there is no run.
    """
    expires_s = None if expires is None else parse_seconds(expires)
    tokens = _tokens(run_dir)
    click.echo(tokens.add(name, role, Budget(tasks_per_hour, worker_hours), expires_s))
    click.echo(f"{name} may {role}; this token is not shown again", err=True)


def list_tokens(run_dir: str) -> None:
    """Print the tokens of a run, without their secrets.

    Raises:
        UsageError: there is no run, or they cannot be read.
    """
    tokens = _tokens(run_dir).all()
    for each in tokens:
        click.echo(f"{each.name}: {each.role}{_bounds(each)}")
    if not tokens:
        click.echo("no tokens")


def drop_token(run_dir: str, name: str) -> None:
    """Remove a token.

    Raises:
        UsageError: there is none of this name, or no run.
    """
    _tokens(run_dir).drop(name)
    click.echo(f"{name} has no token any more")


def _tokens(run_dir: str) -> AccessTokens:
    folder = Path(run_dir)
    if not is_run(folder):
        raise UsageError(
            f"there is no run in {run_dir}: name the run directory that the dashboard shows"
        )
    return AccessTokens(folder)


def _bounds(token: AccessToken) -> str:
    """Return the bounds of a token in words, each behind a comma."""
    words: list[str] = []
    if token.budget.tasks_per_hour is not None:
        words.append(f"{token.budget.tasks_per_hour} tasks an hour")
    if token.budget.worker_hours is not None:
        words.append(f"{token.budget.worker_hours:g} worker-hours")
    if token.expires is not None:
        until = datetime.fromtimestamp(token.expires).astimezone()
        over = "expired" if time.time() >= token.expires else "until"
        words.append(f"{over} {until:%Y-%m-%d %H:%M}")
    return "".join(f", {each}" for each in words)
