"""A node in a network namespace of its own, whose link goes down and comes up again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from steerio import (
    NodeJoined,
    NodeLost,
    Session,
    Succeeded,
    TaskEnded,
    TaskStarted,
    WorkerJoined,
)
from steerio.launch.broker_setup import BrokerSetup
from steerio.model.settings import Settings
from tests.real import deeds
from tests.real.followed import followed
from tests.real.programs import running, steerio_command
from tests.real.test_broken_links import HASTY, PATIENT, until
from tests.real.test_strangers import seen_from_afar

HERE, THERE = "198.18.0.1", "198.18.0.2"
"""Addresses that are set aside for tests of networks."""
WITHIN_S = 20.0


def _ip(*arguments: str) -> bool:
    """Run ``ip``; say whether it could."""
    try:
        done = subprocess.run(
            ["ip", *arguments], capture_output=True, timeout=WITHIN_S, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


class Link:
    """A link between this namespace and another, as two network devices."""

    def __init__(self) -> None:
        self.namespace = f"st-{os.getpid()}"
        self._device, self._other = f"st{os.getpid()}a", f"st{os.getpid()}b"

    def make(self) -> bool:
        """Make both; ``False``: that is not allowed here."""
        inside = ("-n", self.namespace)
        return all(
            _ip(*arguments)
            for arguments in (
                ("netns", "add", self.namespace),
                ("link", "add", self._device, "type", "veth", "peer", "name", self._other),
                ("link", "set", self._other, "netns", self.namespace),
                ("addr", "add", f"{HERE}/30", "dev", self._device),
                (*inside, "addr", "add", f"{THERE}/30", "dev", self._other),
                (*inside, "link", "set", "lo", "up"),
                (*inside, "link", "set", self._other, "up"),
                ("link", "set", self._device, "up"),
            )
        )

    def down(self) -> None:
        assert _ip("link", "set", self._device, "down")

    def up(self) -> None:
        assert _ip("link", "set", self._device, "up")

    def remove(self) -> None:
        """Remove all of it."""
        _ip("link", "del", self._device)
        _ip("netns", "del", self.namespace)


@pytest.fixture
def link() -> Iterator[Link]:
    """A link to a namespace."""
    made = Link()
    try:
        if sys.platform != "linux" or not made.make():
            pytest.skip("no network namespace can be made here")
        yield made
    finally:
        made.remove()


class Site:
    """A broker here, with a session, and the events so far."""

    def __init__(self, session: Session, afar: Path, events: list[Any]) -> None:
        self.session = session
        self.afar = afar
        self.events = events

    def seen(self, kind: type) -> list[Any]:
        """Return the events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    @asynccontextmanager
    async def node(self, namespace: str) -> AsyncIterator[None]:
        """Have a node with two workers join from there, and leave."""
        join = steerio_command("worker", "--join", str(self.afar), "--workers", "2")
        with running("ip", "netns", "exec", namespace, *join, cwd=self.afar) as program:
            await until(lambda: len(self.seen(WorkerJoined)) == 2)
            assert await self.session.run(deeds.double, 1) == 2
            yield
            program.signal(signal.SIGTERM)
            await asyncio.to_thread(program.status)


@asynccontextmanager
async def site(folder: Path, settings: Settings) -> AsyncIterator[Site]:
    """Open a broker that listens at this end of the link."""
    setup = BrokerSetup(
        workers={}, pools={"default": 0}, host=HERE, run_dir=folder / "run", settings=settings
    )
    async with followed(setup) as (_, session, events):
        seen_from_afar(folder / "run", folder / "afar")
        yield Site(session, folder / "afar", events)


def ended_once(here: Site, tasks: list[Any]) -> bool:
    """Say whether each of these tasks ended, once."""
    ended = [event.task_id for event in here.seen(TaskEnded)]
    return all(ended.count(task.id) == 1 for task in tasks)


async def test_tasks_end_once_after_a_link_was_down_for_less_than_a_lease(
    tmp_path: Path, link: Link
) -> None:
    async with site(tmp_path, PATIENT) as here:
        async with here.node(link.namespace):
            told = here.session.submit(deeds.answer_when_told, tmp_path)
            await until((tmp_path / "begun").exists)
            link.down()
            (tmp_path / "go").touch()
            await until((tmp_path / "ends").exists)
            tasks = [told, *here.session.map(deeds.double, range(50))]
            await until(lambda: len(here.seen(TaskStarted)) == 3)
            link.up()
            async with asyncio.timeout(WITHIN_S * 3):
                results = [await task.result() for task in tasks]
            values = [each.value for each in results if isinstance(each, Succeeded)]
            assert values == [42, *[2 * number for number in range(50)]]
            assert {each.attempt for each in results} == {1}
            await until(lambda: ended_once(here, tasks))
            assert here.seen(NodeLost) == []


async def test_a_node_whose_link_was_down_beyond_its_lease_is_taken_back(
    tmp_path: Path, link: Link
) -> None:
    async with site(tmp_path, HASTY) as here:
        async with here.node(link.namespace):
            link.down()
            tasks = here.session.map(deeds.double, range(50))
            await until(lambda: here.seen(NodeLost))
            link.up()
            await until(lambda: len(here.seen(NodeJoined)) == 2)
            async with asyncio.timeout(WITHIN_S * 3):
                assert await here.session.gather(*tasks) == [2 * number for number in range(50)]
            await until(lambda: ended_once(here, tasks))


STEADY = """
import asyncio, sys, time
import steerio
from tests.real.deeds import wait_and_return

async def main():
    async with steerio.connect(sys.argv[1], name="afar") as session:
        began, told = time.monotonic(), []
        while time.monotonic() < began + float(sys.argv[2]):
            told += await session.gather(*session.map(wait_and_return, range(20)))
            print("told", len(told), flush=True)
        assert told == [number % 20 for number in range(len(told))]
        print("all is well")

asyncio.run(main())
"""


@pytest.mark.stress
@pytest.mark.parametrize("for_s", [5, 20, 60])
async def test_nodes_and_clients_go_on_after_a_cut_of(
    for_s: int, tmp_path: Path, link: Link
) -> None:
    (tmp_path / "steady.py").write_text(STEADY)
    async with site(tmp_path, Settings()) as here, here.node(link.namespace):
        program = (sys.executable, "steady.py", str(here.afar), str(for_s + 20))
        command = ("ip", "netns", "exec", link.namespace, *program)
        with running(*command, cwd=tmp_path) as client:
            await asyncio.to_thread(client.wait_for, "told 100")
            link.down()
            mine = here.session.map(deeds.wait_and_return, range(20))
            await asyncio.sleep(for_s)
            link.up()
            began = asyncio.get_running_loop().time()
            assert await here.session.gather(*mine) == list(range(20))
            back_s = asyncio.get_running_loop().time() - began
            assert await asyncio.to_thread(client.status, 2 * for_s + 60) == 0, client
            assert "all is well" in client.output
        sys.stdout.write(f"a cut of {for_s} s: tasks of before ended {back_s:.1f} s after it\n")
        ended = [event.task_id for event in here.seen(TaskEnded) if event.ended_as != "cancelled"]
        assert len(ended) == len(set(ended)), "each ended once"
