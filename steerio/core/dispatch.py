"""Which task goes to which worker, when it is stopped, and how it ends.

Theory.  A pool has idle workers or queued tasks, never both: a submitted task goes to
an idle worker at once, a worker that becomes free takes the best queued task.  So each
decision is a heap operation and a few dictionary look-ups, whatever the number of
tasks and workers.

Short tasks are sent *ahead*: a worker that just started one of a type whose measured
mean is short gets more to hold whose types are as short, as long as every worker of the
pool could have as many.  A worker runs what it holds in the order it was sent, so the
core infers who is running without a message for it.  What is held behind a task that
turns out long is recalled as soon as another worker is idle.

Invariant: a task is in ``tasks`` until it is settled, and it is settled once; it is in
``runs`` exactly while it is in the hands of a worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from math import inf, isfinite
from typing import Any

from steerio.core.deadlines import Deadlines
from steerio.core.effects import (
    AskToStop,
    Effect,
    Ending,
    RecallTask,
    SendTask,
    Settle,
    Signal,
)
from steerio.core.eventlog import EventLog
from steerio.core.lifecycle import Fact, State, advance
from steerio.core.records import TaskRecord, TypeRecord, WorkerRecord
from steerio.core.roster import Pool, Roster
from steerio.core.settings import Settings
from steerio.model.events import TaskEnded, TaskQueued, TaskRetried, TaskStarted
from steerio.model.messages import RemoteError

OVERHEAD_S = 3e-5
"""What a task costs a worker beside its function: reading, decoding, reporting."""
ABOUT_RUNS = ("timeout", "term", "kill")
"""The deadlines that are about an attempt, and void once that has ended."""
TO_WORKERS = (SendTask, RecallTask, AskToStop, Signal)
"""The effects that are orders about what a worker has in hand."""


class Dispatch:
    """All decisions about tasks.  Methods take facts and the time; orders go to ``effects``."""

    def __init__(self, roster: Roster, log: EventLog, settings: Settings) -> None:
        self.roster = roster
        self.log = log
        self.settings = settings
        self.deadlines = Deadlines()
        self.effects: list[Effect] = []
        self.tasks: dict[int, TaskRecord] = {}
        self.runs: dict[int, TaskRecord] = {}
        self.ended: Counter[str] = Counter()
        self.sent_ahead = False
        """Whether any worker may have more than one task in hand."""
        self.divert: Callable[[WorkerRecord, Pool, float], bool]
        """Asked for each worker that has nothing in hand: whether it goes elsewhere."""
        self.starved: Callable[[Pool, float], None]
        """Called when a task is queued in a pool that has no worker."""
        self._run = 0

    def take_effects(self) -> list[Effect]:
        """Return what is to be done since the last call."""
        effects, self.effects = self.effects, []
        return effects

    # -- what clients ask for -----------------------------------------------------------

    def submit(self, record: TaskRecord, now: float) -> bool:
        """Take in a task; ``False`` where a task of that id is here already."""
        if record.task_id in self.tasks:
            return False
        spec = record.type.spec
        pool = self.roster.pool(spec.pool)
        record.pool = spec.pool
        self.tasks[record.task_id] = record
        log = self.log
        log.append(TaskQueued(log.next(), now + log.epoch, record.task_id, spec.name, spec.pool))
        if pool is None:
            reason = f"no pool is named {spec.pool!r}"
            self._settle(record, Ending("lost", reason=reason), now)
        else:
            self._enter(record, pool, now)
        return True

    def reassign(self, task_ids: Iterable[int], pool: Pool, now: float) -> int:
        """Have queued tasks wait in another pool; returns how many of them were queued."""
        count = 0
        for task_id in task_ids:
            record = self.tasks.get(task_id)
            if record is None or record.state != State.QUEUED:
                continue
            count += 1
            if record.pool != pool.name:
                left, record.pool = record.pool, pool.name
                self.roster.pools[left].backlog.forget(record)
                spec, log = record.type.spec, self.log
                at = now + log.epoch
                log.append(TaskQueued(log.next(), at, task_id, spec.name, pool.name))
                self._enter(record, pool, now)
        return count

    def _enter(self, record: TaskRecord, pool: Pool, now: float) -> None:
        """Give a task that is new in a pool to an idle worker, or have it wait."""
        if pool.failure:
            self._settle(record, Ending("lost", reason=pool.failure), now)
        elif pool.idle:
            worker, _ = pool.idle.popitem()
            worker.phase = "busy"
            self._send(worker, record, pool, now)
        else:
            pool.backlog.push(record)
            if not pool.workers:
                self.starved(pool, now)

    def cancel(self, task_id: int, reason: str, now: float, *, queued_only: bool = False) -> bool:
        """Cancel a task wherever it is, or only where it is still queued.

        With ``queued_only`` what is in hand goes on, but is not queued again: no retry.
        Returns ``False`` where it has ended already.
        """
        record = self.tasks.get(task_id)
        if record is None:
            return False
        if record.state == State.QUEUED:
            self._settle(record, Ending("cancelled", reason=reason), now)
            self.roster.pools[record.pool].backlog.forget(record)
        elif queued_only:
            record.not_again = reason
        elif record.state == State.STOPPING:
            record.out_of_time = record.preempted = False
            record.stop_reason = reason
        else:
            self._stop(record, reason, now)
        return True

    def preempt(self, record: TaskRecord, reason: str, now: float) -> None:
        """Stop what a worker runs and queue it again; that it is stopped counts for nothing."""
        if record.state == State.RUNNING:
            record.preempted = True
            self._stop(record, reason, now)

    def reprioritise(self, changes: list[tuple[int, float]]) -> int:
        """Re-rank tasks; return how many of them were still there to be re-ranked.

        What is no finite number ranks nothing and is passed over.
        """
        count = 0
        for task_id, priority in changes:
            record = self.tasks.get(task_id)
            if record is None or not isfinite(priority):
                continue
            count += 1
            if record.state == State.QUEUED:
                self.roster.pools[record.pool].backlog.reprioritise(record, priority)
            else:
                record.priority = priority
        return count

    # -- what workers report ------------------------------------------------------------

    def reported(
        self,
        run: int,
        ended_as: str,
        started: float,
        ended: float,
        now: float,
        body: bytes = b"",
        frames: tuple[Any, ...] = (),
        error: RemoteError | None = None,
    ) -> bool:
        """An attempt ended, by its worker's word; ``False`` where it is not expected (late)."""
        record = self.runs.pop(run, None)
        if record is None:
            return False
        worker = record.worker
        assert worker is not None
        in_hand = worker.in_hand
        if in_hand[0] is record:
            in_hand.popleft()
        else:
            in_hand.remove(record)
        pool = self.roster.pools[worker.pool]
        pool.running -= 1
        self._measure(record, ended - started)
        if ended_as == "succeeded" and (
            record.state != State.STOPPING or record.out_of_time or record.preempted
        ):
            ending = Ending("succeeded", body, frames, None, "", started, ended)
            self._settle(record, ending, now)
        elif record.state == State.STOPPING:
            self._settle_stopped(record, now, started, ended)
        elif record.failures < record.options.retries.failed and record.not_again is None:
            record.failures += 1
            self._retry(record, pool, f"failed: {error.type if error else ended_as}", now)
        else:
            error = error or RemoteError("CancelledError", "the task cancelled itself", "")
            self._settle(record, Ending("failed", body, frames, error, "", started, ended), now)
        self._refill(worker, pool, now)
        return True

    def returned(self, run: int, now: float) -> bool:
        """A worker gave a task back unstarted; ``False`` where it is not expected (late)."""
        record = self.runs.pop(run, None)
        if record is None:
            return False
        worker = record.worker
        assert worker is not None
        was_next = worker.in_hand[0] is record
        worker.in_hand.remove(record)
        pool = self.roster.pools[worker.pool]
        self._take_back(record, pool, now)
        self._feed(pool, now)
        if was_next:  # else nothing changed for the worker, and refilling would hand it back
            self._refill(worker, pool, now)
        return True

    def not_begun(self, run: int, now: float) -> bool:
        """A node keeps its worker from beginning a recalled task; ``False`` where that is late.

        Of the one whose turn it is the worker itself has to say so: if it hangs, it is to be
        killed, and not to be sent others.
        """
        record = self.runs.get(run)
        if record is None:
            return False
        if record.reached is None:
            self.returned(run, now)
        return True

    def worker_free(self, worker: WorkerRecord, now: float) -> None:
        """A worker that just joined, or came to this pool, can take tasks."""
        self._refill(worker, self.roster.pools[worker.pool], now)

    def recall(self, worker: WorkerRecord) -> None:
        """Ask a worker for all that it holds behind the task that it runs."""
        for record in list(worker.in_hand)[1:]:
            if record.state == State.HELD:
                self.effects.append(RecallTask(worker, record.run))

    def worker_gone(
        self, worker: WorkerRecord, run: int, reason: str, guilty: bool, now: float
    ) -> None:
        """A worker ended while it worked on ``run`` (0: on nothing); it is out of the roster.

        It began what it had in the order it was sent.  So what it was to do after ``run``
        was not begun and is queued again, free of charge; ``run`` itself, and what came
        before it but whose report did not make it here, is retried or settled as lost.
        The first in hand always counts as begun: the worker may have died of it before it
        could say so, or after it said so.  ``guilty``: the worker itself died (not its
        node), so the task may be why.
        """
        pool = self.roster.pools[worker.pool]
        in_hand = worker.in_hand
        last = max(run, in_hand[0].run) if in_hand else run
        if in_hand:  # what was decided in this very step, and not performed yet, is void
            self.effects = [
                effect
                for effect in self.effects
                if not (isinstance(effect, TO_WORKERS) and effect.worker is worker)
            ]
        for record in in_hand:
            del self.runs[record.run]
            if record.run > last:
                self._take_back(record, pool, now)
                continue
            pool.running -= 1
            if record.state == State.STOPPING:
                self._settle_stopped(record, now)
            else:
                self._lost(record, pool, reason, guilty and record.run == last, now)
        in_hand.clear()
        self._feed(pool, now)

    # -- what time brings ---------------------------------------------------------------

    def due(self, what: str, run: int, now: float) -> None:
        """Look at an attempt whose deadline came up."""
        record = self.runs.get(run)
        if record is None:
            return
        if what == "timeout":
            if record.state == State.RUNNING:
                record.out_of_time = True
                self._stop(record, "timeout", now)
        else:
            assert record.worker is not None
            self.effects.append(Signal(record.worker, run, what))
            if what == "term":
                self.deadlines.add(now + record.options.cancel_grace_s, "kill", run)

    def recall_held(self, now: float) -> None:
        """Recall what waits behind long tasks while other workers of the pool are idle."""
        long_ago = now - self.settings.recall_s
        for worker in self.roster.workers.values():
            if len(worker.in_hand) < 2 or not self.roster.pools[worker.pool].idle:
                continue
            reached = worker.in_hand[0].reached
            if reached is not None and reached <= long_ago:
                self.recall(worker)

    def fail_pool(self, pool: Pool, reason: str, now: float) -> None:
        """Give up a pool: everything queued for it is lost, and so is what comes later."""
        pool.failure = reason or "it was given up"
        while (record := pool.backlog.pop()) is not None:
            self._settle(record, Ending("lost", reason=pool.failure), now)

    # -- the steps they share -------------------------------------------------------------

    def _send(self, worker: WorkerRecord, record: TaskRecord, pool: Pool, now: float) -> None:
        self._run += 1
        record.run = self._run
        record.attempt += 1
        record.worker = worker
        record.sent = now
        self.runs[record.run] = record
        pool.running += 1
        if worker.in_hand:
            worker.in_hand.append(record)
            advance(record, Fact.SENT_AHEAD)
            self.sent_ahead = True
        else:
            worker.in_hand.append(record)
            advance(record, Fact.SENT)
            self._started(record, worker, now)
        self.effects.append(SendTask(worker, record))

    def _started(self, record: TaskRecord, worker: WorkerRecord, now: float) -> None:
        record.reached = now
        spec, log = record.type.spec, self.log
        log.append(
            TaskStarted(
                log.next(),
                now + log.epoch,
                record.task_id,
                spec.name,
                record.pool,
                record.attempt,
                worker.name,
            )
        )
        if record.options.timeout_s is not None:
            self.deadlines.add(now + record.options.timeout_s, "timeout", record.run)
            self.deadlines.sweep(self._holds)

    def _holds(self, what: str, about: int) -> bool:
        return what not in ABOUT_RUNS or about in self.runs

    def _refill(self, worker: WorkerRecord, pool: Pool, now: float) -> None:
        in_hand = worker.in_hand
        backlog = pool.backlog
        if in_hand:
            self._reach(in_hand[0], worker, now)
        elif self.divert(worker, pool, now):
            return
        else:
            record = backlog.pop()
            if record is None:
                self.roster.set_idle(worker)
                return
            worker.phase = "busy"
            self._send(worker, record, pool, now)
        if backlog and in_hand[0].state != State.STOPPING and not pool.moves:
            self._send_ahead(worker, pool, now)

    def _send_ahead(self, worker: WorkerRecord, pool: Pool, now: float) -> None:
        """Let a busy worker hold more, as long as all that it has in hand is short.

        The nth task that it holds is of a type of which n could be held.  So however types
        are mixed, the nth takes at most ``held_s / n``, or is the only one.
        """
        in_hand, backlog = worker.in_hand, pool.backlog
        kind = in_hand[0].type
        room = min(self._ahead(kind), len(backlog) // pool.workers)
        if in_hand[-1].type is not kind:
            kind = in_hand[-1].type
            room = min(room, self._ahead(kind))
        while len(in_hand) <= room and (record := backlog.peek()) is not None:
            if record.type is not kind:
                kind = record.type
                room = min(room, self._ahead(kind))
                continue
            backlog.pop()
            self._send(worker, record, pool, now)

    def _reach(self, record: TaskRecord, worker: WorkerRecord, now: float) -> None:
        if record.state == State.HELD:
            advance(record, Fact.REACHED)
            self._started(record, worker, now)
        elif record.state == State.STOPPING and record.reached is None:
            advance(record, Fact.REACHED)
            record.reached = now
            self._press(record, now)

    def _ahead(self, kind: TypeRecord) -> int:
        """Return how many tasks of a type a worker may hold, and hold behind one of it."""
        mean_s, settings = kind.mean_s, self.settings
        if not 0 <= mean_s <= settings.hold_s:
            return 0
        return max(1, min(settings.held, int(settings.held_s / (mean_s + OVERHEAD_S))))

    @staticmethod
    def _measure(record: TaskRecord, run_s: float) -> None:
        kind = record.type
        if not 0 <= run_s < inf:  # a worker's word: one NaN would spoil the mean for good
            return
        if kind.mean_s < 0:
            kind.mean_s = run_s
        else:  # believe bad news sooner than good: holding behind a long task wastes a worker
            kind.mean_s += (run_s - kind.mean_s) * (0.5 if run_s > kind.mean_s else 0.1)

    def _stop(self, record: TaskRecord, reason: str, now: float) -> None:
        record.stop_reason = reason
        advance(record, Fact.STOP_ASKED)
        worker = record.worker
        assert worker is not None
        self.effects.append(RecallTask(worker, record.run))
        if worker.in_hand[0] is record:
            self._press(record, now)

    def _press(self, record: TaskRecord, now: float) -> None:
        """Begin to stop a running attempt: ask, and set the time for the signals."""
        assert record.worker is not None
        self.effects.append(AskToStop(record.worker, record.run))
        self.deadlines.add(now + record.options.cancel_grace_s, "term", record.run)

    def _settle_stopped(
        self,
        record: TaskRecord,
        now: float,
        started: float | None = None,
        ended: float | None = None,
    ) -> None:
        again = record.not_again is None
        if record.preempted and again:
            record.preempted = False
            self._retry(record, self.roster.pools[record.pool], record.stop_reason, now)
        elif not record.out_of_time:
            reason = record.not_again if record.preempted and not again else record.stop_reason
            ending = Ending("cancelled", reason=reason or "", started=started, ended=ended)
            self._settle(record, ending, now)
        elif record.timeouts < record.options.retries.timed_out and again:
            record.timeouts += 1
            record.out_of_time = False
            self._retry(record, self.roster.pools[record.pool], "timed out", now)
        else:
            self._settle(record, Ending("timed_out", started=started, ended=ended), now)

    def _lost(self, record: TaskRecord, pool: Pool, reason: str, guilty: bool, now: float) -> None:
        record.kills += guilty
        if record.kills >= self.settings.kills:
            why = f"it took down {record.kills} workers, the last: {reason}"
            self._settle(record, Ending("lost", reason=why), now)
        elif record.losses < record.options.retries.lost and record.not_again is None:
            record.losses += 1
            self._retry(record, pool, f"lost: {reason}", now)
        else:
            self._settle(record, Ending("lost", reason=reason), now)

    def _retry(self, record: TaskRecord, pool: Pool, reason: str, now: float) -> None:
        spec, log = record.type.spec, self.log
        log.append(
            TaskRetried(
                log.next(),
                now + log.epoch,
                record.task_id,
                spec.name,
                record.pool,
                record.attempt,
                reason,
            )
        )
        self._requeue(record, pool, Fact.RETRIED, now)
        self._feed(pool, now)

    def _take_back(self, record: TaskRecord, pool: Pool, now: float) -> None:
        """Take an attempt that was not begun out of a worker's hands, as if it had never been."""
        pool.running -= 1
        record.attempt -= 1
        record.worker = None
        if record.state == State.STOPPING:
            self._settle_stopped(record, now)
        elif record.not_again is not None:
            self._settle(record, Ending("cancelled", reason=record.not_again), now)
        else:
            self._requeue(record, pool, Fact.RETURNED, now)

    def _requeue(self, record: TaskRecord, pool: Pool, fact: Fact, now: float) -> None:
        advance(record, fact)
        record.worker = None
        record.reached = None
        pool.backlog.push(record)
        if not pool.workers:
            self.starved(pool, now)

    def _feed(self, pool: Pool, now: float) -> None:
        """Give queued tasks to idle workers; in a pool that has failed they are lost."""
        if pool.failure:
            self.fail_pool(pool, pool.failure, now)
        while pool.idle and (record := pool.backlog.pop()) is not None:
            worker, _ = pool.idle.popitem()
            worker.phase = "busy"
            self._send(worker, record, pool, now)

    def _settle(self, record: TaskRecord, ending: Ending, now: float) -> None:
        advance(record, Fact.SETTLED)
        del self.tasks[record.task_id]
        self.ended[ending.ended_as] += 1
        spec, log, worker = record.type.spec, self.log, record.worker
        run_s = None
        if ending.started is not None and ending.ended is not None:
            run_s = ending.ended - ending.started
        log.append(
            TaskEnded(
                log.next(),
                now + log.epoch,
                record.task_id,
                spec.name,
                record.pool,
                record.attempt,
                worker.name if worker else None,
                ending.ended_as,
                run_s,
            )
        )
        self.effects.append(Settle(record, ending))
