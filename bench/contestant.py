"""A side of a comparison, in a process of its own that runs rounds when told to.

Each side has its own client process, so that one side's event loop, garbage and threads are
not in the other's way, and both stay up between rounds: what is compared is their work, not
their start. Rounds are ordered and answered over a socket pair, one JSON line each; what the
process prints goes to a file, which is quoted when something goes wrong.

Whatever a contestant starts is found again by a mark in its environment, which children
inherit, and is killed when the contestant is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

MARK = "BENCH_CONTESTANT"
ROOT = Path(__file__).resolve().parent.parent
LOG_TAIL_BYTES = 2000
SETTLE_S = 0.05
"""Time for a process that goes on to notice that it was stopped, before a round begins."""


class Round(msgspec.Struct):
    """An order: which round, with how many tasks of what length (seconds)."""

    name: str
    tasks: int = 0
    task_s: float = 0.0


class Answer(msgspec.Struct):
    """What a round measured, by name; or why it could not."""

    figures: dict[str, list[float]] = {}
    error: str | None = None


class ContestantError(Exception):
    """A contestant failed, ended or did not answer in time; the message says which and why."""


RoundFunction = Callable[[Round], dict[str, list[float]]]


def marked_environment(mark: str, directory: str) -> dict[str, str]:
    """This process's environment, the repository importable, `mark` set.

    Temporary files go to `directory`: whoever is killed leaves his behind.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "TMPDIR": directory,
        MARK: mark,
    }


def marked_processes(mark: str) -> list[int]:
    """Every live process that carries `mark`, whoever its parent is by now."""
    needle = f"{MARK}={mark}".encode()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if needle in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def kill_marked(mark: str) -> list[int]:
    """Kill what carries `mark`, until nothing does; returns what had to be killed."""
    killed: list[int] = []
    deadline = time.monotonic() + 5
    while (pids := marked_processes(mark)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        time.sleep(0.02)
    return killed


class Contestant:
    """`python -m MODULE` as a side: `with Contestant(module) as side: side.ask(Round(...))`.

    It may take `close_s` seconds to end by itself; 0 kills it at once, for sides that hold so
    much queued work that ending in good order would take longer than what was measured.
    """

    def __init__(self, module: str, *arguments: str, close_s: float = 10.0) -> None:
        self.module = module
        self.mark = uuid.uuid4().hex
        self._close_s = close_s
        self._arguments = arguments
        self._stopped: list[int] = []
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._directory = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)

    def __enter__(self) -> Self:
        here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, str(there.fileno()), *self._arguments],
                env=marked_environment(self.mark, self._directory.name),
                cwd=self._directory.name,
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._control = here
        self._buffer = b""
        return self

    def ask(self, order: Round, timeout_s: float = 60.0) -> dict[str, list[float]]:
        """Run one round and return its figures; raises ContestantError."""
        deadline = time.monotonic() + timeout_s
        try:
            self._control.sendall(msgspec.json.encode(order) + b"\n")
            line = self._read_line(deadline)
        except TimeoutError:
            raise self._failure(f"did not answer {order} within {timeout_s:g} s") from None
        except OSError as error:
            raise self._failure(f"is gone ({error}) at {order}") from None
        answer = msgspec.json.decode(line, type=Answer)
        if answer.error is not None:
            raise self._failure(f"failed at {order}: {answer.error}")
        return answer.figures

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        """Have its processes go on in here, and stopped afterwards: they do nothing at all then."""
        self._signal(signal.SIGCONT)
        if self._stopped:
            time.sleep(SETTLE_S)
        yield
        self._stopped = marked_processes(self.mark)
        self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _read_line(self, deadline: float) -> bytes:
        while b"\n" not in self._buffer:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            # Looked at once a second: forked workers hold the socket open after the
            # contestant itself has died, so its end is not always an end of file.
            self._control.settimeout(min(1.0, remaining))
            try:
                chunk = self._control.recv(65536)
            except TimeoutError:
                if self._process.poll() is not None:
                    raise ConnectionError(f"exit code {self._process.returncode}") from None
                continue
            if not chunk:
                raise ConnectionError("it closed its socket")
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def _failure(self, what: str) -> ContestantError:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - LOG_TAIL_BYTES))
        tail = self._log.read().decode(errors="replace").strip()
        return ContestantError(f"{self.module} {what}" + (f"; it printed: {tail}" if tail else ""))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._signal(signal.SIGCONT)
        self._control.close()
        try:
            # After a failure there is nothing to wait for politely.
            self._process.wait(timeout=self._close_s if kind is None else 1.0)
        except subprocess.TimeoutExpired:
            if self._close_s:
                print(f"bench: {self.module} did not end by itself; killed it", file=sys.stderr)
        finally:
            kill_marked(self.mark)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self._log.close()
            self._directory.cleanup()


def serve(control_fd: int, rounds: Mapping[str, RoundFunction]) -> None:
    """The contestant's side: answer orders until the other end is closed."""
    with socket.socket(fileno=control_fd) as control, control.makefile("rb") as lines:
        for line in lines:
            order = msgspec.json.decode(line, type=Round)
            try:
                answer = Answer(rounds[order.name](order))
            except Exception as error:  # noqa: BLE001 - it fails the round, over there
                answer = Answer(error=repr(error))
            control.sendall(msgspec.json.encode(answer) + b"\n")


async def serve_async(
    control_fd: int, rounds: Mapping[str, Callable[[Round], Awaitable[dict[str, list[float]]]]]
) -> None:
    """`serve` for a side that lives on an event loop, which goes on turning between rounds."""
    control = socket.socket(fileno=control_fd)
    control.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=control)
    try:
        while line := await reader.readline():
            order = msgspec.json.decode(line, type=Round)
            try:
                answer = Answer(await rounds[order.name](order))
            except Exception as error:  # noqa: BLE001 - it fails the round, over there
                answer = Answer(error=repr(error))
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()
    finally:
        writer.close()
