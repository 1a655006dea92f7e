"""Where workers really run, what they see, and what becomes of those without a place."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import steerio
from steerio import Workers
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.hosting import Hosting
from steerio.launch.node_process import NodeProcess
from steerio.model.places import Accelerator, NodeCore, Topology, WorkerNeeds
from steerio.session.session import Session

MANY_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
needs_two_cores = pytest.mark.skipif(MANY_CORES < 2, reason="takes two cores that can be chosen")
TELLING = ("CUDA_", "ROCR_", "HIP_", "OMP_", "MKL_")


def place() -> dict[str, Any]:
    """Tell where this runs, and what it is told of that."""
    told = {k: v for k, v in os.environ.items() if k.startswith(TELLING)}
    return {"cores": sorted(os.sched_getaffinity(0)), "told": told}


@steerio.task(pool="simulate")
def place_of_simulation() -> dict[str, Any]:
    """Tell the same, of a worker of another pool."""
    return place()


def take_memory(megabytes: int) -> int:
    """Write to so much memory."""
    return len(bytearray(megabytes << 20))


def threads() -> list[int]:
    """Return the number of threads of each numeric library that is loaded."""
    import threadpoolctl

    np.dot(np.ones((2, 2)), np.ones((2, 2)))
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]


def process() -> int:
    """Tell which process this is."""
    return os.getpid()


async def test_a_task_goes_to_the_worker_whose_tags_it_needs() -> None:
    """One that moves as it is keeps what it has, and so makes a mixed pool."""
    workers = {"default": 1, "spare": Workers(1, tags="bigmem")}
    async with steerio.open_session(workers=workers, pin=False) as session:
        await session.pools.move("spare", "default", 1)
        tagged = session.options(needs=steerio.Needs(tags="bigmem"))
        handles = [tagged.submit(process) for _ in range(4)]
        results = [await handle.result() for handle in handles]
        assert {result.worker for result in results} == {"spare-1"}
        lost = await session.options(needs=steerio.Needs(gpus=1)).submit(process).result()
        assert isinstance(lost, steerio.Lost)
        assert "there are 1 with cpus=1, 1 with cpus=1:tags=bigmem" in lost.reason


@steerio.task(needs=steerio.Needs(tags="bigmem"))
def choosy(number: int) -> int:
    time.sleep(0.05)
    return number


@steerio.task
def modest(number: int) -> int:
    time.sleep(0.05)
    return number


def test_boards_of_different_needs_feed_a_mixed_pool_at_once(tmp_path: Path) -> None:
    class Mixed(steerio.Campaign):
        """Works off two boards on two workers, of which the first board needs one."""

        def __init__(self) -> None:
            self.first = steerio.Board(choosy, range(6))
            self.second = steerio.Board(modest, range(6))

        async def setup(self) -> None:
            await self.pools.move("spare", "default", 1)

    campaign = Mixed()
    workers = {"default": 1, "spare": Workers(1, tags="bigmem")}
    place = tmp_path / "run"
    steerio.run(campaign, workers=workers, run_dir=place, progress="off", pin=False)
    entries = [json.loads(line) for line in (place / "tasks.jsonl").read_text().splitlines()]
    starts = {
        kind.name: [entry["started"] for entry in entries if entry["task_type"] == kind.name]
        for kind in (choosy, modest)
    }
    assert {name: len(found) for name, found in starts.items()} == {choosy.name: 6, modest.name: 6}
    assert min(starts[modest.name]) < sorted(starts[choosy.name])[1], "nobody waited for the other"
    assert {e["worker"] for e in entries if e["task_type"] == choosy.name} == {"spare-1"}


@pytest.mark.smoke
@needs_two_cores
async def test_a_worker_has_a_core_of_its_own_beside_the_campaigns() -> None:
    first, second, *_ = sorted(os.sched_getaffinity(0))
    async with steerio.open_session(workers={"default": 1}) as session:
        found = await session.run(place)
        assert found["cores"] == [second]
        assert found["told"]["OMP_NUM_THREADS"] == "1"
    assert os.sched_getaffinity(0) >= {first, second}, "the campaign's process stays free"


async def test_workers_are_not_pinned_where_there_are_too_few_cores() -> None:
    workers = {"default": Workers(MANY_CORES, cpus=2)}
    async with steerio.open_session(workers=workers) as session:
        found = await session.run(place)
    assert found["cores"] == sorted(os.sched_getaffinity(0))
    assert found["told"]["OMP_NUM_THREADS"] == "2"


@needs_two_cores
async def test_a_replaced_worker_gets_the_place_of_the_one_before() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        before = await session.run(place)
        with pytest.raises(steerio.TaskLost):
            await session.options(retries={"lost": 0}).run(os._exit, 3)
        assert await session.run(place) == before


async def test_a_worker_takes_no_more_memory_than_it_may() -> None:
    workers = {"default": Workers(1, memory="512M")}
    async with steerio.open_session(workers=workers) as session:
        assert await session.run(take_memory, 100) == 100 << 20
        with pytest.raises(steerio.TaskFailed) as caught:
            await session.run(take_memory, 600)
        assert isinstance(caught.value.__cause__, MemoryError)
        assert await session.run(take_memory, 100) == 100 << 20, "and goes on"


async def test_libraries_loaded_before_the_fork_use_the_cores_of_the_worker() -> None:
    workers = {"default": Workers(1, cpus=2)}
    async with steerio.open_session(workers=workers, preload=["numpy"]) as session:
        assert set(await session.run(threads)) == {2}


async def test_who_asks_for_accelerators_that_are_not_there_is_told_at_once() -> None:
    workers = {"default": Workers(1, gpus=1000)}
    async with steerio.open_session(workers=workers) as session:
        with pytest.raises(steerio.TaskLost, match="it needs 1000 of the accelerators"):
            await session.run(place)


# -- a node that is told what it has -------------------------------------------------------------


def two_amd_devices() -> Topology:
    """Return this machine's cores, with two devices it has not."""
    cores = tuple(NodeCore(n, n) for n in sorted(os.sched_getaffinity(0)))
    devices = tuple(Accelerator(vendor="amd", index=n, id=str(n)) for n in range(2))
    return Topology(cores=cores, accelerators=devices)


