"""The view of a run: all that its record tells, counted as the lines come. No input, no output.

Lines of events come in order. The line of a task is kept until the event of its end comes, which
the broker writes later, so all that is told of one moment is counted at that moment. A line whose
event never comes, as the broker was killed, is counted by itself (`RunView.count_late`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from math import inf
from operator import attrgetter
from typing import Any

from steerio.view.bins import BinAxis
from steerio.view.campaign_news import BoardsSeen, StallsSeen
from steerio.view.gantt_rows import GanttRows
from steerio.view.marked_events import MarkedEvents
from steerio.view.seen_lines import (
    SeenAttempt,
    SeenEvent,
    SeenRank,
    SeenTask,
    SeenTaskEvent,
    lines_at,
)
from steerio.view.task_figures import NOT_WELL, TaskFigures, TypeFigures
from steerio.view.things_noted import (
    NOTES_TOPIC,
    FailuresSeen,
    MarksSeen,
    NotesSeen,
    QuestionsSeen,
    VersionsSeen,
)
from steerio.view.worker_gaps import OpenTask, WorkerGaps
from steerio.view.workers_seen import WorkersSeen

REMEMBERED = 1 << 20
"""Tasks whose ends are remembered, for those that are because of them."""
LATE_S = 2.0
"""Seconds behind the events after which the line of a task is counted without its own event."""
_task_id = attrgetter("task_id")


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
        self._began_at = 0.0
        """The beginning of the present incarnation, if it is not the first."""
        self.restarts: list[float] = []
        self.cluster = WorkersSeen(self.axis)
        self.tasks = TaskFigures(self.axis)
        self.gaps = WorkerGaps(self.cluster, self.tasks.dispatch)
        self.failures = FailuresSeen()
        self.marks = MarksSeen(self.axis)
        self.versions = VersionsSeen(self.axis)
        self.notes = NotesSeen()
        self.questions = QuestionsSeen()
        self.boards = BoardsSeen(self.axis)
        self.stalls = StallsSeen()
        self.gantt = GanttRows(self.axis)
        self.open: dict[int, OpenTask] = {}
        self._arrived: dict[int, SeenTask] = {}
        """Lines of tasks whose ends no event has told yet."""
        self._lines: dict[int, bytes] = {}
        """The text of those that did not end well."""
        self._ended: dict[int, OpenTask] = {}
        """Tasks whose ends an event has told, and whose lines have not come."""
        self._ids = array("q", bytes(8 * REMEMBERED))
        self._received = array("d", bytes(8 * REMEMBERED))
        self._handlers: dict[str, Callable[[Any], None]] = {
            "TaskQueued": self._queued,
            "TaskStarted": self._started,
            "TaskEnded": self._ended_event,
            "TaskRetried": self._retried,
            "NodeDrained": self.cluster.node_drained,
            "NodeUndrained": self.cluster.node_undrained,
            "PoolChanged": self.cluster.changed,
            "VersionPublished": self.versions.published,
            "Published": self._published,
            "Asked": self.questions.asked,
            "Answered": self.questions.closed,
            "QuestionClosed": self.questions.closed,
            "ClientLost": self.questions.left,
            "BoardChanged": self.boards.changed,
            **MarkedEvents(self.cluster, self.marks, self.gantt, self.stalls, self.gaps).handlers(),
        }

    def __repr__(self) -> str:
        return f"<RunView of {self.tasks.ended} tasks and {self.events} events>"

    # -- lines ------------------------------------------------------------------------------------

    def take_tasks(self, tasks: Sequence[SeenTask], text: bytes = b"") -> None:
        """Take in lines of ``tasks.jsonl``, if possible with their text, for a look at failures."""
        bad = [place for place, task in enumerate(tasks) if task.ended_as in NOT_WELL]
        if bad and text:
            numbers = [tasks[place].task_id for place in bad]
            self._lines.update(zip(numbers, lines_at(bad, numbers, text), strict=True))
        arrived, ended = self._arrived, self._ended
        if not ended:
            arrived.update(zip(map(_task_id, tasks), tasks, strict=True))
            return
        for task in tasks:
            if task.task_id in ended:
                self._count(task, ended.pop(task.task_id))
            else:
                arrived[task.task_id] = task

    def take_events(self, events: Iterable[SeenTaskEvent]) -> None:
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

    def _queued(self, event: SeenTaskEvent) -> None:
        number, at = event.task_id or 0, event.at
        if number in self.open:  # its client has told of it again
            return
        kind = self.tasks.types.get((event.task_type, event.pool))
        if kind is None:
            kind = self.tasks.type(event.task_type, self.cluster.pool(event.pool, at))
        pool = kind.pool
        self.open[number] = OpenTask(pool, kind, at)
        kind.open += 1
        pool.waiting[number] = at
        pool.queued.step(at, 1)

    def _started(self, event: SeenTaskEvent) -> None:
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
        if event.others:
            task.others = event.others
            pool.running.step(at, len(event.others))
            for name in event.others:
                if (other := self.cluster.workers.get(name)) is not None:
                    self.cluster.begins(other, at)
        worker = self.cluster.workers.get(event.worker or "")
        task.gap = None
        if worker is not None:
            task.gap, idle = worker.free_at, self.cluster.begins(worker, at)
            if task.earlier is None:
                task.first_gap = idle, task.gap, task.queued

    def _retried(self, event: SeenTaskEvent) -> None:
        task, at = self.open.get(event.task_id or 0), event.at
        self.tasks.retried += 1
        if task is None:
            return
        task.kind.retried += 1
        if task.reached is not None:
            self.gaps.leave(task, at)
            if task.earlier is None:
                task.earlier = []
            elif task.gap is not None:  # the gap of the first one is looked at with the line
                task.pool.dispatched(max(task.gap, task.queued), task.reached)
            task.earlier.append((task.reached, at))
            task.reached = None
            task.pool.queue(event.task_id or 0, at)
            task.queued = at

    def _ended_event(self, event: SeenTaskEvent) -> None:
        number = event.task_id or 0
        seen = self._end(number, event.at)
        task = self._arrived.pop(number, None)
        if task is not None:
            self._count(task, seen)
        elif seen is not None:
            self._ended[number] = seen

    def _end(self, task_id: int, at: float) -> OpenTask | None:
        """Note that a task is in no queue, nor on a worker; return it if it was open."""
        task = self.open.pop(task_id, None)
        if task is None:
            return None
        task.kind.open -= 1
        if task.reached is None:
            task.pool.dequeue(task_id, at)
        else:
            self.gaps.leave(task, at)
        return task

    # -- a task with its line ---------------------------------------------------------------------

    def _count(self, task: SeenTask, seen: OpenTask | None) -> None:
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
        if task.others:
            tasks.run_s += sum(rank.run_s for rank in task.others)
            self._ranks(task, task.others, kind)
        if seen is not None:
            self.gaps.before(task, seen, known)
            begin = seen.reached if begin is None else begin
        if begin is not None and task.worker is not None:
            self.gantt.ran(task, begin, at if end is None else end, kind.number)
        if task.ended_as != "succeeded" or task.versions or task.earlier:
            self._count_more(task, seen, kind)

    def _ranks(
        self, attempt: SeenTask | SeenAttempt, ranks: list[SeenRank], kind: TypeFigures
    ) -> None:
        """Show an attempt on the other workers of its gang."""
        for rank in ranks:
            begin = attempt.sent if rank.started is None else rank.started
            end = attempt.received if rank.ended is None else rank.ended
            if begin is not None and rank.worker:
                rank.ended_as = attempt.ended_as
                self.gantt.ran(rank, begin, end, kind.number)

    def _count_more(self, task: SeenTask, seen: OpenTask | None, kind: TypeFigures) -> None:
        """Count the things that few tasks have."""
        if task.ended_as in NOT_WELL:
            self.failures.add(task, self._lines.pop(task.task_id, b""))
        if task.versions and task.sent is not None:
            self.versions.used(task.versions, task.sent, task.received)
        if task.earlier:
            self._earlier(task.earlier, seen, kind)

    def _known(self, task: SeenTask) -> float | None:
        """Return when the last result was known that a task is because of; note the reaction."""
        known, ids, received = 0.0, self._ids, self._received
        for number in task.because or ():
            place = number % REMEMBERED
            if ids[place] == number and received[place] > known:
                known = received[place]
        if not known or known < self._began_at or task.queued is None:
            return None  # an agent does not react while its process is gone
        cause = self.tasks.causes.get(task.cause) or self.tasks.cause(task.cause)
        cause.reaction.add(task.queued - known)
        return known

    def _earlier(
        self, attempts: list[SeenAttempt], seen: OpenTask | None, kind: TypeFigures
    ) -> None:
        """Count the attempts before the last."""
        for attempt in attempts:
            begin = attempt.started if attempt.started is not None else attempt.sent
            end = attempt.ended if attempt.ended is not None else attempt.received
            if begin is not None and attempt.worker:
                self.gantt.ran(attempt, begin, end, kind.number)
            self._ranks(attempt, attempt.others or [], kind)
        if seen is not None and seen.earlier:
            for attempt, span in zip(attempts, seen.earlier, strict=False):
                self.gaps.of_earlier(seen.pool, attempt, *span)

    # -- other events ------------------------------------------------------------------------------

    def _published(self, event: SeenEvent) -> None:
        if event.topic == NOTES_TOPIC:
            self.notes.add(event, self.tasks.ended, self.tasks.run_s)

    def _another(self, incarnation: int, at: float) -> None:
        """Note that another process goes on with the run: its workers are others."""
        if incarnation < self.incarnation:
            return
        self.incarnation = incarnation
        self._began_at = at
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


def take_all(view: RunView, tasks: Sequence[SeenTask], events: Iterable[SeenTaskEvent]) -> None:
    """Take in all lines of a record that is over."""
    view.take_tasks(tasks)
    view.take_events(events)
    view.settle(over=True)
