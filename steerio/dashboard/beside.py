"""The dashboard of ``steerio run --dashboard``, as a process beside the campaign's.

In the campaign's own process each snapshot would hold the interpreter for milliseconds, in which
no result reaches an agent. It reads the record, as ``steerio dashboard`` does, and ends with the
run: its standard input is a pipe whose other end the campaign's process has, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from steerio.dashboard.broadcast import Watched
from steerio.dashboard.run_follower import watch
from steerio.dashboard.serving import Served, listen, need_server, serving
from steerio.edge.system.own_files import to_json
from steerio.errors import SteerioError
from steerio.launch.event_loop import loop_factory

END_S = 8.0
"""How long it may take to end, before it is killed: to read the rest, and to tell its pages."""


class _Shown(msgspec.Struct, frozen=True):
    """The run to show, and how: the first line of its standard input."""

    run_dir: str
    served: Served


class DashboardBeside:
    """A dashboard beside a run, from `start` to `close`.

    Args:
        served: where, and under which names.
        say: is called, by a thread, with each URL and each complaint.

    Raises:
        UsageError: a package is missing.
    """

    def __init__(self, served: Served, say: Callable[[str], None]) -> None:
        need_server()
        self._served = served
        self._say = say
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self, run_dir: Path) -> None:
        """Start it; a run goes on without it if it cannot start."""
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "steerio.dashboard.beside"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is for the run, which ends it
            )
        except OSError as error:
            self._say(f"no dashboard: {error}")
            return
        self._process = process
        order = _Shown(str(run_dir.resolve()), self._served)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(to_json(order).decode() + "\n")
            process.stdin.flush()
        self._reader = threading.Thread(target=self._read, name="steerio-dashboard", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        for line in process.stdout:
            self._say(line.rstrip("\n"))

    def close(self) -> None:
        """End it, and wait until it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(END_S)
        process.stdout.close()


def main() -> None:
    """Show the run that standard input names, until that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=_Shown)
    try:
        with contextlib.closing(listen(order.served)) as listener:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                with watch(Path(order.run_dir)) as watched:
                    runner.run(_serve_until_alone(watched, order.served, listener))
    except SteerioError as error:
        _say(f"no dashboard: {error}")


async def _serve_until_alone(watched: Watched, served: Served, listener: socket.socket) -> None:
    alone = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, alone.set)
    loop.add_reader(0, alone.set)  # no more comes: it can only end
    shown = 0

    def say_url(url: str) -> None:
        nonlocal shown
        shown += 1
        _say(f"dashboard: {url}" if shown == 1 else f"dashboard, for another browser: {url}")

    async with serving(watched, served, listener, say_url):
        await alone.wait()


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the run has ended
        print(line, flush=True)  # noqa: T201 - it is read by the process of the run


if __name__ == "__main__":
    main()
