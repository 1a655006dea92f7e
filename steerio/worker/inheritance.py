"""What a forked process must not keep of its parent's.

A fork shares every open descriptor.  Where those are connections or pipes that is more
than untidy: their other end never hears that they were closed, as long as any node,
zygote or worker still holds a copy.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Container
from pathlib import Path

STANDARD = (0, 1, 2)


def let_go_of_connections(keep: Container[int]) -> None:
    """Replace inherited sockets, pipes and their like by ``/dev/null``; files stay open.

    Replaced and not closed: an object that was forked too may still close "its" number,
    which must not by then belong to something new.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for number in [int(path.name) for path in _descriptors().iterdir()]:
        if number not in keep and number not in STANDARD and number != null:
            with contextlib.suppress(OSError):  # the one that the listing was read from
                if _connects(os.fstat(number).st_mode):
                    os.dup2(null, number, inheritable=False)
    os.close(null)


def flush_output() -> None:
    """Write out what was printed, before a fork: each process would write it once."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # none, full, closed
            stream.flush()


def read_nothing() -> None:
    """Make the standard input empty."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _connects(mode: int) -> bool:
    # epoll, eventfd and their like have no type at all
    return stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode) or stat.S_IFMT(mode) == 0


def _descriptors() -> Path:
    return Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")
