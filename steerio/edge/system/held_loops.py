"""Event loops that stand still: the code that holds one, seen from another thread."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from types import FrameType

from steerio.model.showing import in_one_line

BLOCKED_S = 1.0
"""A loop that has not turned for this long is warned of."""
MOST_SHOWN = 200
"""Characters of the name and the place of an agent that are told."""


def warn_of_holder(
    loop: asyncio.AbstractEventLoop, thread: int, seconds: float, log: logging.Logger
) -> tuple[str, str]:
    """Warn that a loop stands still; return the agent and the line that hold it.

    Args:
        loop: the loop.
        thread: the thread that it runs on, by its identifier.
        seconds: for how long it has stood still.
        log: takes the warning.
    """
    frame = sys._current_frames().get(thread)  # pyright: ignore[reportPrivateUsage]
    where = _where(frame)
    task = asyncio.current_task(loop)
    agent = "" if task is None else task.get_name()  # agents' tasks are named after them
    log.warning(
        "the event loop has stood still for %.1f s in %s; tasks go on, but no agent reacts: "
        "offload it with 'await self.offload(...)', or 'await asyncio.to_thread(...)' outside of a "
        "campaign, or make it a task",
        seconds,
        f"{agent}, at {where}" if agent else where,
    )
    return in_one_line(agent, MOST_SHOWN), in_one_line(where, MOST_SHOWN)


def _where(frame: FrameType | None) -> str:
    """Name the innermost line outside the standard library that a thread is at."""
    if frame is None:
        return "an unknown place"
    stack = traceback.extract_stack(frame)
    for entry in reversed(stack):
        if "/lib/python" not in entry.filename and "<frozen" not in entry.filename:
            return f"{entry.name} ({entry.filename}:{entry.lineno})"
    return f"{stack[-1].name} ({stack[-1].filename}:{stack[-1].lineno})"
