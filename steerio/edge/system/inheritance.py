"""Descriptors and streams: those that a fork must not keep, and those that it must have.

A fork shares every open descriptor. With connections and pipes that is more than untidy: their
other end never hears that they were closed, as long as any node, zygote or worker still holds a
copy.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import stat
import sys
from collections.abc import Container
from pathlib import Path
from typing import Any

STANDARD = (0, 1, 2)
STREAMS = ("stdin", "stdout", "stderr")


def let_go_of_connections(keep: Container[int]) -> None:
    """Replace inherited sockets, pipes and their like by ``/dev/null``; files stay open.

    It does not close them: an object that was forked too may still close "its" number, which must
    not by then belong to a new descriptor.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for number in [int(path.name) for path in _descriptors().iterdir()]:
        if number not in keep and number not in STANDARD and number != null:
            with contextlib.suppress(OSError):  # the one that the listing was read from
                if _connects(os.fstat(number).st_mode):
                    os.dup2(null, number, inheritable=False)
    os.close(null)


def flush_output() -> None:
    """Write out printed text before a fork, as each process would write it once."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # none, full, closed; or a user's own
            stream.flush()


def fill_standard() -> None:
    """Open ``/dev/null`` for each closed standard descriptor, before others get its number.

    libuv ends a process in which a descriptor of its own has one of these numbers.
    """
    while (null := os.open(os.devnull, os.O_RDWR)) in STANDARD:
        os.set_inheritable(null, True)
    os.close(null)


def own_standard() -> None:
    """Make standard descriptors and streams over them valid, whatever this process was given.

    If one was closed, a descriptor that was opened later may have its number by now: a socket, say,
    into which printed text would go. And `sys.stderr` may be any object that has a ``write``, or
    ``None``.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for number, name in enumerate(STREAMS):
        if not _is_standard(number, name):
            os.dup2(null, number)
    if null not in STANDARD:
        os.close(null)
    for number, name in enumerate(STREAMS):
        stream: Any = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and _leads_to(stream, number):
            if number:
                stream.reconfigure(line_buffering=True, write_through=False)  # a line, a write
        else:
            stream = open_standard(number)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def open_standard(number: int) -> io.TextIOWrapper:
    """Return a stream over a standard descriptor, which writes line by line."""
    stream = io.FileIO(number, "w" if number else "r", closefd=False)
    buffer = io.BufferedWriter(stream) if number else io.BufferedReader(stream)
    return io.TextIOWrapper(buffer, "utf-8", "backslashreplace", line_buffering=True)


def above_standard(number: int) -> int:
    """Return a copy of a descriptor that is not one of the standard ones, nor inherited.

    Raises:
        OSError: it is closed.
    """
    return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, len(STANDARD))


def pipe() -> tuple[int, int]:
    """Return the ends of a pipe, the one to read from first; neither has a standard number.

    Raises:
        OSError: there is no room for one more.
    """
    fill_standard()
    return os.pipe()


def read_nothing() -> None:
    """Make the standard input empty."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _is_standard(number: int, name: str) -> bool:
    """Say whether a descriptor is the one this process was given, as far as its stream tells."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return _leads_to(getattr(sys, f"__{name}__"), number)


def _leads_to(stream: Any, number: int) -> bool:
    try:
        return stream is not None and not stream.closed and bool(stream.fileno() == number)
    except (OSError, ValueError):  # it leads nowhere, or its buffer was taken away
        return False


def _connects(mode: int) -> bool:
    # epoll, eventfd and their like have no type at all
    return stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode) or stat.S_IFMT(mode) == 0


def _descriptors() -> Path:
    return Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")
