"""The intake of messages of nodes about their workers, and of workers about their tasks.

Late messages, about a worker or an attempt that is no more, are dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

from steerio.broker.drops import Drops
from steerio.broker.peers import Intakes, Peer, Peers
from steerio.core.core import Core
from steerio.core.lifecycle import Role
from steerio.core.records import Accounted, TaskRecord, WorkerRecord
from steerio.edge.wire.endpoint import Frames
from steerio.errors import FunctionRefused, PickleRefused
from steerio.model import messages as ms
from steerio.model.showing import counted

LONGEST_LINK_S = 10.0
"""A node that says that its messages take longer is not believed."""
LAST_PORT = 65_535
LONGEST_TOKEN = 64
REFUSALS = tuple(f"{kind.__module__}.{kind.__name__}" for kind in (PickleRefused, FunctionRefused))
"""The errors of workers that refuse to run something."""


class FromNodes:
    """Takes in messages of nodes and their workers, one method for each kind.

    Args:
        core: decides.
        peers: those that were let in.
        drops: counts messages that may not be.
        hear_out: takes in all that has arrived from a worker, before it counts as ended.
    """

    def __init__(
        self,
        core: Core,
        peers: Peers,
        drops: Drops,
        hear_out: Callable[[WorkerRecord, float], None],
    ) -> None:
        self._core = core
        self._runs = core.runs
        self._peers = peers
        self._hear_out = hear_out
        self._drop = drops.drop
        self._refuse = drops.refuse
        self.by_kind: Intakes = {
            (Role.NODE, ms.Beat): self._beat,
            (Role.NODE, ms.Account): self._account,
            (Role.NODE, ms.WorkerExited): self._worker_exited,
            (Role.NODE, ms.NotBegun): self._not_begun,
            (Role.WORKER, ms.Report): self._report,
            (Role.WORKER, ms.ReturnTask): self._returned,
            (Role.WORKER, ms.YieldItem): self._item,
            (Role.WORKER, ms.ReportProgress): self._progress,
            (Role.WORKER, ms.ReportPort): self._port,
        }

    # -- from nodes ---------------------------------------------------------------------------

    def _beat(self, peer: Peer, message: ms.Beat, _: Frames, now: float) -> None:
        assert peer.relay is not None
        offset_s = message.offset_s
        known = offset_s is not None and isfinite(offset_s)
        link_s = message.trip_s if 0 <= message.trip_s <= LONGEST_LINK_S else 0.0
        self._core.heard(peer.number, now, offset_s if known else None, link_s)
        peer.send(ms.BeatAnswer(message.sent, now, peer.relay.told))
        if message.said != peer.said:
            lost = counted(message.said - peer.said, "message")
            self._drop("lost on the way", f"{lost} of {peer}")
            peer.said = message.said
            peer.send(ms.AskAccount(now))

    def _account(self, peer: Peer, message: ms.Account, _: Frames, now: float) -> None:
        assert peer.relay is not None
        has_lost = peer.relay.has_lost
        workers = {
            each.worker: Accounted(
                frozenset(each.runs), each.ended, has_lost(each.worker, each.said)
            )
            for each in message.workers
        }
        lost = message.orders_lost
        self._core.accounted(peer.number, message.heard, workers, now, orders_lost=lost)

    def _worker_exited(self, peer: Peer, message: ms.WorkerExited, _: Frames, now: float) -> None:
        peer.said += 1
        for name in message.left:
            self._core.refuse(name)
        worker = self._core.workers.get(message.worker)
        if worker is None or worker.node.peer != peer.number:
            self._drop("unknown worker", f"{message.worker} of {peer}")
            return
        self._hear_out(worker, now)
        gone = self._peers.by_number.get(worker.peer)
        if gone is not None:
            self._peers.forget(gone)
        self._core.worker_exited(message.worker, message.run, message.reason, now)

    def _not_begun(self, peer: Peer, message: ms.NotBegun, _: Frames, now: float) -> None:
        record = self._runs.get(message.run)
        worker = record.worker if record else None
        if worker is None or worker.name != message.worker or worker.node.peer != peer.number:
            self._drop("late return", f"run {message.run} of {message.worker}, by {peer}")
            return
        self._core.not_begun(message.run, now)

    # -- from workers -------------------------------------------------------------------------

    def _own_run(self, peer: Peer, run: int) -> TaskRecord | None:
        """Return the task that a worker speaks of, if it is in this worker's own hands."""
        record = self._runs.get(run)
        return record if record is not None and record.worker is peer.worker else None

    def _report(self, peer: Peer, message: ms.Report, frames: Frames, now: float) -> None:
        assert peer.worker is not None
        offset_s = peer.worker.node.offset_s
        started, ended = message.started + offset_s, message.ended + offset_s
        if self._own_run(peer, message.run) is None:
            kept = self._core.kept_run_ended(
                peer.worker,
                message.run,
                message.ended_as,
                started,
                ended,
                now,
                message.body,
                frames,
                message.stored,
            )
            if not kept:
                self._drop("late report", f"run {message.run} of {peer}")
                self._refuse(message.stored)
            return
        if message.error is not None and message.error.type in REFUSALS:
            self._drop("refused by a worker", f"a task of {peer}: {message.error.message}")
        self._core.reported(
            message.run,
            message.ended_as,
            started,
            ended,
            now,
            message.body,
            frames,
            message.error,
            message.stored,
        )

    def _returned(self, peer: Peer, message: ms.ReturnTask, _: Frames, now: float) -> None:
        if self._own_run(peer, message.run) is None:
            self._drop("late return", f"run {message.run} of {peer}")
            return
        self._core.returned(message.run, now)

    def _item(self, peer: Peer, message: ms.YieldItem, frames: Frames, now: float) -> None:
        record = self._own_run(peer, message.run)
        if record is None:
            self._drop("late item", f"run {message.run} of {peer}")
            self._refuse(message.stored)
            return
        has_value = bool(message.body or frames or message.stored)
        stored = message.stored
        if not self._core.yielded(record, message.index, now, has_value=has_value, stored=stored):
            return
        item = ms.TaskItem(
            record.task_id,
            message.index,
            message.body,
            len(frames),
            message.stored,
            record.attempt,
        )
        self._peers.send(record.client, item, frames)

    def _progress(self, peer: Peer, message: ms.ReportProgress, _: Frames, now: float) -> None:
        record = self._own_run(peer, message.run)
        if record is None:
            self._drop("late progress", f"run {message.run} of {peer}")
            return
        self._core.progressed(record, message.fraction, message.message, now)

    def _port(self, peer: Peer, message: ms.ReportPort, _: Frames, now: float) -> None:
        del now
        record = self._own_run(peer, message.run)
        bounded = 0 < message.port <= LAST_PORT and len(message.token) <= LONGEST_TOKEN
        if record is None or not bounded:
            self._drop("late port", f"run {message.run} of {peer}")
        elif not self._core.gang_opened(record, message.port, message.token):
            self._drop("port of no gang", f"run {message.run} of {peer}")
