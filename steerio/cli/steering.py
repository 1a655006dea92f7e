"""``steerio steer``: a person's orders to a running broker or campaign."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

import click

from steerio.edge.system.machine import user_at_host
from steerio.model.status import Status
from steerio.session.opening import connect
from steerio.session.session import Session


def pause_pools(run_dir: str, pools: Sequence[str], reason: str, by: str) -> None:
    """Pause pools, wait until that has taken effect, and print how much still runs."""
    status = asyncio.run(_pause(run_dir, pools, reason, by))
    for name in pools or status.pools:
        load = status.pools[name]
        click.echo(f"{name} is paused: {load.running} running, {load.queued} queued")


def resume_pools(run_dir: str, pools: Sequence[str], reason: str, by: str) -> None:
    """Resume pools, and print how much they have to do."""
    status = asyncio.run(_resume(run_dir, pools, reason, by))
    for name in pools or status.pools:
        click.echo(f"{name} goes on: {status.pools[name].queued} queued")


def move_workers(run_dir: str, source: str, target: str, workers: int, by: str) -> None:
    """Move workers to another pool, and wait until they are there."""
    names = asyncio.run(_move(run_dir, source, target, workers, by))
    click.echo(f"{len(names)} moved from {source} to {target}: {', '.join(names)}")


async def _pause(run_dir: str, pools: Sequence[str], reason: str, by: str) -> Status:
    async with steering(run_dir, by) as session:
        await session.pools.pause(*pools, reason=reason)
        return await session.status()


async def _resume(run_dir: str, pools: Sequence[str], reason: str, by: str) -> Status:
    async with steering(run_dir, by) as session:
        await session.pools.resume(*pools, reason=reason)
        return await session.status()


async def _move(run_dir: str, source: str, target: str, workers: int, by: str) -> list[str]:
    async with steering(run_dir, by) as session:
        return await session.pools.move(source, target, workers)


@contextlib.asynccontextmanager
async def steering(run_dir: str, by: str) -> AsyncGenerator[Session, None]:
    """Connect under the name of the person that orders, as events tell of it."""
    async with connect(run_dir, name=by or user_at_host()) as session:
        await session.pools.look()
        yield session
