"""The loops of an ``@agent``: how many there should be, and which of them begin or go (pure).

Theory.  Each loop has an index, from 0, and there are as many as the pool has workers, or as the
trigger says.  When workers leave, the loops with the highest indices go; when workers come, the
lowest free indices begin.  A loop goes only at a checkpoint, as nothing is half done then; so it
may take its time, and until then it stays if a worker comes back.  One that has returned has done
its work, and its index is not begun again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import anyio
from msgspec import Struct

from steerio.campaign.calls import Calls
from steerio.model.status import PoolLoad


class AgentLoop(Struct, eq=False):
    """One loop of an ``@agent`` that runs.

    Attributes:
        calls: of its method.
        index: among the loops of its method.
        name: under which a snapshot knows it if it has ended.
        scope: ends it when it is cancelled; ``None``: it has not begun yet.
        leaving: whether it is to go.
        at_checkpoint: whether it waits at a checkpoint, from which it may go.
        submitted: how many tasks it has submitted since it was to go.
    """

    calls: Calls
    index: int
    name: str
    scope: anyio.CancelScope | None = None
    leaving: bool = False
    at_checkpoint: bool = False
    submitted: int = 0


class LoopChanges(Struct, frozen=True):
    """The indices of the loops that begin, that are to go, and that were to go and stay."""

    begin: list[int]
    go: list[int]
    stay: list[int]


def loop_name(name: str, index: int, *, several: bool) -> str:
    """Return the name of a loop: that of its method, and its index if there may be others."""
    return f"{name}[{index}]" if several else name


def changes_to(size: int, running: Mapping[int, bool], ended: Collection[int]) -> LoopChanges:
    """Return the changes that lead to so many loops.

    Args:
        size: how many there should be.
        running: those that run, by index; whether each is to go already.
        ended: the indices of those that have returned.
    """
    return LoopChanges(
        begin=[index for index in range(size) if index not in running and index not in ended],
        go=[index for index, leaving in running.items() if index >= size and not leaving],
        stay=[index for index, leaving in running.items() if index < size and leaving],
    )


def size_of(load: PoolLoad | None) -> int:
    """Return how many workers of a pool count: those that are there or start, and do not leave."""
    return 0 if load is None else max(0, load.workers - load.draining)


def may_come(load: PoolLoad | None) -> bool:
    """Whether a pool has workers, or will have some without an agent that moves them there."""
    return load is None or bool(load.workers or load.starting or load.at_home or load.expected)