@asynccontextmanager
async def nodes(*offers: tuple[dict[str, int], dict[str, WorkerNeeds]]) -> AsyncGenerator[Session]:
    """Open a session with nodes that have these workers, and two devices together."""
    pools = {pool: count for workers, _ in offers for pool, count in workers.items()}
    hosting = Hosting(BrokerSetup(workers={}, pools=pools))
    await hosting.start()
    started = [NodeProcess.spawned() for _ in offers]
    try:
        for number, (node, (workers, needs)) in enumerate(zip(started, offers, strict=True)):
            setup = hosting.setup(f"node{number}", workers, log="")
            node.begin(msgspec.structs.replace(setup, needs=needs, topology=two_amd_devices()))
        session = Session(await hosting.join("test"), None)
        try:
            yield session
        finally:
            session.close()
    finally:
        for node in started:
            await node.close()
        await hosting.close()


async def meet(session: Session, count: int, mark: Path) -> list[dict[str, Any]]:
    """Have so many workers run at a time, and return the place of each."""
    return await session.gather(*(session.submit(meeting, count, mark) for _ in range(count)))


def meeting(count: int, mark: Path) -> dict[str, Any]:
    """Tell this worker's place when so many of them are at it."""
    (mark / str(os.getpid())).touch()
    while len(list(mark.iterdir())) < count:
        os.sched_yield()
    return place()


async def test_each_worker_sees_only_its_own_device(tmp_path: Path) -> None:
    needs = {"default": WorkerNeeds(gpus=1)}
    async with nodes(({"default": 2, "simulate": 1}, needs)) as session:
        async with asyncio.timeout(60):
            found = await meet(session, 2, tmp_path)
            other = await session.run(place_of_simulation)
    told = sorted(place["told"]["ROCR_VISIBLE_DEVICES"] for place in found)
    assert told == ["0", "1"]
    assert {place["told"]["HIP_VISIBLE_DEVICES"] for place in found} == {"0"}
    assert other["told"]["ROCR_VISIBLE_DEVICES"] == "-1"


async def test_nodes_of_one_machine_share_its_devices_out(tmp_path: Path) -> None:
    offer = ({"default": 1}, {"default": WorkerNeeds(gpus=1)})
    async with nodes(offer, offer) as session:
        async with asyncio.timeout(60):
            found = await meet(session, 2, tmp_path)
    assert sorted(place["told"]["ROCR_VISIBLE_DEVICES"] for place in found) == ["0", "1"]
