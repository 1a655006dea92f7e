"""Two sites: a broker with workers of its own, and a node that joins through a bad link.

Packets of the link are under way for 50 ms in each direction, one in a hundred is lost, and 100
Mbit a second pass (see `slow_link`).  A cut is told to neither end.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steerio
from steerio import (
    NodeJoined,
    NodeLost,
    Session,
    StoreSetting,
    Succeeded,
    Task,
    TaskEnded,
    WorkerJoined,
)
from steerio.launch.broker_setup import BrokerSetup
from steerio.model.settings import Settings
from tests.contract.redis_servers import connected, redis_server
from tests.real import deeds
from tests.real.followed import followed
from tests.real.programs import running, steerio_command
from tests.real.slow_link import LinkRefused, Profile, SlowLink, slow_link
from tests.real.stored import drawn, scaled
from tests.real.test_standing_broker import broker_in
from tests.real.test_stores import calls
from tests.real.test_strangers import seen_from_afar

pytestmark = pytest.mark.timeout(400)

NEAR, FAR = "near", "far"
WORKERS = 2
"""At each site."""
BAD = Profile()
NARROW = Profile(loss=0.0, bytes_per_s=1e5, queue_bytes=20_000)
PATIENT = Settings(beat_s=0.2, lease_s=60.0, away_s=120.0)
HASTY = Settings(beat_s=0.2, lease_s=2.0, away_s=120.0)
SLOW = Settings(beat_s=0.2, lease_s=5.0, away_s=120.0)
RETRIES = 20
"""Of tasks whose node is lost: a machine that has much to do is silent at times."""
NBYTES = 1_000_000
"""They take ten seconds on the narrow link."""
IN_TIME_S = 150.0
LOOK_S = 0.02
LISTENS, ESTABLISHED = "0A", "01"
"""States of sockets in ``/proc/net/tcp``."""


@pytest.fixture(params=[BAD], ids=[""])
def link(request: pytest.FixtureRequest) -> Iterator[SlowLink]:
    """A link to a namespace, a bad one by default."""
    try:
        with slow_link(request.param) as made:
            yield made
    except LinkRefused as refused:
        pytest.skip(f"no link can be made here: {refused}")


class Sites:
    """A broker with a pool of its own, and the pool of a node that joined through the link."""

    def __init__(self, session: Session, link: SlowLink, folder: Path, events: list[Any]) -> None:
        self.session = session
        self.link = link
        self.folder = folder
        """Where tasks note that they run."""
        self._events = events

    def seen(self, kind: type) -> list[Any]:
        """Return the events of a kind so far."""
        return [event for event in self._events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for a condition of the processes around."""
        async with asyncio.timeout(IN_TIME_S):
            while not condition():  # noqa: ASYNC110 - of other processes
                await asyncio.sleep(LOOK_S)

    def submit(self, pool: str, number: int, task_s: float) -> list[Task[int]]:
        """Submit tasks for a pool that note their runs."""
        kind = steerio.task(pool=pool, retries={"lost": RETRIES})(deeds.note_run)
        return [self.session.submit(kind, self.folder, n, task_s) for n in range(number)]

    def runs(self) -> dict[int, list[list[str]]]:
        """Return the runs that each worker has noted, by its process."""
        return {
            int(file.name.partition("-")[2]): [
                line.split() for line in file.read_text().splitlines()
            ]
            for file in self.folder.glob("runs-*")
        }

    def times_run(self) -> Counter[int]:
        """Return how often each number was run."""
        return Counter(int(number) for runs in self.runs().values() for number, *_ in runs)

    async def results(self, tasks: list[Task[int]]) -> list[Succeeded]:
        """Wait for tasks, which all succeed with their number, and end once for the broker."""
        async with asyncio.timeout(IN_TIME_S):
            found = [await task.result() for task in tasks]
        results = [each for each in found if isinstance(each, Succeeded)]
        assert [each.value for each in results] == list(range(len(tasks)))
        ids = {task.id for task in tasks}
        await self.until(lambda: ids <= {event.task_id for event in self.seen(TaskEnded)})
        ended = Counter(event.task_id for event in self.seen(TaskEnded))
        assert {ended[number] for number in ids} == {1}
        return results


