"""A rendezvous by MPI, for ranks that share no file system.

Each rank has a child speak for it (`steerio.launch.mpi_program`), which ends once the words are
there: so MPI is in none of the processes that fork workers, and a wait for it can be cut off.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping

import msgspec

from steerio.errors import UsageError
from steerio.launch.mpi_program import FAILED, READY
from steerio.launch.ranks import Rank, counted_by_mpi, how_not, launcher_name
from steerio.launch.rendezvous import LATE_S, NOTICE_S, WAIT_S, read_told, told_as_json
from steerio.node.setup import NodeSetup


class ByMpi:
    """One rank's child, which MPI has brought together with those of the others.

    Args:
        rank: of this process.
        wait_s: how long it waits for the other ranks.

    Raises:
        UsageError: mpi4py or its MPI does not work here, or counts other ranks than the launcher
            (two MPIs are mixed up); this process has started MPI already; or not all ranks came.
    """

    shares_files = False

    def __init__(self, rank: Rank, wait_s: float = WAIT_S) -> None:
        if counted_by_mpi() is not None:
            raise UsageError(
                f"rank {rank.number} of {rank.size} has started MPI already, so no process of "
                "steerio's can speak by MPI for it: name a folder that all ranks see (--run-dir "
                "DIR), or import mpi4py.MPI once the campaign runs"
            )
        self._rank = rank
        self._told: dict[int, NodeSetup | None] | None = None
        self._begun = b""
        """The beginning of a line."""
        self._child = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "steerio.launch.mpi_program"),
                *(str(rank.number), str(rank.size), launcher_name(), str(os.getpid())),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,  # the launcher may speak to its ranks through a descriptor
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            word = self._read_line(wait_s)
            if word != READY:
                raise UsageError(self._why_not(word))
        except BaseException:
            self._end(0.0)
            raise

    def _why_not(self, word: bytes) -> str:
        if word.startswith(FAILED):
            return word.removeprefix(FAILED).decode()
        self._end(LATE_S)
        return (
            f"rank {self._rank.number} of {self._rank.size} cannot speak by MPI to the others: its "
            f"process ended with {self._child.returncode}; have the ranks share a folder instead "
            "(--run-dir DIR), or see whether a program of mpi4py's runs under this launcher"
        )

    def _read_line(self, wait_s: float) -> bytes:
        """Return the child's next line, without its end, or the last part of it if it has ended.

        Raises:
            UsageError: it says nothing in time.
        """
        assert self._child.stdout is not None
        descriptor = self._child.stdout.fileno()
        until, notice = time.monotonic() + wait_s, time.monotonic() + NOTICE_S
        while b"\n" not in self._begun:
            left = until - time.monotonic()
            if left <= 0:
                raise UsageError(
                    f"rank {self._rank.number} has not met the other ranks of {self._rank.size} "
                    f"by MPI within {wait_s:g} s: have all of them run steerio; {how_not()}"
                )
            if not select.select([descriptor], [], [], min(left, 1.0))[0]:
                if time.monotonic() > notice:
                    notice = until
                    sys.stderr.write(
                        f"steerio: rank {self._rank.number} waits for the other ranks of "
                        f"{self._rank.size} to run steerio as well (by MPI), {wait_s:g} s at "
                        f"most; {how_not()}\n"
                    )
                continue
            part = os.read(descriptor, 65536)
            if not part:
                return self._begun
            self._begun += part
        line, _, self._begun = self._begun.partition(b"\n")
        return line

    # -- rank 0 -----------------------------------------------------------------------------------

    def tell(self, setups: Mapping[int, NodeSetup | None]) -> None:
        """Send their words to all ranks."""
        assert self._child.stdin is not None
        self._told = dict(setups)
        words = b"".join(told_as_json(setups[n]) + b"\n" for n in range(1, self._rank.size))
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(words)
            self._child.stdin.close()

    def absent(self) -> list[int]:
        """Return no rank, for all have begun; or all others, if their words could not be sent."""
        return [*range(1, self._rank.size)] if self._child.poll() else []

    def close(self, wait_s: float) -> None:
        """Dismiss the ranks if they were told nothing, and end the child."""
        if self._told is None:
            self.tell(dict.fromkeys(range(1, self._rank.size)))
        self._end(wait_s)

    # -- the other ranks --------------------------------------------------------------------------

    def await_setup(self, wait_s: float = WAIT_S) -> NodeSetup | None:
        """Wait for rank 0 to say what this rank shall do; ``None``: nothing.

        Raises:
            UsageError: rank 0 said nothing in time, or has ended.
        """
        try:
            line = self._read_line(wait_s)
        except BaseException:
            self._end(0.0)
            raise
        self._end(LATE_S)
        try:
            return read_told(line)
        except msgspec.DecodeError:
            raise UsageError(
                f"rank {self._rank.number} heard nothing from rank 0 of {self._rank.size}, whose "
                "process has ended"
            ) from None

    def _end(self, wait_s: float) -> None:
        """Have the child end by itself within so many seconds, or kill it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(wait_s)
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()
