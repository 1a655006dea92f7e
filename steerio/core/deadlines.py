"""Moments at which something must be looked at again.

A heap of ``(when, order, what, about)``.  Deadlines are not cancelled but checked when
they come up, for they may not hold any more.  Those that do not are swept out
when they may be most of the heap: an hour's timeout of a task that took a millisecond shall
not stay for an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, StrEnum, auto
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K")


class About(Enum):
    """The kinds of things that deadlines are about, by their numbers."""

    RUN = auto()
    MOVE = auto()
    TASK = auto()
    WORKER = auto()
    NODE = auto()
    CLIENT = auto()
    ALL = auto()
    """of nothing: the whole cluster is looked at"""


class Due(StrEnum):
    """Why something is to be looked at."""

    TIMEOUT = auto()
    """the attempt has run for as long as it may"""
    TERM = auto()
    """the attempt was asked to stop, and gets a signal if it has not"""
    KILL = auto()
    """the attempt got a signal, and is killed if it has not ended, again and again"""
    RECALLED = auto()
    """the attempt was recalled before its turn, and is recalled again if it has not come back"""
    PRESS = auto()
    """the move has waited for tasks to end, and has them stopped now"""
    SHORT = auto()
    """the move has waited for its source to have enough workers"""
    DEADLOCK = auto()
    """moves may wait for each other"""
    START = auto()
    """the worker should have joined"""
    RETIRE = auto()
    """the worker should have ended in good order"""
    BROKEN = auto()
    """the worker said what cannot be read, and was to be killed"""
    KEPT = auto()
    """the client of a task that went on without a broker should have come back"""
    REPLACE = auto()
    """the start of another in this worker's place was put off"""
    NODE = auto()
    """the node may have been silent for a lease"""
    CLIENT = auto()
    """the client may have been silent for a lease"""
    ENDING = auto()
    """the walltime of the node ends soon, which is told"""
    END = auto()
    """the walltime of the node ends: it is left"""
    DRAIN = auto()
    """tasks that still run on the node, which is drained, are stopped"""
    EXPECTED = auto()
    """nodes that were announced should have joined"""
    EMPTY = auto()
    """pools may have been without workers for too long"""
    UNFIT = auto()
    """tasks may fit no worker of their pool"""
    PAUSED = auto()
    """workers of a paused pool may hold tasks"""
    STALLED = auto()
    """tasks may wait in vain"""
    SHARE = auto()
    """a worker idles while others hold tasks"""
    RECALL = auto()
    """tasks may be held behind one that turned out long"""
    SWEEP = auto()
    """makers that are gone have ended for sure, and may have left objects"""


ABOUT: dict[Due, About] = {
    Due.TIMEOUT: About.RUN,
    Due.TERM: About.RUN,
    Due.KILL: About.RUN,
    Due.RECALLED: About.RUN,
    Due.PRESS: About.MOVE,
    Due.SHORT: About.MOVE,
    Due.DEADLOCK: About.ALL,
    Due.START: About.WORKER,
    Due.RETIRE: About.WORKER,
    Due.BROKEN: About.WORKER,
    Due.KEPT: About.TASK,
    Due.REPLACE: About.WORKER,
    Due.NODE: About.NODE,
    Due.CLIENT: About.CLIENT,
    Due.ENDING: About.NODE,
    Due.END: About.NODE,
    Due.DRAIN: About.NODE,
    Due.EXPECTED: About.ALL,
    Due.EMPTY: About.ALL,
    Due.UNFIT: About.ALL,
    Due.PAUSED: About.ALL,
    Due.STALLED: About.ALL,
    Due.SHARE: About.ALL,
    Due.RECALL: About.ALL,
    Due.SWEEP: About.ALL,
}
"""The kind of thing that each deadline is about."""


def draw_deadlines() -> str:
    """Return the table of deadlines as a Mermaid flow chart."""
    lines = [f"    {a.name.lower()}([{a.name.lower()}]) --- {due.name}" for due, a in ABOUT.items()]
    return "\n".join(["flowchart LR", *lines])


_SLACK = 1024
"""Deadlines that are kept without asking whether they still hold."""


class Deadlines(Generic[K]):
    """Things to look at, each at its own time; ``about`` is a number that the caller knows."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K, int]] = []
        self._order = 0
        self._sweep_at = _SLACK

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[tuple[float, K, int]]:
        """Go through those that are set, in no particular order, with their times."""
        return ((when, what, about) for when, _, what, about in self._heap)

    def add(self, when: float, what: K, about: int) -> None:
        """Look at ``about`` because of ``what`` at time ``when``, in seconds."""
        self._order += 1
        heappush(self._heap, (when, self._order, what, about))

    @property
    def next(self) -> float | None:
        """When the earliest deadline comes up, or ``None``."""
        return self._heap[0][0] if self._heap else None

    def sweep(self, holds: Callable[[K, int], bool]) -> None:
        """Drop those that no longer hold, if there are twice as many as the last sweep left."""
        heap = self._heap
        if len(heap) > self._sweep_at:
            heap[:] = [entry for entry in heap if holds(entry[2], entry[3])]
            heapify(heap)
            self._sweep_at = 2 * len(heap) + _SLACK

    def due(self, now: float) -> Iterator[tuple[K, int]]:
        """Take out those that have come up, earliest first."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, _, what, about = heappop(heap)
            yield what, about
