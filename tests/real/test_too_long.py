"""What is too long takes nothing else with it, whoever says it and whichever way it goes."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import steerio
from steerio import Cancelled, Failed, Lost, Session, Succeeded, TaskProgress, UsageError
from steerio.core.eventlog import KEPT_EVENTS
from steerio.edge.wire.unix import StreamRouter
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.hosting import Hosting
from steerio.worker import forks
from tests.real.test_standing_broker import broker_in, workers_in

pytestmark = pytest.mark.borders

LONG = 70_000_000
"""Characters or bytes that make a header longer than any receiver takes in."""
ON_BOARD = bytes(LONG)


def length(value: Any) -> int:
    return len(value)


def fail(count: int) -> None:
    raise ValueError("x" * count)


def fail_with(count: int) -> None:
    error = RuntimeError("it carries much")
    error.add_note("y" * count)
    raise error


def tell(count: int) -> int:
    steerio.report(0.5, "y" * count)
    return count


def repeat(count: int, times: int) -> Iterator[str]:
    for _ in range(times):
        yield "z" * count


def babble() -> None:
    """Say what no worker says, as one that is broken."""
    worker: Any = forks._worker
    link = worker._broker._link._socket
    if hasattr(link, "sendall"):
        link.sendall(b"\xff" * 64)
    else:
        link.send(b"\xff" * 64)
    time.sleep(60)


@asynccontextmanager
async def session_of(road: str, folder: Path) -> AsyncIterator[Session]:
    """Open a session with two workers: with a broker of its own, or with a standing one."""
    async with AsyncExitStack() as opened:
        if road == "embedded":
            opening = steerio.open_session(workers={"default": 2}, run_dir=folder / "run")
        else:
            opened.enter_context(broker_in(folder))
            opened.enter_context(workers_in(folder, "--workers", "default=2"))
            opening = steerio.connect(folder / "broker")
        yield await opened.enter_async_context(opening)


@pytest.mark.parametrize("road", ["embedded", "standing"])
async def test_what_is_too_long(road: str, tmp_path: Path) -> None:
    async with session_of(road, tmp_path) as session:
        if road == "standing":  # where one turn of the client's loop is one batch
            await much_in_one_turn(session)
        await long_values(session)
        await much_of_errors_and_words(session)
        await broken_workers(session)
        assert await session.run(length, "after all that") == 14


async def much_in_one_turn(session: Session) -> None:
    """Say so much in one turn of the loop that as one batch nobody would take it in."""
    assert sum(await session.gather(*session.map(length, ["C" * 700] * 100_000))) == LONG
    tagged = session.options(tags={"long": "v" * 4_000})
    assert len(await session.gather(*(tagged.submit(length, "") for _ in range(20_000)))) == 20_000
    async with session.events(steerio.Published) as events:
        for _ in range(50_000):
            session.publish({"text": "p" * 1_500})
        heard = 0
        async for event in events:  # who is behind is told how many it missed
            heard += getattr(event, "count", 1)
            if heard == 50_000:
                break
    async with session.events(since=0) as events:
        first = await anext(events)
        assert first.count > KEPT_EVENTS, "it missed those that are kept no more"
        last = first
        for _ in range(KEPT_EVENTS):
            last = await anext(events)
        assert last.number == first.count + KEPT_EVENTS


async def long_values(session: Session) -> None:
    """Pass what is longer than any header as an argument, an item, and as tags."""
    assert await session.run(length, "s" * LONG) == LONG
    items = [len(item) async for item in session.stream(repeat, LONG, 2)]
    assert items == [LONG, LONG]
    with pytest.raises(UsageError, match="tags of a task may have 65536 characters in all"):
        session.options(tags={"long": "v" * LONG})


async def much_of_errors_and_words(session: Session) -> None:
    """Have tasks fail, report and be cancelled with words that fill books."""
    for function, said in ((fail, "ValueError"), (fail_with, "RuntimeError")):
        failed = await session.submit(function, 24_000_000).result()
        assert isinstance(failed, Failed), failed
        assert (failed.attempt, failed.error.type, failed.error.exception) == (1, said, None)
        assert "characters cut" in failed.error.message + failed.error.traceback
        assert "it does not travel itself: 240" in failed.error.message
        assert len(failed.error.message + failed.error.traceback) < 300_000
    async with session.events(TaskProgress) as events:
        assert await session.run(tell, LONG) == LONG
        assert "characters cut" in (await anext(events)).message
    running = session.submit(time.sleep, 60)
    running.cancel("r" * LONG)
    cancelled = await running.result()
    assert isinstance(cancelled, Cancelled)
    assert "characters cut" in cancelled.reason

    def shipped(x: int, code: bytes = ON_BOARD) -> int:
        return len(code) + x

    assert await session.run(shipped, 1) == LONG + 1


async def broken_workers(session: Session) -> None:
    """Let a worker say what cannot be read: it is lost, as are its tasks unless tried again."""
    tasks = [session.submit(babble), *session.map(length, ["abc"] * 4)]
    results = [await task.result() for task in tasks]
    assert isinstance(results[0], Lost)
    assert "a message of it cannot be read" in results[0].reason
    assert all(isinstance(result, Succeeded) for result in results[1:])


async def test_a_worker_that_cannot_read_what_it_is_sent_is_replaced() -> None:
    hosting = Hosting(BrokerSetup(workers={"default": 1}))
    await hosting.start()
    try:
        session = Session(await hosting.join("client"))
        first = await session.run(os.getpid)
        (router,) = [r for r in hosting.broker.routers if isinstance(r, StreamRouter) and r.first]
        ((name, connection),) = router._connections.items()
        connection.outgoing.add([b"\xff this is no batch"])
        router._dirty.add(name)
        while await session.run(os.getpid) == first:
            pass
        session.close()
    finally:
        await hosting.close()
