"""Workers of different make in one pool, and tasks that say what they need."""

from __future__ import annotations

import asyncio

from steerio import Lost, Needs, Succeeded, Workers, task
from steerio.testing import Model, SimulatedCluster, run_virtual

WORKERS = {"simulate": Workers(4)}
LARGE = {"simulate": Workers(1, cpus=8, tags="bigmem")}


@task(pool="simulate")
def small(number: int) -> int:
    return number


@task(pool="simulate", needs=Needs(cpus=8))
def large(number: int) -> int:
    return number


def test_large_tasks_run_on_large_workers_beside_many_small_ones() -> None:
    async def run() -> None:
        async with SimulatedCluster(WORKERS, model=Model(duration_s=1.0)) as cluster:
            cluster.add_node("large", LARGE)
            async with cluster.session() as session:
                await session.run(small, 0)  # by now all have joined
                kinds = [small] * 10 + [large] * 4 + [small] * 20
                handles = [session.submit(kind, n) for n, kind in enumerate(kinds)]
                results = await asyncio.gather(*(handle.result() for handle in handles))
        assert all(isinstance(result, Succeeded) for result in results)
        (workers,) = [{r.worker for r in results if r.task_type == large.name}]
        assert workers == {"simulate-5"}
        took = max(
            result.timings.ended or 0.0 for result in results if result.task_type == large.name
        )
        assert took == 7.0  # four seconds of its own, behind what was ranked before them

    run_virtual(run())


def test_a_task_that_no_worker_could_take_is_lost_at_once() -> None:
    async def run() -> None:
        async with (
            SimulatedCluster(WORKERS, model=Model(duration_s=1.0)) as cluster,
            cluster.session() as session,
        ):
            await session.run(small, 0)
            before = asyncio.get_running_loop().time()
            handle = session.options(needs=Needs(gpus=1)).submit(small, 1)
            result = await handle.result()
            assert isinstance(result, Lost)
            assert "needs cpus=1:gpus=1; there are 4 with cpus=1" in result.reason
            assert asyncio.get_running_loop().time() - before < 0.1

    run_virtual(run())
