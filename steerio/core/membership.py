"""Who comes, who goes, and what is lost when they do.

A member is a node or a client.  It is *heard* with each of its messages and lost when
it was silent for a lease.  Workers are watched by their node, which says at once when
one exited; a worker that dies is replaced on the same node.  Where the workers of its
pool keep dying before they are ready, that is put off, for longer each time; and when
the pool has no other worker left it has failed, with the reason that the last of them
gave, and nobody waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain

from msgspec import Struct

from steerio.core.dispatch import Dispatch
from steerio.core.draining import Draining
from steerio.core.effects import Expel, Signal, Start, SweepObjects
from steerio.core.moves import Moves
from steerio.core.records import NodeRecord, TypeRecord, WorkerRecord
from steerio.core.roster import Pool
from steerio.core.stalls import Stalls
from steerio.model.events import (
    AnyEvent,
    ClientLost,
    NodeJoined,
    NodeLost,
    PoolChanged,
    PoolFailed,
    WorkerJoined,
    WorkerLost,
)
from steerio.model.places import WorkerNeeds

ENDING_S = 10.0
"""Longest that a node takes to end with its workers, in seconds; its own bounds are shorter."""
SILENCES = ("node", "client", "start", "empty")
"""The deadlines that come up because a member said nothing."""
SLOW = {"starting": "start", "retiring": "retire"}
"""The deadlines of workers' phases that may last so long and no longer."""
UNSEEN = "it was to be killed, and its node did not say that it has ended"
"""Why a worker is over whose end nobody saw."""
FIRST_PUT_OFF_S, LONGEST_PUT_OFF_S = 1.0, 30.0
"""How long the start of a worker is put off after too many failed, doubled each time."""


class ClientRecord(Struct, eq=False):
    """One client, the task types it defined, and when it was last heard of.

    Who defined no task type has submitted nothing.
    """

    name: str
    peer: int
    heard: float
    types: dict[int, TypeRecord]
    maker: str = ""


