"""What becomes of tasks: every fact that clients, workers and time bring, and its answer.

What is held behind a task that turns out long is recalled as soon as another worker of
the pool is idle.  The steps from there, and their theory, are in `Attempts`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from math import isfinite
from typing import Any

from steerio.core.attempts import Attempts
from steerio.core.effects import (
    AskToStop,
    Ending,
    Grant,
    RecallTask,
    SendTask,
    Signal,
)
from steerio.core.lifecycle import State
from steerio.core.records import TaskRecord, WorkerRecord
from steerio.core.roster import Pool
from steerio.model.events import TaskQueued
from steerio.model.messages import RemoteError
from steerio.model.objects import StoredObject

_QUEUED = int(State.QUEUED)  # looked at for each of many tasks; in its class it would take longer
TO_WORKERS = (SendTask, Grant, RecallTask, AskToStop, Signal)
"""The effects that are orders about what a worker has in hand."""


class Dispatch(Attempts):
    """All decisions about tasks.  Methods take facts and the time; orders go to ``effects``."""

    # -- what clients ask for -----------------------------------------------------------

    def submit(self, record: TaskRecord, now: float) -> bool:
        """Take in a task; ``False`` where a task of that id is here already."""
        inputs = record.inputs
        if record.task_id in self.tasks:
            if inputs is not None and inputs.frames is not None:
                self.holdings.refuse(inputs.frames.name)
            return False
        if inputs is not None:
            if inputs == self._same_inputs:
                record.inputs = self._same_inputs
            else:
                self._same_inputs = inputs
            for stored in inputs.all:
                self.holdings.hold_for_task(stored)
        spec = record.type.spec
        pool = self.roster.pool(spec.pool)
        record.pool = spec.pool
        self.tasks[record.task_id] = record
        record.type.tasks += 1
        log = self.log
        log.append(TaskQueued(log.next(), now + log.epoch, record.task_id, spec.name, spec.pool))
        if pool is None:
            reason = f"no pool is named {spec.pool!r}"
            self._settle(record, Ending("lost", reason=reason), now)
        elif inputs is not None and (unknown := self.versions.missing(inputs.latest)) is not None:
            reason = f"it takes the latest {unknown!r}, of which no version was published yet"
            self._settle(record, Ending("lost", reason=reason), now)
        else:
            self._enter(record, pool, now)
        return True

    def reassign(self, task_ids: Iterable[int], pool: Pool, now: float) -> int:
        """Have queued tasks wait in another pool; returns how many of them were queued."""
        count = 0
        for task_id in task_ids:
            record = self.tasks.get(task_id)
            if record is None or record.state != _QUEUED:
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

    def cancel(self, task_id: int, reason: str, now: float, *, queued_only: bool = False) -> bool:
        """Cancel a task wherever it is, or only where it is still queued.

        With ``queued_only`` what is in hand goes on, but is not queued again: no retry.
        Returns ``False`` where it has ended already.
        """
        record = self.tasks.get(task_id)
        if record is None:
            return False
        if record.state == _QUEUED:
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

    def reprioritise(self, changes: list[tuple[int, float]]) -> int:
        """Re-rank tasks; return how many of them were still there to be re-ranked.

        What is no finite number ranks nothing and is passed over.
        """
        count = 0
        queued: defaultdict[str, list[tuple[TaskRecord, float]]] = defaultdict(list)
        for task_id, priority in changes:
            record = self.tasks.get(task_id)
            if record is None or not isfinite(priority):
                continue
            count += 1
            if record.state == _QUEUED:
                queued[record.pool].append((record, priority))
            else:
                record.priority = priority
        for pool, of_pool in queued.items():
            self.roster.pools[pool].backlog.reprioritise(of_pool)
        return count

    def grant(self, task_id: int, count: int) -> bool:
        """Let a generator task yield ``count`` more items; 0: nobody reads what it yields.

        That nobody does holds for its later attempts as well.  Returns ``False`` where the task
        has ended already.
        """
        record = self.tasks.get(task_id)
        if record is None:
            return False
        record.unread = record.unread or count <= 0
        if record.worker is not None:
            self.effects.append(Grant(record.worker, record.run, 0 if record.unread else count))
        return True

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
        stored: StoredObject | None = None,
    ) -> bool:
        """An attempt ended, by its worker's word; ``False`` where it is not expected (late).

        ``stored`` holds the frames of its value, where that went into the store.
        """
        record = self.runs.pop(run, None)
        if record is None:
            if stored is not None:
                self.holdings.refuse(stored.name)
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
        self._measure(record, ended - started, now)
        if ended_as == "succeeded" and (
            record.state != State.STOPPING or record.out_of_time or record.preempted
        ):
            ending = Ending("succeeded", body, frames, None, "", started, ended, stored)
            stored = None
            self._settle(record, ending, now)
        elif record.state == State.STOPPING:
            self._settle_stopped(record, now, started, ended)
        elif record.failures < record.options.retries.failed and record.not_again is None:
            record.failures += 1
            reason = f"failed: {error.type if error else ended_as}"
            self._retry(record, pool, reason, now, started, ended)
        else:
            error = error or RemoteError("CancelledError", "the task cancelled itself", "")
            self._settle(record, Ending("failed", body, frames, error, "", started, ended), now)
        if stored is not None:  # the value of an attempt that counts for nothing
            self.holdings.refuse(stored.name)
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
        if pool.backlog and not pool.running:
            self.may_stall(now)

    # -- what time brings ---------------------------------------------------------------

    def due(self, what: str, run: int, now: float) -> None:
        """Look at an attempt whose deadline came up, or at tasks that no worker may fit."""
        if what == "unfit":
            self.look_unfit(now)
            return
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
                self.look_later(now + record.options.cancel_grace_s, "kill", run)

    def recall_held(self, now: float) -> None:
        """Recall what waits behind long tasks while others of the pool that fit are idle."""
        long_ago = now - self.settings.recall_s
        for worker in self.roster.workers.values():
            pool = self.roster.pools[worker.pool]
            idle, takes_s = pool.idle, pool.backlog.takes_s
            if len(worker.in_hand) < 2 or not idle:
                continue
            reached = worker.in_hand[0].reached
            held = list(worker.in_hand)[1:]
            if (
                reached is not None
                and reached <= long_ago
                and any(idle.fits(r.options.needs, now + takes_s(r)) for r in held)
            ):
                self.recall(worker)
