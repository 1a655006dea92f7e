"""The program in which a rank speaks to the others by MPI: ``-m steerio.launch.mpi_program``.

Its arguments are the rank and the number of ranks, as the launcher told them, the launcher, and the
process that started it.  It
says on its output that MPI has brought the ranks together, or why not.  That of rank 0 reads a line
for each of the others and sends it; each of those says its line.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any, BinaryIO

from steerio.edge.system import descendants
from steerio.launch.ranks import Counted, Rank, mixed_up

READY = b"ready"
"""The line that says that the ranks are together."""
FAILED = b"failed: "
"""Beginning of the line that says why they are not."""
LOOK_S = 0.02
"""Time between two looks for a message: MPI's own wait would take a core."""


def main() -> int:
    """Be the voice of a rank; returns the exit status."""
    voice = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # MPI libraries write warnings to their output, too
    descendants.die_with_parent(int(sys.argv[4]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rank decides
    rank, launcher = Rank(int(sys.argv[1]), int(sys.argv[2]), one_host=False, job=""), sys.argv[3]
    try:
        from mpi4py import MPI  # only here: it starts MPI
    except (ImportError, RuntimeError) as error:
        _say_failed(
            voice,
            f"the ranks were to meet by MPI, and mpi4py does not load here ({error}): install it "
            f"for the MPI of this launcher ({launcher})",
        )
        return 1
    comm: Any = MPI.COMM_WORLD
    counted = Counted(comm.rank, comm.size, MPI.Get_library_version())
    if (rank.number, rank.size) != (counted.number, counted.size):
        _say_failed(voice, mixed_up(rank, counted, launcher))
        return 1
    _say(voice, READY)
    if rank.number == 0:
        lines = sys.stdin.buffer.read().splitlines()
        sent = [comm.Isend([line, MPI.BYTE], dest) for dest, line in enumerate(lines, 1)]
        while not all(each.Test() for each in sent):
            time.sleep(LOOK_S)
        return 0
    status: Any = MPI.Status()
    while not comm.Iprobe(source=0, status=status):
        time.sleep(LOOK_S)
    line = bytearray(status.Get_count(MPI.BYTE))
    comm.Recv([line, MPI.BYTE], source=0)
    _say(voice, bytes(line))
    return 0


def _say_failed(voice: BinaryIO, why: str) -> None:
    way_out = "; or have the ranks share a folder (--rendezvous file)"
    _say(voice, FAILED + " ".join(f"{why}{way_out}".split()).encode())


def _say(voice: BinaryIO, line: bytes) -> None:
    voice.write(line + b"\n")
    voice.flush()


if __name__ == "__main__":
    sys.exit(main())
