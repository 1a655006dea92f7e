"""The bound of this process's descriptors: raised, checked at the start, and kept clear of.

Each connection takes one, and each file, socket and mapped object. A process that has none left can
do nothing any more, not even say so; ZeroMQ ends it if it cannot accept a peer. So this module
raises the bound as far as it may, checks it against the known need at the start, and keeps the last
descriptors for work that must go on.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

from steerio.errors import UsageError
from steerio.model.showing import counted

MOST_DESCRIPTORS = 2**16
"""Most that are asked for: Linux allows as many mappings, and some programs that a task may start
close all descriptors that they could have, one by one."""
OWN = 40
"""Descriptors of a process of steerio itself: endpoints, record, store, modules as they load."""
KEPT = 16
"""The last descriptors, which no worker gets."""


def allow_descriptors() -> None:
    """Raise the bound of this process's descriptors as far as it may.

    The usual 1024 is for programs that call ``select``; an object in use takes one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # then mappings are fewer
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def need_descriptors(connections: int = 0) -> None:
    """See to it that this process can have so many connections more.

    Raises:
        UsageError: the bound cannot be raised so far.
    """
    allow_descriptors()
    limit = _limit()
    needed = _needed(connections)
    if limit is not None and needed > limit:
        workers = f" with {counted(connections, 'worker')}" if connections else ""
        raise UsageError(
            f"this process may have {limit} descriptors (open files) and{workers} needs about "
            f"{needed}: raise the bound (ulimit -n {needed}; LimitNOFILE of a service)"
            + (", or have fewer workers" if connections else "")
        )


def spare_descriptors(connections: int = 0) -> int:
    """Return how many connections this process can have beyond so many more, at least one."""
    limit = _limit()
    return max(1, (MOST_DESCRIPTORS if limit is None else limit) - _needed(connections))


def is_scarce(number: int) -> bool:
    """Say whether a descriptor of this number, the lowest that was free, is one of the last."""
    limit = _limit()
    return limit is not None and number >= limit - KEPT


def _limit() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _needed(connections: int) -> int:
    return _in_use() + OWN + KEPT + connections


def _in_use() -> int:
    listing = Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")
    return sum(1 for _ in listing.iterdir())
