"""Records of runs that never were, of any number of workers and tasks, as a broker writes them.

The times are drawn, and go together: a worker runs one task at a time, a task is queued before it
is sent, and so on. Some tasks fail, some workers are lost, and some move.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from steerio.edge.record.record_files import RecordFiles, TaskEntry
from steerio.model import events
from steerio.session.run_dir import PARAMETERS, SUMMARY

BEGAN = 1_700_000_000.0
TOGETHER = 2_000
"""Lines that are written at a time."""
ON_A_NODE = 100
RUN_S = 10.0
TRACEBACK = 'Traceback (most recent call last):\n  File "search.py", line 7, in energy\n'


def write_run(folder: Path, workers: int, tasks: int, *, seed: int = 0) -> Path:
    """Write the run directory of a run with so many workers and tasks, which has ended."""
    folder.mkdir(parents=True)
    began = {"campaign": "search:Search", "started": "2023-11-14T22:13:20+00:00", "arguments": {}}
    (folder / PARAMETERS).write_text(json.dumps(began))
    files = RecordFiles(folder)
    entries: list[TaskEntry] = []
    told: list[events.AnyEvent] = []
    number = 0
    for line in _lines(workers, tasks, random.Random(seed)):
        if isinstance(line, TaskEntry):
            entries.append(line)
            continue
        kind, at, fields = line
        number += 1
        told.append(kind(number=number, at=at, **fields))
        if len(told) >= TOGETHER:
            files.write(entries, told)
            entries, told = [], []
    files.write(entries, told)
    files.close()
    (folder / SUMMARY).write_text(json.dumps({"ended": "completed", "limited": False}))
    return folder


Line = TaskEntry | tuple[Any, float, dict[str, Any]]
"""A task, or the kind of an event, its time, and its other fields."""


def _lines(workers: int, tasks: int, chance: random.Random) -> Iterator[Line]:
    pools = {"simulate": workers - workers // 10, "learn": workers // 10}
    homes = {pool: [_node(pool, index) for index in range(count)] for pool, count in pools.items()}
    for node in sorted({*homes["simulate"], *homes["learn"]}):
        shares = {pool: nodes.count(node) for pool, nodes in homes.items()}
        yield events.NodeJoined, BEGAN, {"node": node, "host": node, "workers": shares}
    free: list[tuple[float, int, str]] = []
    for pool, count in pools.items():
        yield events.PoolChanged, BEGAN, {"pool": pool, "workers": count}
        free += [(BEGAN + 1.0 + index / count, index, pool) for index in range(count)]
    heapq.heapify(free)
    for at, index, pool in sorted(free):
        who = {"worker": f"{pool}-{index}", "pool": pool, "node": _node(pool, index)}
        yield events.WorkerJoined, at, {**who, "pid": index}
    running: list[tuple[float, int, TaskEntry]] = []
    for task_id in range(1, tasks + 1):
        at, index, pool = heapq.heappop(free)
        while running and running[0][0] <= at:
            yield from _ends(heapq.heappop(running)[2])
        entry = _entry(task_id, pool, index, at, RUN_S * chance.lognormvariate(0.0, 0.3))
        yield events.TaskQueued, at, _named(entry)
        yield events.TaskStarted, at, {**_named(entry), "attempt": 1, "worker": entry.worker}
        heapq.heappush(running, (entry.received, task_id, entry))
        heapq.heappush(free, (entry.received + 0.001 * chance.random(), index, pool))
    while running:
        yield from _ends(heapq.heappop(running)[2])


def _node(pool: str, index: int) -> str:
    return f"node-{index // (ON_A_NODE * 9 // 10 if pool == 'simulate' else ON_A_NODE // 10)}"


def _named(entry: TaskEntry) -> dict[str, Any]:
    return {"task_id": entry.task_id, "task_type": entry.task_type, "pool": entry.pool}


def _ends(entry: TaskEntry) -> tuple[Line, Line]:
    more = {"attempt": 1, "worker": entry.worker, "ended_as": entry.ended_as, "run_s": RUN_S}
    return entry, (events.TaskEnded, entry.received, {**_named(entry), **more})


def _entry(task_id: int, pool: str, index: int, at: float, run_s: float) -> TaskEntry:
    failed = task_id % 997 == 0
    return TaskEntry(
        task_id=task_id,
        task_type="search:energy" if pool == "simulate" else "search:fit",
        pool=pool,
        ended_as="failed" if failed else "succeeded",
        attempt=1,
        worker=f"{pool}-{index}",
        node=_node(pool, index),
        cause="Search.look",
        because=(task_id - 7,) if task_id > 7 else None,
        tags=None,
        priority=0.0,
        created=at - 0.002,
        queued=at,
        sent=at,
        started=at + 0.001,
        ended=at + run_s,
        received=at + run_s + 0.001,
        args_bytes=20,
        value_bytes=9,
        error="ValueError: no energy below 0" if failed else None,
        traceback=f"{TRACEBACK}ValueError: no energy below 0" if failed else None,
        reason="",
        args=[[task_id], {}],
        value=None if failed else 1.5,
    )
