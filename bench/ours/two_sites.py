"""A session with two pools: one on this host, one behind a bad link, in a network of its own.

`python -m bench.ours.two_sites CONTROL_FD NAMESPACE HERE`: HERE is the address of this end.
"""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop

from bench.contestant import Round, serve_async
from bench.floors import bodies
from bench.floors.bodies import Nap
from bench.ours.far import WAIT_S, WORKERS, far_session
from steerio import task
from steerio.launch.broker_setup import BrokerSetup

NEAR, FAR = "near", "far"


@task(pool=NEAR)
def nap_here(duration_s: float) -> Nap:
    """Wait, on this host."""
    return bodies.nap(duration_s)


@task(pool=FAR)
def nap_there(duration_s: float) -> Nap:
    """Wait, behind the link."""
    return bodies.nap(duration_s)


async def steer(control_fd: int, namespace: str, here: str) -> None:
    """Obey orders until there are no more."""
    setup = BrokerSetup(workers={NEAR: WORKERS}, pools={FAR: 0}, host=here)
    inside = ("ip", "netns", "exec", namespace)
    async with far_session(setup, f"{FAR}={WORKERS}", inside=inside) as session:

        async def queued(order: Round) -> dict[str, list[float]]:
            """Queue all at one site: how many tasks end in a second."""
            kind = nap_there if order.name == FAR else nap_here
            began = time.perf_counter()
            async with asyncio.timeout(WAIT_S):
                for each in session.map(kind, [order.task_s] * order.tasks):
                    await each
            return {"tasks_per_s": [order.tasks / (time.perf_counter() - began)]}

        for name in (NEAR, FAR):
            await queued(Round(name, 20, 0.01))
        await serve_async(control_fd, {NEAR: queued, FAR: queued})


def main() -> None:
    """Run it on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(steer(int(sys.argv[1]), *sys.argv[2:]))


if __name__ == "__main__":
    main()
