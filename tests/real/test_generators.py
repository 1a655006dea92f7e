"""Generator tasks on real workers: they end without a reader, and repeat nothing in silence."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest

import steerio
from steerio import (
    EncodingError,
    ItemsDropped,
    ItemsRestarted,
    Session,
    StoreSetting,
    TaskFailed,
    TaskLost,
    TaskYielded,
)
from tests.real import deeds
from tests.real.test_standing_broker import broker_in, workers_in

pytestmark = pytest.mark.borders

MANY = 5_000


def relax(steps: int) -> Generator[int, None, str]:
    yield from range(steps)
    return f"after {steps}"


async def relax_slowly(steps: int) -> AsyncIterator[int]:
    for step in range(steps):
        yield step


def frames(number: int, nbytes: int) -> Generator[bytes, None, bytes]:
    for index in range(number):
        yield bytes([index]) * nbytes
    return bytes(nbytes)


def unlucky(steps: int) -> Generator[int, None, None]:
    yield from range(steps)
    raise deeds.Unlucky("at the end")


def unsendable(steps: int) -> Generator[object, None, str]:
    for _ in range(steps):
        yield (x for x in ())
    return "nobody looked"


def processes(number: int) -> Generator[int, None, int]:
    for _ in range(number):
        yield os.getpid()
    return os.getpid()


async def check_awaiting(session: Session) -> None:
    """Await generators in every way, with items in messages and in the store."""
    assert await session.run(relax, MANY) == f"after {MANY}"
    assert await session.submit(relax, MANY) == f"after {MANY}"
    assert await session.gather(*session.map(relax, [20, 0])) == ["after 20", "after 0"]
    done = [await task async for task in session.as_completed(session.map(relax, [30, 40]))]
    assert sorted(done) == ["after 30", "after 40"]
    assert await session.run(relax_slowly, MANY) is None
    assert await session.submit(relax_slowly, MANY) is None
    for waited in (session.run(frames, 30, 200_000), session.submit(frames, 30, 200_000)):
        assert await waited == bytes(200_000)
    with pytest.raises(TaskFailed, match="at the end"):
        await session.run(unlucky, 100)
    assert await session.run(unsendable, 20) == "nobody looked"
    with pytest.raises(TaskFailed) as raised:
        await session.submit(unsendable, 20)
    assert isinstance(raised.value.__cause__, EncodingError)


async def check_reading(session: Session) -> None:
    """Read late, in part, one after the other, and too late."""
    late = session.submit(relax, 500)
    assert await late == "after 500"
    assert [item async for item in late.items()] == list(range(500))
    too_late = session.submit(relax, MANY)
    await too_late
    with pytest.raises(ItemsDropped):
        await anext(too_late.items())
    part = session.submit(frames, 8, 200_000)
    async for item in part.items():
        if item[0] == 3:
            break
    assert [item[0] async for item in part.items()] == [4, 5, 6, 7]
    assert await part == bytes(200_000)
    readers = [task.items() for task in session.map(relax, [50] * 3)]
    for reader in readers:
        assert [item async for item in reader] == list(range(50))


async def read_and_kill(items: AsyncIterator[int], pids: list[int]) -> None:
    """Read who yields, and kill him amid that."""
    async for pid in items:
        pids.append(pid)
        if len(pids) == 100:
            os.kill(pid, signal.SIGKILL)


async def check_killing(session: Session) -> None:
    """Kill the worker of a generator that is read, awaited, and not to be tried again."""
    awaited = session.submit(processes, MANY)
    read = session.submit(processes, MANY)
    async with session.events(TaskYielded) as events:
        pids: list[int] = []
        with pytest.raises(ItemsRestarted) as raised:
            await read_and_kill(read.items(), pids)
        assert set(pids) == {pids[0]}, "of one attempt"
        assert (raised.value.before, raised.value.attempt) == (1, 2)
        again = [pid async for pid in read.items()]
        assert (len(again), set(again)) == (MANY, {await read})
        await awaited
        assert isinstance(await anext(events), TaskYielded)
    with pytest.raises(TaskLost):
        await read_and_kill(session.options(retries={"lost": 0}).stream(processes, MANY), [])


async def test_generators_end_for_who_awaits_them_and_are_read_whole_or_not_at_all() -> None:
    store = StoreSetting(threshold_bytes=100_000)
    async with steerio.open_session(workers={"default": 1}, store=store) as session:
        await check_awaiting(session)
        await check_reading(session)
        await check_killing(session)
        async with asyncio.timeout(10):
            while (await session.store.statistics()).objects:
                await session.run(deeds.double, 1)


async def test_generators_end_in_a_session_of_a_standing_broker(tmp_path: Path) -> None:
    with broker_in(tmp_path), workers_in(tmp_path, "--workers", "default=1"):
        async with steerio.connect(tmp_path / "broker") as session:
            await check_awaiting(session)
            await check_reading(session)
            await check_killing(session)
