"""A simulated task that raises more than an error ends itself alone, as a real one does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from steerio import Failed, Session, task
from steerio.testing import Model, SimulatedCluster
from tests.simulated.virtual import on_cluster, simulation

pytestmark = pytest.mark.borders

LEAVES = ("RuntimeError", "the task called sys.exit(3)")
CANCELS = ("asyncio.exceptions.CancelledError", "by itself")


@task(pool="simulate")
def function() -> None:
    sys.exit(3)


@task(pool="simulate")
def cancelled_function() -> None:
    raise asyncio.CancelledError("by itself")


@task(pool="simulate")
async def coroutine() -> None:
    await asyncio.sleep(1)
    sys.exit(3)


@task(pool="simulate")
async def cancelled_coroutine() -> None:
    raise asyncio.CancelledError("by itself")


@task(pool="simulate")
def generator() -> Iterator[int]:
    yield 1
    sys.exit(3)


@task(pool="simulate")
async def cancelled_generator() -> AsyncIterator[int]:
    yield 1
    raise asyncio.CancelledError("by itself")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (function, LEAVES),
        (cancelled_function, CANCELS),
        (coroutine, LEAVES),
        (cancelled_coroutine, CANCELS),
        (generator, LEAVES),
        (cancelled_generator, CANCELS),
    ],
)
def test_a_task_that_leaves_fails_and_its_worker_goes_on(
    kind: Callable[..., Any], told: tuple[str, str]
) -> None:
    @on_cluster(1, model=Model(1.0))
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        result = await session.submit(kind).result()
        assert isinstance(result, Failed)
        assert (result.error.type, result.error.message) == told
        assert await session.run(simulation, 2.0) == 2.0
        stopped = session.submit(coroutine)
        await asyncio.sleep(1.5)
        stopped.cancel()
        assert (await stopped.result()).ended_as == "cancelled"

    scene()
