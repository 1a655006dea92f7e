"""Serving an assistant over a process's own streams: standard input and output, a line a message.

Nothing but the protocol goes to standard output: a stray ``print`` goes to standard error. Threads
that a process need not wait for read and write, so it ends at once when it is told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import logging
import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, cast

from steerio.edge.system.threads import DaemonThreads
from steerio.errors import UsageError
from steerio.launch.event_loop import loop_factory
from steerio.mcp.seen_run import AssistantGate, SeenRun

log = logging.getLogger("steerio.mcp")

MOST_LINE = 1 << 20
"""The longest message that is taken in, in bytes."""
CHUNK = 1 << 16
END_S = 3.0
"""For the last answers, when the client has closed its side, or the server is told to end."""


def need_sdk() -> None:
    """Refuse to go on without the package of the extra.

    Raises:
        UsageError: it is missing.
    """
    if any(importlib.util.find_spec(name) is None for name in ("mcp", "mcp_types")):
        raise UsageError("steerio mcp needs the SDK mcp: pip install 'steerio[mcp]'")


def serve_streams(folder: Path, gate: AssistantGate) -> None:
    """Serve one assistant until it closes standard input, or Ctrl-C or SIGTERM.

    Args:
        folder: the run directory.
        gate: role, name and budget of the assistant.

    Raises:
        UsageError: there is no record, or the package is missing.
    """
    need_sdk()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(folder, gate))


async def _serve(folder: Path, gate: AssistantGate) -> None:
    SeenRun(folder, gate)  # refuses a folder without a record now, in words
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    with _own_streams() as (into, out):
        lines = LinesIn(into)
        serving = asyncio.create_task(_over(folder, gate, lines, LinesOut(out, told.set)))
        telling = asyncio.create_task(told.wait())
        await asyncio.wait([serving, telling], return_when=asyncio.FIRST_COMPLETED)
        telling.cancel()
        lines.end()
        _, late = await asyncio.wait([serving], timeout=END_S)
        if late:  # nothing reads its answers, say
            serving.cancel()
            await asyncio.wait([serving])
        error = None if serving.cancelled() else serving.exception()
        if error is not None and told.is_set():
            log.debug("the server did not end well: %r", error)
        elif error is not None:
            raise error


async def _over(folder: Path, gate: AssistantGate, into: LinesIn, out: LinesOut) -> None:
    from mcp.server.stdio import stdio_server  # an extra's package

    from steerio.mcp.assistant_server import assistant_server

    server = assistant_server(folder, gate)
    async with stdio_server(cast("Any", into), cast("Any", out)) as (read, write):
        await server.run(read, write, server.create_initialization_options())


@contextlib.contextmanager
def _own_streams() -> Generator[tuple[int, int]]:
    """Yield descriptors of standard input and output that no other code of the process has."""
    into, out = (fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3) for number in (0, 1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    yield into, out  # a thread may still be reading when the process ends: they stay open


class LinesIn:
    """The lines of a descriptor as they come, one after the other; an empty one is too long.

    Args:
        descriptor: it blocks.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = bytearray()
        self._thread = DaemonThreads(1, "steerio-mcp-in")
        self._ending = asyncio.Event()

    def __aiter__(self) -> LinesIn:
        return self

    async def __anext__(self) -> str:
        reading = asyncio.wrap_future(self._thread.submit(self._next))
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            either: list[asyncio.Future[Any]] = [reading, ending]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            line = None if self._ending.is_set() else await reading
        finally:
            reading.cancel()
            ending.cancel()
        if line is None:
            self._thread.close(0.0)
            raise StopAsyncIteration
        return line.decode(errors="replace")

    def end(self) -> None:
        """Let there be no more lines."""
        self._ending.set()

    def _next(self) -> bytes | None:
        passed_over = False
        looked = 0
        while (end := self._rest.find(b"\n", looked)) < 0:
            looked = len(self._rest)
            if looked > MOST_LINE:
                self._rest.clear()
                passed_over, looked = True, 0
            chunk = os.read(self._descriptor, CHUNK)
            if not chunk:
                return None
            self._rest += chunk
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        if passed_over or len(line) > MOST_LINE:
            log.warning("a message of more than %d bytes was passed over", MOST_LINE)
            return b""
        return line


class LinesOut:
    """The writing of lines to a descriptor, one after the other.

    Args:
        descriptor: it blocks.
        gone: is called if the reader is gone.
    """

    def __init__(self, descriptor: int, gone: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._gone = gone
        self._thread = DaemonThreads(1, "steerio-mcp-out")

    async def write(self, text: str) -> None:
        """Write all of a text."""
        try:
            await asyncio.wrap_future(self._thread.submit(self._write, text.encode()))
        except OSError:
            self._gone()

    async def flush(self) -> None:
        """Do nothing: it is written."""

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]
