"""A session whose worker has a module preloaded, and is killed again and again.

`python -m bench.ours.preloaded CONTROL_FD MODULE`
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

import uvloop

import steerio
from bench.contestant import Round, serve_async

WAIT_S = 120.0


async def kill_and_wait(session: steerio.Session) -> dict[str, list[float]]:
    """Kill the worker; seconds to the next one, from the kill and from the order to start it."""
    async with (
        asyncio.timeout(WAIT_S),
        session.events(steerio.WorkerLost, steerio.WorkerJoined) as events,
    ):
        pid = await session.run(os.getpid)
        began = time.time()
        os.kill(pid, signal.SIGKILL)
        lost, joined = await anext(events), await anext(events)
        if not isinstance(lost, steerio.WorkerLost) or not isinstance(joined, steerio.WorkerJoined):
            raise AssertionError(f"not what a killed worker leads to: {lost}, {joined}")
        # the broker orders the next worker in the step that takes in the loss
        return {"kill_s": [joined.at - began], "order_s": [joined.at - lost.at]}


async def steer(control_fd: int, module: str) -> None:
    """Open the session and obey orders until there are no more."""
    async with steerio.open_session(workers={"default": 1}, preload=[module]) as session:
        await session.run(os.getpid)

        async def kill(order: Round) -> dict[str, list[float]]:
            return await kill_and_wait(session)

        await serve_async(control_fd, {"kill": kill})


def main() -> None:
    """Run it on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(steer(int(sys.argv[1]), sys.argv[2]))


if __name__ == "__main__":
    main()
