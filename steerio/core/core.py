"""The door of the core: one method for each fact, and the effects that follow from them.

A broker, a simulation or a test hands in facts and the time, and takes out effects.  Each method
brings its fact to the module that decides on it, and then has `assign` give work to the workers
that this has freed; so all decisions are made when it returns.

Nothing here waits, reads a clock or logs; `Core.story` says why a task waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from steerio.core import (
    accounts,
    deadlock,
    draining,
    empty_pools,
    kept_results,
    kept_runs,
    looks,
    membership,
    move_requests,
    orphans,
    passing,
    pausing,
    reports,
    stories,
    submission,
    worker_life,
)
from steerio.core.assigning import assign
from steerio.core.cluster import Cluster
from steerio.core.effects import Effect, FreeObjects, is_void
from steerio.core.newest_versions import VersionWaiter
from steerio.core.records import (
    Accounted,
    KeptByNode,
    NodeRecord,
    TaskRecord,
    WorkerRecord,
)
from steerio.core.shown_state import ShownState
from steerio.model.campaign_orders import GivenOrder, OrderAnswer
from steerio.model.events import Announcement, AnyEvent, BrokerReturned, LoopStalled, Published
from steerio.model.messages import RemoteError
from steerio.model.moving import How
from steerio.model.objects import StoredObject, Version
from steerio.model.places import WorkerNeeds
from steerio.model.settings import Settings
from steerio.model.showing import counted
from steerio.model.tasks import ReportedAs, TaskSpec

RUNS = 2**40
"""Attempts of one incarnation of a broker."""


class Core(ShownState):
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

    # -- effects and events -------------------------------------------------------------------

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

    # -- clients ------------------------------------------------------------------------------

    def client_joined(
        self,
        peer: int,
        name: str,
        watched: bool,
        now: float,
        maker: str = "",
        inside: str = "",
        *,
        detached: bool = False,
    ) -> None:
        """A client joined, or a detached one that was away is back.

        Args:
            peer: its number as a peer, which a detached one keeps.
            name: its name.
            watched: whether it beats, and is lost when it falls silent.
            now: the time.
            maker: its name as a maker of objects in the store.
            inside: the worker in whose task it says that it is, and the number of that process.
            detached: whether its tasks go on when it leaves.
        """
        membership.client_joined(
            self.cluster, peer, name, watched, now, maker, inside, detached=detached
        )

    def client_left(self, peer: int, reason: str, now: float) -> None:
        """A client left or was lost: its tasks are cancelled, unless it is detached."""
        membership.client_left(self.cluster, peer, reason, now)
        assign(self.cluster, now)

    def attach(self, peer: int) -> None:
        """A client is not detached any more: its tasks end when it leaves."""
        self.cluster.clients[peer].detached = False

    def client_forgotten(self, peer: int) -> None:
        """A detached client that is away, and has no task left, will not come back."""
        membership.client_forgotten(self.cluster, peer)

    def client_away(self, peer: int, now: float) -> None:
        """A detached client is away that was taken up from an earlier broker."""
        membership.client_away(self.cluster, peer, now)

    def heard(
        self, peer: int, now: float, offset_s: float | None = None, link_s: float = 0.0
    ) -> None:
        """A client or node said something.

        Args:
            peer: its number.
            now: the time.
            offset_s: how far a node's clock is behind, if it knows.
            link_s: how long a message of a node and its answer take.
        """
        membership.heard(self.cluster, peer, now)
        node = self.cluster.nodes.get(peer)
        if offset_s is not None and node is not None:
            node.offset_s, node.link_s = offset_s, link_s

    def unreadable(self, peer: int, reason: str, now: float) -> None:
        """A message of a peer cannot be read: the peer ends, and all that depends on it."""
        membership.unreadable(self.cluster, peer, reason, now)
        assign(self.cluster, now)

    def broker_ends(self) -> None:
        """Nothing is served any more: have the store emptied."""
        orphans.free_all(self.cluster)

    # -- task types and tasks -----------------------------------------------------------------

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
        return None if target is None else submission.reassign(self.cluster, task_ids, target, now)

    def cancel(self, task_id: int, reason: str, now: float, *, queued_only: bool = False) -> bool:
        """Cancel a task wherever it is, or only if it is still queued; ``False``: it has ended."""
        return submission.cancel(self.cluster, task_id, reason, now, queued_only=queued_only)

    def reprioritise(self, changes: Iterable[tuple[int, float]]) -> int:
        """Re-rank tasks; return how many of them were still there to be re-ranked."""
        return submission.reprioritise(self.cluster, changes)

    def grant(self, task_id: int, count: int) -> bool:
        """Let a generator task yield ``count`` more items; 0: its items are not read."""
        return submission.grant(self.cluster, task_id, count)

    # -- pools, moves and nodes ---------------------------------------------------------------

    def expect_workers(self, pools: Mapping[str, int], now: float) -> None:
        """Take in how many workers pools are to have, of nodes that are about to join."""
        empty_pools.expect_workers(self.cluster, pools, now)

    def fail_pool(self, pool: str, reason: str, now: float) -> None:
        """Give up a pool: all tasks that are queued for it are lost, and so are later ones."""
        empty_pools.fail(self.cluster, self.cluster.roster.pools[pool], reason, now)

    def fail_pools(self, reason: str, now: float) -> None:
        """Give up the pools that have no worker: none will come any more."""
        empty_pools.fail_without_workers(self.cluster, reason, now)

    def ask_move(
        self,
        client: int,
        request: int,
        source: str,
        target: str,
        count: int,
        now: float,
        *,
        lease: bool = False,
        together: bool = False,
        how: How = "drain",
        preempt_after_s: float | None = None,
    ) -> str:
        """Begin to move workers; returns why that can never be, or nothing.

        Args:
            client: the peer that asks.
            request: its own number for the move.
            source: the pool that the workers leave.
            target: the pool that they join.
            count: how many workers.
            now: the time, in seconds on the broker's clock.
            lease: whether they return at `end_move`.
            together: whether none moves before all can.
            how: ``drain`` (wait for running tasks) or ``preempt`` (queue them again).
            preempt_after_s: seconds after which ``drain`` becomes ``preempt``.
        """
        move = move_requests.ask(
            self.cluster,
            client,
            request,
            source,
            target,
            count,
            lease=lease,
            together=together,
            how=how,
            preempt_after_s=preempt_after_s,
        )
        if isinstance(move, str):
            return move
        assign(self.cluster, now)
        move_requests.insist(self.cluster, move, preempt_after_s, now)
        return ""

    def await_move(
        self, client: int, request: int, count: int, holds: Iterable[int], by: str, now: float
    ) -> None:
        """An agent waits until a move has so many workers, and keeps leases until then."""
        if deadlock.await_move(self.cluster, client, request, count, holds, by):
            looks.end_deadlocks(self.cluster, now)

    def end_move(self, client: int, request: int, how: How, now: float) -> None:
        """Undo a move that is not granted yet, or take back leased workers."""
        move_requests.end(self.cluster, client, request, how, now)
        assign(self.cluster, now)

    def drain(
        self,
        client: int,
        request: int,
        node: str,
        now: float,
        *,
        within_s: float | None = None,
        retire: bool = False,
    ) -> str:
        """Begin to drain a node, or go on; returns why that cannot be, or nothing."""
        refusal = draining.ask(
            self.cluster, client, request, node, now, within_s=within_s, retire=retire
        )
        assign(self.cluster, now)
        return refusal

    def undrain(self, node: str, now: float) -> str:
        """Let a node take tasks again; returns why that cannot be, or nothing."""
        return draining.undo(self.cluster, node, now)

    def pause(
        self, client: int, request: int, pool: str, why: str, now: float, *, again: bool = False
    ) -> str:
        """Hand out no queued task of a pool; returns why that cannot be, or nothing."""
        refusal = pausing.pause(self.cluster, client, request, pool, why, now, again=again)
        assign(self.cluster, now)
        return refusal

    def resume(self, pool: str, why: str, now: float) -> str:
        """Hand out the tasks of a paused pool again; returns why that cannot be, or nothing."""
        refusal = pausing.resume(self.cluster, pool, why, now)
        assign(self.cluster, now)
        return refusal

    def node_joined(
        self,
        peer: int,
        name: str,
        host: str,
        offers: dict[str, int],
        now: float,
        requires: dict[str, list[str]] | None = None,
        makes: dict[str, WorkerNeeds] | None = None,
        walltime_s: float | None = None,
        keeps: Sequence[KeptByNode] = (),
    ) -> NodeRecord | None:
        """A node joined: its workers are started.

        ``None`` if a pool it names cannot be, or the peer is a node already.

        Args:
            peer: the node's number as a peer.
            name: the name that it asks for.
            host: the name of its host.
            offers: how many workers it can start, by pool.
            now: the time, in seconds on the broker's clock.
            requires: the things that a process must have loaded to serve a pool.
            makes: the share of each worker, by pool; without one: one core.
            walltime_s: seconds that the node may yet run; ``None``: not bounded.
            keeps: the workers among those offered that it has kept, see `kept_runs`.
        """
        return membership.node_joined(
            self.cluster, peer, name, host, offers, now, requires, makes, walltime_s, keeps
        )

    def node_lost(self, peer: int, reason: str, now: float) -> None:
        """A node left or was lost, and its workers with it."""
        membership.node_lost(self.cluster, peer, reason, now)
        assign(self.cluster, now)

    def accounted(
        self,
        peer: int,
        heard: float,
        workers: Mapping[str, Accounted],
        now: float,
        *,
        orders_lost: bool,
    ) -> None:
        """A node says what it knows of all its workers, because messages about them were lost.

        Args:
            peer: the node's number as a peer.
            heard: the time before which all that was sent to it has arrived there, or is lost.
            workers: its workers, by name.
            now: the time, in seconds on the broker's clock.
            orders_lost: whether not all that was sent to its workers has arrived.
        """
        accounts.take(self.cluster, peer, heard, workers, now, orders_lost=orders_lost)
        assign(self.cluster, now)

    # -- workers ------------------------------------------------------------------------------

    def worker_joined(self, peer: int, name: str, pid: int, now: float) -> WorkerRecord | None:
        """A worker is ready; ``None`` if none of that name is expected."""
        if (kept := kept_runs.joined(self.cluster, name, peer, pid, now)) is not None:
            return kept
        worker = worker_life.worker_joined(self.cluster, peer, name, pid, now)
        assign(self.cluster, now)
        return worker

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

    def worker_exited(self, name: str, run: int, reason: str, now: float) -> None:
        """A node says that a worker's process ended while it worked on ``run`` (0: on nothing)."""
        worker_life.worker_exited(self.cluster, name, run, reason, now)
        assign(self.cluster, now)

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

    # -- orders to campaigns -------------------------------------------------------------------

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

    def loop_stalled(self, agent: str, seconds: float, where: str, now: float) -> None:
        """The event loop that the broker shares with an agent stood still, and goes on."""
        self.cluster.emit(LoopStalled, now, agent, seconds, where)

    # -- objects of the store, and published values --------------------------------------------

    def hold(self, stored: StoredObject, client: int) -> None:
        """A client needs an object, once more if it does already."""
        self.cluster.holdings.hold(stored, ("client", client))

    def let_go(self, name: bytes, client: int) -> bool:
        """A client needs an object once less; ``False`` if it did not need it."""
        return self.cluster.holdings.let_go(name, ("client", client))

    def keep_result(self, client: int, task_id: int, stored: StoredObject) -> None:
        """A detached client's task ended with this value under an earlier broker."""
        kept_results.keep(self.cluster, client, task_id, stored)

    def give_again(self, client: int, task_id: int) -> None:
        """A detached client is back, and is given the result of a task again."""
        kept_results.give_again(self.cluster, client, task_id)

    def forget_results(self, client: int, task_ids: Iterable[int]) -> None:
        """A detached client will not ask for the results of these tasks again."""
        kept_results.forget(self.cluster, client, task_ids)

    def refuse(self, name: bytes) -> None:
        """An object came with a message that is dropped: it is freed, unless it is needed."""
        self.cluster.holdings.refuse(name)

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

    def publish_version(
        self, name: str, stored: StoredObject, by: str, now: float, number: int = 1
    ) -> tuple[Version, list[VersionWaiter]]:
        """Make an object the newest version of a name; returns that, and the clients to be told."""
        served = self.cluster.versions.publish(name, stored, by, now, number)
        return self.cluster.versions.newest[name], served

    def ask_version(self, name: str, waiter: VersionWaiter) -> Version | None:
        """Return the version that a client asks for, which it then holds; ``None``: it waits."""
        return self.cluster.versions.ask(name, waiter)

    def published(self, topic: str, value: Any, by: str, now: float) -> None:
        """A client published a value under a topic, for those that follow the events."""
        self.cluster.emit(Published, now, topic, value, by)