class Membership:
    """Nodes, workers and clients: all decisions about joining and leaving."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.dispatch = dispatch
        self.roster = dispatch.roster
        self.settings = dispatch.settings
        self.clients: dict[int, ClientRecord] = {}
        self.nodes: dict[int, NodeRecord] = {}
        self.moves = Moves(dispatch)
        self.draining = Draining(dispatch, self.moves, self.node_lost, self._start)
        self._recall_at: float | None = None
        self._put_off: set[tuple[str, int]] = set()
        self._to_replace: dict[int, WorkerRecord] = {}
        """Workers that are gone and are to be replaced later, by number."""
        self._out_of_sight: deque[list[str]] = deque()
        """Who may have put objects and is gone, though nobody saw it end, in the order of that."""
        dispatch.starved = self.watch_empty
        self.stalls = Stalls(dispatch, self.moves.asked.values, self._to_be_replaced)
        self._checks: dict[str, Callable[[int, float], None]] = {
            "node": self._check_node,
            "client": self._check_client,
            **{what: partial(self._check_slow, phase) for phase, what in SLOW.items()},
            "broken": partial(self._check_slow, ""),
            "replace": self._replace,
            "expected": self._expect_nobody,
            "empty": self._check_empty,
            "press": partial(self.moves.due, "press"),
            "short": partial(self.moves.due, "short"),
            "deadlock": partial(self.moves.due, "deadlock"),
            "recall": self._check_held,
            "sweep": self._sweep,
            "stalled": self._look_for_stalls,
            **{what: partial(self.draining.due, what) for what in ("ending", "end", "drain")},
        }

    # -- clients ------------------------------------------------------------------------

    def client_joined(
        self, peer: int, name: str, watched: bool, now: float, maker: str = "", inside: str = ""
    ) -> None:
        """A client joined; ``watched``: it beats, and is lost when it falls silent.

        ``maker`` is what it calls itself where it puts objects into the store; ``inside`` the
        worker in whose task it says it is, with the number of that process.
        """
        if peer in self.clients:
            return
        worker = self.roster.workers.get(inside.partition(":")[0])
        if worker is not None and inside == f"{worker.name}:{worker.pid}":
            self.dispatch.inside[peer] = worker
        self.clients[peer] = ClientRecord(name, peer, now, {}, maker)
        self.dispatch.holdings.join(peer)
        if watched:
            self.dispatch.deadlines.add(now + self.settings.lease_s, "client", peer)

    def client_left(self, peer: int, reason: str, now: float) -> None:
        """A client left or was lost: what it submitted is cancelled."""
        client = self.clients.pop(peer, None)
        if client is None:
            return
        self.dispatch.inside.pop(peer, None)
        self.moves.client_left(peer, now)
        self.dispatch.versions.forget(peer)
        self.dispatch.holdings.leave(peer)
        if client.types:  # those who only watch come and go often, and need no search
            for record in [r for r in self.dispatch.tasks.values() if r.client == peer]:
                self.dispatch.cancel(record.task_id, f"its client left: {reason}", now)
            self.dispatch.effects += self.dispatch.types.forget(client.types, list(client.types))
        if client.maker:
            self._sweep_later([client.maker], now)
        log = self.dispatch.log
        self._emit(ClientLost(log.next(), now + log.epoch, client.name, reason))

    def broker_ends(self) -> None:
        """Nobody is served any more: have the store emptied of all that anybody put there."""
        self.dispatch.holdings.free_all()
        makers = [client.maker for client in self.clients.values() if client.maker]
        gone = chain.from_iterable(self._out_of_sight)
        self.dispatch.effects += map(SweepObjects, [*makers, *self.roster.workers, *gone])

    # -- nodes and their workers ---------------------------------------------------------

    def node_joined(
        self,
        peer: int,
        name: str,
        host: str,
        workers: dict[str, int],
        now: float,
        requires: dict[str, list[str]] | None = None,
        makes: dict[str, WorkerNeeds] | None = None,
        walltime_s: float | None = None,
    ) -> NodeRecord | None:
        """A node joined: start its workers; ``requires``: what a process of each pool needs.

        ``makes`` is what a worker of each pool has there, ``walltime_s`` how long the node lasts.
        ``None`` where a pool it names cannot be, or the peer is a node already.
        """
        if peer in self.nodes or any(self.roster.pool(pool) is None for pool in workers):
            return None
        node, started = self.roster.add_node(name, host, peer, workers, now, makes)
        self.nodes[peer] = node
        node.requires = requires or {}
        log = self.dispatch.log
        ends = None if walltime_s is None else self.draining.limit(node, walltime_s, now)
        self._emit(NodeJoined(log.next(), now + log.epoch, node.name, host, workers, ends))
        self.dispatch.deadlines.add(now + self.settings.lease_s, "node", node.number)
        for worker in started:
            self._start(worker, now)
        return node

    def node_lost(self, peer: int, reason: str, now: float) -> None:
        """A node left or was lost, and its workers with it."""
        node = self.nodes.pop(peer, None)
        if node is None:
            return
        log = self.dispatch.log
        self._emit(NodeLost(log.next(), now + log.epoch, node.name, reason))
        self.draining.lost(node, reason)
        waiting = self._to_replace.items()
        self._to_replace = {number: gone for number, gone in waiting if gone.node is not node}
        lost = self.roster.remove_node(node)
        for worker in lost:  # all of them first, or one would be given what another had
            starting = worker.phase == "starting"
            task_id = worker.in_hand[0].task_id if worker.in_hand else None
            pool = self._remove(worker, f"its node was lost: {reason}", task_id, now)
            if starting:
                pool.start_failures -= 1
            else:
                self.dispatch.effects.append(Expel(worker.peer, f"its node was lost: {reason}"))
        for worker in lost:
            self.dispatch.worker_gone(worker, 0, f"node lost: {reason}", False, now)
        for worker in lost:
            self.moves.worker_lost(worker.move, worker.home, now)
        self._sweep_later([worker.name for worker in lost], now)
        self.dispatch.effects.append(Expel(peer, reason))

    def worker_joined(self, peer: int, name: str, pid: int, now: float) -> WorkerRecord | None:
        """A worker is ready; ``None`` where none of that name is expected."""
        worker = self.roster.workers.get(name)
        if worker is None or worker.phase != "starting":
            return None
        pool = self.roster.worker_ready(worker, peer, pid)
        log = self.dispatch.log
        at = now + log.epoch
        self._emit(WorkerJoined(log.next(), at, name, worker.pool, worker.node.name, pid))
        self._emit(PoolChanged(log.next(), at, pool.name, pool.ready))
        self.dispatch.worker_free(worker, now)
        return worker

    def worker_exited(self, name: str, run: int, reason: str, now: float) -> None:
        """A node says that a worker's process ended while it worked on ``run``.

        ``run`` is best the last attempt that it began, whether or not it ended that one.
        """
        worker = self.roster.workers.get(name)
        if worker is None:
            return
        reason = worker.broken or reason
        record = self.dispatch.runs.get(run)
        mine = record is not None and record.worker is worker
        was_ready = worker.phase != "starting"
        pool = self._remove(worker, reason, record.task_id if record and mine else None, now)
        self.dispatch.effects.append(SweepObjects(name))
        node = worker.node
        if node.draining:
            self.draining.worker_gone(worker)
        elif not pool.failure:
            if was_ready or self.roster.may_start(pool):
                self._start(self.roster.replace(worker), now)
            else:
                if pool.workers == 0:
                    self.fail(pool, reason, now)
                self._replace_later(worker, now)
        self.dispatch.worker_gone(worker, run, reason, True, now)
        self.moves.worker_lost(worker.move, worker.home, now)
        if node.draining:
            self.draining.look(node, now)

    # -- who is not to be understood ------------------------------------------------------

    def ended(self, peer: int, reason: str, now: float) -> None:
        """A peer said something that cannot be read: it ends, and what depends on it.

        Nobody knows what it was to say.  So a client's tasks are cancelled, a node is lost with its
        workers; and a worker's process is killed, after which its tasks are tried again or lost.
        """
        worker = next((w for w in self.roster.workers.values() if w.peer == peer), None)
        if peer in self.clients:
            self.client_left(peer, reason, now)
            self.dispatch.effects.append(Expel(peer, reason))
        elif peer in self.nodes:
            self.node_lost(peer, reason, now)
        elif worker is not None and not worker.broken:  # it may have said more by now
            worker.broken = reason
            self.dispatch.effects.append(Expel(peer, reason))
            self._check_slow("", worker.number, now)

    def fail(self, pool: Pool, reason: str, now: float) -> None:
        """Give up a pool, and say so."""
        log = self.dispatch.log
        self._emit(PoolFailed(log.next(), now + log.epoch, pool.name, reason))
        pool.to_come = 0
        self.dispatch.fail_pool(pool, reason, now)

    # -- time ---------------------------------------------------------------------------

    def heard(self, peer: int, now: float) -> None:
        """A member said something."""
        member = self.clients.get(peer) or self.nodes.get(peer)
        if member is not None:
            member.heard = now

    def tick(self, now: float, *, words_wait: bool = False) -> None:
        """Look at everything whose time has come.

        No member is lost for its silence while it may have spoken (``words_wait``: there is more
        to be taken in): it has another beat for it.  No more, for others may never pause.
        """
        for what, about in self.dispatch.deadlines.due(now):
            if what in SILENCES and self._puts_off(what, about, words_wait):
                self.dispatch.deadlines.add(now + self.settings.beat_s, what, about)
            elif what in self._checks:
                self._checks[what](about, now)
            else:
                self.dispatch.due(what, about, now)

    def watch_held(self, now: float) -> None:
        """Look at held tasks soon, where any worker has more than one task in hand."""
        if not self.dispatch.sent_ahead or self._recall_at is not None:
            return
        busy = sum(pool.ready - len(pool.idle) for pool in self.roster.pools.values())
        self.dispatch.sent_ahead = len(self.dispatch.runs) > busy
        if self.dispatch.sent_ahead:
            self._recall_at = now + self.settings.recall_s
            self.dispatch.deadlines.add(self._recall_at, "recall", 0)

    def expect_workers(self, pools: Mapping[str, int], now: float) -> None:
        """Take in how many workers pools are to have, of nodes that are about to join.

        They count as starting until those join, or for ``join_s``.
        """
        for name, count in pools.items():
            pool = self.roster.pools[name]
            pool.announced = pool.to_come = count
            pool.may_be_empty = not count
            self.watch_empty(pool, now)
        self.dispatch.deadlines.add(now + self.settings.join_s, "expected", 0)

    def _expect_nobody(self, about: int, now: float) -> None:
        del about, now
        for pool in self.roster.pools.values():
            pool.to_come = 0

    def watch_empty(self, pool: Pool, now: float) -> None:
        """Start the time that a pool of a closed broker may be without workers.

        To be called for each pool at the start, and when the last worker of one is gone.
        """
        waited_for = pool.backlog or not pool.may_be_empty
        if self.roster.closed and waited_for and pool.empty_since is None:
            pool.empty_since = now
            self.dispatch.deadlines.add(now + self.settings.join_s, "empty", 0)

    # -- the steps they share -------------------------------------------------------------

    def _start(self, worker: WorkerRecord, now: float) -> None:
        self.dispatch.effects.append(Start(worker.node, worker))
        self.dispatch.deadlines.add(now + self.settings.start_s, "start", worker.number)

    def _replace_later(self, worker: WorkerRecord, now: float) -> None:
        """Start another at home in a while, if that has not failed: the cause may pass."""
        worker.put_off_s = min(max(2 * worker.put_off_s, FIRST_PUT_OFF_S), LONGEST_PUT_OFF_S)
        self._to_replace[worker.number] = worker
        self.dispatch.deadlines.add(now + worker.put_off_s, "replace", worker.number)

    def _replace(self, number: int, now: float) -> None:
        worker = self._to_replace.pop(number, None)
        if worker is not None and worker.node.draining:
            self.draining.worker_gone(worker)
        elif worker is not None and not self.roster.pools[worker.home].failure:
            fresh = self.roster.add_worker(worker.node, worker.home)
            fresh.put_off_s = worker.put_off_s
            self._start(fresh, now)

    def _remove(self, worker: WorkerRecord, reason: str, task_id: int | None, now: float) -> Pool:
        retired = worker.phase == "retiring"
        pool = self.roster.remove_worker(worker)
        log = self.dispatch.log
        at = now + log.epoch
        node = worker.node.name
        if not retired:
            self._emit(WorkerLost(log.next(), at, worker.name, pool.name, node, reason, task_id))
            self._emit(PoolChanged(log.next(), at, pool.name, pool.ready))
        if pool.workers == 0:
            self.watch_empty(pool, now)
        return pool

    def _sweep_later(self, makers: list[str], now: float) -> None:
        """Have it swept after makers when they must be over: until then they may put objects.

        Who hears nothing of the broker gives it up within a lease and a beat, which is less than
        two leases, and then has to end.
        """
        self._out_of_sight.append(makers)
        self.dispatch.deadlines.add(now + 2 * self.settings.lease_s + ENDING_S, "sweep", 0)

    def _sweep(self, about: int, now: float) -> None:
        del about, now
        self.dispatch.effects += map(SweepObjects, self._out_of_sight.popleft())

    def _puts_off(self, what: str, about: int, words_wait: bool) -> bool:
        """Whether to look at a silence a beat later, which is done once."""
        if words_wait and (what, about) not in self._put_off:
            self._put_off.add((what, about))
            return True
        self._put_off.discard((what, about))
        return False

    def _check_node(self, number: int, now: float) -> None:
        node = self.roster.by_number.get(number)
        if not isinstance(node, NodeRecord):
            return
        lease_s = self.settings.lease_s
        if now >= node.heard + lease_s:
            self.node_lost(node.peer, f"silent for {lease_s:g} s", now)
        else:
            self.dispatch.deadlines.add(node.heard + lease_s, "node", number)

    def _check_client(self, peer: int, now: float) -> None:
        client = self.clients.get(peer)
        if client is None:
            return
        lease_s = self.settings.lease_s
        if now >= client.heard + lease_s:
            self.client_left(peer, f"silent for {lease_s:g} s", now)
            self.dispatch.effects.append(Expel(peer, "silent for too long"))
        else:
            self.dispatch.deadlines.add(client.heard + lease_s, "client", peer)

    def _check_slow(self, phase: str, number: int, now: float) -> None:
        """Have a worker killed that is still in a phase that may last so long and no longer.

        Or one that is ``broken``.  Its node says when it has ended, if it ever had the order to
        start it, and to kill it: orders may be lost.  If it says nothing, the worker is over.
        """
        worker = self.roster.by_number.get(number)
        if not isinstance(worker, WorkerRecord):
            return
        if phase and (worker.phase != phase or worker.broken):
            return
        what = SLOW[phase] if phase else "broken"
        if worker.pressed == what:
            run = worker.in_hand[0].run if worker.in_hand else 0
            self.worker_exited(worker.name, run, UNSEEN, now)
            self._sweep_later([worker.name], now)  # until then it may put objects
            return
        worker.pressed = what
        self.dispatch.effects.append(Signal(worker, 0, "kill"))
        self.dispatch.deadlines.add(now + self.settings.lease_s + ENDING_S, what, number)

    def _check_held(self, about: int, now: float) -> None:
        del about
        self._recall_at = None
        self.dispatch.recall_held(now)

    def _look_for_stalls(self, about: int, now: float) -> None:
        del about
        self.stalls.look(now)

    def _check_empty(self, about: int, now: float) -> None:
        del about
        for pool in self.roster.pools.values():
            since = pool.empty_since
            if since is None or pool.failure:
                continue
            if pool.may_be_empty and not pool.backlog:
                pool.empty_since = None
            elif now < since + self.settings.join_s:
                continue
            elif self._awaits(pool):
                pool.empty_since = now
                self.dispatch.deadlines.add(now + self.settings.join_s, "empty", 0)
            else:
                moved = ", and none was moved to it" if pool.may_be_empty else ""
                within = f"within {self.settings.join_s:g} s"
                self.fail(pool, f"no worker joined it {within}{moved}", now)

    def _awaits(self, pool: Pool) -> bool:
        """Whether workers of this pool are on their way to it, or will be."""
        return bool(pool.at_home or pool.coming) or self._to_be_replaced(pool)

    def _to_be_replaced(self, pool: Pool) -> bool:
        return any(gone.home == pool.name for gone in self._to_replace.values())

    def _emit(self, event: AnyEvent) -> None:
        self.dispatch.log.append(event)
