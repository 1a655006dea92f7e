"""The performer of the core's effects: orders become messages, results become entries."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Container, Mapping
from math import inf
from types import MappingProxyType
from typing import Any, Literal, Protocol

from steerio.broker.ledger import Ledger
from steerio.broker.peers import Peers
from steerio.core import effects as fx
from steerio.core.lifecycle import MoveState
from steerio.core.records import Attempt
from steerio.edge.record.record_files import (
    TRACEBACK_CHARACTERS,
    AttemptEntry,
    TaskEntry,
    shown,
)
from steerio.edge.wire.endpoint import Frames
from steerio.model import messages as ms
from steerio.model.bounds import cut
from steerio.model.moving import MoveProgress
from steerio.model.showing import steady

PROGRESS: dict[MoveState | Literal["deadlocked"], MoveProgress] = {
    MoveState.WAITING: "waiting",
    MoveState.GRANTED: "granted",
    MoveState.RETURNING: "returning",
    MoveState.ENDED: "ended",
    "deadlocked": "deadlocked",
}
"""The word to a client for each state of its move that the core tells of."""

DISMISSED = 64
"""Most processes that are remembered as told to end; their starter asks soon after the end."""


class Sweeper(Protocol):
    """Removes objects from the store, without keeping its caller waiting."""

    def free(self, names: list[bytes]) -> None:
        """Remove these objects."""
        ...

    def sweep(self, makers: Collection[str], keep: Container[bytes]) -> None:
        """Remove all that these makers have put there, but for the objects that are kept then."""
        ...


class Performer:
    """Performs effects, one method for each kind of them.

    Args:
        peers: the receivers of messages.
        epoch: the difference of Unix time to the core's clock.
        incarnation: the number of this process among those that wrote the record, for the entry
            of each task that ended, in ``entries``; 0: nothing is recorded.
        sweeper: removes objects from the store, if there is one.
        held: the names of all objects that are held.
        ledgers: those of detached clients, by the clients' numbers.
    """

    def __init__(
        self,
        peers: Peers,
        epoch: float,
        incarnation: int,
        sweeper: Sweeper | None,
        held: Collection[bytes],
        ledgers: Mapping[int, Ledger] = MappingProxyType({}),
    ) -> None:
        self.entries: list[TaskEntry] = []
        self._held_back: list[tuple[int, ms.TaskSettled, Frames]] = []
        """Results that wait for their entries to be written."""
        self._dismissed: deque[int] = deque(maxlen=DISMISSED)
        """The processes of nodes of this host that were told to end."""
        self._peers = peers
        self._epoch = epoch
        self._incarnation = incarnation
        self._sweeper = sweeper
        self._held = held
        self._ledgers = ledgers
        self._spares_until = -inf
        self._spared: list[bytes] = []
        self._spared_makers: list[str] = []
        self._by_kind: dict[type, Callable[[Any, float], None]] = {
            fx.DefineType: self.define_type,
            fx.SendTask: self.send_task,
            fx.Grant: self.grant,
            fx.Settle: self.settle,
            fx.RecallTask: self.recall_task,
            fx.AskToStop: self.ask_to_stop,
            fx.Signal: self.signal,
            fx.Start: self.start,
            fx.Discard: self.discard,
            fx.Retire: self.retire,
            fx.TellMove: self.tell_move,
            fx.TellNode: self.tell_node,
            fx.TellPause: self.tell_pause,
            fx.SendOrder: self.pass_order,
            fx.TellOrder: self.tell_order,
            fx.Dismiss: self.dismiss,
            fx.Expel: self.expel,
            fx.FreeObjects: self.free_objects,
            fx.ForgetCopies: self.forget_copies,
            fx.SweepObjects: self.sweep_objects,
            fx.FetchCopies: self.fetch_ahead,
            fx.UndefineTypes: self.forget_types,
        }

    def perform(self, effects: list[fx.Effect], now: float) -> None:
        """Perform effects, in order."""
        if now >= self.spares_until:
            self._remove_spared()
        by_kind = self._by_kind
        for effect in effects:
            by_kind[type(effect)](effect, now)

    def define_type(self, effect: fx.DefineType, now: float) -> None:
        """Tell a worker of a task type."""
        del now
        kind = effect.type
        self._peers.send(effect.worker.peer, ms.DefineTask(kind.type_id, kind.spec))

    def send_task(self, effect: fx.SendTask, now: float) -> None:
        """Send an attempt to its worker."""
        del now
        record, worker = effect.record, effect.worker
        kind = record.type
        peer = self._peers.by_number.get(worker.peer)
        if peer is None:
            return
        frames, inputs = record.frames, record.inputs
        peer.send(
            ms.RunTask(
                record.run,
                record.task_id,
                record.attempt,
                kind.type_id,
                record.body,
                len(frames),
                inputs.frames if inputs is not None else None,
                record.versions,
            ),
            frames,
        )
        if record.unread:
            peer.send(ms.GrantRun(record.run, 0))

    def grant(self, effect: fx.Grant, now: float) -> None:
        """Let a generator yield more items."""
        del now
        self._peers.send(effect.worker.peer, ms.GrantRun(effect.run, effect.count))

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
        if record.inputs is not None and record.inputs.frames is not None:
            args_bytes += record.inputs.frames.nbytes
        if ending.stored is not None:
            value_bytes += ending.stored.nbytes
        versions = record.versions
        name = worker.name if worker else None
        settled = ms.TaskSettled(
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
            ending.stored,
            {name: v.number for name, v in versions.items()} if versions else None,
        )
        if self._ledgers:
            self._note_result(record.client, settled, ending.frames)
        if not self._incarnation:
            self._peers.send(record.client, settled, ending.frames)
            return
        self._held_back.append((record.client, settled, ending.frames))
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
                record.because or None,
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
                steady(cut(error.traceback, TRACEBACK_CHARACTERS)) if error else None,
                ending.reason,
                shown(record.body, record.frames),
                shown(ending.body, ending.frames),
                {name: v.number for name, v in versions.items()} if versions else None,
                self._earlier(record.earlier) if record.earlier else None,
                self._incarnation,
            )
        )

    def _note_result(self, client: int, settled: ms.TaskSettled, frames: Frames) -> None:
        """Have a result kept that a detached client may ask for again."""
        ledger = self._ledgers.get(client)
        if ledger is not None:
            ledger.ended(settled, frames)

    def recorded(self) -> None:
        """Send the results that were held back: the entries of all of them are written."""
        self.entries.clear()
        held, self._held_back = self._held_back, []
        for client, settled, frames in held:
            self._peers.send(client, settled, frames)

    def _earlier(self, attempts: list[Attempt]) -> list[AttemptEntry]:
        epoch = self._epoch
        return [
            AttemptEntry(
                each.number,
                each.reason,
                each.worker,
                each.node,
                None if each.sent is None else each.sent + epoch,
                None if each.started is None else each.started + epoch,
                None if each.ended is None else each.ended + epoch,
                each.over + epoch,
                each.versions,
            )
            for each in attempts
        ]

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

    def discard(self, effect: fx.Discard, now: float) -> None:
        """Have a node end a worker that it has kept."""
        del now
        self._peers.send(effect.node.peer, ms.SignalWorker(effect.worker, 0, "kill"))

    def retire(self, effect: fx.Retire, now: float) -> None:
        """Have a worker end, so that its node tells of it and another takes its place, or none."""
        del now
        self._peers.send(effect.worker.peer, ms.Closing("it is not needed as it is"))

    def tell_move(self, effect: fx.TellMove, now: float) -> None:
        """Tell the client the progress of its move."""
        del now
        move = effect.move
        state = PROGRESS[effect.state]
        news = ms.MoveNews(move.request, state, effect.came, effect.gone, effect.reason)
        self._peers.send(move.client, news)

    def free_objects(self, effect: fx.FreeObjects, now: float) -> None:
        """Have objects removed."""
        if self._sweeper is None:
            return
        if now < self._spares_until:
            self._spared += effect.names
        else:
            self._sweeper.free(effect.names)

    def forget_copies(self, effect: fx.ForgetCopies, now: float) -> None:
        """Have a node remove its copies of objects."""
        del now
        self._peers.send(effect.node.peer, ms.ForgetObjects(effect.names))

    def sweep_objects(self, effect: fx.SweepObjects, now: float) -> None:
        """Have the objects removed that makers which are gone have left."""
        if self._sweeper is None:
            return
        if now < self._spares_until:
            self._spared_makers += effect.makers
        else:
            self._sweeper.sweep(effect.makers, self._held)

    def spare_until(self, when: float) -> None:
        """Remove no objects before this time: not all that hold some have said so yet."""
        self._spares_until = when

    @property
    def spares_until(self) -> float:
        """When to remove the objects that were spared; infinite if none were."""
        return self._spares_until if self._spared or self._spared_makers else inf

    def _remove_spared(self) -> None:
        spared, self._spared = dict.fromkeys(self._spared), []
        makers, self._spared_makers = self._spared_makers, []
        if self._sweeper is not None:
            self._sweeper.free([name for name in spared if name not in self._held])
            self._sweeper.sweep(makers, self._held)

    def fetch_ahead(self, effect: fx.FetchCopies, now: float) -> None:
        """Have a node fetch objects."""
        del now
        self._peers.send(effect.node.peer, ms.FetchAhead(effect.objects))

    def forget_types(self, effect: fx.UndefineTypes, now: float) -> None:
        """Have a worker forget task types."""
        del now
        self._peers.send(effect.worker.peer, ms.ForgetTypes(effect.types))

    def tell_node(self, effect: fx.TellNode, now: float) -> None:
        """Tell the client the end of its request about a node."""
        del now
        news = ms.NodeNews(effect.request, effect.state, effect.reason)
        self._peers.send(effect.client, news)

    def tell_pause(self, effect: fx.TellPause, now: float) -> None:
        """Tell the client the end of its request to pause a pool."""
        del now
        self._peers.send(effect.client, ms.PauseNews(effect.request, effect.reason))

    def pass_order(self, effect: fx.SendOrder, now: float) -> None:
        """Pass an order to its campaign."""
        del now
        order = ms.PassOrder(effect.number, effect.given, effect.at_event)
        self._peers.send(effect.taker, order)

    def tell_order(self, effect: fx.TellOrder, now: float) -> None:
        """Tell the giver of an order the campaign's answer."""
        del now
        self._peers.send(effect.giver, ms.OrderNews(effect.request, effect.answer))

    def dismiss(self, effect: fx.Dismiss, now: float) -> None:
        """Tell a node to end, which is no failure of it."""
        del now
        peer = self._peers.by_number.get(effect.peer)
        if peer is not None:
            peer.send(ms.Closing(effect.reason))
            if peer.local_pid:
                self._dismissed.append(peer.local_pid)
            self._peers.forget(peer)

    def was_dismissed(self, pid: int) -> bool:
        """Say, once, whether a node's process was told to end: its number may come again."""
        if pid not in self._dismissed:
            return False
        self._dismissed.remove(pid)
        return True

    def expel(self, effect: fx.Expel, now: float) -> None:
        """Tell a peer that it is no longer let in."""
        del now
        peer = self._peers.by_number.get(effect.peer)
        if peer is not None:
            peer.send(ms.Refused(effect.reason, True))
            self._peers.forget(peer)


def _total(frames: Frames) -> int:
    return sum(f.nbytes if isinstance(f, memoryview) else len(f) for f in frames)
