"""The broker: takes messages in, lets the core decide, performs its effects.

A broker has no loop and no thread of its own. Its driver calls `step` (see ``broker.driver``): take
in messages, tick, perform, write the record, flush. One lock makes steps exclusive, so that a
second thread may step in while the loop of the first stands still.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf

from steerio.broker.inbox import Inbox
from steerio.broker.intake import Intake
from steerio.broker.ledgers import Ledgers
from steerio.broker.peers import Peers, task_states
from steerio.broker.performer import Performer, Sweeper
from steerio.broker.record_writer import RecordWriter
from steerio.broker.succession import OnlyBroker, Succession
from steerio.core.core import Core
from steerio.core.lifecycle import CLIENTS, Role
from steerio.core.records import WorkerRecord
from steerio.edge.record.ledger_files import LedgerFolder
from steerio.edge.record.record_files import RecordFiles
from steerio.edge.wire.endpoint import RouterEndpoint
from steerio.model import messages as ms
from steerio.model.settings import Settings

log = logging.getLogger("steerio.broker")
decisions = logging.getLogger("steerio.core")
"""Told of each decision of the core, which may log nothing itself: one line at level debug."""

MESSAGES_PER_STEP = 1_000
"""Most messages taken in by one step, so that no step holds the loop for long."""
SHARE_POOLS_S = 0.1
"""Least time between two messages on other changes to clients that watch the sizes of pools."""
LATE_S = 0.5
"""A broker that steps by more than this later than it asked for has stood still."""
ROUNDS = 8
"""Most rounds of performing in one step; each but the first follows from lost peers."""


class Broker:
    """The only meeting point, with queue, pools, workers and event log.

    Args:
        routers: the endpoints to serve.
        pools: the pools, and the number of workers that each will have: 0 for one that gets its
            workers by moves. With ``closed`` there are no other pools, ever.
        closed: whether workers and pools are all known from the start.
        settings: bounds and leases.
        record: for the record, if there is one.
        sweeper: removes objects from the store, if there is one.
        succession: its place among the brokers of its run directory.
        ledgers: has those of detached clients; by default they are kept in memory.
        copied_bytes: most bytes that each node may copy ahead of objects that are not there; 0:
            they are.
        clock: monotonic seconds; ``epoch``: the difference of Unix time to them.
    """

    def __init__(
        self,
        routers: Sequence[RouterEndpoint],
        *,
        pools: Mapping[str, int] | None = None,
        closed: bool = False,
        settings: Settings | None = None,
        record: RecordFiles | None = None,
        sweeper: Sweeper | None = None,
        succession: Succession | None = None,
        ledgers: LedgerFolder | None = None,
        copied_bytes: int = 0,
        clock: Callable[[], float] = time.monotonic,
        epoch: float | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.routers = list(routers)
        self._first = [router for router in routers if router.first]
        self._second = [router for router in routers if not router.first]
        self.more = False
        self.failed = False
        """Whether it asks to be ended because it cannot do its work."""
        self.core = Core(
            self.settings,
            pools or {},
            closed,
            epoch=time.time() - time.monotonic() if epoch is None else epoch,
            fetch_ahead_bytes=copied_bytes,
            keeps_own=False,  # the values of those that it has given up may be gone
        )
        if record is not None:
            self.core.count_events_from(record.last_event)
        self._succession = succession or OnlyBroker()
        if self._succession.incarnation > 1:
            self.core.begin_as(self._succession.incarnation)
        self._kept = 0, 0
        """How many versions had been published, and pools paused, when that was kept last."""
        self._unkept = False
        """Whether it was told that they cannot be kept."""
        self._clock = clock
        self._lock = threading.RLock()
        self._peers = Peers()
        self._ledgers = Ledgers(ledgers, self._peers.next_number)
        self._intake = Intake(
            self.core,
            self._peers,
            self._succession,
            self._record_and_share,
            self._hear_out,
            clock(),
            self._ledgers,
        )
        self._inbox = Inbox(self._intake.take, self._unreachable)
        self._performer = Performer(
            self._peers,
            self.core.epoch,
            0 if record is None else record.incarnation,
            sweeper,
            self.core.held,
            self._ledgers.by_peer,
        )
        self._record = None if record is None else RecordWriter(record, self._performer, self._fail)
        self._next_ping = clock()
        self._next_share = clock()
        self._share_at = inf
        self._step_by = inf
        """When to step again at the latest, as the last step said."""
        self._judges_from = -inf
        """When silence is judged again after the broker stood still."""
        self._shared_sizes: list[int] = []
        self.core.expect_workers(pools or {}, clock())
        if self._succession.returns:
            its = self._succession
            self.core.returned_as(its.incarnation, its.versions, its.paused, clock())
            # its clients come back one by one: one may hold an object that another lets go
            self._performer.spare_until(clock() + self.core.settings.lease_s)
        self._intake.take_up(stopped=not self._succession.returns, now=clock())

    def __repr__(self) -> str:
        return f"<Broker {len(self._peers)} peers, {self.core}>"

    @property
    def closing(self) -> str:
        """Why the broker was asked to end, or ``""``."""
        return self._intake.closing

    @property
    def dropped(self) -> dict[str, int]:
        """The number of messages that were dropped, by reason."""
        return dict(self._intake.dropped)

    def step(self) -> float | None:
        """Do all there is to do now; return when to step again at the latest (or ``None``).

        ``more`` says afterwards whether messages are there already.
        """
        with self._lock:
            now = self._clock()
            if now > self._step_by + LATE_S:
                self._judges_from = now + self.settings.beat_s
            self._take_in(now)
            due = self.core.next_look
            if due is not None and due <= now:
                for router in self.routers:
                    router.expect()
                self.core.tick(now, words_wait=now < self._judges_from or self._words_wait())
                for reason in self.core.take_stalls():
                    log.warning("nothing can go on: %s", reason)
            if now >= self._next_ping:
                self._ping(now)
            elif now >= self._share_at:
                self._share_pools(now)
            self._finish(now)
            self.more = self._words_wait()
            self._step_by = self._soonest()
            return self._step_by if self._step_by < inf else None

    def node_exited(self, pid: int, reason: str) -> bool:
        """Take in that a node's process ended, as its starter saw (any thread).

        Returns whether it was told to end: then no other takes its place.
        """
        with self._lock:
            now = self._clock()
            told = self._performer.was_dismissed(pid)
            for peer in [peer for peer in self._peers if peer.local_pid == pid]:
                told = False  # that was another process of the same number
                self.core.node_lost(peer.number, reason, now)
            self._finish(now)
            return told

    def fail_pools(self, reason: str) -> None:
        """Give up the pools that have no worker: none will come any more (any thread)."""
        with self._lock:
            now = self._clock()
            self.core.fail_pools(reason, now)
            self._finish(now)

    def loop_stalled(self, agent: str, seconds: float, where: str) -> None:
        """Take in that the event loop stood still, and goes on (any thread)."""
        with self._lock:
            now = self._clock()
            self.core.loop_stalled(agent, seconds, where, now)
            self._finish(now)

    def close(self, reason: str) -> None:
        """Tell all peers to end, empty the store, and let go of the endpoints."""
        with self._lock:
            for peer in self._peers:
                peer.send(ms.Closing(reason))
            self._performer.spare_until(-inf)
            self.core.broker_ends()
            self._finish(self._clock())
            for router in self.routers:
                router.close()
            if self._record is not None:
                self._record.close(self._clock())
                self._record = None
            self._ledgers.close()
            with contextlib.suppress(OSError):  # the next one will take this for another end
                self._succession.close()

    def abandon(self, reason: str) -> None:
        """End and record all that is under way, and close (any thread).

        For when the loop that drives the broker will not turn again.
        """
        with self._lock:
            now = self._clock()
            for number in list(self.core.clients):
                self.core.client_left(number, reason, now)
            for number in list(self.core.nodes):
                self.core.node_lost(number, reason, now)
            self._finish(now)
            self.close(reason)
            for routers in (self.routers, self._first, self._second):
                routers.clear()  # another thread may be about to step

    # -- the parts of a step --------------------------------------------------------------

    def _take_in(self, now: float) -> None:
        """Take in messages that have arrived, as many as one step may.

        From an endpoint of which so many wait already none are received: let them wait there.
        """
        inbox, take, room = self._inbox, self._intake.take, float(MESSAGES_PER_STEP)
        some_wait = bool(inbox.waiting)
        for router in self.routers:
            if some_wait and inbox.count(router) >= MESSAGES_PER_STEP:
                continue
            for arrival in router.receive(MESSAGES_PER_STEP):
                if some_wait or room <= 0:
                    some_wait = True
                    inbox.put(router, arrival)
                    continue
                taken, cost = take(router, arrival, now, room)
                room -= cost
                if taken < len(arrival.messages):
                    some_wait = True
                    inbox.put(router, arrival, taken)
        if some_wait:
            inbox.take(now, room)

    def _hear_out(self, worker: WorkerRecord, now: float) -> None:
        """Take in all that has arrived from a worker: its node says that it has ended."""
        peer = self._peers.by_number.get(worker.peer)
        if self._inbox.waiting and peer is not None:
            self._inbox.take_all(peer.router, peer.identity, now)

    def _words_wait(self) -> bool:
        """Say whether messages are there that were not taken in."""
        if self._inbox.waiting:
            return True
        for router in self.routers:  # noqa: SIM110 - a generator costs more than the asking
            if router.ready():
                return True
        return False

    def _soonest(self) -> float:
        """Return when to step again at the latest."""
        soonest = min(self._share_at, self._performer.spares_until)
        if self._record is not None:
            soonest = min(soonest, self._record.next_at)
        next_deadline = self.core.next_look
        if next_deadline is not None:
            soonest = min(soonest, next_deadline)
        return min(soonest, self._next_ping) if self._peers.by_number else soonest

    def _finish(self, now: float) -> None:
        """Perform, record, share and flush; peers found gone lead to another round.

        Orders to local workers go out first.  No result leaves before it is recorded.
        """
        for _ in range(ROUNDS):
            self._keep()
            effects = self.core.take_effects()
            changed = bool(effects) or self.core.has_events
            if changed and decisions.isEnabledFor(logging.DEBUG):
                for decision in self.core.say(effects):
                    decisions.debug("%s", decision)
            self._performer.perform(effects, now)
            gone = self._flush(self._first)
            self._ledgers.flush()
            self._record_and_share()
            if changed:
                self._share_pools(now)
            self._peers.relays.flush()
            gone += self._flush(self._second)
            for router, identity in gone:
                self._inbox.unreachable(router, identity, now)
            if not self.core.has_effects:
                return

    def _keep(self) -> None:
        """Keep newest versions and pauses for the next broker, before anyone hears of a new one.

        Also before the objects of those that were newest are removed.
        """
        counts = self.core.versions_published, self.core.pauses
        if counts == self._kept:
            return
        try:
            self._succession.keep(self.core.newest_versions, self.core.paused)
        except OSError as error:  # the next step tries that again
            if not self._unkept:
                log.warning("versions and pauses cannot be kept for a next broker: %s", error)
            self._unkept = True
        else:
            self._kept, self._unkept = counts, False

    def _flush(self, routers: list[RouterEndpoint]) -> list[tuple[RouterEndpoint, bytes]]:
        """Hand over the collected messages; return the peers that cannot be reached any more."""
        gone: list[tuple[RouterEndpoint, bytes]] = []
        for router in routers:
            if lost := router.flush():
                gone += [(router, identity) for identity in lost]
        return gone

    def _record_and_share(self) -> None:
        fresh = self.core.take_events()
        if self._record is not None:
            self._record.record(fresh, self._clock())
        if fresh:
            states: dict[int, dict[int, bool]] | None = None
            for peer in self._peers.following.values():
                for subscription in peer.subscriptions.values():
                    subscription.share(peer, fresh)
                if peer.watches_tasks:
                    states = task_states(fresh) if states is None else states
                    peer.send_states(list(states.get(peer.client_number, {}).items()))

    def _fail(self, reason: str) -> None:
        """Ask to be ended: the record cannot be written."""
        if not self.failed:
            self.failed = True
            self._intake.closing = reason
            log.error("%s", reason)

    def _share_pools(self, now: float) -> None:
        """Tell clients that watch the pools: of sizes at once, of the rest now and then."""
        sizes = [pool.ready for pool in self.core.pools.values()]
        due = sizes != self._shared_sizes or now >= self._next_share
        told = self._peers.clients if due else self._peers.watching_idle
        if told:
            status = ms.PoolStatus({n: p.load() for n, p in self.core.pools.items()})
            for peer in told.values():
                peer.send(status)
        if due:
            self._shared_sizes, self._next_share = sizes, now + SHARE_POOLS_S
        self._share_at = inf if due else self._next_share  # the last change is told, too

    def _ping(self, now: float) -> None:
        """Tell remote clients that we are alive; those whose connection stands count as heard.

        A client's own loop may stand still for long: the kernel, or a thread of ZeroMQ, keeps its
        connection.
        A client that missed events hears of it now if nothing came since that could have told it.
        """
        self._next_ping = now + self.settings.beat_s
        self._share_pools(now)
        for number in self._ledgers.remove_empty(self._peers.by_number):
            self.core.client_forgotten(number)
        shared = self.core.events_taken
        for watcher in self._peers.following.values():
            for subscription in watcher.subscriptions.values():
                subscription.catch_up(watcher, shared, now + self.core.epoch)
        for client in self.core.clients.values():
            peer = self._peers.by_number.get(client.peer)
            if peer is not None and not peer.router.local:
                peer.send(ms.BeatAnswer(0.0, now))
                if peer.router.connected(peer.identity):
                    self.core.heard(client.peer, now)
        for router in self.routers:
            router.tick()

    def _unreachable(self, router: RouterEndpoint, identity: bytes, now: float) -> None:
        """Take in that a peer's connection is gone; nodes tell of workers.

        A node whose host can only not be reached for now is told from one that ended by its lease.
        """
        peer = self._peers.at(router, identity)
        if peer is not None and peer.role in CLIENTS:
            self._peers.forget(peer)
            self.core.client_left(peer.number, "its connection closed", now)
        elif peer is not None and peer.role is Role.NODE and router.lasting:
            self._peers.forget(peer)
            reason = "the node's process ended or closed its connection"
            self.core.node_lost(peer.number, reason, now)
