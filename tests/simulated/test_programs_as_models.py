"""Programs and MPI codes in simulated clusters: a model stands for each, and none is run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import steerio
from steerio import Commands, Failed
from steerio.testing import Model, SimulatedCluster, run_virtual


@steerio.executable
def relax(step: int) -> Commands[float]:
    Path("/no/such/folder").write_text("it is not called")
    yield ["no-such-program"]
    return 0.0


@steerio.mpi_task(gang=2, ranks_per_worker=4)
def solve(size: int) -> Commands[float]:
    yield ["no-such-program"]
    return 0.0


def test_a_model_with_a_value_stands_for_a_program_and_a_gang_takes_its_workers() -> None:
    async def scene() -> tuple[float, float, float]:
        model = {relax: Model(10, value=lambda step: step / 2), solve: Model(30, value=float)}
        async with SimulatedCluster({"default": 2}, model=model) as cluster:
            async with cluster.session() as session:
                values = await session.gather(session.submit(solve, 7), session.submit(relax, 1))
                return (*values, asyncio.get_running_loop().time())

    wide, half, took_s = run_virtual(scene())
    assert (wide, half) == (7.0, 0.5)
    assert took_s >= 40, "the other waits for a worker of the gang"


def test_a_program_without_a_value_of_its_model_is_not_run_either() -> None:
    async def scene() -> object:
        async with SimulatedCluster({"default": 1}, model={relax: Model(10)}) as cluster:
            async with cluster.session() as session:
                return await session.submit(relax, 1).result()

    result = run_virtual(scene())
    assert isinstance(result, Failed)
    assert "no program runs in a simulation: give relax a model with a value" in (
        result.error.message
    )


@pytest.mark.parametrize("kind", [relax, solve])
def test_they_are_ordinary_functions_to_the_broker(kind: object) -> None:
    assert isinstance(kind, steerio.TaskType)
    assert kind.kind == "function"
