"""A session inside an asyncio program of one's own, on uvloop.

`python -m bench.ours.session CONTROL_FD`
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

import uvloop

import steerio
from bench.contestant import Round, serve_async
from bench.ours.tasks import nap, noop

WORKERS = 2
WAIT_S = 60.0


class SessionSide:
    """The rounds that need no campaign."""

    def __init__(self, session: steerio.Session) -> None:
        self._session = session

    async def at_once(self, order: Round) -> dict[str, list[float]]:
        """Submit all, then take each result as it comes."""
        began = time.perf_counter()
        async with asyncio.timeout(WAIT_S):
            tasks = self._session.map(noop, range(order.tasks))
            total = 0
            async for task in self._session.as_completed(tasks):
                total += await task
        if total != sum(range(order.tasks)):
            raise AssertionError("the values that came back are not those that were sent")
        return {"tasks_per_s": [order.tasks / (time.perf_counter() - began)]}

    async def round_trips(self, order: Round) -> dict[str, list[float]]:
        """One task at a time, each awaited before the next is submitted."""
        seconds: list[float] = []
        async with asyncio.timeout(WAIT_S):
            for number in range(order.tasks):
                began = time.perf_counter()
                await self._session.run(noop, number)
                seconds.append(time.perf_counter() - began)
        return {"seconds": seconds, "median_s": [statistics.median(seconds)]}

    async def decisions(self, order: Round) -> dict[str, list[float]]:
        """One task outstanding per worker; each next one follows from the last result."""

        async def decide(tasks: int) -> None:
            value = 0
            for _ in range(tasks):
                value = await self._session.run(noop, value + 1)

        began = time.perf_counter()
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*(decide(order.tasks // WORKERS) for _ in range(WORKERS)))
        return {"tasks_per_s": [order.tasks / (time.perf_counter() - began)]}

    async def worker_pids(self, order: Round) -> dict[str, list[float]]:
        """Use every worker, and name their processes."""
        pids: set[int] = set()
        async with asyncio.timeout(WAIT_S):
            while len(pids) < WORKERS:
                naps = [self._session.submit(nap, order.task_s) for _ in range(WORKERS)]
                pids.update([(await task)[0] for task in naps])
        return {"pids": [float(pid) for pid in sorted(pids)]}


async def steer(control_fd: int) -> None:
    """Open the session and obey orders until there are no more."""
    async with steerio.open_session(workers={"default": WORKERS}) as session:
        side = SessionSide(session)
        rounds = {
            "at_once": side.at_once,
            "round_trips": side.round_trips,
            "worker_pids": side.worker_pids,
        }
        await serve_async(control_fd, rounds)


def main() -> None:
    """Run it on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(steer(int(sys.argv[1])))


if __name__ == "__main__":
    main()
