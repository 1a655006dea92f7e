"""The view of a run: all that its record tells, counted as the lines come. No input, no output.

Lines of events come in order. The line of a task is kept until the event of its end comes, which
the broker writes later, so all that is told of one moment is counted at that moment. A line whose
event never comes, as the broker was killed, is counted by itself (`RunView.count_late`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from math import inf

from msgspec import Struct

from steerio.view.bins import BinAxis
from steerio.view.campaign_news import BoardsSeen, StallsSeen
from steerio.view.gantt_rows import GanttRows
from steerio.view.pool_figures import PoolFigures
from steerio.view.seen_lines import SeenAttempt, SeenEvent, SeenTask
from steerio.view.task_figures import NOT_WELL, TaskFigures, TypeFigures
from steerio.view.things_noted import (
    NOTES_TOPIC,
    FailuresSeen,
    MarksSeen,
    NotesSeen,
    QuestionsSeen,
    VersionsSeen,
)
from steerio.view.workers_seen import WorkersSeen

REMEMBERED = 1 << 20
"""Tasks whose ends are remembered, for those that are because of them."""
LATE_S = 2.0
"""Seconds behind the events after which the line of a task is counted without its own event."""


class _Open(Struct, gc=False):
    """A task that is queued or running.

    Attributes:
        pool, kind: of its type.
        queued: when it was queued last.
        reached: when a worker was to begin it, ``worker``; ``None`` while it is queued.
        gap: since when that worker had had no task.
        before: when the function of the task before it ended there, once it has ended.
        first_gap: the gap of the first attempt, and when the task was queued then.
        earlier: when earlier attempts began and ended, as the broker knows.
    """

    pool: PoolFigures
    kind: TypeFigures
    queued: float
    reached: float | None = None
    worker: str | None = None
    gap: float | None = None
    before: float | None = None
    first_gap: tuple[float, float] | None = None
    earlier: list[tuple[float, float]] | None = None


class RunView:
    """The view of one run.

    Args:
        began: when it began; the first bin of time begins there.
    """

    def __init__(self, began: float) -> None:
        self.axis = BinAxis(began)
        self.began = self.last_at = began
        self.number = 0
        """Rises with each line."""
        self.events = 0
        self.incarnation = 1
        self.restarts: list[float] = []
        self.cluster = WorkersSeen(self.axis)
        self.tasks = TaskFigures(self.axis)
        self.failures = FailuresSeen()
        self.marks = MarksSeen(self.axis)
        self.versions = VersionsSeen(self.axis)
        self.notes = NotesSeen()
        self.questions = QuestionsSeen()
        self.boards = BoardsSeen(self.axis)
        self.stalls = StallsSeen()
        self.gantt = GanttRows(self.axis)
        self.open: dict[int, _Open] = {}
        self._arrived: dict[int, SeenTask] = {}
        """Lines of tasks whose ends no event has told yet."""
        self._lines: dict[int, bytes] = {}
        """The text of those that did not end well."""
        self._ended: dict[int, _Open] = {}
        """Tasks whose ends an event has told, and whose lines have not come."""
        self._ids = array("q", bytes(8 * REMEMBERED))
        self._received = array("d", bytes(8 * REMEMBERED))
        self._handlers: dict[str, Callable[[SeenEvent], None]] = {
            "TaskQueued": self._queued,
            "TaskStarted": self._started,
            "TaskEnded": self._ended_event,
            "TaskRetried": self._retried,
            "NodeJoined": self._node_joined,
            "NodeLost": self._node_lost,
            "NodeDraining": self._node_draining,
            "NodeDrained": self.cluster.node_drained,
            "NodeUndrained": self.cluster.node_undrained,
            "WorkerJoined": self._worker_joined,
            "WorkerLost": self._worker_lost,
            "WorkerRetired": self._worker_retired,
            "WorkerMoved": self._worker_moved,
            "PoolChanged": self.cluster.changed,
            "PoolFailed": self._pool_failed,
            "PoolStalled": self._pool_stalled,
            "PoolPaused": self._pool_paused,
            "PoolResumed": self._pool_resumed,
            "BrokerReturned": self._broker_returned,
            "VersionPublished": self.versions.published,
            "Published": self._published,
            "Asked": self.questions.asked,
            "Answered": self.questions.answered,
            "ClientLost": self.questions.left,
            "BoardChanged": self.boards.changed,
            "LoopStalled": self._loop_stalled,
        }

    def __repr__(self) -> str:
        return f"<RunView of {self.tasks.ended} tasks and {self.events} events>"

    # -- lines ------------------------------------------------------------------------------------

    def take_tasks(self, tasks: Sequence[SeenTask], text: bytes = b"") -> None:
        """Take in lines of ``tasks.jsonl``, if possible with their text, for a look at failures."""
        bad = [place for place, task in enumerate(tasks) if task.ended_as in NOT_WELL]
        if bad and text:
            lines = text.split(b"\n")
            for place in bad:
                self._lines[tasks[place].task_id] = lines[place]
        arrived, ended = self._arrived, self._ended
        for task in tasks:
            if ended and task.task_id in ended:
                self._count(task, ended.pop(task.task_id))
            else:
                arrived[task.task_id] = task

    def take_events(self, events: Iterable[SeenEvent]) -> None:
        """Take in lines of ``events.jsonl``."""
        handlers = self._handlers
        count, last_at, incarnation = 0, self.last_at, self.incarnation
        for event in events:
            if event.incarnation != incarnation:
                self.last_at = max(self.last_at, last_at)
                self.events, count = self.events + count, 0
                self._another(event.incarnation or incarnation, event.at)
                incarnation = self.incarnation
            count += 1
            if event.at > last_at:
                last_at = event.at
            handle = handlers.get(event.type)
            if handle is not None:
                handle(event)
        self.events += count
        self.last_at = max(self.last_at, last_at)

    def count_late(self, until: float = inf, incarnation: float = inf) -> None:
        """Count tasks that ended up to a time, whether or not an event has told of their end.

        Args:
            until: the time.
            incarnation: the last whose lines are counted.
        """
        late = [
            task
            for task in self._arrived.values()
            if task.received <= until and (task.incarnation or 1) <= incarnation
        ]
        for task in sorted(late, key=lambda task: task.received):
            if (task.incarnation or 1) > self.incarnation:
                self._another(task.incarnation or 1, task.received)
            del self._arrived[task.task_id]
            self._count(task, self._end(task.task_id, task.received))

    def settle(self, *, over: bool) -> None:
        """Count in percentiles all that came since; ``over``: no more lines come."""
        self.number += 1
        self.count_late(inf if over else self.last_at - LATE_S)
        self.tasks.settle()
        self.versions.settle()
        self.gantt.settle()

    # -- events of tasks --------------------------------------------------------------------------

    def _queued(self, event: SeenEvent) -> None:
        number, at = event.task_id or 0, event.at
        if number in self.open:  # its client has told of it again
            return
        kind = self.tasks.types.get((event.task_type, event.pool))
        if kind is None:
            kind = self.tasks.type(event.task_type, self.cluster.pool(event.pool, at))
        pool = kind.pool
        self.open[number] = _Open(pool, kind, at)
        kind.open += 1
        pool.waiting[number] = at
        pool.queued.step(at, 1)

    def _started(self, event: SeenEvent) -> None:
        number, at = event.task_id or 0, event.at
        task = self.open.get(number)
        if task is None:
            self._queued(event)
            task = self.open[number]
        if task.reached is not None:
            return
        pool = task.pool
        pool.dequeue(number, at)
        pool.running.step(at, 1)
        task.reached, task.worker = at, event.worker
        worker = self.cluster.workers.get(event.worker or "")
        task.gap = None
        if worker is not None:
            task.gap = worker.free_at
            if task.earlier is None:
                task.first_gap = worker.free_at, task.queued

    def _retried(self, event: SeenEvent) -> None:
        task, at = self.open.get(event.task_id or 0), event.at
        self.tasks.retried += 1
        if task is None:
            return
        task.kind.retried += 1
        if task.reached is not None:
            self._leave_worker(task, at)
            if task.earlier is None:
                task.earlier = []
            elif task.gap is not None:  # the gap of the first one is looked at with the line
                self._dispatched(task.pool, task.gap, task.queued, task.reached)
            task.earlier.append((task.reached, at))
            task.reached = None
            task.pool.queue(event.task_id or 0, at)
            task.queued = at

    def _ended_event(self, event: SeenEvent) -> None:
        number = event.task_id or 0
        seen = self._end(number, event.at)
        task = self._arrived.pop(number, None)
        if task is not None:
            self._count(task, seen)
        elif seen is not None:
            self._ended[number] = seen

    def _end(self, task_id: int, at: float) -> _Open | None:
        """Note that a task is in no queue, nor on a worker; return it if it was open."""
        task = self.open.pop(task_id, None)
        if task is None:
            return None
        task.kind.open -= 1
        if task.reached is None:
            task.pool.dequeue(task_id, at)
        else:
            self._leave_worker(task, at)
        return task

    def _leave_worker(self, task: _Open, at: float) -> None:
        pool = task.pool
        pool.running.step(at, -1)
        worker = self.cluster.workers.get(task.worker or "")
        if worker is not None:
            if worker.pool != pool.name:
                pool = self.cluster.pool(worker.pool, at)
            queued = pool.queued
            queued.to(at)
            worker.free_at, worker.queue_s = at, queued.above_s
            task.before, worker.ended = worker.ended, None

    # -- a task with its line ---------------------------------------------------------------------

    def _count(self, task: SeenTask, seen: _Open | None) -> None:
        """Count a task that ended; ``seen``: the task by its events."""
        at, tasks = task.received, self.tasks
        if at > self.last_at:
            self.last_at = at
        if seen is not None:
            kind = seen.kind
        else:
            kind = tasks.type(task.task_type, self.cluster.pool(task.pool, at))
        kind.fresh.append(task)
        tasks.ended += 1
        known = self._known(task) if task.because else None
        place = task.task_id % REMEMBERED
        self._ids[place], self._received[place] = task.task_id, at
        begin, end = task.started, task.ended
        if begin is not None and end is not None:
            tasks.run_s += end - begin
        if seen is not None:
            self._idle(task, seen, known)
            begin = seen.reached if begin is None else begin
        if begin is not None and task.worker is not None:
            self.gantt.ran(task, begin, at if end is None else end, kind.number)
        if task.ended_as != "succeeded" or task.versions or task.earlier:
            self._count_more(task, seen, kind)

    def _count_more(self, task: SeenTask, seen: _Open | None, kind: TypeFigures) -> None:
        """Count the things that few tasks have."""
        if task.ended_as in NOT_WELL:
            self.failures.add(task, self._lines.pop(task.task_id, b""))
        if task.versions and task.sent is not None:
            self.versions.used(task.versions, task.sent, task.received)
        if task.earlier:
            self._earlier(task.earlier, seen, kind)

    def _known(self, task: SeenTask) -> float | None:
        """Return when the last result was known that a task is because of; note the reaction."""
        known = 0.0
        for number in task.because or ():
            place = number % REMEMBERED
            if self._ids[place] == number and self._received[place] > known:
                known = self._received[place]
        if not known or task.queued is None:
            return None
        reaction_s = max(0.0, task.queued - known)
        self.tasks.reaction.add(reaction_s)
        self.tasks.cause(task.cause).reaction.add(reaction_s)
        return known

    def _idle(self, task: SeenTask, seen: _Open, known: float | None) -> None:
        """Say why the worker of a task had been idle before it, and how long it was in transit."""
        pool, reached, queued = seen.pool, seen.reached, seen.queued
        if seen.first_gap is not None:
            gap, first = seen.first_gap
            if known is not None and known < first and gap < first:
                pool.policy_busy.spread(max(gap, known), first)
            if seen.earlier:
                self._dispatched(pool, gap, first, seen.earlier[0][0])
        if reached is None:
            return
        if seen.gap is not None and reached > queued:
            self._dispatched(pool, seen.gap, queued, reached)
        if task.started is None or task.ended is None:
            return
        self._transit(task, seen, reached, task.started, task.ended)

    def _transit(
        self, task: SeenTask, seen: _Open, reached: float, started: float, ended: float
    ) -> None:
        """Say how long a task was on its way, and the end of it, while its worker had no other."""
        in_transit, before = seen.pool.in_transit, seen.before
        worker = self.cluster.workers.get(seen.worker or "")
        if worker is not None and worker.free_at == task.received:
            worker.ended = ended
        begin = reached if before is None or before < reached else before
        if begin < started:
            in_transit.spread(begin, started)
        self.tasks.dispatch.add(started - begin)
        if before is not None and started < (seen.gap or 0.0):
            # it began before the end of the task before it was known
            in_transit.spread(max(started, before), seen.gap or 0.0, -1.0)
        if ended < task.received:
            in_transit.spread(ended, task.received)

    def _dispatched(self, pool: PoolFigures, gap: float, queued: float, reached: float) -> None:
        pool.dispatched(max(gap, queued), reached)

    def _transit_of_earlier(
        self, pool: PoolFigures, attempt: SeenAttempt, reached: float, at: float
    ) -> None:
        """Say how long an attempt before the last was on its way, now that its times are known."""
        if attempt.started is not None and attempt.ended is not None:
            pool.in_transit.spread(reached, attempt.started)
            pool.in_transit.spread(attempt.started, reached, -1.0)
            pool.in_transit.spread(attempt.ended, at)

    def _earlier(self, attempts: list[SeenAttempt], seen: _Open | None, kind: TypeFigures) -> None:
        """Count the attempts before the last."""
        for attempt in attempts:
            begin = attempt.started if attempt.started is not None else attempt.sent
            end = attempt.ended if attempt.ended is not None else attempt.received
            if begin is not None and attempt.worker:
                self.gantt.ran(attempt, begin, end, kind.number)
        if seen is not None and seen.earlier:
            for attempt, span in zip(attempts, seen.earlier, strict=False):
                self._transit_of_earlier(seen.pool, attempt, *span)

    # -- other events -----------------------------------------------------------------------------

    def _node_joined(self, event: SeenEvent) -> None:
        self.cluster.node_joined(event)
        self.marks.add(event.at, "node_joined", "", text=event.node)

    def _node_lost(self, event: SeenEvent) -> None:
        self.cluster.node_left(event)
        self.marks.add(event.at, "node_lost", "", text=f"{event.node}: {event.reason}")

    def _node_draining(self, event: SeenEvent) -> None:
        self.cluster.node_draining(event)
        self.marks.add(event.at, "node_draining", "", text=f"{event.node}: {event.reason}")

    def _worker_joined(self, event: SeenEvent) -> None:
        self.cluster.joined(event)
        self.gantt.joined(event.worker or "", event.node, event.pool)

    def _worker_lost(self, event: SeenEvent) -> None:
        there = event.worker in self.cluster.workers
        if self.cluster.lost(event):
            text = f"{event.worker}: {event.reason}"
            self.marks.add(event.at, "lost", event.pool, text=text)
        if there:
            self.gantt.left(event.worker or "", event.node, event.pool)

    def _worker_retired(self, event: SeenEvent) -> None:
        self.cluster.retired(event)
        self.gantt.left(event.worker or "", event.node, event.pool)

    def _worker_moved(self, event: SeenEvent) -> None:
        self.cluster.moved(event)
        self.marks.add(event.at, "moved", event.pool, event.source, event.worker or "")

    def _pool_failed(self, event: SeenEvent) -> None:
        self.cluster.pool(event.pool, event.at).failure = event.reason or "it has failed"
        self.marks.add(event.at, "pool_failed", event.pool, text=event.reason)

    def _pool_stalled(self, event: SeenEvent) -> None:
        self.cluster.pool(event.pool, event.at).stalled = event.reason
        self.marks.add(event.at, "pool_stalled", event.pool, text=event.reason)

    def _pool_paused(self, event: SeenEvent) -> None:
        self.cluster.pool(event.pool, event.at).pause(event.at, event.reason)
        self.marks.add(event.at, "pool_paused", event.pool, text=event.reason)

    def _pool_resumed(self, event: SeenEvent) -> None:
        self.cluster.pool(event.pool, event.at).resume(event.at)
        self.marks.add(event.at, "pool_resumed", event.pool, text=event.reason)

    def _broker_returned(self, event: SeenEvent) -> None:
        self.marks.add(event.at, "returned", "")

    def _published(self, event: SeenEvent) -> None:
        if event.topic == NOTES_TOPIC:
            self.notes.add(event, self.tasks.ended, self.tasks.run_s)

    def _loop_stalled(self, event: SeenEvent) -> None:
        self.stalls.add(event)
        began = max(self.began, event.at - event.seconds)
        self.marks.add(began, "loop_stalled", "", text=f"{event.agent}, at {event.where}")

    def _another(self, incarnation: int, at: float) -> None:
        """Note that another process goes on with the run: its workers are others."""
        if incarnation < self.incarnation:
            return
        self.incarnation = incarnation
        self.questions.forget()
        if not self.events and not self.tasks.ended:
            return
        self.count_late(incarnation=incarnation - 1)
        self.restarts.append(at)
        self.cluster.clear(self.last_at)
        self.boards.clear(self.last_at)
        self.gantt.clear()
        for task in self.open.values():
            task.kind.open -= 1
        self.open.clear()
        self._ended.clear()


def take_all(view: RunView, tasks: Sequence[SeenTask], events: Iterable[SeenEvent]) -> None:
    """Take in all lines of a record that is over."""
    view.take_tasks(tasks)
    view.take_events(events)
    view.settle(over=True)
