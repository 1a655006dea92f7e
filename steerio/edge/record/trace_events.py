"""The events of a record in a trace: counters, instants, and runs that have not ended.

A pool's counters change with each task, and a viewer draws a thousand pixels: so a change soon
after another is written only if it is the last for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from steerio.edge.record.by_task import NumberByTask
from steerio.edge.record.export_files import listed
from steerio.edge.record.record_lines import EventLine
from steerio.edge.record.trace_tracks import Emit, Track, Tracks, function_name

SAMPLES = 10_000
"""The number of moments at which each counter is written, about."""
LEAST_STEP = 1_000
"""The least time between two of them, in microseconds."""
INSTANTS = {
    "NodeJoined": "nodes",
    "NodeLost": "nodes",
    "NodeEnding": "nodes",
    "NodeDraining": "nodes",
    "NodeDrained": "nodes",
    "NodeUndrained": "nodes",
    "ClientLost": "broker",
    "BrokerReturned": "broker",
    "EventsMissed": "broker",
    "VersionPublished": "versions",
    "Published": "notes",
}
"""The events that belong to no pool, and their tracks."""
OF_POOLS = frozenset({"PoolFailed", "PoolStalled"})
OF_WORKERS = frozenset({"WorkerLost", "WorkerMoved", "WorkerRetired"})
OF_CAMPAIGNS = frozenset({"BoardChanged", "LoopStalled"})
_QUEUED, _BUSY = 1, 2


class _PoolCount:
    """The counters of one pool."""

    def __init__(self, track: Track) -> None:
        self.track = track
        self.queued = self.busy = self.workers = 0
        self.written_at, self.changed_at = -(10**12), 0
        self.is_written = True


class _Running(msgspec.Struct, frozen=True):
    """A run that has begun and not ended, and its workers with their nodes: several of a gang."""

    line: EventLine
    workers: list[tuple[str, str]]


class EventTrace:
    """Writes the events of a record into a trace, in their order.

    Args:
        tracks: of the trace.
        emit: writes an event.
        micros: gives the microseconds of a time.
        last: when the last task ended, in microseconds.
        has_ended: says whether a task is in the record as ended.
    """

    def __init__(
        self,
        tracks: Tracks,
        emit: Emit,
        micros: Callable[[Any], int | None],
        last: int,
        has_ended: Callable[[int], bool],
    ) -> None:
        self._tracks, self._emit, self._micros = tracks, emit, micros
        self._has_ended = has_ended
        self._step = max(LEAST_STEP, last // SAMPLES)
        self._places: dict[str, int] = {}
        self._order: list[_PoolCount] = []
        self._state = NumberByTask("i")
        """Of each task 4 times its pool's place in ``_order``, plus ``_QUEUED`` or ``_BUSY``."""
        self._running: dict[int, _Running] = {}
        self._nodes: dict[str, str] = {}
        self._incarnation: Any = None
        self._now = 0

    def add(self, event: EventLine, text: bytes) -> None:
        """Take in an event, and its line."""
        at = self._micros(event.at)
        if at is None:
            return
        if event.incarnation != self._incarnation:
            self._begin_again(event.incarnation)
        self._now = max(self._now, at)
        kind = event.type
        if kind in ("TaskQueued", "TaskStarted", "TaskRetried", "TaskEnded"):
            self._of_task(event, at, text)
        elif kind == "PoolChanged":
            self._workers_changed(event, at, text)
        elif kind == "WorkerJoined":
            self._nodes[str(event.worker)] = str(event.node)
        elif kind in OF_WORKERS:
            node, pool, worker = str(event.node), str(event.pool), str(event.worker)
            self._nodes[worker] = node
            self._instant(event, at, text, self._tracks.of_worker(node, pool, worker))
        elif kind in OF_POOLS:
            self._instant(event, at, text, self._tracks.of_pool(str(event.pool)))
        elif kind in OF_CAMPAIGNS:
            self._of_campaign(event, at, _fields(text))
        elif kind in INSTANTS:
            self._instant(event, at, text, self._tracks.of_campaign(INSTANTS[kind]))

    def close(self) -> None:
        """Write the last values of counters, and the runs that go on."""
        for count in self._order:
            self._write(count)
        for run in self._running.values():
            self._open_run(run, None)

    def _begin_again(self, incarnation: Any) -> None:
        """Have all tasks and workers gone, as another process goes on with the record."""
        for run in self._running.values():
            self._open_run(run, self._now)
        self._running.clear()
        self._state = NumberByTask("i")
        for count in self._order:
            count.queued = count.busy = count.workers = 0
            self._changed(count, self._now)
        self._incarnation = incarnation

    # -- tasks ------------------------------------------------------------------------------------

    def _of_task(self, event: EventLine, at: int, text: bytes) -> None:
        task_id = event.task_id
        if not isinstance(task_id, int):
            return
        before, run = self._state[task_id], self._running.pop(task_id, None)
        if before:
            number = 1 if run is None else len(run.workers)
            self._add(self._order[before // 4], before % 4, -number, at)
        if event.type == "TaskEnded":
            self._state[task_id] = 0
            return
        state, number = _QUEUED, 1
        if event.type == "TaskStarted":
            others = listed(_fields(text).get("others")) if b'"others"' in text else []
            names = [str(event.worker), *map(str, others)]
            workers = [(name, self._nodes.get(name, "None")) for name in names]
            self._running[task_id] = _Running(event, workers)
            state, number = _BUSY, len(workers)
        place = self._place(str(event.pool))
        self._state[task_id] = place * 4 + state
        self._add(self._order[place], state, number, at)

    def _place(self, pool: str) -> int:
        place = self._places.get(pool)
        if place is None:
            place = self._places[pool] = len(self._order)
            self._order.append(_PoolCount(self._tracks.of_pool(pool)))
        return place

    def _open_run(self, run: _Running, until: int | None) -> None:
        """Write a run of which the record has no end: up to a time, or as one that goes on."""
        line = run.line
        if self._has_ended(line.task_id):
            return
        at = self._micros(line.at) or 0
        for worker, node in run.workers:
            track = self._tracks.of_worker(node, str(line.pool), worker)
            begin, end = track.take(at, max(at, self._now if until is None else until))
            event: dict[str, Any] = {
                "ph": "B" if until is None else "X",
                "name": function_name(str(line.task_type)),
                "cat": "running" if until is None else "cut off",
                "ts": begin,
                "pid": track.pid,
                "tid": track.tid,
                "args": {"task_id": line.task_id, "attempt": line.attempt},
            }
            self._emit(event if until is None else {**event, "dur": end - begin})

    # -- counters ---------------------------------------------------------------------------------

    def _workers_changed(self, event: EventLine, at: int, text: bytes) -> None:
        count = self._order[self._place(str(event.pool))]
        workers = _fields(text).get("workers")
        if isinstance(workers, int):
            self._changed(count, at)
            count.workers = workers

    def _add(self, count: _PoolCount, state: int, number: int, at: int) -> None:
        self._changed(count, at)
        if state == _BUSY:
            count.busy += number
        else:
            count.queued += number

    def _changed(self, count: _PoolCount, at: int) -> None:
        """Write the values before a change, unless they were written just now."""
        if at - count.written_at >= self._step and at > count.changed_at:
            self._write(count)
        count.changed_at = max(count.changed_at, at)
        count.is_written = False

    def _write(self, count: _PoolCount) -> None:
        if count.is_written:
            return
        at = count.changed_at
        count.written_at, count.is_written = at, True
        for name, args in (
            ("tasks", {"queued": count.queued}),
            ("workers", {"busy": count.busy, "all": count.workers}),
        ):
            self._emit({"ph": "C", "name": name, "ts": at, "pid": count.track.pid, "args": args})

    def _of_campaign(self, event: EventLine, at: int, fields: dict[str, Any]) -> None:
        if event.type == "BoardChanged":
            self._board(event, at, fields)
        else:
            self._stall(at, fields)

    def _board(self, event: EventLine, at: int, fields: dict[str, Any]) -> None:
        """Write how a board stands; a campaign tells that so seldom that each time is written."""
        pool = self._order[self._place(str(event.pool))].track
        args = {name: fields[name] for name in ("waiting", "out") if name in fields}
        name = f"board {fields.get('name')}"
        self._emit({"ph": "C", "name": name, "ts": at, "pid": pool.pid, "args": args})

    # -- instants, and stalls ----------------------------------------------------------------------

    def _instant(self, event: EventLine, at: int, text: bytes, track: Track) -> None:
        fields = _fields(text)
        for name in ("type", "number", "at"):
            fields.pop(name, None)
        kind = str(event.type)
        self._emit(
            {
                "ph": "i",
                "name": str(fields.get("topic", kind)) if kind == "Published" else kind,
                "cat": kind,
                "s": "t",
                "ts": at,
                "pid": track.pid,
                "tid": track.tid,
                "args": fields,
            }
        )

    def _stall(self, at: int, fields: dict[str, Any]) -> None:
        """Write a stall of the event loop, which ended then."""
        track = self._tracks.of_campaign("event loop")
        seconds = fields.get("seconds")
        length = int(seconds * 1e6) if isinstance(seconds, int | float) else 0
        begin, end = track.take(max(0, at - length), at)
        args = {"agent": fields.get("agent"), "where": fields.get("where")}
        event = {"ph": "X", "name": str(fields.get("agent")), "cat": "LoopStalled", "args": args}
        self._emit({**event, "ts": begin, "dur": end - begin, "pid": track.pid, "tid": track.tid})


def _fields(text: bytes) -> dict[str, Any]:
    """Return the fields of a line; none if one that is in no `EventLine` cannot be read."""
    try:
        return dict(msgspec.json.decode(text))
    except msgspec.DecodeError:
        return {}
