"""A session with two pools: one on this host, one behind a bad link, in a network of its own.

`python -m bench.ours.two_sites CONTROL_FD NAMESPACE HERE`: HERE is the address of this end.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
from msgspec import structs

from bench.contestant import Round, serve_async
from bench.floors import bodies
from bench.floors.bodies import Nap
from steerio import Session, task
from steerio.edge.system.own_files import to_json, write_own
from steerio.edge.wire.connection import FILE_NAME
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.hosting import Hosting
from steerio.session.session_store import SessionStore

NEAR, FAR = "near", "far"
WORKERS = 2
"""At each site."""
WAIT_S = 120.0


@task(pool=NEAR)
def nap_here(duration_s: float) -> Nap:
    """Wait, on this host."""
    return bodies.nap(duration_s)


@task(pool=FAR)
def nap_there(duration_s: float) -> Nap:
    """Wait, behind the link."""
    return bodies.nap(duration_s)


@asynccontextmanager
async def two_sites(namespace: str, here: str) -> AsyncGenerator[Session]:
    """Open a broker with two workers here, and have two join it through the link."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        elsewhere = Path(folder) / "elsewhere"
        elsewhere.mkdir()
        hosting = Hosting(
            BrokerSetup(
                workers={NEAR: WORKERS},
                pools={FAR: 0},
                host=here,
                run_dir=Path(folder) / "run",
            )
        )
        await hosting.start()
        session = node = None
        try:
            connection = structs.replace(hosting.connection, host="elsewhere")
            write_own(elsewhere / FILE_NAME, to_json(connection))
            join = ["worker", "--join", str(elsewhere), "--workers", f"{FAR}={WORKERS}"]
            inside = ["ip", "netns", "exec", namespace]
            node = subprocess.Popen([*inside, sys.executable, "-m", "steerio", *join])  # noqa: ASYNC220
            client = await hosting.join("bench")
            session = Session(client, None, SessionStore(client, *hosting.store))
            yield session
        finally:
            if session is not None:
                session.close()
                await session.store.close()
            await hosting.close("the benchmark has ended")
            if node is not None:
                node.wait(WAIT_S)


async def steer(control_fd: int, namespace: str, here: str) -> None:
    """Obey orders until there are no more."""
    async with two_sites(namespace, here) as session:

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
