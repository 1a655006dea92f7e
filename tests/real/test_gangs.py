"""Several real workers run one task together, and meet over sockets of their own."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

import steerio
from steerio import Failed, Gang, Succeeded, open_session, task

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


async def test_torch_adds_tensors_up_over_a_gang() -> None:
    pytest.importorskip("torch", reason="torch is not installed (pip install torch)")
    async with open_session(workers={"learn": 2}, pin=False) as session:
        for _ in range(2):
            assert await session.run(all_reduce, 3.0) == [3.0, 4.0, 7.0]


@task(pool="learn", gang=2)
def all_reduce(x: float) -> list[float]:
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    try:
        rank = dist.get_rank()
        mine = torch.tensor([x * (1 - rank), 4.0 * rank, x + rank])
        dist.all_reduce(mine)
        return [float(each) for each in mine]
    finally:
        dist.destroy_process_group()
