"""A client of a broker that is a process of its own, and what that costs for each task.

`python -m bench.ours.beside_broker CONTROL_FD`
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

import steerio
from bench.contestant import MARK, Round, marked_processes, serve_async
from bench.ours import stored
from bench.ours.tasks import noop
from bench.placement import separate
from bench.processes import cpu_s, pss_bytes
from steerio import task

NBYTES = 100_000_000
WAIT_S = 120.0
WARM_UP = 500
AT_ONCE = 2_000
Figures = dict[str, list[float]]


@task(pool="nowhere")
def queued(array: Any) -> None:
    """Never run: nobody works there."""


class BrokerSide:
    """The rounds, each of no-op tasks or of such that are given 100 MB."""

    def __init__(self, session: steerio.Session, broker: int) -> None:
        self._session = session
        self._broker = broker
        self._array = np.ones(NBYTES // 8)
        self._reference: Any = None

    async def noop(self, order: Round) -> Figures:
        """No-op tasks."""
        return await self._cost(noop, 1, order.tasks)

    async def reference(self, order: Round) -> Figures:
        """Tasks that are given a reference."""
        return await self._cost(stored.one_of, await self._put(), order.tasks)

    async def array(self, order: Round) -> Figures:
        """Tasks that are given the array itself, which is put and freed for each."""
        return await self._cost(stored.one_of, self._array, order.tasks)

    async def queued_noop(self, order: Round) -> Figures:
        """No-op tasks that stay queued."""
        return await self._weight(1, order.tasks)

    async def queued_reference(self, order: Round) -> Figures:
        """Tasks that are given a reference and stay queued."""
        return await self._weight(await self._put(), order.tasks)

    async def ended(self, order: Round) -> Figures:
        """No-op tasks, some at a time; the broker's memory when all have ended."""
        for first in range(0, order.tasks, AT_ONCE):
            some = range(first, min(first + AT_ONCE, order.tasks))
            async with asyncio.timeout(WAIT_S):
                await self._session.gather(*self._session.map(noop, some))
        await self._session.status()
        return {"nbytes": [float(pss_bytes(self._broker))]}

    async def _put(self) -> Any:
        if self._reference is None:
            self._reference = await self._session.put(self._array)
        return self._reference

    async def _cost(self, function: Any, given: Any, number: int) -> Figures:
        """Seconds on a core of the broker, for each task."""
        before = cpu_s(self._broker)
        async with asyncio.timeout(WAIT_S):
            await self._session.gather(*self._session.map(function, [given] * number))
            await self._freed()
        return {"cpu_s": [(cpu_s(self._broker) - before) / number]}

    async def _freed(self) -> None:
        """Wait until only what is still referred to is in the store."""
        kept = int(self._reference is not None)
        while (await self._session.store.statistics()).objects > kept:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.01)

    async def _weight(self, given: Any, number: int) -> Figures:
        """Bytes by which the broker grows, for each task."""
        async with asyncio.timeout(WAIT_S):
            await self._session.status()
            await self._session.gather(*self._session.map(noop, range(WARM_UP)))
            before = pss_bytes(self._broker)
            tasks = self._session.map(queued, [given] * number)
            await self._session.status()
            after = pss_bytes(self._broker)
            del tasks
        return {"nbytes": [(after - before) / number]}


def broker_among(pids: list[int]) -> int:
    """The process that runs `steerio broker`."""
    for pid in pids:
        if b"\0broker\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError("no broker was started")


async def steer(control_fd: int) -> None:
    """Obey orders until there are no more."""
    async with separate() as session:
        await session.gather(*session.map(noop, range(20)))
        side = BrokerSide(session, broker_among(marked_processes(os.environ[MARK])))
        names = "noop reference array queued_noop queued_reference ended"
        await serve_async(control_fd, {name: getattr(side, name) for name in names.split()})


def main() -> None:
    """Run it on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(steer(int(sys.argv[1])))


if __name__ == "__main__":
    main()
