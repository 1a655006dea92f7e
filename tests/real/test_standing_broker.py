"""A broker that stands by itself: workers, campaigns and sessions join it and leave it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import steerio
from steerio import (
    BrokerLost,
    Lost,
    NodeJoined,
    NodeLost,
    TaskEnded,
    TaskProgress,
    UsageError,
)
from steerio.edge.wire.connection import Connection, read_connection
from tests.contract.test_addresses import over_ipv6
from tests.real import deeds, programs
from tests.real.programs import Program, python, running, steerio_command
from tests.real.test_command_line import SQUARES
from tests.real.test_endings import CAMPAIGN as ENDLESS


@contextmanager
def broker_in(folder: Path, *options: str) -> Iterator[Program]:
    """Run a broker with the run directory ``folder/broker``."""
    command = steerio_command("broker", "--run-dir", "broker", *options)
    with running(*command, cwd=folder) as program:
        program.wait_for("end it: ")
        yield program


@contextmanager
def workers_in(folder: Path, *options: str) -> Iterator[Program]:
    """Have workers join that broker."""
    command = steerio_command("worker", "--join", "broker", *options)
    with running(*command, cwd=folder) as program:
        yield program


def status_of(folder: Path) -> dict[str, object]:
    """Ask on the command line how that broker is."""
    with running(*steerio_command("status", "broker", "--json"), cwd=folder) as program:
        assert program.status() == 0, program
    found: dict[str, object] = json.loads(program.output)
    return found


@pytest.mark.parametrize(
    "transport", ["unix", "tcp", pytest.param("tcp over IPv6", marks=over_ipv6)]
)
async def test_a_broker_serves_whoever_joins_it_until_it_is_stopped(
    tmp_path: Path, transport: str
) -> None:
    (tmp_path / "squares.py").write_text(SQUARES)
    hosts = {"tcp": "127.0.0.1", "tcp over IPv6": "::1"}
    options = ("--host", hosts[transport]) if transport in hosts else ()
    place = tmp_path / "broker"
    with broker_in(tmp_path, *options) as broker:
        file = place / "connection.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        connection = json.loads(file.read_text())
        if transport in hosts:  # as seen from another machine
            assert connection["keys"]["client"]["server_public"]
            connection["host"] = "elsewhere"
            file.write_text(json.dumps(connection))
        with workers_in(tmp_path, "--workers", "simulate=1,default=1") as node:
            command = steerio_command(
                "run", "squares.py", "--limit", "4", "--join", "broker", "--run-dir", "mine"
            )
            campaign = running(*command, cwd=tmp_path)
            async with (
                steerio.connect(place, name="watcher") as session,
                session.events(TaskEnded, pool="simulate", since=0) as events,
            ):
                with campaign as program:
                    assert await session.run(deeds.double, 4) == 8
                    assert (await session.run(abs, -1), await session.run(lambda: base)) == (1, 7)
                    for _ in range(4):
                        assert (await anext(events)).ended_as == "succeeded"
                    assert await asyncio.to_thread(program.status) == 0, program
                assert "none True [0.0, 1.0, 4.0, 9.0]" in program.output
                status = await asyncio.to_thread(status_of, tmp_path)
                assert status["ended"] == {"succeeded": 7}
                assert "watcher" in str(status["clients"])
                pids = [pid for p in (node, broker) for pid in programs.family(p.pid)]
                running_on = asyncio.create_task(session.submit(deeds.loop_in_python).result())
                with running(*steerio_command("stop", "broker"), cwd=tmp_path) as stop:
                    assert await asyncio.to_thread(stop.status) == 0, stop
                assert isinstance(await running_on, Lost)
                with pytest.raises(BrokerLost):
                    await session.run(deeds.double, 1)
            assert broker.status(within_s=10) == 0, broker
            assert node.status(within_s=10) == 0, node
            programs.wait_for_end(pids, within_s=1.0)
    assert not file.exists()
    assert len((place / "tasks.jsonl").read_text().splitlines()) >= 7


base = 7


@contextmanager
def waiting_in_vain(folder: Path) -> Iterator[tuple[Program, Program]]:
    """Have a worker and a client try to join something that accepts them and says nothing."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        address = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
        Connection("elsewhere", 1, "unix:///nowhere", address).write(folder)
        with (
            running(*steerio_command("worker", "--join", str(folder))) as node,
            running(*steerio_command("status", str(folder))) as status,
        ):
            yield node, status


async def test_who_has_a_broker_that_was_killed_or_never_answers_hears_of_it(
    tmp_path: Path,
) -> None:
    lease_s = steerio.Settings().lease_s
    (tmp_path / "deaf").mkdir()
    with (
        waiting_in_vain(tmp_path / "deaf") as (in_vain, asking),
        broker_in(tmp_path, "--wait", "2") as broker,
        workers_in(tmp_path, "--workers", "default=2") as node,
    ):
        async with steerio.connect(tmp_path / "broker") as session:
            async with session.events(TaskProgress) as events:
                unwanted = session.map(deeds.cooperate, [()] * 500)
                session.cancel(unwanted)
                assert {(await task.result()).ended_as for task in unwanted} == {"cancelled"}
                task = session.submit(deeds.leave_deaf_child)
                worker, child = map(int, (await anext(events)).message.split())
                broker.signal(signal.SIGKILL)
                async with asyncio.timeout(lease_s + 5):
                    result = await task.result()
                    assert isinstance(result, Lost)
                    assert "the broker's process has ended" in result.reason, "and not: silent"
                    assert [event async for event in events] == [], "the stream has ended"
            with pytest.raises(BrokerLost):
                await session.run(deeds.double, 1)
        pids = programs.family(node.pid)
        assert node.status(within_s=lease_s + 5) == 1, node
        assert "no other broker has begun in its place" in node.output
        programs.wait_for_end([*pids, worker, child], within_s=1.0)

        assert asking.status(within_s=lease_s) == 1, asking
        assert "did not answer within 10 s" in asking.output
        assert in_vain.status(within_s=lease_s) == 1, in_vain
        assert "no broker answered within" in in_vain.output

        # what the broker left is known for what it is
        with pytest.raises(UsageError, match="has ended without cleaning up"):
            async with steerio.connect(tmp_path / "broker"):
                pass
        with workers_in(tmp_path) as late:
            assert late.status() == 2
            assert "has ended without cleaning up" in late.output
        with broker_in(tmp_path) as another:
            another.signal(signal.SIGTERM)
            assert another.status() == 0, "it has begun in the place of the first"


async def test_a_move_that_a_broker_has_granted_stays_so_when_its_session_is_closed(
    tmp_path: Path,
) -> None:
    with broker_in(tmp_path), workers_in(tmp_path, "--workers", "simulate=1,learn=0"):
        async with steerio.connect(tmp_path / "broker") as session:
            while not session.pools.get("simulate") or not session.pools["simulate"].workers:
                await session.pools.look()
            move = session.pools.move("simulate", "learn", 1)
            moved = await move
        assert move.state == "granted"
        assert await move == moved


def test_a_node_says_by_which_name_the_broker_knows_it(tmp_path: Path) -> None:
    with broker_in(tmp_path) as broker:
        options = ("--name", "n", "--workers", "default=1")
        with workers_in(tmp_path, *options) as first:
            first.wait_for("node n has joined the broker")
            with workers_in(tmp_path, *options) as second:
                second.wait_for("node n~2 has joined the broker")
                broker.signal(signal.SIGTERM)
                for program in (broker, first, second):
                    assert program.status(within_s=20) == 0, program
        assert "node n~2 leaves the broker: " in second.output


def test_a_node_says_why_its_workers_do_not_start(tmp_path: Path) -> None:
    options = ("--workers", "default=2", "--preload", "nosuch")
    with broker_in(tmp_path), workers_in(tmp_path, *options) as node:
        node.wait_for("loading nosuch failed on the worker's side")
        node.wait_for("ModuleNotFoundError: No module named 'nosuch'")
        assert node.output.count("has ended before it began a task: loading nosuch failed") == 1


