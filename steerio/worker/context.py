"""The functions by which user code in a running task says and asks things.

Outside a worker (a task function called directly, a test) they do nothing, so a task
stays a plain function.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Generator
from typing import Protocol

from steerio.model.bounds import REPORT_CHARACTERS, real, said
from steerio.worker.meeting import ALONE, Gang
from steerio.worker.random_streams import derive

PROGRESS_EVERY_S = 0.05
"""Least time between two progress reports that are sent, or two words of items without a reader."""


class Running(Protocol):
    """The attempt that runs in this process now."""

    gang: Gang
    """The workers that run it."""
    on_engine: bool
    """Whether an engine runs it, and no worker."""

    def report(self, fraction: float | None, message: str) -> None:
        """Send progress."""
        ...

    def should_stop(self) -> bool:
        """Say whether it was asked to stop."""
        ...

    def random_seed(self, bits: int) -> int:
        """Return a number that follows from the run's seed and the task."""
        ...


_current: Running | None = None
_here: contextvars.ContextVar[Running | None] = contextvars.ContextVar("steerio_here", default=None)


def set_current(running: Running | None) -> None:
    """Set the attempt that runs (the worker does)."""
    global _current  # noqa: PLW0603 - a process runs one task at a time
    _current = running


@contextlib.contextmanager
def running_as(running: Running) -> Generator[None, None, None]:
    """Set the attempt that runs in this context.

    Simulated ones share a process, and so do those of an engine that runs tasks in threads.
    """
    token = _here.set(running)
    try:
        yield
    finally:
        _here.reset(token)


def running_here() -> Running | None:
    """Return the attempt that runs here, if one does."""
    return _current or _here.get()


def report(fraction: float | None = None, message: str = "") -> None:
    """Tell the campaign how far this task is, as a ``TaskProgress`` event.

    At most 20 reports a second are sent; of those that come faster the last is sent a moment later.

    Args:
        fraction: share done, 0 to 1, if it is known.
        message: anything worth telling, in a line; of more than 10,000 characters the middle is
            cut out.

    Raises:
        UsageError: ``fraction`` is no number, or ``message`` no text.
    """
    share = None if fraction is None else real(fraction, "the fraction done")
    text = said(message, "the message of a report", REPORT_CHARACTERS)
    if (running := running_here()) is not None:
        running.report(share, text)


def should_stop() -> bool:
    """Say whether this task was asked to stop (cancelled, or out of time).

    A task that returns or raises soon after keeps its worker; one that does not gets
    SIGTERM and then SIGKILL, each ``cancel_grace_s`` later.
    """
    running = running_here()
    return running is not None and running.should_stop()


def random_seed(bits: int = 64) -> int:
    """Return a number to seed a generator with, which belongs to this task.

    It follows from the seed of the run (``random_seed=``) and the number of the task: the same
    on any worker, at each attempt, and at each call within the task; another for each task.
    Outside a worker the system draws it.

    Args:
        bits: its length, 1 to 256; some libraries take no more than 32.

    Raises:
        UsageError: ``bits`` is out of these bounds.
    """
    if (running := running_here()) is not None:
        return running.random_seed(bits)
    return derive(int.from_bytes(os.urandom(32)), "task", bits)


def gang() -> Gang:
    """Return the gang that runs this task: the rank of this worker, the size, the meeting point.

    For a task that one worker runs, and outside a worker, it is one of size 1.
    """
    running = running_here()
    return ALONE if running is None else running.gang
