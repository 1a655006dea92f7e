"""``steerio steer``: a person's orders to a running broker or campaign."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import click

from steerio.errors import OrderRefused, UsageError
from steerio.model.campaign_orders import (
    NO_CAMPAIGN,
    MoveWorkers,
    Order,
    PausePools,
    ResumePools,
)
from steerio.model.showing import printable
from steerio.session.opening import connect
from steerio.session.session import Session


def pause_pools(run_dir: str, by: str, pools: Sequence[str], **options: str | bool) -> None:
    """Pause pools, wait until that has taken effect, and print how much still runs."""

    async def at_broker(session: Session, reason: str) -> list[str]:
        await session.pools.pause(*pools, reason=reason)
        status = await session.status()
        loads = {name: status.pools[name] for name in pools or status.pools}
        return [
            f"{name} is paused: {load.running} running, {load.queued} queued"
            for name, load in loads.items()
        ]

    _give(PausePools(tuple(pools)), at_broker, run_dir, by, **options)


def resume_pools(run_dir: str, by: str, pools: Sequence[str], **options: str | bool) -> None:
    """Resume pools, and print how much they have to do."""

    async def at_broker(session: Session, reason: str) -> list[str]:
        await session.pools.resume(*pools, reason=reason)
        status = await session.status()
        names = pools or status.pools
        return [f"{name} goes on: {status.pools[name].queued} queued" for name in names]

    _give(ResumePools(tuple(pools)), at_broker, run_dir, by, **options)


def move_workers(
    run_dir: str, by: str, source: str, target: str, workers: int, **options: str | bool
) -> None:
    """Move workers to another pool, and wait until they are there."""

    async def at_broker(session: Session, reason: str) -> list[str]:
        del reason  # no event tells why a worker was moved
        names = await session.pools.move(source, target, workers)
        return [f"{len(names)} moved from {source} to {target}: {', '.join(names)}"]

    _give(MoveWorkers(source, target, workers), at_broker, run_dir, by, **options)


AtBroker = Callable[[Session, str], Awaitable[list[str]]]
"""Gives an order to a broker itself, with a reason, and returns its effect."""


def _give(
    order: Order,
    at_broker: AtBroker,
    run_dir: str,
    by: str,
    reason: str | bool,
    campaign: str | bool,
    dry_run: str | bool,
) -> None:
    """Give an order about pools to the campaign that takes orders, else to the broker itself."""

    async def given() -> list[str]:
        async with steering(run_dir, by) as session:
            about: Any = {"reason": reason, "campaign": campaign, "dry_run": dry_run}
            try:
                answer = await session.order(order, **about)
            except OrderRefused as error:
                if campaign or not error.reason.startswith(NO_CAMPAIGN):
                    raise
                if dry_run:
                    raise UsageError(
                        f"{NO_CAMPAIGN}, and a broker by itself has no dry run"
                    ) from None
                return await at_broker(session, str(reason))
            return answer.words.split("; ")

    for line in asyncio.run(given()):
        click.echo(printable(line))


@contextlib.asynccontextmanager
async def steering(run_dir: str, by: str) -> AsyncGenerator[Session, None]:
    """Connect under the name of the person that orders, as events tell of it."""
    async with connect(run_dir, name=by or _me()) as session:
        await session.pools.look()
        yield session


def _me() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        user = "someone"
    return f"{user}@{socket.gethostname()}"
