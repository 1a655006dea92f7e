"""A node on another host, which a TCP address makes of this one, is the relay of its workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import steerio
from steerio import Lost, Session, Succeeded, TaskProgress, WorkerLost
from steerio.edge.store.folders import sweep_stale
from steerio.model import messages as ms
from steerio.worker import forks
from tests.real import deeds, programs
from tests.real.programs import Program
from tests.real.test_standing_broker import broker_in, workers_in

WITHIN_S = 20.0


@contextmanager
def node_in(folder: Path, workers: int) -> Iterator[Program]:
    """Have a node join, and leave in good order."""
    with workers_in(folder, "--workers", f"default={workers}") as node:
        yield node
        node.signal(signal.SIGTERM)
        node.status()


@asynccontextmanager
async def from_elsewhere(folder: Path, *options: str) -> AsyncIterator[tuple[Session, Program]]:
    """Run a broker that listens on TCP, and have what joins it believe that it is elsewhere."""
    with broker_in(folder, "--host", "127.0.0.1", *options) as broker:
        file = folder / "broker" / "connection.json"
        connection = json.loads(file.read_text())
        connection["host"] = "elsewhere"
        file.write_text(json.dumps(connection))
        async with steerio.connect(folder / "broker") as session:
            yield session, broker
        broker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(broker.status) == 0, broker


def sockets() -> set[Path]:
    """Return the sockets for workers that there are."""
    return set(Path(tempfile.gettempdir()).glob("steerio-*/workers"))


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def until_ready(session: Session, workers: int) -> None:
    """Wait for so many workers."""
    async with asyncio.timeout(WITHIN_S):
        while (
            pool := session.pools.get("default")
        ) is None or pool.workers - pool.starting < workers:
            await session.pools.look()


def say_and_die(size: int) -> bytes:
    """Return a value, and end the process once its report is on its way."""
    worker: Any = forks._worker
    link = worker._broker
    say = link.say

    def last_word(message: ms.ToBroker, frames: Any = ()) -> None:
        say(message, frames)
        if isinstance(message, ms.Report):
            os.kill(os.getpid(), signal.SIGKILL)

    link.say = last_word
    return bytes(size)


def sleep_on() -> None:
    """Tell which process this is, and stay."""
    steerio.report(None, f"{os.getpid()}")
    time.sleep(1000)


def steps(count: int) -> Iterator[int]:
    for number in range(count):
        steerio.report(number / count)
        yield number


async def test_a_broker_has_one_connection_for_all_workers_of_a_node(tmp_path: Path) -> None:
    async with from_elsewhere(tmp_path) as (session, broker):
        took: list[int] = []
        ready = 0
        with ExitStack() as opened:
            for workers in (1, 8):
                before = descriptors(broker.pid)
                opened.enter_context(node_in(tmp_path, workers))
                ready += workers
                await until_ready(session, ready)
                took.append(descriptors(broker.pid) - before)
            assert took == [1, 1]
            doubled = await session.gather(*session.map(deeds.double, range(500)))
            assert doubled == [2 * x for x in range(500)]
            data = bytes(range(256)) * 40_000
            assert await session.run(bytes.swapcase, data) == data.swapcase()
            assert [item async for item in session.submit(steps, 30).items()] == list(range(30))
            status = await session.status()
            assert {why for why in status.dropped if not why.startswith("late")} == set()
            assert len(status.workers) == 9


async def test_the_last_report_of_a_worker_counts_and_its_end_is_told_after_it(
    tmp_path: Path,
) -> None:
    async with from_elsewhere(tmp_path) as (session, _):
        with node_in(tmp_path, 1):
            async with session.events(WorkerLost) as events:
                for size in (0, 1_000, 300_000, 1_500_000):
                    task = session.options(retries={"lost": 0}).submit(say_and_die, size)
                    result = await task.result()
                    assert isinstance(result, Succeeded), result
                    assert len(result.value) == size
                    lost = await anext(events)
                    assert "SIGKILL" in lost.reason
                    assert lost.task_id is None


async def test_a_killed_worker_is_replaced_and_a_cancelled_one_is_stopped(tmp_path: Path) -> None:
    async with from_elsewhere(tmp_path) as (session, _):
        with node_in(tmp_path, 1):
            async with session.events(TaskProgress) as events:
                task = session.submit(sleep_on)
                first = int((await anext(events)).message)
                os.kill(first, signal.SIGKILL)
                second = int((await anext(events)).message)
                assert second != first
                task.cancel()
                result = await task.result()
                assert (result.ended_as, result.attempt) == ("cancelled", 2)
            assert await session.run(deeds.double, 2) == 4


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_workers_end_with_their_node_and_its_socket_goes(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with from_elsewhere(tmp_path) as (session, _):
        others = sockets()
        with node_in(tmp_path, 2) as node:
            async with session.events(TaskProgress) as events:
                tasks = [session.options(retries={"lost": 0}).submit(sleep_on) for _ in range(2)]
                workers = [int((await anext(events)).message) for _ in tasks]
                family = programs.family(node.pid)
                (made,) = sockets() - others
                assert made.parent.stat().st_mode & 0o777 == 0o700
                node.signal(number)
                programs.wait_for_end([*family, *workers], within_s=10)
                results = [await task.result() for task in tasks]
                assert all(isinstance(result, Lost) for result in results)
            assert not made.parent.exists()
    sweep_stale()  # the folder of objects of a node that was killed
