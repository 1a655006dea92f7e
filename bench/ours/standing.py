"""A session at a standing broker on this host.

`python -m bench.ours.standing CONTROL_FD [WAY]`: WAY is that of the words of the workers, `direct`
or `by-node`; the first if none is given.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from bench.contestant import serve_async
from bench.ours.session import SessionSide
from bench.ours.tasks import noop
from bench.placement import separate

DIRECT, BY_NODE = "direct", "by-node"


async def steer(control_fd: int, way: str) -> None:
    """Open the session and obey orders until there are no more."""
    async with separate(direct=way == DIRECT) as session:
        await session.gather(*session.map(noop, range(20)))
        side = SessionSide(session)
        await serve_async(
            control_fd, {"round_trips": side.round_trips, "decisions": side.decisions}
        )


def main() -> None:
    """Run it on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(steer(int(sys.argv[1]), *sys.argv[2:] or [DIRECT]))


if __name__ == "__main__":
    main()
