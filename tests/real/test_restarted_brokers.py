"""A standing broker is killed and started again, while campaigns and nodes are joined to it."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

import steerio
from steerio import BrokerReturned, UsageError
from steerio.edge.record.broker_file import alone_in
from steerio.session.run_dir import refuse_used
from tests.real import deeds, programs
from tests.real.programs import Program, python, running, steerio_command
from tests.real.tables import read_table
from tests.real.test_standing_broker import broker_in, workers_in

SEARCH = """
import os, time
from pathlib import Path
import numpy
from steerio import Board, Campaign, on_idle, on_success, task

@task(pool="simulate")
def measure(campaign, x, shift):
    with open("ran", "a") as ran:
        ran.write(f"{campaign} {x}\\n")
    time.sleep(0.02)
    return x + int(shift.sum())

NAME = os.environ.get("CAMPAIGN", "")

def by_number(item):
    return item[1]

class Search(Campaign):
    workers = {"simulate": 1}

    def __init__(self, items: int = 100) -> None:
        some = [(NAME, x, numpy.ones(1_000)) for x in range(items)]
        self.todo = Board(measure, some, key=by_number)
        self.told = []

    @on_success(measure)
    async def take_in(self, result) -> None:
        self.told.append((result.args[1], result.value))

    async def finish(self) -> None:
        told = sorted(self.told)
        assert told == [(x, x + 1_000) for x in range(len(told))], told
        print(f"told {len(told)} times")
"""


def killed_and_started(stack: ExitStack, folder: Path, broker: Program, *options: str) -> Program:
    """Kill a broker, and start another in its place."""
    broker.signal(signal.SIGKILL)
    broker.status()
    return stack.enter_context(broker_in(folder, *options))


def wait_for_lines(path: Path, count: int) -> None:
    """Wait until a file has so many lines."""
    until = time.monotonic() + programs.START_S
    while not path.exists() or len(path.read_text().splitlines()) < count:
        assert time.monotonic() < until, path
        time.sleep(0.05)


def namespace() -> tuple[str, ...]:
    """Return a command under which a program takes itself for one of another host."""
    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("takes a host's name of its own")
    return "unshare", "--uts", "sh", "-c", 'hostname far; exec "$@"', "sh"


def play(
    folder: Path,
    kills: int,
    every_s: float,
    items: int,
    nodes: int,
    *options: str,
    far: bool = False,
) -> None:
    """Run two campaigns on a broker that dies again and again; both have each result once.

    With ``far`` nodes and campaigns take themselves for ones of another host, and speak over TCP.
    """
    elsewhere = namespace() if far else ()
    (folder / "search.py").write_text(SEARCH)
    with ExitStack() as stack:
        broker = stack.enter_context(broker_in(folder, *options))
        worker = ("worker", "--join", "broker", "--workers", "simulate=1", "--name")
        joined = [
            stack.enter_context(running(*elsewhere, *steerio_command(*worker, f"n{n}"), cwd=folder))
            for n in range(nodes)
        ]
        command = ("run", "search.py", "--items", str(items), "--join", "broker", "--run-dir")
        campaigns = [
            stack.enter_context(
                running(
                    *elsewhere,
                    *steerio_command(*command, name),
                    cwd=folder,
                    env={"CAMPAIGN": name},
                )
            )
            for name in ("one", "other")
        ]
        rng = random.Random(kills)
        wait_for_lines(folder / "ran", 10)
        for _ in range(kills):
            time.sleep(rng.uniform(0.2, 1.8) * every_s)
            broker = killed_and_started(stack, folder, broker, *options)
        for campaign in campaigns:
            assert campaign.status(within_s=300) == 0, campaign
            assert f"told {items} times" in campaign.output, campaign
        with running(*steerio_command("stop", "broker"), cwd=folder) as stop:
            assert stop.status() == 0, stop
        for node in joined:
            assert node.status() == 0, node
            assert node.output.count("has joined") > 1, node
    ran = Counter((folder / "ran").read_text().splitlines())
    again = sum(ran.values()) - len(ran)
    sys.stdout.write(f"{sum(ran.values())} runs of {len(ran)} tasks: {again} again\n")
    assert again <= (kills + 1) * 40 * nodes


def test_campaigns_go_on_as_often_as_their_broker_dies(tmp_path: Path) -> None:
    play(tmp_path, kills=3, every_s=1.5, items=150, nodes=2)


def test_nodes_and_campaigns_over_tcp_find_the_next_broker_as_well(tmp_path: Path) -> None:
    play(tmp_path, 1, 1.0, 60, 1, "--host", "127.0.0.1", far=True)


@pytest.mark.stress
def test_a_broker_dies_every_ten_seconds_for_three_minutes(tmp_path: Path) -> None:
    play(tmp_path, kills=18, every_s=10.0, items=6_000, nodes=3)


LONG = """
import asyncio, sys, time
import steerio

