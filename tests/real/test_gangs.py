"""Several real workers run one task together, and meet over sockets of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import steerio
from steerio import Failed, Gang, Lost, Succeeded, open_session, task
from tests.real import programs
from tests.real.test_restarted_brokers import killed_and_started
from tests.real.test_standing_broker import broker_in, workers_in

needs_torch = pytest.mark.skipif(
    find_spec("torch") is None, reason="torch is not installed: pip install 'torch>=2.4,<2.14'"
)
NAMES = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")


def add_up(gang: Gang, mine: int) -> int:
    """Return the sum of the numbers of all, which the first of the gang makes."""
    if gang.rank == 0:
        with socket.create_server((gang.address, gang.port)) as server:
            others = [server.accept()[0] for _ in range(gang.size - 1)]
            total = mine + sum(int(other.recv(100)) for other in others)
            for other in others:
                other.sendall(str(total).encode())
                other.close()
        return total
    while True:
        try:
            with socket.create_connection((gang.address, gang.port)) as link:
                link.sendall(str(mine).encode())
                return int(link.recv(100))
        except ConnectionRefusedError:  # the first does not listen yet
            time.sleep(0.001)


@task(pool="learn", gang=3)
def meet(add: int) -> tuple[int, int, dict[str, str]]:
    gang = steerio.gang()
    total = add_up(gang, gang.rank + add)
    return gang.rank, total, {name: os.environ[name] for name in NAMES}


@task(pool="learn")
def variables() -> tuple[list[str], Gang]:
    return [name for name in NAMES if name in os.environ], steerio.gang()


@task(pool="learn", gang=2)
def one_fails() -> None:
    if steerio.gang().rank == 1:
        raise ValueError("the second cannot")
    while not steerio.should_stop():
        time.sleep(0.001)


@task(pool="learn", gang=2, retries={"lost": 1})
def one_dies_once(mark: str) -> int:
    gang = steerio.gang()
    if gang.rank == 1 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return add_up(gang, 1)


@pytest.mark.smoke
async def test_a_gang_meets_at_the_port_of_its_first_and_leaves_no_variable_behind() -> None:
    async with open_session(workers={"learn": 3}, pin=False) as session:
        for add in (0, 10):
            rank, total, found = await session.run(meet, add)
            assert (rank, total) == (0, 3 + 3 * add)
            assert (found["RANK"], found["WORLD_SIZE"]) == ("0", "3")
            assert found["MASTER_ADDR"] == "127.0.0.1"
            assert 0 < int(found["MASTER_PORT"]) < 65536
        for left, gang in await session.gather(*[session.submit(variables) for _ in range(6)]):
            assert (left, gang) == ([], Gang(0, 1, "127.0.0.1", 0))


async def test_many_gangs_and_single_tasks_share_the_workers_of_a_pool() -> None:
    async with open_session(workers={"learn": 3}, pin=False) as session:
        gangs = [session.options(gang=2 + n % 2).submit(meet, n) for n in range(12)]
        singles = [session.submit(variables) for _ in range(12)]
        for n, (rank, total, _) in enumerate(await session.gather(*gangs)):
            size = 2 + n % 2
            assert (rank, total) == (0, size * n + size * (size - 1) // 2)
        await session.gather(*singles)


async def test_an_error_of_any_worker_ends_the_others_at_once() -> None:
    async with open_session(workers={"learn": 2}, pin=False) as session:
        result = await session.options(timeout_s=60).submit(one_fails).result()
        assert isinstance(result, Failed)
        assert result.error.message == "the second cannot"
        assert "rank 1 of 2" in result.error.traceback
        assert await session.run(variables) == ([], Gang(0, 1, "127.0.0.1", 0))


async def test_a_gang_that_loses_a_worker_runs_again_as_a_whole(tmp_path: Path) -> None:
    async with open_session(workers={"learn": 2}, pin=False) as session:
        result = await session.submit(one_dies_once, str(tmp_path / "died")).result()
        assert isinstance(result, Succeeded)
        assert (result.value, result.attempt) == (2, 2)


async def test_a_gang_that_is_cancelled_while_it_runs_gives_its_workers_back() -> None:
    async with open_session(workers={"learn": 2}, pin=False) as session:
        async with session.events(steerio.TaskStarted) as events:
            handle = session.submit(waiting)
            assert len((await anext(events)).others) == 1
        handle.cancel()
        assert (await handle.result()).ended_as == "cancelled"
        assert await session.run(variables) == ([], Gang(0, 1, "127.0.0.1", 0))


@task(pool="learn", gang=2)
def waiting() -> None:
    while True:
        time.sleep(0.01)


@task(pool="learn", gang=2, retries={"lost": 3})
def meet_slowly(folder: str) -> int:
    """Say by a file that this worker has begun, and meet when the file ``go`` is there."""
    gang = steerio.gang()
    (Path(folder) / f"begun-{time.monotonic_ns()}-{os.getpid()}").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.01)
    return add_up(gang, 1)


async def begun(folder: Path, count: int) -> list[int]:
    """Wait until workers have begun so many times, and return their processes in order."""
    async with asyncio.timeout(programs.START_S):
        while len(found := names_in(folder)) < count:  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.02)
    return [int(name.rpartition("-")[2]) for name in found]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("begun-*"))


@task(pool="learn", retries={"lost": 3})
def of_one() -> int:
    return steerio.gang().size


async def test_gangs_whose_workers_are_killed_again_and_again_give_the_right_sums(
    tmp_path: Path,
) -> None:
    (tmp_path / "go").touch()
    rng = random.Random(7)
    async with open_session(workers={"learn": 3}, pin=False) as session:
        options = session.options(retries={"lost": 50, "failed": 50})
        gangs = [options.submit(meet_slowly, str(tmp_path)) for _ in range(16)]
        singles = [session.options(retries={"lost": 50}).submit(of_one) for _ in range(10)]
        for n in range(3):
            pids = await begun(tmp_path, 4 * (n + 1))
            with contextlib.suppress(ProcessLookupError):  # it may have been killed before
                os.kill(rng.choice(pids[-2:]), signal.SIGKILL)
        for each in [*gangs, *singles]:
            result = await each.result()
            assert isinstance(result, Succeeded), result
            assert result.value == (1 if each in singles else 2)


async def test_a_gang_over_two_nodes_outlives_its_broker_and_one_of_its_nodes(
    tmp_path: Path,
) -> None:
    workers = ("--workers", "learn=1", "--name")
    with ExitStack() as stack:
        broker = stack.enter_context(broker_in(tmp_path))
        nodes = [stack.enter_context(workers_in(tmp_path, *workers, f"n{n}")) for n in range(2)]
        async with steerio.connect(tmp_path / "broker") as session:
            task = session.submit(meet_slowly, str(tmp_path))
            await begun(tmp_path, 2)
            broker = await asyncio.to_thread(killed_and_started, stack, tmp_path, broker)
            await begun(tmp_path, 4)
            nodes[1].signal(signal.SIGKILL)
            nodes.append(stack.enter_context(workers_in(tmp_path, *workers, "n2")))
            await begun(tmp_path, 6)
            (tmp_path / "go").touch()
            result = await task.result()
            assert isinstance(result, Succeeded), result
            assert result.value == 2
        broker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(broker.status) == 0, broker


async def test_a_move_that_does_not_wait_takes_no_part_of_a_gang(tmp_path: Path) -> None:
    async with open_session(workers={"learn": 2, "other": 1}, pin=False) as session:
        task = session.submit(meet_slowly, str(tmp_path))
        await begun(tmp_path, 2)
        async with session.pools.lend("learn", to="other", how="preempt"):
            assert await session.run(of_one) == 1
            assert not task.done
        await begun(tmp_path, 4)
        (tmp_path / "go").touch()
        result = await task.result()
        assert isinstance(result, Succeeded), result
        assert (result.value, result.attempt) == (2, 2)


async def test_a_gang_that_is_larger_than_its_pool_is_lost_with_the_reason() -> None:
    async with open_session(workers={"learn": 2}, pin=False) as session:
        result = await session.options(gang=3).submit(waiting).result()
        assert isinstance(result, Lost)
        assert "it needs 3 workers at once; there are 2 with" in result.reason


@needs_torch
async def test_torch_adds_tensors_up_over_a_gang() -> None:
    async with open_session(workers={"learn": 2}, pin=False) as session:
        for _ in range(2):
            assert await session.run(all_reduce, 3.0) == [3.0, 4.0, 7.0]


@task(pool="learn", gang=2, preload=["torch"])
def all_reduce(x: float) -> list[float]:
    with torch_group() as (torch, dist):
        rank = dist.get_rank()
        mine = torch.tensor([x * (1 - rank), 4.0 * rank, x + rank])
        dist.all_reduce(mine)
        return [float(each) for each in mine]


@contextlib.contextmanager
def torch_group() -> Iterator[tuple[Any, Any]]:
    """Join the other ranks; one that waits for them gives up after longer than a test may last."""
    torch: Any = import_module("torch")  # which need not be installed
    dist: Any = import_module("torch.distributed")
    dist.init_process_group("gloo", timeout=timedelta(hours=1))
    try:
        yield torch, dist
    finally:
        dist.destroy_process_group()


@needs_torch
async def test_ranks_that_wait_for_a_killed_one_end_and_run_again_with_another(
    tmp_path: Path,
) -> None:
    async with open_session(workers={"learn": 3}, pin=False) as session:
        for dying in (0, 1):  # the one that all know, and one that need not be a neighbour
            mark = str(tmp_path / f"died-{dying}")
            result = await session.submit(dies_amid_sums, dying, mark).result()
            assert isinstance(result, Succeeded), result
            assert (result.value, result.attempt) == (30.0, 2)


@task(pool="learn", gang=3, retries={"lost": 1}, preload=["torch"])
def dies_amid_sums(dying: int, mark: str) -> float:
    with torch_group() as (torch, dist):
        total = 0.0
        for step in range(10):
            if step == 5 and dist.get_rank() == dying and not Path(mark).exists():
                Path(mark).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            one = torch.ones(1)
            dist.all_reduce(one)
            total += float(one)
        return total


@needs_torch
async def test_ranks_that_wait_for_one_another_are_cancelled(tmp_path: Path) -> None:
    async with open_session(workers={"learn": 2}, pin=False) as session:
        assert await session.run(all_reduce, 3.0) == [3.0, 4.0, 7.0]  # torch is loaded
        handle = session.submit(waits_for_a_rank, str(tmp_path))
        await begun(tmp_path, 2)
        handle.cancel()
        assert (await handle.result()).ended_as == "cancelled"
        assert await session.run(all_reduce, 3.0) == [3.0, 4.0, 7.0]


@task(pool="learn", gang=2, preload=["torch"])
def waits_for_a_rank(folder: str) -> None:
    with torch_group() as (torch, dist):
        (Path(folder) / f"begun-{time.monotonic_ns()}-{os.getpid()}").touch()
        if dist.get_rank() == 0:
            dist.all_reduce(torch.ones(1))
        while True:
            time.sleep(0.01)
