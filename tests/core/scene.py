"""A small cluster for the examples: the test itself plays its nodes, workers and clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from steerio.core.core import Core
from steerio.core.effects import Effect, Ending, SendTask, Settle
from steerio.core.lifecycle import State
from steerio.core.records import TaskRecord, TypeRecord, WorkerRecord
from steerio.core.roster import Pool
from steerio.core.waiting import watch_empty
from steerio.model.events import AnyEvent
from steerio.model.objects import Inputs, StoredObject
from steerio.model.places import WorkerNeeds
from steerio.model.settings import Settings
from steerio.model.tasks import ReportedAs, Retries, TaskOptions, TaskSpec
from tests.core import invariants

E = TypeVar("E", bound=AnyEvent)
F = TypeVar("F", bound=Effect)

NODE = 100
CLIENT = 1
EPOCH = 1_000.0
LONG_S = 1.0
"""A mean duration of which no task is sent ahead."""


class Scene:
    """A core with one client and, if ``workers`` are given, one node with all of them ready.

    After whatever is done through it, every invariant is checked.
    """

    def __init__(
        self,
        workers: Mapping[str, int] | None = None,
        *,
        pools: tuple[str, ...] = ("simulate",),
        closed: bool = True,
        settings: Settings | None = None,
        now: float = 0.0,
    ) -> None:
        self.now = now
        self.settings = settings or Settings()
        self.core = Core(self.settings, {*pools, *(workers or {})}, closed, epoch=EPOCH)
        self.roster = self.core.cluster.roster
        for pool in self.roster.pools.values():
            watch_empty(self.core.cluster, pool, now)
        self.silent: set[int] = set()
        self.performed: list[Effect] = []
        self.recorded: list[AnyEvent] = []
        self.endings: dict[int, list[Ending]] = {}
        self.types: dict[str, TypeRecord] = {}
        self._tasks = 0
        self._peers = 1_000
        self.core.client_joined(CLIENT, "client", watched=False, now=now)
        if workers:
            self.node(workers)

    # -- members ------------------------------------------------------------------------

    def node(
        self,
        workers: Mapping[str, int],
        *,
        peer: int = NODE,
        ready: bool = True,
        make: WorkerNeeds | None = None,
        walltime_s: float | None = None,
    ) -> None:
        """Let a node join; ``ready``: its workers are, too; ``make``: what each of them has."""
        makes = dict.fromkeys(workers, make) if make else {}
        node = self.core.node_joined(
            peer, "node", "host", dict(workers), self.now, None, makes, walltime_s
        )
        assert node is not None
        if ready:
            for worker in node.workers.values():
                self.join(worker)
        self.settle_down()

    def join(self, worker: WorkerRecord) -> None:
        """Let a starting worker say that it is ready."""
        self._peers += 1
        joined = self.core.worker_joined(self._peers, worker.name, 4711, self.now)
        assert joined is worker
        self.settle_down()

    def exit(self, worker: WorkerRecord, run: int = 0, reason: str = "signal 9") -> None:
        """Let a node say that a worker's process ended."""
        self.core.worker_exited(worker.name, run, reason, self.now)
        self.settle_down()

    def worker(self, name: str = "simulate-1") -> WorkerRecord:
        """Return the worker of that name."""
        return self.roster.workers[name]

    def pool(self, name: str = "simulate") -> Pool:
        """Return the pool of that name."""
        return self.roster.pools[name]

    # -- tasks --------------------------------------------------------------------------

    def task_type(self, name: str = "energy", pool: str = "simulate") -> TypeRecord:
        """Return the one task type of that name."""
        if name not in self.types:
            number = len(self.types) + 1
            self.core.define(CLIENT, number, TaskSpec(name, pool))
            self.types[name] = self.core.clients[CLIENT].types[number]
        return self.types[name]

    def task(
        self,
        kind: TypeRecord | None = None,
        client: int = CLIENT,
        inputs: Inputs | None = None,
        **options: Any,
    ) -> TaskRecord:
        """Make a task that is not submitted."""
        self._tasks += 1
        chosen = TaskOptions(**options)
        return TaskRecord(
            self._tasks,
            client,
            kind or self.task_type(),
            b"arguments",
            (),
            chosen,
            self.now,
            self.now,
            self._tasks,
            chosen.priority,
            inputs=inputs,
        )

    def submit(
        self,
        kind: TypeRecord | None = None,
        client: int = CLIENT,
        inputs: Inputs | None = None,
        **options: Any,
    ) -> TaskRecord:
        """Submit a task with these options."""
        record = self.task(kind, client, inputs, **options)
        assert self.core.submit(record, self.now)
        self.settle_down()
        return record

    def report(
        self,
        record: TaskRecord,
        ended_as: ReportedAs = "succeeded",
        run_s: float = 1.0,
        stored: StoredObject | None = None,
    ) -> bool:
        """Let a task's worker report how its attempt ended, having run ``run_s`` seconds."""
        began = self.now - run_s
        known = self.core.reported(record.run, ended_as, began, self.now, self.now, stored=stored)
        self.settle_down()
        return known

    def give_back(self, record: TaskRecord) -> bool:
        """Let a task's worker return it unstarted."""
        known = self.core.returned(record.run, self.now)
        self.settle_down()
        return known

    def cancel(self, record: TaskRecord, reason: str = "no longer needed") -> bool:
        """Cancel a task."""
        known = self.core.cancel(record.task_id, reason, self.now)
        self.settle_down()
        return known

    @staticmethod
    def retries(lost: int = 2, failed: int = 0, timed_out: int = 0) -> Retries:
        """Return how often to try again, as it is unless said otherwise."""
        return Retries(lost, failed, timed_out)

    def holding(self, count: int, **options: Any) -> list[TaskRecord]:
        """Submit tasks so that the one worker runs the first and holds the others."""
        self.measured(1e-5)
        before = self.submit()
        tasks = [self.submit(**options) for _ in range(count)]
        self.report(before, run_s=1e-5)
        assert [record.state for record in tasks] == [State.RUNNING] + [State.HELD] * (count - 1)
        return tasks

    def holding_beside(self, held: int = 1, **options: Any) -> list[TaskRecord]:
        """Let one of two workers run a task and hold others, and the other worker run one.

        The last of the returned tasks is the other worker's.
        """
        self.measured(LONG_S)
        before, other = self.submit(), self.submit()
        tasks = [self.submit(**options) for _ in range(1 + 2 * held)]
        self.measured(1e-5)
        self.report(before, run_s=1e-5)
        for spare in tasks[1 + held :]:
            self.cancel(spare)
        tasks = tasks[: 1 + held]
        assert [record.state for record in tasks] == [State.RUNNING] + [State.HELD] * held
        return [*tasks, other]

    def measured(self, run_s: float, kind: TypeRecord | None = None) -> None:
        """Pretend that tasks of a type were measured to run this long."""
        (kind or self.task_type()).mean_s = run_s

    # -- time and what came of it -----------------------------------------------------------

    def tick(self, seconds: float, *, words_wait: bool = False) -> None:
        """Let time pass and what is due happen; nodes beat unless they are ``silent``."""
        self.now += seconds
        for peer in self.core.nodes.keys() - self.silent:
            self.core.heard(peer, self.now)
        self.core.tick(self.now, words_wait=words_wait)
        self.settle_down()

    def due(self, what: str) -> list[float]:
        """Return when it is to be looked at something, each time."""
        return sorted(when for when, due, _ in self.core.cluster.deadlines if due == what)

    def settle_down(self) -> None:
        """Do what the broker does after each step, and check the invariants."""
        effects = self.core.take_effects()
        self.performed += effects
        for effect in effects:
            if isinstance(effect, Settle):
                self.endings.setdefault(effect.record.task_id, []).append(effect.ending)
        self.recorded += self.core.take_events()
        self.core.check(self.now)
        invariants.check_events(self.recorded)

    def effects(self, kind: type[F]) -> list[F]:
        """Return the effects of one kind, in order, since :meth:`forget`."""
        return [effect for effect in self.performed if isinstance(effect, kind)]

    def sent(self) -> list[TaskRecord]:
        """Return the tasks that were sent since :meth:`forget`."""
        return [effect.record for effect in self.effects(SendTask)]

    def forget(self) -> None:
        """Look only at what comes from here on."""
        self.performed.clear()

    def events(self, kind: type[E]) -> list[E]:
        """Return all events of one kind so far."""
        return [event for event in self.recorded if isinstance(event, kind)]

    def ending(self, record: TaskRecord) -> Ending:
        """Return how a task ended; the only end it had."""
        (ending,) = self.endings[record.task_id]
        return ending
