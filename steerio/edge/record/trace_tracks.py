"""The tracks of a trace: a process for each pool of each node, and a thread for each worker in it.

A worker works on one task at a time, but its times are corrected by a difference of clocks that is
measured again and again, and attempts are recorded when their tasks have ended; so a run may seem
to begin a microsecond before the end of the one before. Viewers drop runs that overlap: a track has
each run take the time that its neighbours leave.

The process and thread numbers of a trace are names only. No number is given to two things, since
viewers find a thread by its number alone.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

Emit = Callable[[dict[str, Any]], None]
"""Writes one event of a trace."""
CAMPAIGN = "campaign"
"""The process of all that belongs to no pool."""
_ORDER = {CAMPAIGN: 0, "pool": 1, "node": 2}


def function_name(task_type: str) -> str:
    """Return the name of a task type without its module, as a run has little room for it."""
    return task_type.rpartition(":")[2]


class Track:
    """One track: a thread of a trace.

    Attributes:
        number, pid, tid: its numbers: among the tracks, from 1, and in the trace.
    """

    def __init__(self, number: int, pid: int, tid: int) -> None:
        self.number, self.pid, self.tid = number, pid, tid
        self._begins: array[int] = array("q")
        self._ends: array[int] = array("q")

    def take(self, begin: int, end: int) -> tuple[int, int]:
        """Return the part of a time that no other run here has, and keep it from others."""
        at = bisect_right(self._begins, begin)
        if at:
            begin = max(begin, self._ends[at - 1])
        if at < len(self._begins):
            begin = min(begin, self._begins[at])
            end = min(end, self._begins[at])
        end = max(begin, end)
        self._begins.insert(at, begin)
        self._ends.insert(at, end)
        return begin, end


class Tracks:
    """All tracks of a trace, each announced by its names when it is first asked for.

    Args:
        emit: writes an event.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._numbers = 0
        self._processes: dict[str, int] = {}
        self._found: dict[tuple[str, str], Track] = {}
        self._listed: list[Track] = []

    def by_number(self, number: int) -> Track:
        """Return the track of a number."""
        return self._listed[number - 1]

    def of_worker(self, node: str, pool: str, worker: str) -> Track:
        """Return the track of a worker in a pool."""
        return self._track(f"{node}: {pool}", "node", worker)

    def of_pool(self, pool: str) -> Track:
        """Return the track of that which concerns a whole pool."""
        return self._track(f"pool {pool}", "pool", "tasks and workers")

    def of_campaign(self, name: str) -> Track:
        """Return a track of that which belongs to no pool."""
        return self._track(CAMPAIGN, CAMPAIGN, name)

    def _track(self, process: str, kind: str, thread: str) -> Track:
        found = self._found.get((process, thread))
        if found is None:
            pid = self._process(process, kind)
            found = Track(len(self._listed) + 1, pid, self._next())
            self._name("thread", pid, found.tid, thread)
            self._listed.append(found)
            self._found[process, thread] = found
        return found

    def _process(self, process: str, kind: str) -> int:
        pid = self._processes.get(process)
        if pid is None:
            pid = self._processes[process] = self._next()
            self._name("process", pid, None, process)
            order = {"sort_index": _ORDER[kind]}
            self._emit({"ph": "M", "name": "process_sort_index", "pid": pid, "args": order})
        return pid

    def _name(self, what: str, pid: int, tid: int | None, name: str) -> None:
        where = {"pid": pid} if tid is None else {"pid": pid, "tid": tid}
        self._emit({"ph": "M", "name": f"{what}_name", **where, "args": {"name": name}})

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers
