"""Records of many tasks, as a broker writes them, made without running the tasks."""

from __future__ import annotations

import heapq
import random
from pathlib import Path
from typing import Any

from steerio.edge.record.record_files import RecordFiles, TaskEntry
from steerio.model import events as ev

BEGAN = 1.7e9
RUN_S = 30.0
"""Seconds that a task takes, in the mean of an exponential distribution."""
WRITTEN = 2_000
"""Tasks that are written together."""
TYPES = ("science.models:simulate_molecule", "science.models:train")


class LongRecord:
    """Writes the record of a pool whose workers are always busy; each result leads to a task.

    Args:
        folder: the run directory.
        workers, nodes: how many.
    """

    def __init__(self, folder: Path, workers: int, nodes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = RecordFiles(folder)
        self._nodes = nodes
        self._random = random.Random(0)
        self._events: list[ev.AnyEvent] = []
        self._entries: list[TaskEntry] = []
        self._number = 0
        self._running: list[tuple[float, int, int, float, float, int]] = []
        self._workers = workers

    def write(self, tasks: int) -> None:
        """Write so many tasks, and close the record."""
        for node in range(self._nodes):
            offers = {"simulate": self._workers // self._nodes}
            self._event(ev.NodeJoined, BEGAN, f"node-{node}", "host", offers)
        for worker in range(self._workers):
            node = f"node-{worker % self._nodes}"
            self._event(ev.WorkerJoined, BEGAN + 1, f"simulate-{worker}", "simulate", node, worker)
            self._event(ev.PoolChanged, BEGAN + 1, "simulate", worker + 1)
            if worker < tasks:
                self._begin(worker + 1, worker, BEGAN + 1, 0)
        for begun in range(self._workers, tasks + self._workers):
            at, task, worker = self._end()
            if begun < tasks:
                self._begin(begun + 1, worker, at, task)
            if not self._running:
                break
        self._files.write(self._entries, self._events)
        self._files.close()

    def _event(self, kind: Any, at: float, *fields: Any) -> None:
        self._number += 1
        self._events.append(kind(self._number, at, *fields))

    def _begin(self, task: int, worker: int, at: float, because: int) -> None:
        run_s = self._random.expovariate(1 / RUN_S)
        self._event(ev.TaskQueued, at, task, TYPES[task % 5 == 0], "simulate")
        name = f"simulate-{worker}"
        self._event(ev.TaskStarted, at, task, TYPES[task % 5 == 0], "simulate", 1, name)
        heapq.heappush(self._running, (at + run_s + 2e-3, task, worker, at, run_s, because))

    def _end(self) -> tuple[float, int, int]:
        at, task, worker, sent, run_s, because = heapq.heappop(self._running)
        failed = self._random.random() < 0.01
        kind, ended_as = TYPES[task % 5 == 0], "failed" if failed else "succeeded"
        name, node = f"simulate-{worker}", f"node-{worker % self._nodes}"
        self._event(ev.TaskEnded, at, task, kind, "simulate", 1, name, ended_as, run_s)
        entry = TaskEntry(
            task_id=task,
            task_type=kind,
            pool="simulate",
            ended_as=ended_as,
            attempt=1,
            worker=name,
            node=node,
            cause="Search.react",
            because=(because,) if because else None,
            tags={"stage": "first"},
            priority=0.0,
            created=sent - 1e-3,
            queued=sent,
            sent=sent,
            started=sent + 1e-3,
            ended=sent + 1e-3 + run_s,
            received=at,
            args_bytes=120,
            value_bytes=80,
            error=f"ValueError: molecule {task} does not converge" if failed else None,
            traceback="Traceback (most recent call last):\n  ..." if failed else None,
            reason="",
            args=[[task, 0.5], {}],
            value=None if failed else 0.125,
        )
        self._entries.append(entry)
        if len(self._entries) >= WRITTEN:
            self._files.write(self._entries, self._events)
            self._entries, self._events = [], []
        return at, task, worker