async def test_a_broker_notices_at_once_that_a_node_was_killed(tmp_path: Path) -> None:
    with broker_in(tmp_path) as broker:
        async with (
            steerio.connect(tmp_path / "broker") as session,
            session.events(TaskProgress, NodeLost) as events,
        ):
            task = session.options(retries={"lost": 0}).submit(deeds.cooperate)
            with workers_in(tmp_path) as node:
                assert isinstance(await anext(events), TaskProgress)
                pids = programs.family(node.pid)
                node.signal(signal.SIGKILL)
                lost = await anext(events)
                assert isinstance(lost, NodeLost)
                assert "the node's process ended" in lost.reason, "and not: silent"
                result = await task.result()
                assert isinstance(result, Lost)
                programs.wait_for_end(pids, within_s=10)
        broker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(broker.status, 10) == 0, broker


async def test_a_node_that_stood_still_for_too_long_begins_again(tmp_path: Path) -> None:
    lease_s = steerio.Settings().lease_s
    with broker_in(tmp_path) as broker, workers_in(tmp_path, "--name", "n") as node:
        async with (
            steerio.connect(tmp_path / "broker") as session,
            session.events(TaskProgress, NodeLost, NodeJoined) as events,
        ):
            task = session.submit(deeds.cooperate)
            while not isinstance(await anext(events), TaskProgress):
                pass
            node.signal(signal.SIGSTOP)
            async with asyncio.timeout(lease_s + 10):
                lost = await anext(events)
            assert isinstance(lost, NodeLost)
            assert "silent" in lost.reason
            node.signal(signal.SIGCONT)
            async with asyncio.timeout(30):
                assert isinstance(await anext(events), NodeJoined)
                assert isinstance(await anext(events), TaskProgress)
            task.cancel()
            assert (await task.result()).attempt == 2
        for program in (broker, node):
            program.signal(signal.SIGTERM)
            assert await asyncio.to_thread(program.status, 20) == 0, program


