"""Programs that tests start: what they print, how they end, and how long that may take."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import steerio
from tests import leaks

REPOSITORY = Path(__file__).parents[2]
PATH = os.pathsep.join([str(Path(steerio.__file__).parents[1]), str(REPOSITORY)])
"""Where programs find what is under test, and the tests."""
START_S = 40.0
"""Longest wait for a program to say something; these machines are slow at times."""
DELIBERATE_S = 0.5
"""How long a person takes to press a key again, at least."""


class TookTooLong(AssertionError):
    """Something that must happen did not, within its bound."""


def _heed_signals() -> None:
    """Undo what shells and ``nohup`` do to what runs in the background: let it ignore signals."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Program:
    """A running program, in a session of its own so that a signal to its group hits no one else.

    Its output and errors are one stream, in the order in which they were written.
    """

    def __init__(
        self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self.output = ""
        self.command = command
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": PATH, "COLUMNS": "100", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_heed_signals,  # noqa: PLW1509 - before any thread of a test
        )
        assert self._process.stdout is not None
        self._stream = self._process.stdout.fileno()
        os.set_blocking(self._stream, False)

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process that was started, and to no other."""
        if number == signal.SIGKILL:
            leaks.KILLED.set()
        self._process.send_signal(number)

    def signal_later(self, number: signal.Signals) -> None:
        """Send another signal, as late as a person who means it: not the same request again."""
        time.sleep(DELIBERATE_S)
        self.signal(number)

    def wait_for(self, text: str, within_s: float = START_S) -> str:
        """Wait until the program has printed ``text``; returns the line that ends with it."""
        until = time.monotonic() + within_s
        while text not in self.output:
            if not self._read(until):
                raise TookTooLong(f"no {text!r} within {within_s:g} s from {self}")
        line = self.output.partition(text)[0].rpartition("\n")[2]
        return line + text

    def status(self, within_s: float = START_S) -> int:
        """Wait for the program's end, and of all that it printed; returns its exit status."""
        until = time.monotonic() + within_s
        while self._read(until):
            pass
        try:
            return self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TookTooLong(f"no end within {within_s:g} s of {self}") from None

    def close(self) -> None:
        """Kill what still runs of it."""
        if self._process.poll() is None:
            leaks.KILLED.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __str__(self) -> str:
        """Show it as a reader of a failure needs it."""
        return f"{' '.join(self.command)}\n---- its output ----\n{self.output}"

    def _read(self, until: float) -> bool:
        """Take in what it prints next; ``False`` after its last word, or when time is up."""
        poller = select.poll()
        poller.register(self._stream, select.POLLIN)
        if not poller.poll(max(0.0, until - time.monotonic()) * 1000):
            return False
        chunk = os.read(self._stream, 65536)
        self.output += chunk.decode(errors="replace")
        return bool(chunk)


@contextlib.contextmanager
def running(
    *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """Start a program, and see to its end."""
    program = Program(*command, cwd=cwd, env=env)
    try:
        yield program
    finally:
        program.close()


def python(*arguments: str) -> tuple[str, ...]:
    """Return the command that runs Python with these arguments."""
    return (sys.executable, *arguments)


def steerio_command(*arguments: str) -> tuple[str, ...]:
    """Return the command line of ``steerio`` with these arguments."""
    return python("-m", "steerio", *arguments)


def wait_for_end(pids: Iterable[int], within_s: float) -> None:
    """Wait until processes have ended; zombies that others must bury count as ended.

    Raises:
        TookTooLong: one of them has not, within the bound.
    """
    until = time.monotonic() + within_s
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        ended = poller.poll(max(0.0, until - time.monotonic()) * 1000)
        os.close(descriptor)
        if not ended:
            raise TookTooLong(f"process {pid} has not ended within {within_s:g} s")


def kill(pid: int) -> None:
    """Kill a process, unless it has gone by itself."""
    leaks.KILLED.set()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def lives(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def family(pid: int) -> list[int]:
    """Return a process and all that are below it, parents first."""
    found = [pid]
    for member in found:
        for file in Path(f"/proc/{member}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, file.read_text().split())
    return found
