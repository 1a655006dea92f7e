"""A session whose pool Parsl serves, in the rounds of `bench.rivals.parsl_pool`.

`python -m bench.ours.parsl_pool CONTROL_FD`
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

import steerio
from bench.contestant import serve_async
from bench.floors.pool import WORKERS
from bench.ours.session import SessionSide
from bench.rivals.parsl_pool import parsl_pool


async def main() -> None:
    """Start Parsl and a session, and obey orders until there are no more."""
    control_fd = int(sys.argv[1])
    with parsl_pool() as pool:
        on = steerio.OnExecutor(pool, slots=WORKERS)
        async with steerio.open_session(workers={"default": on}) as session:
            await serve_async(control_fd, {"at_once": SessionSide(session).at_once})


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
