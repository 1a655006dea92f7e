"""Links between hosts break, fall silent or are reset: every task ends once, and all come back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import structs

import steerio
from steerio import (
    ClientLost,
    NodeJoined,
    NodeLost,
    Session,
    Succeeded,
    TaskEnded,
    TaskStarted,
    WorkerJoined,
)
from steerio.edge.system.own_files import to_json, write_own
from steerio.edge.wire.connection import FILE_NAME
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.hosting import Hosting
from steerio.model.settings import Settings
from tests.real import deeds
from tests.real.followed import followed
from tests.real.programs import Program, running, steerio_command
from tests.real.proxies import Proxy, proxy_to

IN_TIME_S = 60.0
LOOK_S = 0.02
PATIENT = Settings(beat_s=0.2, lease_s=30.0, away_s=60.0)
HASTY = Settings(beat_s=0.2, lease_s=1.0, away_s=60.0)


async def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition of the processes around."""
    async with asyncio.timeout(IN_TIME_S):
        while not condition():  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(LOOK_S)


class Site:
    """A broker in this process, and a proxy before its TCP address."""

    def __init__(
        self, hosting: Hosting, session: Session, proxy: Proxy, folder: Path, events: list[Any]
    ) -> None:
        self.hosting, self.session, self.proxy = hosting, session, proxy
        self.folder = folder
        """The run directory as another host sees it: its address is the proxy's."""
        self.events = events

    def seen(self, kind: type) -> list[Any]:
        """Return the events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    @asynccontextmanager
    async def node(self, workers: int = 2) -> AsyncIterator[Program]:
        """Have a node with so many workers join by way of the proxy."""
        command = steerio_command("worker", "--join", str(self.folder), "--workers", str(workers))
        ready = len(self.seen(WorkerJoined)) + workers
        with running(*command, cwd=self.folder) as program:
            await until(lambda: len(self.seen(WorkerJoined)) >= ready)
            await self.session.run(deeds.double, 1)
            yield program
            program.signal(signal.SIGTERM)
            await until(lambda: len(self.seen(NodeLost)) >= len(self.seen(NodeJoined)))
            program.status()


@asynccontextmanager
async def site(folder: Path, settings: Settings) -> AsyncIterator[Site]:
    """Open a broker without workers of its own that listens on TCP."""
    setup = BrokerSetup(
        workers={},
        pools={"default": 0},
        host="127.0.0.1",
        run_dir=folder / "run",
        settings=settings,
    )
    async with followed(setup) as (hosting, session, events):
        with proxy_to(hosting.connection.remote) as proxy:
            seen = Site(hosting, session, proxy, folder / "elsewhere", events)
            seen.folder.mkdir()
            remote = f"tcp://127.0.0.1:{proxy.port}"
            shown = structs.replace(hosting.connection, host="elsewhere", remote=remote)
            write_own(seen.folder / FILE_NAME, to_json(shown))
            yield seen


async def all_succeed(tasks: list[Any], values: list[int]) -> None:
    """Assert that tasks end well, at the first attempt."""
    async with asyncio.timeout(IN_TIME_S):
        results = [await task.result() for task in tasks]
    assert [result.value for result in results if isinstance(result, Succeeded)] == values
    assert {result.attempt for result in results} == {1}


async def test_what_is_submitted_while_a_nodes_link_is_cut_is_done_after_it(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, PATIENT) as here, here.node():
        here.proxy.cut()
        tasks = [here.session.submit(deeds.double, n) for n in range(4)]
        await until(lambda: len(here.seen(TaskStarted)) >= 3)
        here.proxy.mend()
        await all_succeed(tasks, [0, 2, 4, 6])
        assert here.seen(NodeLost) == []


async def test_reports_of_the_time_of_a_cut_arrive_after_it(tmp_path: Path) -> None:
    async with site(tmp_path, PATIENT) as here, here.node():
        task = here.session.submit(deeds.answer_when_told, tmp_path)
        await until((tmp_path / "begun").exists)
        here.proxy.freeze()
        (tmp_path / "go").touch()
        await until((tmp_path / "ends").exists)
        here.proxy.reset()
        here.proxy.mend()
        await all_succeed([task], [42])


async def test_a_link_that_is_silent_until_zeromq_cuts_it_loses_nothing(tmp_path: Path) -> None:
    async with site(tmp_path, PATIENT) as here, here.node():
        before = here.proxy.accepted
        here.proxy.freeze()
        tasks = [here.session.submit(deeds.double, n) for n in range(12)]
        await until(lambda: here.proxy.accepted > before)  # the node tries another connection
        here.proxy.mend()
        await all_succeed(tasks, [2 * n for n in range(12)])
        assert here.seen(NodeLost) == []


async def test_a_cancel_that_falls_into_a_cut_ends_its_task_after_it(tmp_path: Path) -> None:
    async with site(tmp_path, PATIENT) as here, here.node(1):
        task = here.session.submit(deeds.answer_when_told, tmp_path)
        await until((tmp_path / "begun").exists)
        here.proxy.cut()
        task.cancel("enough")
        await asyncio.sleep(0)
        here.proxy.mend()
        async with asyncio.timeout(IN_TIME_S):
            assert (await task.result()).ended_as == "cancelled"
        assert await here.session.run(deeds.double, 2) == 4


async def test_a_client_whose_link_is_reset_again_and_again_goes_on(tmp_path: Path) -> None:
    async with site(tmp_path, PATIENT) as here, here.node():
        async with steerio.connect(here.folder) as far:
            tasks = [far.submit(deeds.wait_and_return, n, 0.05) for n in range(60)]
            for count in (5, 20, 40):
                await until(lambda count=count: len(here.seen(TaskEnded)) > count)
                here.proxy.reset()
            await all_succeed(tasks, list(range(60)))
        assert here.seen(ClientLost) == []


async def test_a_node_that_stood_still_beyond_its_lease_is_taken_back(tmp_path: Path) -> None:
    async with site(tmp_path, HASTY) as here, here.node(1) as program:
        task = here.session.submit(deeds.double, 3)
        await task
        program.signal(signal.SIGSTOP)
        try:
            await until(lambda: here.seen(NodeLost))
        finally:
            program.signal(signal.SIGCONT)
        await until(lambda: len(here.seen(NodeJoined)) == 2)
        assert await here.session.run(deeds.double, 4) == 8


async def test_a_standing_broker_that_stood_still_finds_all_there_and_goes_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "broker").mkdir()
    command = steerio_command("broker", "--run-dir", "broker", "--host", "127.0.0.1")
    with running(*command, cwd=tmp_path) as broker:
        broker.wait_for("end it: ")
        worker = steerio_command("worker", "--join", "broker", "--workers", "1")
        with running(*worker, cwd=tmp_path) as node:
            node.wait_for("has joined")
            async with steerio.connect(tmp_path / "broker") as session:
                tasks = [session.submit(deeds.wait_and_return, n, 0.1) for n in range(20)]
                await tasks[0]
                broker.signal(signal.SIGSTOP)
                await until(lambda: session.client.silent_beats > 2)
                broker.signal(signal.SIGCONT)
                await all_succeed(tasks, list(range(20)))