@asynccontextmanager
async def two_sites(
    folder: Path, link: SlowLink, settings: Settings, store: StoreSetting | None = None
) -> AsyncIterator[Sites]:
    """Open a broker with workers here, and have a node with as many join from there."""
    setup = BrokerSetup(
        workers={NEAR: WORKERS},
        pools={FAR: 0},
        host=link.here,
        run_dir=folder / "run",
        settings=settings,
        store=store,
        pin=False,
    )
    notes = folder / "notes"
    notes.mkdir()
    async with followed(setup) as (_, session, events):
        sites = Sites(session, link, notes, events)
        seen_from_afar(folder / "run", folder / "afar")
        join = steerio_command(
            "worker", "--join", str(folder / "afar" / "node.json"), "--workers", f"{FAR}={WORKERS}"
        )
        with running("ip", "netns", "exec", link.namespace, *join, cwd=folder) as program:
            await sites.until(lambda: len(sites.seen(WorkerJoined)) == 2 * WORKERS)
            yield sites
            program.signal(signal.SIGTERM)
            await asyncio.to_thread(program.status, IN_TIME_S)


def sockets_in(namespace: str) -> list[list[str]]:
    """Return the TCP sockets of a namespace, as the kernel lists them."""
    command = ["ip", "netns", "exec", namespace, "cat", "/proc/net/tcp", "/proc/net/tcp6"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [fields for line in listed.splitlines() if (fields := line.split())[0] != "sl"]


async def test_a_far_pool_takes_one_outgoing_connection(tmp_path: Path, link: SlowLink) -> None:
    async with two_sites(tmp_path, link, PATIENT) as sites:
        await sites.results(sites.submit(FAR, 20, 0.0))
        states = Counter(fields[3] for fields in sockets_in(link.namespace))
        assert states[ESTABLISHED] == 1, "one connection carries the node and its workers"
        assert states[LISTENS] == 0, "nobody has to reach that site"


async def test_workers_of_a_far_pool_do_not_wait_for_the_link_between_short_tasks(
    tmp_path: Path, link: SlowLink
) -> None:
    number, round_trip_s = 1_000, 2 * BAD.delay_s
    async with two_sites(tmp_path, link, PATIENT) as sites:
        results = await sites.results(sites.submit(FAR, number, 0.002))
        assert {each.attempt for each in results} == {1}
        assert sites.times_run() == dict.fromkeys(range(number), 1)
        waited = 0
        for runs in sites.runs().values():
            for (_, _, ended), (_, began, _) in pairwise(runs):
                waited += float(began) - float(ended) > round_trip_s
        sys.stdout.write(f"{number} far tasks: workers waited {waited} times for the link\n")
        assert waited < number / 4, "a worker that holds one task waits after each"
        assert sites.seen(NodeLost) == []


async def go_through_a_cut(sites: Sites, cut_s: float, number: int) -> list[Succeeded]:
    """Cut the link while tasks run there, mend it, and wait for all of them."""
    tasks = sites.submit(FAR, number, 0.05)
    await sites.until(lambda: len(sites.seen(TaskEnded)) > number // 10)
    sites.link.cut()
    async with asyncio.timeout(IN_TIME_S):
        near = sites.session.map(steerio.task(pool=NEAR)(deeds.double), range(50))
        values = await sites.session.gather(*near)
    assert values == [2 * n for n in range(50)], "the other site works on meanwhile"
    await asyncio.sleep(cut_s)
    sites.link.mend()
    return await sites.results(tasks)


@pytest.mark.parametrize("cut_s", [3, pytest.param(20, marks=pytest.mark.stress)])
async def test_no_task_is_run_twice_because_of_a_cut_within_the_lease(
    cut_s: int, tmp_path: Path, link: SlowLink
) -> None:
    async with two_sites(tmp_path, link, PATIENT) as sites:
        results = await go_through_a_cut(sites, cut_s, 300)
        assert {each.attempt for each in results} == {1}
        assert sites.times_run() == dict.fromkeys(range(300), 1)
        assert sites.seen(NodeLost) == []


@pytest.mark.parametrize("cut_s", [5, pytest.param(20, marks=pytest.mark.stress)])
async def test_each_task_ends_once_after_a_cut_beyond_the_lease(
    cut_s: int, tmp_path: Path, link: SlowLink
) -> None:
    async with two_sites(tmp_path, link, HASTY) as sites:
        results = await go_through_a_cut(sites, cut_s, 300)
        assert len(sites.seen(NodeLost)) >= 1
        assert len(sites.seen(NodeJoined)) >= 3
        times = sites.times_run()
        assert all(times[each.value] <= each.attempt for each in results), "one run an attempt"


@pytest.mark.parametrize("link", [NARROW], indirect=True, ids=[""])
async def test_a_value_may_take_longer_on_the_link_than_a_lease(
    tmp_path: Path, link: SlowLink
) -> None:
    inline = StoreSetting(kind="file", threshold_bytes=None)
    async with two_sites(tmp_path, link, SLOW, inline) as sites:
        task = sites.session.submit(steerio.task(pool=FAR)(deeds.some_bytes), NBYTES)
        async with asyncio.timeout(IN_TIME_S):
            result = await task.result()
        assert isinstance(result, Succeeded)
        assert len(result.value) == NBYTES
        assert result.attempt == 1
        assert sites.seen(NodeLost) == []


async def test_each_pool_has_a_store_of_its_own(tmp_path: Path, link: SlowLink) -> None:
    objects = tmp_path / "objects"
    with redis_server(link.here) as port, closing(connected(port, link.here)) as server:
        there = {"kind": "redis", "options": {"hostname": link.here, "port": port}}
        here = {"kind": "file", "options": {"folder": str(objects)}}
        parts = {"there": {**there, "pools": [FAR]}, "here": here}
        async with two_sites(
            tmp_path, link, PATIENT, StoreSetting(kind="multi", options=parts)
        ) as sites:
            for pool, in_redis in ((NEAR, False), (FAR, True)):
                before = calls(server, "set")
                kind = steerio.task(pool=pool)(scaled.function)
                async with asyncio.timeout(IN_TIME_S):
                    value = await sites.session.run(kind, drawn(1), 2.0)
                assert np.array_equal(value, drawn(1) * 2.0)
                # the argument, and the value
                assert calls(server, "set") - before == (2 if in_redis else 0)
        assert server.dbsize() == 0
        assert list(objects.rglob("*")) == []


async def test_the_lease_of_a_standing_broker_is_the_one_it_was_given(tmp_path: Path) -> None:
    with broker_in(tmp_path, "--host", "127.0.0.1", "--lease", "2") as broker:
        seen_from_afar(tmp_path / "broker", tmp_path / "afar")
        join = steerio_command("worker", "--join", str(tmp_path / "afar"))
        with running(*join, cwd=tmp_path) as node:
            await asyncio.to_thread(node.wait_for, "has joined")
            async with (
                steerio.connect(tmp_path / "broker") as session,
                session.events(NodeLost) as lost,
                asyncio.timeout(IN_TIME_S),
            ):
                node.signal(signal.SIGSTOP)
                assert (await anext(lost)).reason == "silent for 2 s"
                node.signal(signal.SIGCONT)
        broker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(broker.status) == 0, broker
    with running(*steerio_command("broker", "--lease", "1"), cwd=tmp_path) as refused:
        assert await asyncio.to_thread(refused.status, IN_TIME_S) == 2
    assert "--lease 1 is shorter than two beats" in refused.output