def test_only_one_broker_runs_in_a_run_directory_and_it_ends_on_a_signal(tmp_path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with broker_in(tmp_path) as broker:
            with running(*steerio_command("broker", "--run-dir", "broker"), cwd=tmp_path) as other:
                assert other.status() == 2
                assert f"a broker runs in broker already (process {broker.pid}" in other.output
            broker.signal(number)
            assert broker.status(within_s=10) == 0, broker
        for file in (tmp_path / "broker").iterdir():
            file.unlink()


def test_workers_leave_a_broker_on_a_signal_and_their_tasks_wait_for_others(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        async with (
            steerio.connect(tmp_path / "broker") as session,
            session.events(TaskProgress) as events,
        ):
            task = session.submit(deeds.cooperate)
            with workers_in(tmp_path) as first:
                await anext(events)
                first.signal(signal.SIGTERM)
                assert await asyncio.to_thread(first.status, 10) == 0, first
            assert not task.done
            with workers_in(tmp_path) as second:
                await anext(events)
                task.cancel()
                result = await task.result()
                assert result.attempt == 2
                second.signal(signal.SIGINT)
                assert await asyncio.to_thread(second.status, 10) == 0, second

    with broker_in(tmp_path) as broker:
        asyncio.run(work())
        broker.signal(signal.SIGTERM)
        assert broker.status(within_s=10) == 0, broker


CLIENT = """
import asyncio, steerio
from tests.real import deeds

async def main():
    async with steerio.connect("broker", name="doomed") as session:
        await session.gather(*(session.submit(deeds.loop_in_python) for _ in range(2)))

asyncio.run(main())
"""


async def test_the_tasks_of_a_client_that_was_killed_are_cancelled(tmp_path: Path) -> None:
    with broker_in(tmp_path) as broker, workers_in(tmp_path):
        async with (
            steerio.connect(tmp_path / "broker") as session,
            session.events(TaskProgress, TaskEnded, steerio.ClientLost) as events,
        ):
            with running(*python("-c", CLIENT), cwd=tmp_path) as client:
                assert isinstance(await anext(events), TaskProgress)
                client.signal(signal.SIGKILL)
                async with asyncio.timeout(10):
                    seen = [await anext(events) for _ in range(3)]
            lost = [event.client for event in seen if isinstance(event, steerio.ClientLost)]
            ends = [event.ended_as for event in seen if isinstance(event, TaskEnded)]
            assert (lost, ends) == (["doomed"], ["cancelled", "cancelled"])
            assert await session.run(deeds.double, 1) == 2
        broker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(broker.status, 10) == 0, broker


WAITING = """
import time
from steerio import Campaign, agent, task

@task
def work(x: int) -> int:
    time.sleep(600)

class Waiting(Campaign):
    @agent
    async def wait(self) -> None:
        print("it waits.", flush=True)
        await self.run(work, 1)

    async def finish(self) -> None:
        print("it finishes.", flush=True)
"""


def test_a_campaign_that_is_interrupted_waits_for_no_broker_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    with broker_in(tmp_path) as broker, workers_in(tmp_path, "--workers", "default=1"):
        command = steerio_command("run", "waiting.py", "--join", "broker", "--run-dir", "mine")
        with running(*command, cwd=tmp_path) as campaign:
            campaign.wait_for("it waits.")
            broker.signal(signal.SIGKILL)
            campaign.wait_for("waiting up to 120 s for it")
            campaign.signal(signal.SIGINT)
            assert campaign.status() == 130, campaign
        with broker_in(tmp_path) as another:  # which removes what the first has left
            another.signal(signal.SIGTERM)
            assert another.status() == 0, another
    assert "is not waited for, as the campaign was interrupted: 1 task given up" in campaign.output
    assert "it finishes." in campaign.output
    log = (tmp_path / "mine" / "campaign.log").read_text()
    assert "calls under way are cancelled" not in log, "the agent was not cut short"


def test_a_running_campaign_can_be_stopped_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    command = steerio_command("run", "endless.py", "--run-dir", "broker")
    with running(*command, cwd=tmp_path) as campaign:
        campaign.wait_for("recorded 5.")
        with running(*steerio_command("stop", "broker"), cwd=tmp_path) as stop:
            assert stop.status() == 0, stop
        assert campaign.status(within_s=10) == 0, campaign
    assert json.loads((tmp_path / "broker/summary.json").read_text())["because"] == "steerio stop"


def test_what_a_killed_broker_leaves_goes_with_its_workers_or_when_another_is_to_start(
    tmp_path: Path,
) -> None:
    with broker_in(tmp_path, "--wait", "1") as broker, workers_in(tmp_path) as workers:
        left = Path(read_connection(tmp_path / "broker").folder)
        while not status_of(tmp_path)["nodes"]:
            pass
        broker.signal(signal.SIGKILL)
        broker.status()
        workers.status()  # they have seen the end of their streams, and waited
        assert not left.exists()
    left.mkdir(mode=0o700)
    with broker_in(tmp_path) as another:
        assert not left.exists()
        another.signal(signal.SIGTERM)
        assert another.status() == 0


STRUCK = """
import asyncio

import steerio


def strike(reason: str) -> None:
    raise KeyboardInterrupt


async def main() -> None:
    async with steerio.connect("broker") as session:
        session.client.on_lost(strike)  # called amid the closing, before the socket is closed


asyncio.run(main())
"""


def test_a_client_that_ctrl_c_strikes_amid_its_closing_ends(tmp_path: Path) -> None:
    (tmp_path / "struck.py").write_text(STRUCK)
    with broker_in(tmp_path) as broker:
        with running(*python("struck.py"), cwd=tmp_path) as program:
            assert program.status() != 0, program
            assert "KeyboardInterrupt" in program.output, program
        broker.signal(signal.SIGTERM)
        assert broker.status() == 0, broker
