"""A session whose record is written, and which a dashboard may show meanwhile.

`python -m bench.ours.seen CONTROL_FD [shown]`: the page of a `shown` one is open all the time, to a
reader that takes every update in.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path

import uvloop

import steerio
from bench.contestant import serve_async
from bench.ours.session import WORKERS, SessionSide

READ_BYTES = 1 << 16


@contextlib.contextmanager
def shown(run_dir: Path) -> Generator[None]:
    """Show a run in a dashboard, as `steerio run --dashboard` does, and read its page."""
    command = [sys.executable, "-m", "steerio", "dashboard", str(run_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip().removeprefix("http://")
        host, _, path = url.partition("/")
        asking = http.client.HTTPConnection(host)
        asking.request("GET", f"/{path}")
        answer = asking.getresponse()
        cookie = (answer.getheader("set-cookie") or "").partition(";")[0]
        answer.read()
        asking.request("GET", "/updates", headers={"cookie": cookie})
        updates = asking.getresponse()
        if updates.status != 200:
            raise RuntimeError(f"the updates of the dashboard were refused: {updates.status}")
        reader = threading.Thread(target=_read, args=(updates,))
        reader.start()
        try:
            yield
        finally:
            process.terminate()
            process.wait()
            reader.join()
            asking.close()


def _read(updates: http.client.HTTPResponse) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        while updates.read1(READ_BYTES):
            pass


async def steer(control_fd: int, is_shown: bool) -> None:
    """Open the session and obey orders until there are no more."""
    folder = Path(tempfile.mkdtemp(prefix="steerio-bench-", dir=os.environ.get("TMPDIR")))
    run_dir = folder / "run"
    async with steerio.open_session(workers={"default": WORKERS}, run_dir=run_dir) as session:
        side = SessionSide(session)
        rounds = {"at_once": side.at_once, "decisions": side.decisions}
        with shown(run_dir) if is_shown else contextlib.nullcontext():
            await serve_async(control_fd, rounds)


def main() -> None:
    """Run it on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(steer(int(sys.argv[1]), sys.argv[2:] == ["shown"]))


if __name__ == "__main__":
    main()
