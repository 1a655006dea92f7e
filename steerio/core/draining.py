"""Nodes that are left: because somebody asks for it, or because their walltime ends.

Theory.  A node that is drained gets no task and keeps no worker.  A worker with nothing in hand
ends, in good order, and none takes its place; others end when they have nothing left, and what
they hold ahead is recalled.  So for pools, moves and leases it is as when the node is lost, only
slower, and costs no attempt.  When the last worker is gone the node is *drained*; one that
is to retire is told to end then.  If that is undone as many start again as went, each at home
where those were.

A node with a walltime is left `leave_s` before it is over, and retires.  Until then it gets
what is done in time, by the measured durations of task types (`PoolQueue`, `IdleWorkers`).

Invariant: nobody on a draining node idles; and of those nodes that are to retire each has workers.
"""

from __future__ import annotations

from collections.abc import Callable
from math import floor, inf

from steerio.core.attempts import DRAINED
from steerio.core.dispatch import Dispatch
from steerio.core.effects import Dismiss, TellNode
from steerio.core.moves import Moves
from steerio.core.records import NodeRecord, WorkerRecord
from steerio.core.roster import READY, Pool
from steerio.model.events import (
    AnyEvent,
    NodeDrained,
    NodeDraining,
    NodeEnding,
    NodeUndrained,
)

WALLTIME = "its walltime ends"


class Draining:
    """All decisions about leaving a node while it is there.

    Args:
        dispatch, moves: what it has workers taken from.
        lose: takes a node out, by its peer.
        start: starts a worker that was just named.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        moves: Moves,
        lose: Callable[[int, str, float], None],
        start: Callable[[WorkerRecord, float], None],
    ) -> None:
        self._dispatch = dispatch
        self._roster = dispatch.roster
        self._moves = moves
        self._lose = lose
        self._start = start
        self._divert_others = dispatch.divert
        dispatch.divert = self._divert

    # -- what clients ask for -------------------------------------------------------------

    def ask(
        self,
        client: int,
        request: int,
        name: str,
        now: float,
        *,
        within_s: float | None = None,
        retire: bool = False,
    ) -> str:
        """Begin to drain a node, or go on; returns why that cannot be, or nothing.

        The client is told when it is drained, or that it will not be.
        """
        node = self._roster.nodes.get(name)
        if node is None:
            return self._unknown(name)
        if within_s is not None and not 0 <= within_s < inf:
            return f"within_s is a number of seconds, not {within_s!r}"
        node.watchers.append((client, request))
        within_s = inf if within_s is None else within_s
        self._drain(node, "it was asked for", now, within_s, retire=retire)
        return ""

    def undo(self, name: str, now: float) -> str:
        """Let a node that is drained take tasks again; returns why that cannot be, or nothing."""
        node = self._roster.nodes.get(name)
        if node is None:
            return self._unknown(name)
        if not node.draining:
            return f"node {name!r} is not being drained"
        if now >= node.until:
            return f"the walltime of node {name!r} ends"
        for worker in node.workers.values():
            self._roster.pools[worker.pool].leaving -= 1
        node.draining, node.drain_by = "", inf
        node.overdue = node.drained = node.retires = False
        log = self._dispatch.log
        self._emit(NodeUndrained(log.next(), now + log.epoch, name))
        self._tell(node, "undrained", "it was undrained")
        away, node.away = node.away, []
        for home in away:
            self._start(self._roster.add_worker(node, home), now)
        return ""

    # -- what happens to nodes --------------------------------------------------------------

    def limit(self, node: NodeRecord, walltime_s: float, now: float) -> float:
        """Note that a node that just joined ends in so many seconds; return when, in Unix time.

        Ends are whole seconds: so the nodes of one batch job count as equal.
        """
        ends = floor(now + walltime_s)
        settings, deadlines = self._dispatch.settings, self._dispatch.deadlines
        self._roster.limit(node, ends, ends - settings.leave_s)
        deadlines.add(max(now, ends - settings.ending_s), "ending", node.number)
        deadlines.add(node.until, "end", node.number)
        return ends + self._dispatch.log.epoch

    def lost(self, node: NodeRecord, reason: str) -> None:
        """A node is gone: who wanted it drained need not wait."""
        self._tell(node, "left", reason)

    def worker_gone(self, worker: WorkerRecord) -> None:
        """A worker of a draining node is gone, or would have been started: it is not now."""
        worker.node.away.append(worker.home)

    def look(self, node: NodeRecord, now: float) -> None:
        """Look whether the last worker of a draining node is gone."""
        if node.workers:
            return
        if not node.drained:
            node.drained = True
            log = self._dispatch.log
            self._emit(NodeDrained(log.next(), now + log.epoch, node.name))
        self._tell(node, "drained", "")
        if node.retires:
            reason = WALLTIME if now >= node.until else "it was retired"
            self._dispatch.effects.append(Dismiss(node.peer, reason))
            self._lose(node.peer, reason, now)

    def due(self, what: str, number: int, now: float) -> None:
        """Look at a node whose end is near, or there; or that was to be drained by now."""
        node = self._roster.by_number.get(number)
        if not isinstance(node, NodeRecord):
            return
        if what == "ending":
            log = self._dispatch.log
            at = now + log.epoch
            self._emit(
                NodeEnding(log.next(), at, node.name, node.ends - now, node.ends + log.epoch)
            )
        elif what == "end":
            self._drain(node, WALLTIME, now, 0.0, retire=True)
        elif now >= node.drain_by:
            node.overdue = True
            for worker in list(node.workers.values()):
                if worker.in_hand:
                    self._dispatch.preempt(worker.in_hand[0], DRAINED, now)

    # -- the steps they share -----------------------------------------------------------------

    def _drain(
        self, node: NodeRecord, reason: str, now: float, within_s: float, *, retire: bool
    ) -> None:
        node.retires |= retire
        if not node.draining:
            node.draining = reason
            log = self._dispatch.log
            self._emit(NodeDraining(log.next(), now + log.epoch, node.name, reason))
            for worker in list(node.workers.values()):
                self._roster.pools[worker.pool].leaving += 1
                self._send_away(worker, now)
            homes = dict.fromkeys(worker.home for worker in node.workers.values())
            for home in homes:  # what it was stopped for may get another worker now
                self._moves.press(self._roster.pools[home], now)
        if now + within_s < node.drain_by:
            node.drain_by = now + within_s
            self._dispatch.deadlines.add(node.drain_by, "drain", node.number)
        self.look(node, now)

    def _send_away(self, worker: WorkerRecord, now: float) -> None:
        if worker.in_hand:
            self._dispatch.recall(worker)
        elif worker.phase in READY:  # else it is about to end, or to come up and end then
            self._moves.worker_drained(worker, now)

    def _divert(self, worker: WorkerRecord, pool: Pool, now: float) -> bool:
        """Take a worker with nothing in hand elsewhere, or let it end; else ``False``."""
        if not worker.node.draining:
            return self._divert_others(worker, pool, now)
        self._moves.worker_drained(worker, now)
        return True

    def _unknown(self, name: str) -> str:
        known = ", ".join(sorted(self._roster.nodes)) or "none"
        return f"there is no node {name!r} (there are: {known})"

    def _tell(self, node: NodeRecord, state: str, reason: str) -> None:
        watchers, node.watchers = node.watchers, []
        for client, request in watchers:
            self._dispatch.effects.append(TellNode(client, request, state, reason))

    def _emit(self, event: AnyEvent) -> None:
        self._dispatch.log.append(event)
