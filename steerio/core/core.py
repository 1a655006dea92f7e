"""The door of the core: one method for each fact, and the effects that follow from them.

A broker, a simulation or a test hands in facts and the time, and takes out effects.  Each method
brings its fact to the module that decides on it, and then has `assign` give work to the workers
that this has freed; so all decisions are made when it returns.  The methods for members, pools and
objects stand in a module each, and those that only show the state in `shown_state`.

Nothing here waits, reads a clock or logs; `Core.story` says why a task waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from steerio.core import (
    gangs,
    kept_runs,
    looks,
    orphans,
    passing,
    pausing,
    reports,
    stories,
    submission,
)
from steerio.core.assigning import assign
from steerio.core.cluster import Cluster
from steerio.core.effects import Effect, FreeObjects, is_void
from steerio.core.member_facts import MemberFacts
from steerio.core.object_facts import ObjectFacts
from steerio.core.pool_facts import PoolFacts
from steerio.core.records import TaskRecord, WorkerRecord
from steerio.model.campaign_orders import GivenOrder, OrderAnswer
from steerio.model.events import Announcement, AnyEvent, BrokerReturned, LoopStalled, Published
from steerio.model.messages import RemoteError
from steerio.model.objects import StoredObject, Version
from steerio.model.settings import Settings
from steerio.model.showing import counted
from steerio.model.tasks import ReportedAs, TaskSpec

RUNS = 2**40
"""Attempts of one incarnation of a broker."""


class Core(MemberFacts, PoolFacts, ObjectFacts):
    """All decisions of a broker; its state is the `cluster`, which others only read.

    Args:
        settings: bounds and leases.
        pools: the names of the pools there are.
        closed: whether there are no other pools, ever.
        epoch: the difference of Unix time to the core's clock.
        fetch_ahead_bytes: most bytes of inputs that each node may fetch ahead; 0: none.
        keeps_own: whether nodes go on also with attempts that this broker has given up itself.
    """

    def __init__(
        self,
        settings: Settings,
        pools: Iterable[str],
        closed: bool,
        *,
        epoch: float = 0.0,
        fetch_ahead_bytes: int = 0,
        keeps_own: bool = True,
    ) -> None:
        super().__init__(Cluster(settings, pools, closed, epoch))
        self.cluster.keeps_own = keeps_own
        if fetch_ahead_bytes > 0:
            self.cluster.fetching.wanted = True
            self.cluster.fetching.most_bytes = fetch_ahead_bytes

    def __repr__(self) -> str:
        pools = ", ".join(repr(pool) for pool in self.pools.values())
        return f"<Core of {counted(len(self.cluster.tasks), 'task')}; {pools}>"

    # -- effects and events -----------------------------------------------------------------------

    def take_effects(self) -> list[Effect]:
        """Return the effects since the last call, in order."""
        cluster = self.cluster
        effects, cluster.effects = cluster.effects, []
        if cluster.some_void:
            cluster.some_void = False
            effects = [effect for effect in effects if not is_void(effect)]
        if cluster.holdings.freed:
            freed = cluster.holdings.take_freed()
            effects.append(FreeObjects(freed))
            effects += cluster.fetching.forget(freed)
        return effects

    def take_events(self) -> list[AnyEvent]:
        """Return the events since the last call, in order."""
        return self.cluster.log.take_fresh()

    def take_stalls(self) -> list[str]:
        """Return why tasks wait in vain, as far as that was found since the last call."""
        told, self.cluster.stalls_told = self.cluster.stalls_told, []
        return told

    @property
    def has_effects(self) -> bool:
        """Whether there is anything to be done."""
        return bool(self.cluster.effects)

    @property
    def has_events(self) -> bool:
        """Whether there are events that were not taken."""
        return bool(self.cluster.log.fresh)

    def say(self, effects: Iterable[Effect]) -> list[str]:
        """Say in words these effects, and which tasks wait from now on, and why.

        To be called before the events are taken.
        """
        return stories.say_decisions(self.cluster, effects)

    @property
    def next_look(self) -> float | None:
        """When `tick` is to be called at the latest, if nothing happens before."""
        return self.cluster.deadlines.next

    def tick(self, now: float, *, words_wait: bool = False) -> None:
        """Look at everything whose time has come; ``words_wait``: there is more to be taken in."""
        looks.tick(self.cluster, now, words_wait=words_wait)

    # -- task types and tasks ---------------------------------------------------------------------

    def define(self, client: int, number: int, spec: TaskSpec) -> None:
        """A client calls a task type by a number from now on."""
        known = self.cluster.clients[client].types
        self.cluster.effects += self.cluster.types.define(known, number, spec)

    def forget_types(self, client: int, numbers: Sequence[int]) -> list[int]:
        """A client does not use these numbers any more; returns those that mean nothing."""
        known = self.cluster.clients[client].types
        unknown = [number for number in numbers if number not in known]
        self.cluster.effects += self.cluster.types.forget(known, numbers)
        return unknown

    def submit(self, record: TaskRecord, now: float) -> bool:
        """Take in a task; ``False`` if a task of that id is here already."""
        return submission.submit(self.cluster, record, now)  # it frees nothing

    def reassign(self, task_ids: Iterable[int], pool: str, now: float) -> int | None:
        """Have queued tasks wait in another pool; returns how many, ``None``: no such pool."""
        target = self.cluster.roster.pool(pool)
        if target is None:
            return None
        count = submission.reassign(self.cluster, task_ids, target, now)
        self._feed_waiting(now)
        return count

    def cancel(self, task_id: int, reason: str, now: float, *, queued_only: bool = False) -> bool:
        """Cancel a task wherever it is, or only if it is still queued; ``False``: it has ended."""
        there = submission.cancel(self.cluster, task_id, reason, now, queued_only=queued_only)
        self._feed_waiting(now)
        return there

    def reprioritise(self, changes: Iterable[tuple[int, float]], now: float) -> int:
        """Re-rank tasks; return how many of them were still there to be re-ranked."""
        count = submission.reprioritise(self.cluster, changes)
        self._feed_waiting(now)
        return count

    def _feed_waiting(self, now: float) -> None:
        """Look at workers that idle because they are kept for gangs."""
        if self.cluster.gang_pools:
            assign(self.cluster, now)

    def grant(self, task_id: int, count: int) -> bool:
        """Let a generator task yield ``count`` more items; 0: its items are not read."""
        return submission.grant(self.cluster, task_id, count)

    # -- attempts ---------------------------------------------------------------------------------

    def reported(
        self,
        run: int,
        ended_as: ReportedAs,
        started: float,
        ended: float,
        now: float,
        body: bytes = b"",
        frames: tuple[Any, ...] = (),
        error: RemoteError | None = None,
        stored: StoredObject | None = None,
    ) -> bool:
        """An attempt ended, by its worker's word; ``False`` if it is not expected (late).

        Args:
            run: the attempt.
            ended_as: ``succeeded``, ``failed`` or ``cancelled``.
            started: when it began, on the monotonic clock of the worker's host.
            ended: when it ended, on that clock.
            now: the time, in seconds on the broker's clock.
            body: the encoded value.
            frames: the long buffers of the value.
            error: the task's exception, if it failed.
            stored: the object in the store that holds the frames, if they are there.
        """
        known = reports.reported(
            self.cluster, run, ended_as, started, ended, now, body, frames, error, stored
        )
        assign(self.cluster, now)
        return known

    def kept_run_ended(
        self,
        worker: WorkerRecord,
        run: int,
        ended_as: ReportedAs,
        started: float,
        ended: float,
        now: float,
        body: bytes,
        frames: tuple[Any, ...],
        stored: StoredObject | None,
    ) -> bool:
        """A kept attempt ended whose client is not back; ``False``: it is none, or of no use."""
        known = kept_runs.ended(
            self.cluster, worker, run, ended_as, started, ended, now, body, frames, stored
        )
        assign(self.cluster, now)
        return known

    def returned(self, run: int, now: float) -> bool:
        """A worker gave a task back unstarted; ``False`` if it is not expected (late)."""
        known = reports.returned(self.cluster, run, now)
        assign(self.cluster, now)
        return known

    def not_begun(self, run: int, now: float) -> bool:
        """A node keeps its worker from beginning a recalled task; ``False`` if that is late."""
        known = reports.not_begun(self.cluster, run, now)
        assign(self.cluster, now)
        return known

    def gang_opened(self, record: TaskRecord, port: int, token: bytes) -> bool:
        """The first worker of a gang has chosen a port and a token; ``False``: it is not that."""
        return gangs.opened(self.cluster, record, port, token)

    def yielded(
        self,
        record: TaskRecord,
        index: int,
        now: float,
        *,
        has_value: bool,
        stored: StoredObject | None = None,
    ) -> bool:
        """An attempt yielded an item; returns whether its client is to have that."""
        return reports.yielded(self.cluster, record, index, now, has_value=has_value, stored=stored)

    def progressed(
        self, record: TaskRecord, fraction: float | None, message: str, now: float
    ) -> None:
        """An attempt said how far it is."""
        reports.progressed(self.cluster, record, fraction, message, now)

    # -- orders to campaigns ----------------------------------------------------------------------

    def take_orders(self, client: int, *, takes: bool) -> None:
        """A client is a campaign and takes orders, or no longer."""
        passing.take(self.cluster, client, takes=takes)

    def give_order(self, giver: int, request: int, to: str, given: GivenOrder) -> str:
        """Pass an order to a campaign; returns why that cannot be, or nothing."""
        return passing.give(self.cluster, giver, request, to, given)

    def order_done(self, taker: int, number: int, answer: OrderAnswer) -> bool:
        """A campaign answers an order; ``False``: it has no such order."""
        return passing.answered(self.cluster, taker, number, answer)

    def announced(self, event: Announcement, by: str, now: float) -> int:
        """A campaign tells of itself; returns the number of the event."""
        return self.cluster.log.announce(event, by, now)

    def published(self, topic: str, value: Any, by: str, now: float) -> None:
        """A client published a value under a topic, for those that follow the events."""
        self.cluster.emit(Published, now, topic, value, by)

    def loop_stalled(self, agent: str, seconds: float, where: str, now: float) -> None:
        """The event loop that the broker shares with an agent stood still, and goes on."""
        self.cluster.emit(LoopStalled, now, agent, seconds, where)

    # -- the broker itself ------------------------------------------------------------------------

    def count_events_from(self, number: int) -> None:
        """Number events from the one behind this: an earlier incarnation of the run had it."""
        self.cluster.log.count = number

    def begin_as(self, incarnation: int) -> None:
        """Give out no number of an attempt, nor name of a worker, of earlier incarnations."""
        self.cluster.run = self.cluster.first_run = incarnation * RUNS
        self.cluster.roster.prefix = f"{incarnation}."

    def returned_as(
        self,
        incarnation: int,
        versions: Mapping[str, Version],
        paused: Mapping[str, str],
        now: float,
    ) -> None:
        """This broker takes the place of one that ended without a word; see `BrokerReturned`.

        Args:
            incarnation: its own.
            versions: the newest versions of all names, as that one had them.
            paused: the pools that were paused, and why.
            now: the time, in seconds on the core's clock.
        """
        self.cluster.versions.restore(versions)
        for name, why in paused.items():
            if (pool := self.cluster.roster.pool(name)) is not None:
                pausing.close(self.cluster, pool, why, now)
        self.cluster.emit(BrokerReturned, now, incarnation)

    def broker_ends(self) -> None:
        """Nothing is served any more: have the store emptied."""
        orphans.free_all(self.cluster)
