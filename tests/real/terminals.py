"""Programs on a pseudo-terminal of a given size, which may take no text for a while."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.real.programs import PATH, START_S, TookTooLong

SETTLED_S = 0.5
"""A terminal that makes no room for so long is full."""


class OnTerminal:
    """A program whose errors go to a terminal, and whose output goes to a file."""

    def __init__(
        self, *command: str, cwd: Path, columns: int, env: Mapping[str, str], stopped: bool
    ) -> None:
        self.shown = ""
        """All that the terminal was sent."""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        if stopped:
            _fill(theirs)
        self.output = cwd / "output"
        usual = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**usual, "PYTHONPATH": PATH, "TERM": "xterm-256color", **env},
                stdin=theirs,
                stdout=output,
                stderr=theirs,
                start_new_session=True,
            )
        os.close(theirs)

    def __str__(self) -> str:
        return f"{self.process.args}, which has shown {self.shown!r}"

    def wait_for(self, text: str) -> None:
        """Read until the terminal has been sent a text."""
        until = time.monotonic() + START_S
        while text not in self.shown:
            if not self._read(until):
                raise TookTooLong(f"no {text!r} from {self}")

    def wait_for_output(self, text: str) -> None:
        """Wait until the program has printed a text, and read nothing of the terminal."""
        until = time.monotonic() + START_S
        while text not in self.output.read_text():
            if time.monotonic() > until:
                raise TookTooLong(f"no {text!r} in the output of {self}")
            select.select([], [], [], 0.05)

    def type(self, text: str) -> None:
        """Type a text, as a person does."""
        os.write(self._ours, text.encode())

    def end(self) -> int:
        """Read until the program has ended; return its exit status."""
        until = time.monotonic() + START_S
        while self._read(until):
            pass
        return self.process.wait(START_S)

    def close(self) -> None:
        """End the program, if it has not ended."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _read(self, until: float) -> bool:
        if not select.select([self._ours], [], [], max(0.0, until - time.monotonic()))[0]:
            return False
        with contextlib.suppress(OSError):  # the program has ended
            text = os.read(self._ours, 1 << 16).decode(errors="replace")
            self.shown += text
            return bool(text)
        return False


def _fill(terminal: int) -> None:
    """Write into a terminal until it takes no more, as if its output were stopped.

    The system may move what was written on a little later, which makes room once more.
    """
    os.set_blocking(terminal, False)
    try:
        while select.select([], [terminal], [], SETTLED_S)[1]:
            with contextlib.suppress(BlockingIOError):
                while os.write(terminal, b"." * 256):
                    pass
    finally:
        os.set_blocking(terminal, True)


@contextlib.contextmanager
def on_terminal(
    *command: str,
    cwd: Path,
    columns: int = 80,
    env: Mapping[str, str] | None = None,
    stopped: bool = False,
) -> Iterator[OnTerminal]:
    """Start a program on a terminal, and end it with the context."""
    program = OnTerminal(*command, cwd=cwd, columns=columns, env=env or {}, stopped=stopped)
    try:
        yield program
    finally:
        program.close()
