"""A session with two workers: its own, or those of a node that joins over TCP as if from elsewhere.

`python -m bench.ours.far_workers CONTROL_FD own|curve|plain`
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import uvloop

import steerio
from bench.contestant import Round, serve_async
from bench.ours.tasks import noop
from bench.processes import cpu_s
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.hosting import Hosting
from steerio.launch.node_process import NodeProcess
from steerio.session.session import Session

WORKERS = 2
WAIT_S = 60.0
Figures = dict[str, list[float]]


@asynccontextmanager
async def hosted(
    pools: Mapping[str, int], *, encrypted: bool
) -> AsyncGenerator[tuple[Session, Hosting], None]:
    """Open a session whose broker, on this loop, has workers on other hosts only."""
    hosting = Hosting(
        BrokerSetup(workers={}, pools=pools, host="127.0.0.1", encrypted=encrypted, store=None)
    )
    await hosting.start()
    try:
        session = Session(await hosting.join("bench"))
        try:
            yield session, hosting
        finally:
            session.close()
    finally:
        await hosting.close()


@asynccontextmanager
async def workers_of(kind: str) -> AsyncGenerator[Session, None]:
    """Open a session with two workers of its own, or of a node over TCP, encrypted or not."""
    if kind == "own":
        async with steerio.open_session(workers={"default": WORKERS}) as session:
            yield session
        return
    async with hosted({"default": WORKERS}, encrypted=kind == "curve") as (session, hosting):
        node = NodeProcess.spawned()
        try:
            node.begin(hosting.setup("far", {"default": WORKERS}, log="", local=False))
            yield session
        finally:
            await node.close()


class FarWorkers:
    """The rounds."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def at_once(self, order: Round) -> Figures:
        """No-op tasks, submitted at once: how many a second, and this process's time for each."""
        began, before = time.perf_counter(), cpu_s(os.getpid())
        async with asyncio.timeout(WAIT_S):
            total = sum(await self._session.gather(*self._session.map(noop, range(order.tasks))))
        took_s, used_s = time.perf_counter() - began, cpu_s(os.getpid()) - before
        if total != sum(range(order.tasks)):
            raise AssertionError("the values that came back are not those that were sent")
        return {"tasks_per_s": [order.tasks / took_s], "cpu_s": [used_s / order.tasks]}


async def steer(control_fd: int, kind: str) -> None:
    """Obey orders until there are no more."""
    async with workers_of(kind) as session:
        side = FarWorkers(session)
        await serve_async(control_fd, {"at_once": side.at_once})


def main() -> None:
    """Run it on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(steer(int(sys.argv[1]), sys.argv[2]))


if __name__ == "__main__":
    main()
