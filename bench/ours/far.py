"""A session whose workers are behind a link of 50 ms: a proxy that delays what it forwards.

`python -m bench.ours.far CONTROL_FD`
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
from msgspec import structs

from bench.contestant import Round, serve_async
from bench.floors.bodies import busy_share
from bench.ours.tasks import nap
from steerio import Session
from steerio.edge.system.own_files import to_json, write_own
from steerio.edge.wire.connection import FILE_NAME
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.hosting import Hosting
from steerio.session.session_store import SessionStore

WORKERS = 2
LINK_S = 0.05
"""How long each byte is on its way, in either direction."""
WAIT_S = 120.0
CHUNK_BYTES = 1 << 16


class DelayingProxy(threading.Thread):
    """Forwards connections to a port of this host, on a loop of its own."""

    def __init__(self, port: int) -> None:
        super().__init__(name="proxy", daemon=True)
        self.port = 0
        self._target = port
        self._ready = threading.Event()
        self.start()
        self._ready.wait()

    def run(self) -> None:
        """Serve until the process ends."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(_forward(reader, far_writer), _forward(far_reader, writer))


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while data := await reader.read(CHUNK_BYTES):
        loop.call_later(LINK_S, writer.write, data)
    loop.call_later(LINK_S, writer.close)


@asynccontextmanager
async def far_session(
    setup: BrokerSetup,
    workers: str,
    *,
    inside: Sequence[str] = (),
    way: Callable[[str], str] = str,
) -> AsyncGenerator[Session, None]:
    """Open a broker on this loop, and have a node join it as from another host.

    Args:
        setup: of the broker; it gets a run directory.
        workers: of the node, as ``steerio worker`` takes them.
        inside: the command that starts the node's in another place, if it is in one.
        way: returns the address by which the node reaches the broker's.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        elsewhere = Path(folder) / "elsewhere"
        elsewhere.mkdir()
        hosting = Hosting(structs.replace(setup, run_dir=Path(folder) / "run"))
        await hosting.start()
        session = None
        node = None
        try:
            remote = way(hosting.connection.remote)
            connection = structs.replace(hosting.connection, host="elsewhere", remote=remote)
            write_own(elsewhere / FILE_NAME, to_json(connection))
            join = ["worker", "--join", str(elsewhere), "--workers", workers]
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


def by_proxy(remote: str) -> str:
    """Return the address of a proxy that delays what it forwards to this one."""
    return f"tcp://127.0.0.1:{DelayingProxy(int(remote.rpartition(':')[2])).port}"


async def steer(control_fd: int) -> None:
    """Obey orders until there are no more."""
    setup = BrokerSetup(workers={}, pools={"default": 0}, host="127.0.0.1")
    async with far_session(setup, f"default={WORKERS}", way=by_proxy) as session:

        async def queued(order: Round) -> dict[str, list[float]]:
            """Queue all, and take the share of the workers' time in them."""
            async with asyncio.timeout(WAIT_S):
                tasks = session.map(nap, [order.task_s] * order.tasks)
                return {"busy_share": [busy_share([await task for task in tasks])]}

        await queued(Round("queued", 20, 0.01))
        await serve_async(control_fd, {"queued": queued})


def main() -> None:
    """Run it on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(steer(int(sys.argv[1])))


if __name__ == "__main__":
    main()
