"""The steps that all decisions about tasks are made of: sending, stopping, retrying, settling.

Theory.  No idle worker of a pool fits a queued task: a submitted task goes at once to the
least idle worker that fits, a worker that becomes free takes the best queued task that it
fits.  Who is on a node with a walltime does not fit what would not be done in time.  So each
decision is a heap operation and a few dictionary look-ups, whatever the number of tasks and
workers; where tasks say what they need, or time is short, it is as many as there are different
sorts of tasks (`PoolQueue`, `IdleWorkers`, `Fitting`).

Short tasks are sent *ahead*: a worker that just started one of a type whose measured
mean is short gets more to hold whose types are as short, as long as every worker of the
pool could have as many.  A worker runs what it holds in the order it was sent, so the
core infers who is running without a message for it.

Invariant: a task is in ``tasks`` until it is settled, and it is settled once; it is in
``runs`` exactly while it is in the hands of a worker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container
from math import inf

from steerio.core.deadlines import Deadlines
from steerio.core.effects import (
    AskToStop,
    Effect,
    Ending,
    FreeObjects,
    RecallTask,
    SendTask,
    Settle,
)
from steerio.core.eventlog import EventLog
from steerio.core.fetching import Fetching
from steerio.core.fitting import Fitting
from steerio.core.holdings import Holdings
from steerio.core.lifecycle import Fact, State, advance
from steerio.core.records import Attempt, TaskRecord, TypeRecord, WorkerRecord
from steerio.core.roster import Pool, Roster
from steerio.core.task_types import TaskTypes
from steerio.core.versions import Versions
from steerio.model.events import TaskEnded, TaskRetried, TaskStarted
from steerio.model.objects import Inputs, StoredObject
from steerio.model.settings import Settings

OVERHEAD_S = 3e-5
"""What a task costs a worker beside its function: reading, decoding, reporting."""
DRAINED = "its node is drained"
"""Why a task is stopped that runs on a node which is left."""
_SETTLED = Fact.SETTLED  # looking it up in its class would take as long as the step
ABOUT_RUNS = ("timeout", "term", "kill")
"""The deadlines that are about an attempt, and void once that has ended."""
ABOUT_MOVES = ("press", "short")
"""Those that are about a move, and void once that is over."""


class Attempts:
    """Tasks, the attempts at them, and the steps from one to the next."""

    def __init__(self, roster: Roster, log: EventLog, settings: Settings) -> None:
        self.roster = roster
        self.log = log
        self.settings = settings
        self.deadlines = Deadlines()
        self.fitting = Fitting(roster, self.deadlines, settings)
        self.holdings = Holdings()
        self.versions = Versions(self.holdings, log)
        self.fetching = Fetching(roster, self.holdings)
        self.types = TaskTypes(roster)
        self._same_inputs: Inputs | None = None
        """What the last task needs: the next may well need the same, which is then kept once."""
        self.effects: list[Effect] = []
        self.tasks: dict[int, TaskRecord] = {}
        self.runs: dict[int, TaskRecord] = {}
        self.ended: defaultdict[str, int] = defaultdict(int)
        self.sent_ahead = False
        """Whether any worker may have more than one task in hand."""
        self.divert: Callable[[WorkerRecord, Pool, float], bool]
        """Asked for each worker that has nothing in hand: whether it goes elsewhere."""
        self.starved: Callable[[Pool, float], None]
        """Called when a task is queued in a pool that has no worker."""
        self.may_stall: Callable[[float], None]
        """Called when a task is queued that may wait in vain."""
        self.moves_asked: Container[int] = ()
        """The numbers of the moves that are not over."""
        self.inside: dict[int, WorkerRecord] = {}
        """The clients that tasks are, and the workers that run these."""
        self._run = 0

    def take_effects(self) -> list[Effect]:
        """Return what is to be done since the last call."""
        effects, self.effects = self.effects, []
        if self.holdings.freed:
            freed = self.holdings.take_freed()
            self.fetching.forget(freed)
            effects.append(FreeObjects(freed))
        return effects

    # -- going out ------------------------------------------------------------------------

    def _enter(self, record: TaskRecord, pool: Pool, now: float) -> None:
        """Give a task that is new in a pool to an idle worker, or have it wait."""
        needs = record.options.needs
        if pool.failure:
            self._settle(record, Ending("lost", reason=pool.failure), now)
        elif (worker := pool.idle.take(needs, now + pool.backlog.takes_s(record))) is not None:
            worker.phase = "busy"
            self._send(worker, record, pool, now)
        elif needs is not None and (reason := self.fitting.refusal(needs, pool)):
            self._settle(record, Ending("lost", reason=reason), now)
        else:
            self._wait(record, pool, now)

    def _wait(self, record: TaskRecord, pool: Pool, now: float) -> None:
        pool.backlog.push(record)
        if record.inputs is not None:
            self.effects += self.fetching.waits(record.inputs.all, pool)
        if not pool.workers:
            self.starved(pool, now)
        if record.options.needs is not None:
            self.fitting.watch(now)
            self.may_stall(now)
        elif not pool.running or self.inside or self.roster.timed:
            self.may_stall(now)

    def _send(self, worker: WorkerRecord, record: TaskRecord, pool: Pool, now: float) -> None:
        self._run += 1
        record.run = self._run
        record.attempt += 1
        record.worker = worker
        record.sent = now
        self.runs[record.run] = record
        if record.inputs is not None:
            self._equip(record, worker)
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

    def _equip(self, record: TaskRecord, worker: WorkerRecord) -> None:
        """Give an attempt the versions that are newest now; what it waits with is fetched."""
        inputs = record.inputs
        assert inputs is not None
        if inputs.latest:
            record.versions = self.versions.take(inputs.latest)
        if worker.in_hand:
            self.effects += self.fetching.sent_ahead(_needed(record), worker.node)

    def _started(self, record: TaskRecord, worker: WorkerRecord, now: float) -> None:
        record.reached = now
        if record.inputs is not None:
            self.fetching.used(_needed(record), worker.node)
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
            self.look_later(now + record.options.timeout_s, "timeout", record.run)

    def look_later(self, when: float, what: str, about: int) -> None:
        """Set a deadline that may be void long before it comes up."""
        self.deadlines.add(when, what, about)
        self.deadlines.sweep(self._holds)

    def _holds(self, what: str, about: int) -> bool:
        if what in ABOUT_RUNS:
            return about in self.runs
        return what not in ABOUT_MOVES or about in self.moves_asked

    def _refill(self, worker: WorkerRecord, pool: Pool, now: float) -> None:
        in_hand = worker.in_hand
        backlog = pool.backlog
        if in_hand:
            self._reach(in_hand[0], worker, now)
            if worker.node.overdue:  # it was recalled, but begun before that was heard
                self.preempt(in_hand[0], DRAINED, now)
        elif self.divert(worker, pool, now):
            return
        else:
            record = backlog.pop(worker.make, worker.node.until - now)
            if record is None:
                self.roster.set_idle(worker)
                return
            worker.phase = "busy"
            self._send(worker, record, pool, now)
        wanted = pool.moves or worker.node.draining
        if backlog and in_hand[0].state != State.STOPPING and not wanted:
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
        make, left_s = worker.make, worker.node.until - now
        while len(in_hand) <= room and (record := backlog.peek(make, left_s)) is not None:
            if record.type is not kind:
                kind = record.type
                room = min(room, self._ahead(kind))
                continue
            backlog.pop(make, left_s)
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

    def _measure(self, record: TaskRecord, run_s: float, now: float) -> None:
        kind = record.type
        if not 0 <= run_s < inf:  # a worker's word: one NaN would spoil the mean for good
            return
        if kind.mean_s < 0:
            kind.mean_s = run_s
        elif run_s > kind.mean_s:  # believe bad news sooner than good
            kind.mean_s += (run_s - kind.mean_s) * 0.5  # to hold behind a long task wastes a worker
        else:
            kind.mean_s += (run_s - kind.mean_s) * 0.1
            if self.roster.timed:  # others of its kind may be done in time now, in any pool
                for pool in self.roster.pools.values():
                    self._feed(pool, now)

    def _feed(self, pool: Pool, now: float) -> None:
        """Give queued tasks to idle workers; in a pool that has failed they are lost.

        The least workers choose first: so the large ones are left what fits no other.
        """
        if pool.failure:
            self.fail_pool(pool, pool.failure, now)
        if not (pool.backlog and pool.idle):
            return
        for make, until in pool.idle.kinds():
            left_s = until - now
            while pool.backlog.peek(make, left_s) and (worker := pool.idle.take_of(make, until)):
                record = pool.backlog.pop(make, left_s)
                assert record is not None
                worker.phase = "busy"
                self._send(worker, record, pool, now)

    def look_unfit(self, now: float) -> None:
        """Give up the tasks that no worker of their pool fits, and for which none came."""
        for pool, needs, reason in self.fitting.look(now):
            while (record := pool.backlog.pop_with(needs)) is not None:
                self._settle(record, Ending("lost", reason=reason), now)

    def fail_pool(self, pool: Pool, reason: str, now: float) -> None:
        """Give up a pool: everything queued for it is lost, and so is what comes later."""
        pool.failure = reason or "it was given up"
        while (record := pool.backlog.pop()) is not None:
            self._settle(record, Ending("lost", reason=pool.failure), now)

    # -- ending ---------------------------------------------------------------------------

    def preempt(self, record: TaskRecord, reason: str, now: float) -> None:
        """Stop what a worker runs and queue it again; that it is stopped counts for nothing."""
        if record.state == State.RUNNING:
            record.preempted = True
            self._stop(record, f"preempted: {reason}", now)

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
        self.look_later(now + record.options.cancel_grace_s, "term", record.run)

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
            pool = self.roster.pools[record.pool]
            self._retry(record, pool, record.stop_reason, now, started, ended)
        elif not record.out_of_time:
            reason = record.not_again if record.preempted and not again else record.stop_reason
            ending = Ending("cancelled", reason=reason or "", started=started, ended=ended)
            self._settle(record, ending, now)
        elif record.timeouts < record.options.retries.timed_out and again:
            record.timeouts += 1
            record.out_of_time = False
            self._retry(record, self.roster.pools[record.pool], "timed out", now, started, ended)
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

    def _retry(
        self,
        record: TaskRecord,
        pool: Pool,
        reason: str,
        now: float,
        started: float | None = None,
        ended: float | None = None,
    ) -> None:
        spec, log, worker = record.type.spec, self.log, record.worker
        if worker is not None:  # one that was taken back was no attempt
            versions = {name: v.number for name, v in (record.versions or {}).items()}
            attempt = Attempt(
                record.attempt,
                worker.name,
                worker.node.name,
                record.sent,
                started,
                ended,
                now,
                reason,
                versions or None,
            )
            record.earlier = [*(record.earlier or ()), attempt]
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
        self._give_versions_back(record)
        if record.state == State.STOPPING:
            self._settle_stopped(record, now)
        elif record.not_again is not None:
            self._settle(record, Ending("cancelled", reason=record.not_again), now)
        else:
            self._requeue(record, pool, Fact.RETURNED, now)

    def _requeue(self, record: TaskRecord, pool: Pool, fact: Fact, now: float) -> None:
        advance(record, fact)
        self._give_versions_back(record)
        record.worker = None
        record.reached = None
        self._wait(record, pool, now)

    def _give_versions_back(self, record: TaskRecord) -> None:
        if record.versions is not None:
            self.versions.give_back(record.versions)
            record.versions = None

    def _settle(self, record: TaskRecord, ending: Ending, now: float) -> None:
        advance(record, _SETTLED)
        del self.tasks[record.task_id]
        self.ended[ending.ended_as] += 1
        if ending.stored is not None:
            self.holdings.hold(ending.stored, ("client", record.client))
        if record.inputs is not None:
            for stored in _needed(record):
                self.holdings.task_lets_go(stored.name)
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
        kind = record.type
        kind.tasks -= 1
        if not kind.tasks and not kind.clients:
            self.effects += self.types.drop([kind])


def _needed(record: TaskRecord) -> list[StoredObject]:
    """Return the objects that an attempt needs."""
    assert record.inputs is not None
    versions = (record.versions or {}).values()
    return [*record.inputs.all, *(version.stored for version in versions)]
