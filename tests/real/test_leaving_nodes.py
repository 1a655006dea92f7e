"""Real nodes are drained, retire, are killed meanwhile, and reach the end of their walltime."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

import steerio
from steerio import (
    DrainFailed,
    NodeDrained,
    NodeDraining,
    NodeEnding,
    NodeJoined,
    NodeLost,
    Session,
    Settings,
    TaskEnded,
    TaskProgress,
    TaskRetried,
)
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.hosting import Hosting
from tests.real import programs
from tests.real.programs import running, steerio_command
from tests.real.test_standing_broker import broker_in, status_of, workers_in

SOON_S = 60.0


@steerio.task
def work(seconds: float) -> int:
    """Say that it began, take so long, and return the process."""
    steerio.report(message="began")
    time.sleep(seconds)
    return os.getpid()


@steerio.task
def wait_for(mark: Path) -> int:
    """Say that it began, wait until a file is there, and return the process."""
    steerio.report(message="began")
    while not mark.exists():
        time.sleep(0.01)
    return os.getpid()


async def test_a_drained_node_ends_what_it_runs_and_another_does_the_rest(tmp_path: Path) -> None:
    with broker_in(tmp_path) as broker, workers_in(tmp_path, "--name", "first") as first:
        async with (
            steerio.connect(tmp_path / "broker") as session,
            session.events(TaskProgress, NodeDraining) as events,
        ):
            tasks = session.map(wait_for, [tmp_path / "go"] * 3)
            assert isinstance(await anext(events), TaskProgress)
            with running(*steerio_command("drain", "broker", "first"), cwd=tmp_path) as drain:
                assert isinstance(await anext(events), NodeDraining)
                drain.signal(signal.SIGINT)  # which ends the wait, and undoes nothing
                assert await asyncio.to_thread(drain.status, SOON_S) == 130, drain
            command = steerio_command("drain", "broker", "first", "--retire")
            with running(*command, cwd=tmp_path) as drain:
                (tmp_path / "go").touch()
                pids = programs.family(first.pid)
                assert await asyncio.to_thread(drain.status, SOON_S) == 0, drain
                assert drain.output == "first has retired\n"
            assert await asyncio.to_thread(first.status, SOON_S) == 0, first
            assert first.output.splitlines() == [
                "node first has joined the broker",
                "node first leaves the broker: it was retired",
            ]
            programs.wait_for_end(pids, within_s=2.0)
            assert [task.done for task in tasks] == [True, False, False]
            with workers_in(tmp_path, "--name", "second", "--workers", "default=2") as second:
                processes = await session.gather(*tasks)
                assert processes[0] not in processes[1:]
                results = [await task.result() for task in tasks]
                assert [result.attempt for result in results] == [1, 1, 1]
                second.signal(signal.SIGTERM)
                assert await asyncio.to_thread(second.status, SOON_S) == 0, second
        broker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(broker.status, SOON_S) == 0, broker


async def test_what_still_runs_at_the_deadline_of_a_drain_runs_again_elsewhere(
    tmp_path: Path,
) -> None:
    with broker_in(tmp_path) as broker, workers_in(tmp_path, "--name", "first"):
        async with (
            steerio.connect(tmp_path / "broker") as session,
            session.events(TaskProgress, TaskRetried) as events,
        ):
            task = session.options(retries={"lost": 0}).submit(wait_for, tmp_path / "go")
            assert isinstance(await anext(events), TaskProgress)
            command = steerio_command("drain", "broker", "first", "--within", "0.2s")
            with running(*command, cwd=tmp_path) as drain:
                assert await asyncio.to_thread(drain.status, SOON_S) == 0, drain
                assert drain.output == "first is drained\n"
            retried = await anext(events)
            assert isinstance(retried, TaskRetried)
            assert retried.reason == "preempted: its node is drained"
            (tmp_path / "go").touch()
            with workers_in(tmp_path, "--name", "second"):
                assert (await task.result()).attempt == 2
                assert isinstance(await task, int)
        broker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(broker.status, SOON_S) == 0, broker


async def test_the_shell_shows_a_drained_node_and_undrains_it(tmp_path: Path) -> None:
    with broker_in(tmp_path) as broker, workers_in(tmp_path, "--name", "first"):
        async with steerio.connect(tmp_path / "broker") as session:
            await session.run(work, 0.0)
            await session.nodes.drain("first")
            nodes = (await asyncio.to_thread(status_of, tmp_path))["nodes"]
            assert isinstance(nodes, dict)
            assert (nodes["first"]["state"], nodes["first"]["left_s"]) == ("drained", None)
            with running(*steerio_command("status", "broker"), cwd=tmp_path) as shown:
                assert await asyncio.to_thread(shown.status, SOON_S) == 0, shown
                assert "drained" in shown.output
            with running(*steerio_command("undrain", "broker", "first"), cwd=tmp_path) as undrain:
                assert await asyncio.to_thread(undrain.status, SOON_S) == 0, undrain
                assert undrain.output == "first takes tasks again\n"
            await session.run(work, 0.0)
            with running(*steerio_command("undrain", "broker", "first"), cwd=tmp_path) as again:
                assert await asyncio.to_thread(again.status, SOON_S) == 1, again
                assert "node 'first': it is not being drained" in again.output
        broker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(broker.status, SOON_S) == 0, broker


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_a_node_that_is_killed_or_interrupted_while_it_is_drained_loses_no_task(
    tmp_path: Path, number: signal.Signals
) -> None:
    with broker_in(tmp_path) as broker, workers_in(tmp_path, "--name", "first") as first:
        async with (
            steerio.connect(tmp_path / "broker") as session,
            session.events(TaskProgress, NodeDraining, NodeLost) as events,
        ):
            task = session.submit(work, 30.0)
            assert isinstance(await anext(events), TaskProgress)
            pids = programs.family(first.pid)
            draining = asyncio.create_task(session.nodes.drain("first"))
            assert isinstance(await anext(events), NodeDraining)
            first.signal(number)
            async with asyncio.timeout(Settings().lease_s + SOON_S):
                await draining
                assert isinstance(await anext(events), NodeLost)
            programs.wait_for_end(pids, within_s=2.0)
            assert not task.done
            with workers_in(tmp_path, "--name", "second") as second:
                assert isinstance(await anext(events), TaskProgress)
                task.cancel()
                assert (await task.result()).attempt == 2
                second.signal(signal.SIGTERM)
                assert await asyncio.to_thread(second.status, SOON_S) == 0, second
        broker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(broker.status, SOON_S) == 0, broker


async def test_a_node_leaves_before_its_walltime_ends_and_gets_nothing_that_takes_longer(
    tmp_path: Path,
) -> None:
    settings = Settings(leave_s=1.0)
    hosting = Hosting(
        BrokerSetup(workers={"default": 1}, run_dir=tmp_path / "broker", settings=settings)
    )
    (tmp_path / "broker").mkdir()
    await hosting.start()
    try:
        session = Session(await hosting.join("test"))
        try:
            await session.run(work, 6.5)  # measured: half as long again is more than 9 s
            (local,) = await session.nodes.look()
            await session.nodes.drain(local)
            waiting, lasting = session.submit(work, 0.0), session.submit(wait_for, tmp_path / "go")
            async with session.events(NodeJoined, NodeEnding, NodeDrained, TaskRetried) as events:
                with workers_in(tmp_path, "--walltime", "10") as short:
                    joined, ending = await anext(events), await anext(events)
                    assert isinstance(joined, NodeJoined)
                    assert isinstance(ending, NodeEnding)
                    assert joined.ends == ending.ends
                    assert 0 < ending.left_s < 10
                    retried = await anext(events)
                    assert isinstance(retried, TaskRetried)
                    assert retried.task_id == lasting.id
                    drained = await anext(events)
                    assert isinstance(drained, NodeDrained)
                    assert await asyncio.to_thread(short.status, SOON_S) == 0, short
                    assert "leaves the broker: its walltime ends" in short.output
            (tmp_path / "go").touch()
            await session.nodes.undrain(local)
            attempts = [(await task.result()).attempt for task in (waiting, lasting)]
            assert attempts == [1, 2]
        finally:
            session.close()
    finally:
        await hosting.close()


def test_walltimes_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with broker_in(tmp_path) as broker:
        with workers_in(tmp_path, "--walltime", "5") as hopeless:
            assert hopeless.status(SOON_S) == 1, hopeless
            assert "s is too short: a node is left 10 s before its end" in hopeless.output
        with workers_in(tmp_path, "--walltime", "soon") as unreadable:
            assert unreadable.status(SOON_S) == 2, unreadable
            assert "'soon' is no length of time" in unreadable.output
        broker.signal(signal.SIGTERM)
        assert broker.status(SOON_S) == 0, broker


async def test_a_session_can_drain_its_own_node_and_no_other_is_started_when_it_has_retired() -> (
    None
):
    async with steerio.open_session(workers={"default": 2}) as session:
        first = await session.run(work, 0.0)
        (name,) = await session.nodes.look()
        await session.nodes.drain(name)
        assert not programs.lives(first)
        await session.nodes.undrain(name)
        second = await session.run(work, 0.0)
        assert second != first
        await session.nodes.retire(name)
        programs.wait_for_end([second], within_s=2.0)
        assert await session.nodes.look() == {}
        with pytest.raises(DrainFailed, match="there is none of that name"):
            await session.nodes.drain(name)


async def test_nodes_that_are_drained_and_undrained_at_random_lose_nothing(tmp_path: Path) -> None:
    with (
        broker_in(tmp_path) as broker,
        workers_in(tmp_path, "--name", "first", "--workers", "default=2"),
        workers_in(tmp_path, "--name", "second", "--workers", "default=2"),
    ):
        async with (
            steerio.connect(tmp_path / "broker") as session,
            session.events(TaskEnded) as ended,
        ):
            await all_there(session)
            tasks = session.map(work, [0.02] * 300)
            async with asyncio.TaskGroup() as group:
                for name in ("first", "second"):
                    group.create_task(drain_and_undrain(session, name, 8))
            results = [await task.result() for task in tasks]
            assert Counter(type(result).__name__ for result in results) == {"Succeeded": 300}
            ends = Counter([(await anext(ended)).task_id for _ in tasks])
            assert set(ends.values()) == {1}
            await all_there(session)
            assert session.pools["default"].draining == 0
        broker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(broker.status, SOON_S) == 0, broker


async def all_there(session: Session) -> None:
    """Wait until there are four workers."""
    async with asyncio.timeout(SOON_S):
        while "default" not in session.pools or session.pools["default"].workers != 4:
            await session.pools.look()


async def drain_and_undrain(session: Session, name: str, times: int) -> None:
    """Drain a node, at times with a deadline, and undrain it."""
    for number in range(times):
        async with asyncio.timeout(SOON_S):
            await session.nodes.drain(name, within_s=0.01 if number % 3 == 0 else None)
            await session.nodes.undrain(name)
