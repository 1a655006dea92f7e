"""The handles that an agent keeps in local variables, which no snapshot has.

An agent that waits in ``checkpoint`` is called again from its start if the campaign is resumed from
there. A task of which it has the handle, and not read the result yet, would end unheard then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from types import FrameType
from typing import Any, cast

from steerio.campaign.agent_errors import heed
from steerio.session.task import Task

LOOKED_INTO = 10_000
"""Entries of a list, set or dict in a variable among which handles are looked for."""
DEPTH = 2
"""Levels of such containers."""
_HOLDERS = (list, tuple, set, frozenset, deque)


def unread_handle(frame: FrameType | None) -> tuple[str, Task[Any]] | None:
    """Return a variable of an agent, and the handle in it of a task that was not read.

    Args:
        frame: the innermost of the agent's frames, which `heed` awaits.
    """
    while frame is not None and frame.f_code is not heed.__code__:
        for name, value in frame.f_locals.items():
            for task in _handles_in(value, DEPTH):
                if task.peek() is None or not task.awaited:
                    return name, task
        frame = frame.f_back
    return None


def _handles_in(value: object, depth: int) -> Iterator[Task[Any]]:
    kind = type(value)  # of which nothing else is asked: a proxy would be fetched
    if issubclass(kind, Task):
        yield cast("Task[Any]", value)
    elif depth and kind is dict:
        entries = cast("dict[object, object]", value)
        yield from _handles_among(entries, depth)
        yield from _handles_among(entries.values(), depth)
    elif depth and kind in _HOLDERS:
        yield from _handles_among(cast("Iterable[object]", value), depth)


def _handles_among(values: Iterable[object], depth: int) -> Iterator[Task[Any]]:
    for value in islice(values, LOOKED_INTO):
        yield from _handles_in(value, depth - 1)
