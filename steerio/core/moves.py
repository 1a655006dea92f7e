"""Moving workers between pools, for good or on lease.

Theory.  A move names a number of workers, not which: whichever of the source becomes free
first goes, so nobody waits longer than needed.  The moves that wait for one pool's workers
are served in the order they were asked for, and a move asks nothing of its target, so two
opposite ones cannot wait for each other.  Only workers *at home* in the source are taken:
what a pool has borrowed is not its own to give away.

Until a move is granted its workers still belong to the source.  So undoing a move and
giving back a lease are one thing: everybody it has taken goes home when free.

Invariant: a worker in ``taken`` has this move as its ``move``; a move is in the queue of
its source exactly while it is ``waiting``; an ended one has nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from math import inf

from steerio.core import deadlock
from steerio.core.dispatch import Dispatch
from steerio.core.effects import Retire, TellMove
from steerio.core.lifecycle import State
from steerio.core.records import MoveRecord, WorkerRecord
from steerio.core.roster import READY, Pool
from steerio.model.events import PoolChanged, WorkerMoved

HOW = ("drain", "preempt")
DEADLOCK_LOOK_S = 1.0
"""How often to look for deadlocks while anybody holds workers and waits for others."""


class Moves:
    """All decisions about moving workers."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.dispatch = dispatch
        self.roster = dispatch.roster
        self.asked: dict[tuple[int, int], MoveRecord] = {}
        """What is not over yet, by client and the client's number for it."""
        self._by_number: dict[int, MoveRecord] = {}
        self._numbers = 0
        self._looks_again = False
        dispatch.divert = self._divert
        dispatch.moves_asked = self._by_number

    # -- what clients ask for -------------------------------------------------------------

    def ask(
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
        how: str = "drain",
        preempt_after_s: float | None = None,
    ) -> str:
        """Begin to move workers; returns why that can never be, or nothing."""
        refusal = self._why_not(client, request, source, target, count)
        if how not in HOW:
            refusal = f"how is {' or '.join(HOW)}, not {how!r}"
        if preempt_after_s is not None and not 0 <= preempt_after_s < inf:
            refusal = f"preempt_after_s is a number of seconds, not {preempt_after_s!r}"
        if refusal:
            return refusal
        self._numbers += 1
        move = MoveRecord(
            self._numbers, client, request, source, target, count, lease, together, how
        )
        self.asked[client, request] = move
        self._by_number[move.number] = move
        pool = self.roster.pools[source]
        pool.moves.append(move)
        self.roster.pools[target].coming += 1
        self._serve(pool, now)
        self._look_short(pool, now)
        if move.state == "waiting":
            if self.dispatch.sent_ahead:  # else nobody holds anything
                for worker in self._busy(pool):
                    self.dispatch.recall(worker)
            self.press(pool, now)
            if preempt_after_s is not None:
                self.dispatch.look_later(now + preempt_after_s, "press", move.number)
            self._tell(move)
        return ""

    def awaits(
        self, client: int, request: int, count: int, holds: Iterable[int], by: str, now: float
    ) -> None:
        """Somebody waits until a move has so many workers, and keeps leases until then."""
        move = self.asked.get((client, request))
        if move is None or move.state != "waiting" or len(move.taken) >= count:
            return
        move.awaited, move.holds, move.by = min(count, move.count), tuple(holds), by
        if move.holds:
            self._look_for_deadlocks(now)

    def end(self, client: int, request: int, how: str, now: float, reason: str = "") -> None:
        """Undo a move that is not granted yet, or take back what was leased."""
        move = self.asked.get((client, request))
        if move is None or move.state == "returning":
            return
        pool = self.roster.pools[move.source]
        self._leave_queue(move)
        move.state, move.reason = "returning", reason
        for worker in list(move.reserved):
            self._release(worker, move, now)
        for worker in list(move.taken):
            self._send_home(worker, how == "preempt", now)
        self._look_ended(move)
        if move.state == "returning":
            self._tell(move)
        self._serve(pool, now)

    def client_left(self, client: int, now: float) -> None:
        """Undo and take back whatever a client has not seen to the end."""
        moves = [move for move in self.asked.values() if move.client == client]
        for move in sorted(moves, key=lambda move: move.state != "waiting"):
            self.end(client, move.request, "drain", now)  # those that wait first: they get nobody

    # -- what happens to workers ------------------------------------------------------------

    def worker_lost(self, move: MoveRecord | None, home: str, now: float) -> None:
        """A worker that was part of a move, or at home there, is gone for good."""
        if move is not None:
            self._look_ended(move)
        self._look_short(self.roster.pools[home], now)
        self.press(self.roster.pools[home], now)  # it may be one that was stopped for a move

    def worker_drained(self, worker: WorkerRecord, now: float) -> None:
        """A worker with nothing in hand leaves, for its node is drained: nobody gets it."""
        pool = self.roster.pools[worker.pool]
        if worker.phase == "reserved":
            assert worker.move is not None
            del worker.move.reserved[worker]
            worker.move = None
        pool.idle.discard(worker)
        self._retire(worker, pool, now)
        log = self.dispatch.log
        log.append(PoolChanged(log.next(), now + log.epoch, pool.name, pool.ready))

    def press(self, pool: Pool, now: float) -> None:
        """Stop as many tasks as workers are wanted at once; of those begun last the least is lost.

        Who came first is served first, so that counts whoever waits before one that presses.
        """
        owed = pressing = 0
        for move in pool.moves:
            owed += move.owed
            if move.how == "preempt":
                pressing = owed
        if not pressing:
            return
        busy = self._busy(pool)
        running = [worker for worker in busy if worker.in_hand[0].state == State.RUNNING]
        stopping = len(busy) - len(running)
        for worker in running[: max(0, pressing - stopping)]:
            self._stop(worker, now)

    def due(self, what: str, number: int, now: float) -> None:
        """Look at a move whose time is over: to wait for what runs, or for more workers.

        Or look again whether some wait for each other.
        """
        if what == "deadlock":
            self._looks_again = False
            self._look_for_deadlocks(now)
            return
        move = self._by_number.get(number)
        if move is None or move.state != "waiting":
            return
        pool = self.roster.pools[move.source]
        if what == "press":
            move.how = "preempt"
            self.press(pool, now)
            return
        move.short = False
        there = self._to_give(move)
        if move.count > there:
            reason = f"{pool.name!r} has only {there} workers, {move.count} were asked for"
            self.end(move.client, move.request, "drain", now, reason)

    def _divert(self, worker: WorkerRecord, pool: Pool, now: float) -> bool:
        """Take a worker with nothing in hand elsewhere, if it is to go; else ``False``."""
        if worker.goes_home:
            self._bring_home(worker, now)
            return True
        if not pool.moves or worker.home != pool.name:
            return False
        self._give(worker, pool.moves[0], now)
        return True

    # -- the steps they share -----------------------------------------------------------------

    def _why_not(self, client: int, request: int, source: str, target: str, count: int) -> str:
        known = ", ".join(sorted(self.roster.pools))
        if source not in self.roster.pools:
            return f"there is no pool {source!r} (there are: {known})"
        if self.roster.pool(target) is None:
            return f"there is no pool {target!r} (there are: {known})"
        if source == target:
            return f"the workers of {source!r} are in {source!r} already"
        if (client, request) in self.asked:
            return f"request {request} was made already"
        if count < 1:
            return f"{count} workers cannot be moved"
        pool = self.roster.pools[source]
        leaving = sum(move.count for move in pool.moves if not move.lease)
        own = max(pool.at_home, pool.announced)
        if count > own - leaving:
            also = f", of which {leaving} are to leave for good" if leaving else ""
            return f"{source!r} has {own} workers of its own{also}; {count} were asked for"
        return ""

    def _look_for_deadlocks(self, now: float) -> None:
        """End waits that could never end, and look again while anybody holds and waits.

        What is lost or moved meanwhile may make one of what was none.
        """
        while circle := deadlock.find_circle(self.asked, self.roster.pools):
            last, reason = circle[0], deadlock.say(circle, self.asked)
            self.dispatch.effects.append(TellMove(last, "deadlocked", [], reason))
            self.end(last.client, last.request, "drain", now, reason)
        waits = any(move.holds and move.blocked for move in self.asked.values())
        if waits and not self._looks_again:
            self._looks_again = True
            self.dispatch.deadlines.add(now + DEADLOCK_LOOK_S, "deadlock", 0)

    def _look_short(self, pool: Pool, now: float) -> None:
        """Give moves that there are too few workers for some time, in which more may come."""
        for move in pool.moves:
            if not move.short and move.count > self._to_give(move):
                move.short = True
                join_s = self.dispatch.settings.join_s
                self.dispatch.look_later(now + join_s, "short", move.number)

    def _to_give(self, move: MoveRecord) -> int:
        """Return how many workers a waiting move could get at most, those it has included."""
        pool = self.roster.pools[move.source]
        before = takewhile(lambda other: other is not move, pool.moves)
        return pool.at_home - sum(other.count for other in before if not other.lease)

    def _serve(self, pool: Pool, now: float) -> None:
        """Give idle workers to those who wait for them."""
        for worker in list(pool.idle) if pool.moves else ():
            if not pool.moves:
                return
            if worker.home == pool.name:
                del pool.idle[worker]
                worker.phase = "busy"
                self._give(worker, pool.moves[0], now)

    def _give(self, worker: WorkerRecord, move: MoveRecord, now: float) -> None:
        worker.move = move
        if move.together:
            worker.phase = "reserved"
            move.reserved[worker] = None
            leaving = list(move.reserved) if not move.owed else []
        else:
            move.reserved[worker] = None
            leaving = [worker]
        for each in leaving:
            del move.reserved[each]
            move.taken[each] = None
        if len(move.taken) >= move.awaited:
            move.awaited = 0  # whoever waits goes on, even if one of them is lost again
        if not move.owed:
            self._grant(move)
        elif leaving:
            self._tell(move)
        target = self.roster.pools[move.target]
        for each in leaving:
            self._transfer(each, target, now)
        if move.state == "granted":  # those that came before may be wanted elsewhere by now
            self._serve(target, now)

    def _grant(self, move: MoveRecord) -> None:
        self._leave_queue(move)
        move.state = "granted"
        self._tell(move)
        if not move.lease:
            self.roster.pools[move.source].announced -= move.count
            self.roster.pools[move.target].announced += move.count
            for worker in move.taken:
                self.roster.settle(worker, move.target)
                worker.move = None
            self._forget(move)

    def _transfer(self, worker: WorkerRecord, target: Pool, now: float) -> None:
        source = self.roster.transfer(worker, target)
        log = self.dispatch.log
        at = now + log.epoch
        log.append(
            WorkerMoved(log.next(), at, worker.name, target.name, source.name, worker.node.name)
        )
        if worker.node.keeps(source.name, target.name):
            log.append(PoolChanged(log.next(), at, target.name, target.ready))
        else:
            self._retire(worker, target, now)
        log.append(PoolChanged(log.next(), at, source.name, source.ready))
        if source.backlog and not source.running:
            self.dispatch.may_stall(now)
            if not source.workers:
                self.dispatch.starved(source, now)
        if worker.phase in READY:
            self.dispatch.worker_free(worker, now)

    def _retire(self, worker: WorkerRecord, pool: Pool, now: float) -> None:
        """Have a process end: its new pool needs what it lacks, or its node is left."""
        worker.phase = "retiring"
        pool.count_ready(worker, -1)
        self.dispatch.effects.append(Retire(worker))
        start_s = self.dispatch.settings.start_s
        self.dispatch.deadlines.add(now + start_s, "retire", worker.number)

    def _send_home(self, worker: WorkerRecord, preempt: bool, now: float) -> None:
        worker.goes_home = True
        if worker.phase == "idle":
            del self.roster.pools[worker.pool].idle[worker]
            worker.phase = "busy"
            self._bring_home(worker, now)
        elif worker.in_hand:
            self.dispatch.recall(worker)
            if preempt:
                self._stop(worker, now)

    def _bring_home(self, worker: WorkerRecord, now: float) -> None:
        move = worker.move
        assert move is not None
        worker.goes_home, worker.move = False, None
        del move.taken[worker]
        self._look_ended(move)
        self._transfer(worker, self.roster.pools[worker.home], now)

    def _release(self, worker: WorkerRecord, move: MoveRecord, now: float) -> None:
        """Let a worker that waited for others go on where it is."""
        del move.reserved[worker]
        worker.move = None
        worker.phase = "busy"
        self.dispatch.worker_free(worker, now)

    def _busy(self, pool: Pool) -> list[WorkerRecord]:
        """Return the pool's own workers that run something, the latest begun first."""
        nodes = [self.roster.nodes[name] for name in pool.by_node]
        busy = [
            worker
            for node in nodes
            if not node.draining  # its workers go nowhere else
            for worker in node.workers.values()
            if worker.pool == worker.home == pool.name and worker.in_hand
        ]
        return sorted(busy, key=lambda worker: -(worker.in_hand[0].reached or 0.0))

    def _stop(self, worker: WorkerRecord, now: float) -> None:
        self.dispatch.preempt(worker.in_hand[0], "its worker is moved", now)

    def _leave_queue(self, move: MoveRecord) -> None:
        if move.state == "waiting":
            self.roster.pools[move.source].moves.remove(move)
            self.roster.pools[move.target].coming -= 1

    def _look_ended(self, move: MoveRecord) -> None:
        """End a move that has nobody left to bring home."""
        if move.state == "returning" and not move.taken:
            move.state = "ended"
            self._forget(move)
            self._tell(move)

    def _forget(self, move: MoveRecord) -> None:
        del self.asked[move.client, move.request], self._by_number[move.number]

    def _tell(self, move: MoveRecord) -> None:
        names = [worker.name for worker in move.taken]
        self.dispatch.effects.append(TellMove(move, move.state, names, move.reason))
