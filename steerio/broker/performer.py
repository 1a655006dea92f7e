"""The performer of the core's effects: orders become messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from steerio.broker.object_removal import ObjectRemoval
from steerio.broker.peers import Peers
from steerio.broker.settled_tasks import SettledTasks
from steerio.core import effects as fx
from steerio.core.lifecycle import MoveState
from steerio.model import messages as ms
from steerio.model.moving import MoveProgress

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


class Performer:
    """Performs effects, one method for each kind of them.

    Args:
        peers: the receivers of messages.
        settled: tells how tasks ended.
        removal: has objects removed.
    """

    def __init__(self, peers: Peers, settled: SettledTasks, removal: ObjectRemoval) -> None:
        self._peers = peers
        self._removal = removal
        self._dismissed: deque[int] = deque(maxlen=DISMISSED)
        """The processes of nodes of this host that were told to end."""
        self._by_kind: dict[type, Callable[[Any, float], None]] = {
            fx.DefineType: self.define_type,
            fx.SendTask: self.send_task,
            fx.Grant: self.grant,
            fx.Settle: settled.settle,
            fx.RecallTask: self.recall_task,
            fx.AskToStop: self.ask_to_stop,
            fx.TellPort: self.tell_port,
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
            fx.FreeObjects: removal.free_objects,
            fx.ForgetCopies: self.forget_copies,
            fx.SweepObjects: removal.sweep_objects,
            fx.FetchCopies: self.fetch_ahead,
            fx.UndefineTypes: self.forget_types,
        }

    def perform(self, effects: list[fx.Effect], now: float) -> None:
        """Perform effects, in order."""
        if now >= self._removal.spares_until:
            self._removal.remove_spared()
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
                effect.place,
            ),
            frames,
        )
        if record.unread:
            peer.send(ms.GrantRun(record.run, 0))

    def grant(self, effect: fx.Grant, now: float) -> None:
        """Let a generator yield more items."""
        del now
        self._peers.send(effect.worker.peer, ms.GrantRun(effect.run, effect.count))

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

    def tell_port(self, effect: fx.TellPort, now: float) -> None:
        """Tell a worker of a gang the port at which they meet."""
        del now
        self._peers.send(effect.worker.peer, ms.MeetAt(effect.run, effect.port, effect.token))

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

    def forget_copies(self, effect: fx.ForgetCopies, now: float) -> None:
        """Have a node remove its copies of objects."""
        del now
        self._peers.send(effect.node.peer, ms.ForgetObjects(effect.names))

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
