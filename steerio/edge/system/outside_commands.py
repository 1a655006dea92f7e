"""Commands of others that are run to their end, within bounds of time and output."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

SHOWN = 2_000
"""Most characters of an answer that `CommandAnswer.words` returns."""


class CommandAnswer(NamedTuple):
    """The answer of a command that has ended."""

    status: int
    output: str
    errors: str

    @property
    def words(self) -> str:
        """The words for a reader, of its errors if there are any."""
        said = " ".join((self.errors.strip() or self.output.strip()).split())
        return said[:SHOWN] or f"it ended with status {self.status}, and said nothing"


def run_command(
    command: Sequence[str], within_s: float, given: Path | None = None
) -> CommandAnswer:
    """Run a command to its end.

    Args:
        command: the program, which is looked up in ``PATH``, and its arguments.
        within_s: seconds after which it is killed, with all of its process group.
        given: the file that it reads as its standard input.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it has not ended in time.
    """
    with contextlib.ExitStack() as opened:
        stdin = subprocess.DEVNULL if given is None else opened.enter_context(given.open("rb"))
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        opened.enter_context(process)
        try:
            output, errors = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"no answer within {within_s:g} s") from None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    return CommandAnswer(
        process.returncode, output.decode(errors="replace"), errors.decode(errors="replace")
    )
