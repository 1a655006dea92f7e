"""A session from afar with a broker of few descriptors, and strangers that press into its port.

`python -m bench.ours.flooded CONTROL_FD`
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import uvloop

import steerio
from bench.contestant import ROOT, Round, serve_async
from bench.ours.session import SessionSide
from bench.ours.tasks import noop
from steerio.edge.wire.connection import FILE_NAME

DESCRIPTORS, STRANGERS, WORKERS = 128, 200, 2
START_S = 60.0
FLOOD = ROOT / "tests" / "real" / "flood.py"
HOWS = ("silent", "slow", "churning")
ELSEWHERE = "elsewhere, "
"""Before the name of a round whose strangers press into a port of another process."""
SINK = f"""
import collections, socket
listener = socket.create_server(("127.0.0.1", 0), backlog={DESCRIPTORS})
print(listener.getsockname()[1], flush=True)
kept = collections.deque(maxlen={DESCRIPTORS // 2})  # one that falls out is closed
while True:
    kept.append(listener.accept()[0])
"""
"""A process that lets the same strangers in, and has nothing else to do."""
NICE = ("nice", "-n", "19", sys.executable)


@contextmanager
def pressing_in(port: int, how: str) -> Iterator[None]:
    """Have strangers press in, once all are there; their own work gets only cores that are idle."""
    command = [*NICE, str(FLOOD), str(port), how, str(STRANGERS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as flood:
        assert flood.stdout is not None
        try:
            flood.stdout.readline()
            yield
        finally:
            flood.kill()


@contextmanager
def elsewhere() -> Iterator[int]:
    """Have another process listen; give its port."""
    with subprocess.Popen([*NICE, "-c", SINK], stdout=subprocess.PIPE) as sink:
        assert sink.stdout is not None
        try:
            yield int(sink.stdout.readline())
        finally:
            sink.kill()


@asynccontextmanager
async def from_afar() -> AsyncGenerator[tuple[steerio.Session, int], None]:
    """Run a broker, and have a node and a client join it as if from another machine."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        run_dir, afar = Path(folder) / "run", Path(folder) / "afar"
        afar.mkdir()
        command = [sys.executable, "-m", "steerio"]
        limited = ["sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$0" "$@"', *command]
        options = ["broker", "--run-dir", str(run_dir), "--host", "127.0.0.1"]
        broker = subprocess.Popen([*limited, *options], stdout=subprocess.DEVNULL)  # noqa: ASYNC220
        node = None
        try:
            until = time.monotonic() + START_S
            while not (run_dir / "node.json").exists() and time.monotonic() < until:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            found = json.loads((run_dir / FILE_NAME).read_text())
            found["host"] = "elsewhere"
            (afar / FILE_NAME).write_text(json.dumps(found))
            (afar / FILE_NAME).chmod(0o600)
            join = ["worker", "--join", str(afar), "--workers", f"default={WORKERS}"]
            node = subprocess.Popen([*command, *join])  # noqa: ASYNC220
            async with steerio.connect(afar) as session:
                yield session, int(str(found["remote"]).rpartition(":")[2])
        finally:
            broker.terminate()
            broker.wait(START_S)
            if node is not None:
                node.wait(START_S)


async def steer(control_fd: int) -> None:
    """Obey orders until there are no more."""
    async with from_afar() as (session, port):
        with elsewhere() as other:
            await session.gather(*session.map(noop, range(20)))
            side = SessionSide(session)

            async def flooded(order: Round, port: int, how: str) -> dict[str, list[float]]:
                with pressing_in(port, how):
                    return await side.at_once(order)

            rounds = {how: partial(flooded, port=port, how=how) for how in HOWS}
            for how in HOWS:
                rounds[ELSEWHERE + how] = partial(flooded, port=other, how=how)
            await serve_async(control_fd, {"quiet": side.at_once, **rounds})


def main() -> None:
    """Run it on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(steer(int(sys.argv[1])))


if __name__ == "__main__":
    main()
