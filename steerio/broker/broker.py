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

from steerio.broker.door import Door
from steerio.broker.inbox import Inbox
from steerio.broker.intake import Intake
from steerio.broker.ledgers import Ledgers
from steerio.broker.object_removal import ObjectRemoval, Sweeper
from steerio.broker.peers import Peers
from steerio.broker.performer import Performer
from steerio.broker.record_writer import RecordWriter
from steerio.broker.settled_tasks import SettledTasks
from steerio.broker.sharing import Sharing
from steerio.broker.succession import OnlyBroker, StateKeeper, Succession
from steerio.core.core import Core
from steerio.core.records import WorkerRecord
from steerio.edge.record.ledger_files import LedgerFolder
from steerio.edge.record.record_files import RecordFiles
from steerio.edge.wire.endpoint import RouterEndpoint
from steerio.model import messages as ms
from steerio.model.settings import Settings

log = logging.getLogger("steerio.broker")
decisions = logging.getLogger("steerio.core")
"""Told of each decision of the core, which may log nothing itself: one line at level debug."""

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
        allow: the functions that workers may run, which then read no pickle; ``None``: any.
        door: of its network address, which knows the keys that open it.
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
        allow: tuple[str, ...] | None = None,
        door: Door | None = None,
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
        self._clock = clock
        self._lock = threading.RLock()
        self._peers = Peers()
        self._sharing = Sharing(self.core, self._peers, clock())
        self._keeper = StateKeeper(self.core, self._succession)
        self._ledgers = Ledgers(ledgers, self._peers.next_number)
        self._intake = Intake(
            self.core,
            self._peers,
            self._succession,
            self._record_and_share,
            self._hear_out,
            clock(),
            self._ledgers,
            allow,
            door,
        )
        self._door = door
        self._to_cut: frozenset[str] = frozenset()
        """The keys that were revoked a beat ago: their peers have been told so by now."""
        self._inbox = Inbox(self._intake.take, self._intake.unreachable)
        settled = SettledTasks(
            self._peers,
            self.core.epoch,
            0 if record is None else record.incarnation,
            self._ledgers.by_peer,
        )
        self._removal = ObjectRemoval(sweeper, self.core.held)
        self._performer = Performer(self._peers, settled, self._removal)
        self._record = None if record is None else RecordWriter(record, settled, self._fail)
        self._next_ping = clock()
        self._step_by = inf
        """When to step again at the latest, as the last step said."""
        self._judges_from = -inf
        """When silence is judged again after the broker stood still."""
        self.core.expect_workers(pools or {}, clock())
        if self._succession.returns:
            its = self._succession
            self.core.returned_as(its.incarnation, its.versions, its.paused, clock())
            # its clients come back one by one: one may hold an object that another lets go
            self._removal.spare_until(clock() + self.core.settings.lease_s)
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
        return self._intake.all_dropped()

    def step(self) -> float | None:
        """Do all there is to do now; return when to step again at the latest (or ``None``).

        ``more`` says afterwards whether messages are there already.
        """
        with self._lock:
            now = self._clock()
            if now > self._step_by + LATE_S:
                self._judges_from = now + self.settings.beat_s
            self._inbox.take_in(self.routers, now)
            due = self.core.next_look
            if due is not None and due <= now:
                for router in self.routers:
                    router.expect()
                self.core.tick(
                    now, words_wait=now < self._judges_from or self._inbox.words_wait(self.routers)
                )
                for reason in self.core.take_stalls():
                    log.warning("nothing can go on: %s", reason)
            if now >= self._next_ping:
                self._ping(now)
            elif now >= self._sharing.pools_at:
                self._sharing.share_pools(now)
            self._finish(now)
            self.more = self._inbox.words_wait(self.routers)
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
            self._removal.spare_until(-inf)
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

    def _hear_out(self, worker: WorkerRecord, now: float) -> None:
        """Take in all that has arrived from a worker: its node says that it has ended."""
        peer = self._peers.by_number.get(worker.peer)
        if self._inbox.waiting and peer is not None:
            self._inbox.take_all(peer.router, peer.identity, now)

    def _soonest(self) -> float:
        """Return when to step again at the latest."""
        soonest = min(self._sharing.pools_at, self._removal.spares_until)
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
            self._keeper.keep()
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
                self._sharing.share_pools(now)
            self._peers.relays.flush()
            gone += self._flush(self._second)
            for router, identity in gone:
                self._inbox.unreachable(router, identity, now)
            if not self.core.has_effects:
                return

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
        if fresh and self._peers.following:
            self._sharing.share_events(fresh)

    def _fail(self, reason: str) -> None:
        """Ask to be ended: the record cannot be written."""
        if not self.failed:
            self.failed = True
            self._intake.closing = reason
            log.error("%s", reason)

    def _end_revoked(self, now: float) -> None:
        """End the peers whose keys were revoked, and a beat later their connections.

        One that was there before, and is first heard after that, is cut by a later beat.
        """
        if self._door is None:
            return
        if self._to_cut:
            self._door.cut(self._to_cut)
        self._to_cut = self._door.look()
        if self._to_cut:
            self._intake.end_revoked(self._to_cut, now)

    def _ping(self, now: float) -> None:
        """Tell remote clients that we are alive; those whose connection stands count as heard.

        A client's own loop may stand still for long: the kernel, or a thread of ZeroMQ, keeps its
        connection.
        """
        self._next_ping = now + self.settings.beat_s
        self._end_revoked(now)
        self._sharing.share_pools(now)
        for number in self._ledgers.remove_empty(self._peers.by_number):
            self.core.client_forgotten(number)
        self._sharing.tell_of_missed(now)
        for client in self.core.clients.values():
            peer = self._peers.by_number.get(client.peer)
            if peer is not None and not peer.router.local:
                peer.send(ms.BeatAnswer(0.0, now))
                if peer.router.connected(peer.identity):
                    self.core.heard(client.peer, now)
        for router in self.routers:
            router.tick()
