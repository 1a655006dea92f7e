"""Performs what the core wants done: orders become messages, results become entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from steerio.core import effects as fx
from steerio.edge.endpoint import Frames
from steerio.edge.journal import TaskEntry, shown
from steerio.model import messages as ms
from steerio.runtime.peers import Peers


class Performer:
    """Performs effects, one method for each kind of them.

    Args:
        peers: whom to send to.
        epoch: what turns the core's clock into Unix time.
        recording: whether to make an entry of each task that ended, in ``entries``.
    """

    def __init__(self, peers: Peers, epoch: float, recording: bool) -> None:
        self.entries: list[TaskEntry] = []
        self._peers = peers
        self._epoch = epoch
        self._recording = recording
        self._by_kind: dict[type, Callable[[Any, float], None]] = {
            fx.SendTask: self.send_task,
            fx.Settle: self.settle,
            fx.RecallTask: self.recall_task,
            fx.AskToStop: self.ask_to_stop,
            fx.Signal: self.signal,
            fx.Start: self.start,
            fx.Retire: self.retire,
            fx.TellMove: self.tell_move,
            fx.Expel: self.expel,
        }

    def perform(self, effects: list[fx.Effect], now: float) -> None:
        """Perform effects, in order."""
        by_kind = self._by_kind
        for effect in effects:
            by_kind[type(effect)](effect, now)

    def send_task(self, effect: fx.SendTask, now: float) -> None:
        """Send an attempt to its worker, and before it its task type, if that is new there."""
        del now
        record, worker = effect.record, effect.worker
        kind = record.type
        peer = self._peers.by_number.get(worker.peer)
        if peer is None:
            return
        if kind.type_id not in worker.known_types:
            worker.known_types.add(kind.type_id)
            peer.send(ms.DefineTask(kind.type_id, kind.spec))
        frames = record.frames
        peer.send(
            ms.RunTask(
                record.run, record.task_id, record.attempt, kind.type_id, record.body, len(frames)
            ),
            frames,
        )

    def settle(self, effect: fx.Settle, now: float) -> None:
        """Tell the client how a task ended, and make the entry of it."""
        record, ending = effect.record, effect.ending
        epoch = self._epoch
        spec, worker = record.type.spec, record.worker
        queued, received = record.queued + epoch, now + epoch
        started = None if ending.started is None else ending.started + epoch
        ended = None if ending.ended is None else ending.ended + epoch
        sent = None if record.sent is None else record.sent + epoch
        args_bytes = len(record.body) + (_total(record.frames) if record.frames else 0)
        value_bytes = len(ending.body) + (_total(ending.frames) if ending.frames else 0)
        name = worker.name if worker else None
        self._peers.send(
            record.client,
            ms.TaskSettled(
                record.task_id,
                ending.ended_as,
                record.attempt,
                name,
                queued,
                sent,
                started,
                ended,
                received,
                args_bytes,
                value_bytes,
                ending.body,
                len(ending.frames),
                ending.error,
                ending.reason,
            ),
            ending.frames,
        )
        if not self._recording:
            return
        error = ending.error
        self.entries.append(
            TaskEntry(
                record.task_id,
                spec.name,
                record.pool,
                ending.ended_as,
                record.attempt,
                name,
                worker.node.name if worker else None,
                record.cause,
                record.tags,
                record.priority,
                record.created,
                queued,
                sent,
                started,
                ended,
                received,
                args_bytes,
                value_bytes,
                f"{error.type}: {error.message}" if error else None,
                ending.reason,
                shown(record.body),
                shown(ending.body),
            )
        )

    def recall_task(self, effect: fx.RecallTask, now: float) -> None:
        """Have a worker give an attempt back, and its node keep it from beginning that."""
        del now
        worker = effect.worker
        self._peers.send(worker.peer, ms.ReturnHeld(effect.run))
        self._peers.send(worker.node.peer, ms.TakeBack(worker.name, effect.run))

    def ask_to_stop(self, effect: fx.AskToStop, now: float) -> None:
        """Have the node raise the cooperative signal."""
        del now
        worker = effect.worker
        self._peers.send(worker.node.peer, ms.StopRunning(worker.name, effect.run))

    def signal(self, effect: fx.Signal, now: float) -> None:
        """Have the node signal the worker."""
        del now
        worker = effect.worker
        order = ms.SignalWorker(worker.name, effect.run, effect.signal)
        self._peers.send(worker.node.peer, order)

    def start(self, effect: fx.Start, now: float) -> None:
        """Have the node start a worker."""
        del now
        self._peers.send(effect.node.peer, ms.StartWorker(effect.worker.name, effect.worker.pool))

    def retire(self, effect: fx.Retire, now: float) -> None:
        """Have a worker end, so that its node tells of it and another takes its place."""
        del now
        self._peers.send(effect.worker.peer, ms.Closing("its place goes to another pool"))

    def tell_move(self, effect: fx.TellMove, now: float) -> None:
        """Tell the client how far its move is."""
        del now
        move = effect.move
        news = ms.MoveNews(move.request, effect.state, effect.workers, effect.reason)
        self._peers.send(move.client, news)

    def expel(self, effect: fx.Expel, now: float) -> None:
        """Tell a peer that it is no longer let in."""
        del now
        peer = self._peers.by_number.get(effect.peer)
        if peer is not None:
            peer.send(ms.Refused(effect.reason, True))
            self._peers.forget(peer)


def _total(frames: Frames) -> int:
    return sum(f.nbytes if isinstance(f, memoryview) else len(f) for f in frames)
