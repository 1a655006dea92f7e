"""Handles on real workers: given to other tasks, to asyncio, and asked where their tasks are."""

# A task's handle stands for its value among another's arguments.
# pyright: reportArgumentType=false

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import steerio
from steerio import (
    BrokerLost,
    DependencyFailed,
    Session,
    StoreSetting,
    TaskFailed,
    TaskStarted,
    UsageError,
)
from tests.real import deeds
from tests.real.test_standing_broker import broker_in, workers_in

pytestmark = pytest.mark.borders


def blob(nbytes: int) -> bytes:
    return bytes(nbytes)


def lengths(parts: list[bytes]) -> int:
    return sum(map(len, parts))


async def check_handles(session: Session) -> None:
    """Chain tasks, also by values in the store, wait for them with asyncio, and look at them."""
    doubled = session.map(deeds.double, session.map(deeds.double, [1, 2, 3]))
    waited: Any = doubled
    done, pending = await asyncio.wait(waited)
    assert (done, pending) == (set(doubled), set())
    assert await session.gather(*doubled) == [4, 8, 12]
    assert await session.run(lengths, [session.submit(blob, 200_000), session.submit(blob, 7)]) == (
        200_007
    )
    with pytest.raises(TaskFailed, match="by bad luck") as raised:
        await session.run(deeds.double, session.submit(deeds.be_unlucky, "by bad luck"))
    assert isinstance(raised.value.__cause__, DependencyFailed)
    async with session.events(TaskStarted) as events:
        running = session.submit(deeds.cooperate)
        queued, after = session.submit(deeds.double, 1), session.submit(deeds.double, running)
        assert after.state == "waiting"
        assert running.state in ("pending", "queued", "running")
        await anext(events)
        await session.status()  # what was said before it has been heard then
        assert [task.state for task in (running, queued)] == ["running", "queued"]
        running.cancel()
        assert (await after.result()).ended_as == "cancelled"
        assert await queued == 2


async def test_handles_are_given_to_tasks_and_to_asyncio() -> None:
    store = StoreSetting(threshold_bytes=100_000)
    async with steerio.open_session(workers={"default": 1}, store=store) as session:
        await check_handles(session)


async def test_handles_of_a_session_of_a_standing_broker_do_the_same(tmp_path: Path) -> None:
    with broker_in(tmp_path), workers_in(tmp_path, "--workers", "default=1"):
        async with steerio.connect(tmp_path / "broker") as session:
            await check_handles(session)


async def test_a_session_is_closed_at_once_awaited_or_not() -> None:
    for awaited in (True, False):
        async with steerio.open_session(workers={"default": 1}) as session:
            task = session.submit(deeds.wait_for_ever)
            closed = session.close()
            if awaited:
                await closed
            assert (await task.result()).ended_as == "cancelled"
            with pytest.raises(BrokerLost, match="this session was closed"):
                session.submit(deeds.double, 1)


async def test_how_a_session_is_opened_is_said_to_who_does_it_otherwise(tmp_path: Path) -> None:
    for opened in (steerio.open_session(), steerio.connect(tmp_path)):
        unopened: Any = opened
        with pytest.raises(UsageError, match=r"async with steerio\.\w+\(\.\.\.\) as session"):
            await unopened
        with pytest.raises(UsageError, match="opened with async"), unopened:
            pass
        with pytest.raises(AttributeError, match="no 'submit', for it is not open"):
            unopened.submit(abs, -1)