@steerio.task
def long(x):
    with open("ran", "a") as ran:
        ran.write("began\\n")
    time.sleep(6)
    with open("ran", "a") as ran:
        ran.write("ended\\n")
    return x + 1

async def main():
    async with steerio.connect("broker") as session:
        result = await session.submit(long, 1).result()
        print(result.value, result.attempt, round(result.timings.run_s))

asyncio.run(main())
"""


@pytest.mark.parametrize("far", [False, True], ids=["here", "afar"])
def test_a_task_that_runs_goes_on_though_its_broker_dies_twice(tmp_path: Path, far: bool) -> None:
    elsewhere = namespace() if far else ()
    options = ("--host", "127.0.0.1") if far else ()
    (tmp_path / "long.py").write_text(LONG)
    with ExitStack() as stack:
        broker = stack.enter_context(broker_in(tmp_path, *options))
        worker = steerio_command("worker", "--join", "broker")
        node = stack.enter_context(running(*elsewhere, *worker, cwd=tmp_path))
        asks = stack.enter_context(running(*elsewhere, *python("long.py"), cwd=tmp_path))
        wait_for_lines(tmp_path / "ran", 1)
        broker = killed_and_started(stack, tmp_path, broker, *options)
        time.sleep(2)
        broker = killed_and_started(stack, tmp_path, broker, *options)
        assert asks.status() == 0, asks
        assert "2 1 6" in asks.output, asks
        assert (tmp_path / "ran").read_text() == "began\nended\n", "it ran once"
        with running(*steerio_command("stop", "broker"), cwd=tmp_path) as stop:
            assert stop.status() == 0, stop
        assert node.status() == 0, node


def test_workers_with_a_shorter_way_begin_anew_with_the_next_broker(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text(LONG)
    with ExitStack() as stack:
        broker = stack.enter_context(broker_in(tmp_path))
        node = stack.enter_context(workers_in(tmp_path, "--direct"))
        asks = stack.enter_context(running(*python("long.py"), cwd=tmp_path))
        wait_for_lines(tmp_path / "ran", 1)
        killed_and_started(stack, tmp_path, broker)
        assert asks.status() == 0, asks
        assert (tmp_path / "ran").read_text().count("ended") == 1
        assert (tmp_path / "ran").read_text().count("began") == 2
        with running(*steerio_command("stop", "broker"), cwd=tmp_path) as stop:
            assert stop.status() == 0, stop
        assert node.status() == 0, node
        assert "begins anew with that" in node.output


async def test_a_session_goes_on_with_all_that_it_had(tmp_path: Path) -> None:
    place = tmp_path / "broker"
    with ExitStack() as stack:
        broker = stack.enter_context(broker_in(tmp_path))
        stack.enter_context(workers_in(tmp_path, "--workers", "default=1"))
        async with (
            steerio.connect(place, name="notebook") as session,
            session.events(BrokerReturned) as events,
        ):
            reference = await session.put(bytes(3_000_000))
            assert await session.versions("model").publish([1]) == 1
            assert await session.run(len, reference) == 3_000_000
            slow = session.submit(deeds.wait_and_return, 7, 2.0)
            queued = session.submit(deeds.double, 4)
            large = session.submit(bytes, 3_000_000)
            items = session.submit(deeds.count_slowly_to, 5).items()
            await asyncio.sleep(0.5)
            await asyncio.to_thread(killed_and_started, stack, tmp_path, broker)
            assert (await anext(events)).incarnation == 2
            assert await slow == 7
            assert await queued == 8
            assert await large == bytes(3_000_000)
            assert [item async for item in items] == list(range(5)), "none had been taken before"
            assert await session.run(len, reference) == 3_000_000, "the store was taken over"
            assert await reference == bytes(3_000_000)
            assert await session.versions("model").publish([2]) == 2
            latest = session.versions("model").latest
            assert await session.run(len, latest) == 1
            assert (await session.status()).clients == ["notebook"]
        async with steerio.connect(place, name="late") as session:
            assert (await session.versions("model").current()).version == 2
        with running(*steerio_command("stop", "broker"), cwd=tmp_path) as stop:
            assert await asyncio.to_thread(stop.status) == 0, stop
    table = read_table(place / "tasks.jsonl")
    assert table.task_id.is_unique


OWN = """
import asyncio, steerio

async def main():
    async with steerio.open_session(workers=1, run_dir="own"):
        print("open", flush=True)
        await asyncio.sleep(1_000)

asyncio.run(main())
"""


async def test_a_client_of_a_broker_that_has_no_successor_waits_for_none(tmp_path: Path) -> None:
    with running(*programs.python("-c", OWN), cwd=tmp_path) as host:
        await asyncio.to_thread(host.wait_for, "open")
        async with steerio.connect(tmp_path / "own") as session:
            task = session.submit(deeds.wait_and_return, 1, 1_000.0)
            await asyncio.sleep(0.5)
            host.signal(signal.SIGKILL)
            async with asyncio.timeout(programs.START_S):
                assert isinstance(await task.result(), steerio.Lost)


async def test_a_client_whose_next_broker_was_stopped_meanwhile_waits_no_longer(
    tmp_path: Path,
) -> None:
    place = tmp_path / "broker"
    with broker_in(tmp_path) as first:
        async with steerio.connect(place) as session:
            task = session.submit(deeds.wait_and_return, 1, 1_000.0)
            # this loop stands still meanwhile, so the client sees only the end
            first.signal(signal.SIGKILL)
            first.status()
            with broker_in(tmp_path) as second:
                second.signal(signal.SIGTERM)
                assert second.status() == 0, second
            async with asyncio.timeout(programs.START_S):
                result = await task.result()
            assert isinstance(result, steerio.Lost)
            assert f"the broker in {place} was stopped" in result.reason


async def test_a_start_that_fails_leaves_the_store_to_the_next(tmp_path: Path) -> None:
    place = tmp_path / "broker"
    with ExitStack() as stack:
        broker = stack.enter_context(broker_in(tmp_path, "--host", "127.0.0.1"))
        async with steerio.connect(place, name="notebook") as session:
            reference = await session.put(bytes(3_000_000))
            broker.signal(signal.SIGKILL)
            await asyncio.to_thread(broker.status)
            with socket.create_server(("127.0.0.1", 0)) as taken:
                port = str(taken.getsockname()[1])
                again = ("broker", "--run-dir", "broker", "--host", "127.0.0.1", "--port", port)
                with running(*steerio_command(*again), cwd=tmp_path) as failing:
                    assert await asyncio.to_thread(failing.status) == 2
                    assert "Address already in use" in failing.output
            last = stack.enter_context(broker_in(tmp_path, "--host", "127.0.0.1"))
            assert (await session.status()).clients == ["notebook"]
            assert await reference == bytes(3_000_000)
        last.signal(signal.SIGTERM)
        assert last.status() == 0


def test_one_of_two_brokers_that_start_at_once_is_refused(tmp_path: Path) -> None:
    with alone_in(tmp_path):
        (tmp_path / "broker.json").write_text("")
        again = steerio_command("broker", "--run-dir", ".")
        with running(*again, cwd=tmp_path) as program:
            assert program.status() == 2
            assert "another broker is just starting" in program.output


def test_a_broker_in_the_place_of_one_that_lives_or_on_another_host_is_refused(
    tmp_path: Path,
) -> None:
    with broker_in(tmp_path) as broker:
        again = steerio_command("broker", "--run-dir", "broker")
        with running(*again, cwd=tmp_path) as program:
            assert program.status() == 2
        assert "a broker runs in broker already" in program.output
        assert "--take-over" not in program.output
        with running(*again, "--take-over", cwd=tmp_path) as program:
            assert program.status() == 2, "it can be seen that it lives"
        broker.signal(signal.SIGTERM)
        assert broker.status() == 0
    with pytest.raises(UsageError, match="is the run directory of a broker"):
        refuse_used(tmp_path / "broker")
