"""The intake of clients' messages: of tasks, events, pools, moves, nodes and the store.

``broker.intake`` has checked that the peer may send such a message.
"""

from __future__ import annotations

from collections.abc import Callable

from steerio.broker.drops import Drops
from steerio.broker.overview import Overview
from steerio.broker.peers import Intakes, Peer, Peers, Subscription
from steerio.core.core import Core
from steerio.core.lifecycle import Role, State
from steerio.core.newest_versions import VersionWaiter
from steerio.core.records import TaskRecord, TypeRecord
from steerio.edge.record.record_files import shown
from steerio.edge.wire.endpoint import Frames
from steerio.model import messages as ms
from steerio.model.bounds import MOST_BEHIND, REASON_CHARACTERS, cut
from steerio.model.campaign_orders import GivenOrder, Look, OrderAnswer
from steerio.model.moving import DrainEnd
from steerio.model.tasks import CLIENT_BITS

IN_HAND = (State.RUNNING, State.STOPPING)
"""The states of a task that its worker works on."""


class FromClients:
    """Takes in clients' messages, one method for each kind.

    Those that may be about many things return of how many they were.

    Args:
        core: decides.
        peers: those that were let in.
        drops: counts messages that may not be.
        overview: of the broker's state.
        share: shares the events so far, before a new subscriber is added.
    """

    def __init__(
        self,
        core: Core,
        peers: Peers,
        drops: Drops,
        overview: Overview,
        share: Callable[[], None],
    ) -> None:
        self._core = core
        self._peers = peers
        self._overview = overview
        self._share = share
        self._drop = drops.drop
        self._refuse_frames = drops.refuse_frames
        self._order = 0
        self.by_kind: Intakes = {
            (Role.CLIENT, ms.ForgetTypes): self._forget_types,
            (Role.CLIENT, ms.SubmitTask): self._submit,
            (Role.CLIENT, ms.CancelTasks): self._cancel,
            (Role.CLIENT, ms.Reprioritise): self._reprioritise,
            (Role.CLIENT, ms.Subscribe): self._subscribe,
            (Role.CLIENT, ms.Unsubscribe): self._unsubscribe,
            (Role.CLIENT, ms.Publish): self._publish,
            (Role.CLIENT, ms.WatchPools): self._watch_pools,
            (Role.CLIENT, ms.WatchTasks): self._watch_tasks,
            (Role.CLIENT, ms.AskStatus): self._answer_status,
            (Role.CLIENT, ms.AskWhy): self._answer_why,
            (Role.CLIENT, ms.GrantItems): self._grant,
            (Role.CLIENT, ms.ReassignTasks): self._reassign,
            (Role.CLIENT, ms.HoldObject): self._hold,
            (Role.CLIENT, ms.LetGo): self._let_go,
            (Role.CLIENT, ms.PublishVersion): self._publish_version,
            (Role.CLIENT, ms.AskVersion): self._ask_version,
            (Role.CLIENT, ms.AskMove): self._ask_move,
            (Role.CLIENT, ms.EndMove): self._end_move,
            (Role.CLIENT, ms.AskDrain): self._drain,
            (Role.CLIENT, ms.AskUndrain): self._undrain,
            (Role.CLIENT, ms.AskPause): self._pause,
            (Role.CLIENT, ms.AskResume): self._resume,
            (Role.CLIENT, ms.AwaitMove): self._await_move,
            (Role.CLIENT, ms.TakeOrders): self._take_orders,
            (Role.CLIENT, ms.GiveOrder): self._give_order,
            (Role.CLIENT, ms.AskLook): self._ask_look,
            (Role.CLIENT, ms.OrderDone): self._order_done,
            (Role.CLIENT, ms.Announce): self._announce,
            (Role.OBSERVER, ms.Subscribe): self._subscribe,
            (Role.OBSERVER, ms.Unsubscribe): self._unsubscribe,
            (Role.OBSERVER, ms.WatchPools): self._watch_pools,
            (Role.OBSERVER, ms.AskStatus): self._answer_status,
            (Role.OBSERVER, ms.AskWhy): self._answer_why,
            (Role.OBSERVER, ms.AskLook): self._ask_look,
        }

    # -- tasks --------------------------------------------------------------------------------

    def define(self, peer: Peer, message: ms.DefineTask) -> None:
        """Take in a task type that may be run."""
        self._core.define(peer.number, message.type_id, message.spec)

    def _forget_types(self, peer: Peer, message: ms.ForgetTypes, _: Frames, now: float) -> int:
        del now
        unknown = self._core.forget_types(peer.number, message.types)
        if unknown:
            self._drop("unknown task type or foreign id", f"types {unknown[:5]} of {peer}")
        return len(message.types)

    def _submit(self, peer: Peer, message: ms.SubmitTask, frames: Frames, now: float) -> None:
        kind = self._core.task_type(peer.number, message.type_id)
        if kind is None or message.task_id >> CLIENT_BITS != peer.client_number:
            what = "unknown task type or foreign id"
            self._drop(what, f"task {message.task_id} of {peer}")
            self._refuse_frames(message.inputs)
            at = now + self._core.epoch
            peer.send(ms.TaskSettled.unknown(message.task_id, "lost", at, what))
            return
        if peer.ledger is not None:
            if message.task_id in peer.ledger:  # the broker before has told this one of it
                if not message.again:
                    self._drop("repeated task", f"task {message.task_id} of {peer}")
                    self._refuse_frames(message.inputs)
                return
            peer.ledger.submitted(kind.spec, message, frames)
        self.take_task(peer.number, kind, message, frames, now)

    def take_task(
        self, client: int, kind: TypeRecord, message: ms.SubmitTask, frames: Frames, now: float
    ) -> None:
        """Take in a task of a client, which is here or was at an earlier broker."""
        self._order += 1
        options = message.options
        queued = min(now, message.created - self._core.epoch) if message.again else now
        record = TaskRecord(
            message.task_id,
            client,
            kind,
            message.body,
            frames,
            options,
            message.created,
            queued,
            self._order,
            options.priority,
            message.tags,
            message.cause,
            attempt=message.attempts,
            inputs=message.inputs,
            because=message.because[:MOST_BEHIND],
        )
        if not self._core.submit(record, now):
            self._drop("repeated task", f"task {message.task_id} of peer {client}")

    def _cancel(self, peer: Peer, message: ms.CancelTasks, _: Frames, now: float) -> int:
        if peer.ledger is not None:
            peer.ledger.changed(message)
        for task_id in message.tasks:
            self._core.cancel(task_id, message.reason, now, queued_only=message.queued_only)
        return len(message.tasks)

    def _reprioritise(self, peer: Peer, message: ms.Reprioritise, _: Frames, now: float) -> int:
        if peer.ledger is not None:
            peer.ledger.changed(message)
        self._core.reprioritise(message.changes, now)
        return len(message.changes)

    def _grant(self, peer: Peer, message: ms.GrantItems, _: Frames, now: float) -> None:
        del peer, now
        self._core.grant(message.task_id, message.count)

    def _reassign(self, peer: Peer, message: ms.ReassignTasks, _: Frames, now: float) -> int:
        if peer.ledger is not None:
            peer.ledger.changed(message)
        if self._core.reassign(message.tasks, message.pool, now) is None:
            self._drop("unknown pool", f"{peer} wants tasks in {message.pool!r}")
        return len(message.tasks)

    # -- events, pools and the status -----------------------------------------------------------

    def _subscribe(self, peer: Peer, message: ms.Subscribe, _: Frames, now: float) -> int:
        self._share()  # first, so that the new one starts with later events
        subscription = peer.subscriptions[message.subscription] = Subscription(message)
        self._peers.following[peer.number] = peer
        if message.since is None:
            return 0
        since = min(max(message.since, 0), self._core.event_count)
        missed, kept = self._core.events_after(since)
        subscription.missed(since + 1, missed)
        subscription.share(peer, kept)
        return len(kept)

    def _unsubscribe(self, peer: Peer, message: ms.Unsubscribe, _: Frames, now: float) -> None:
        del now
        peer.subscriptions.pop(message.subscription, None)
        if not peer.subscriptions and not peer.watches_tasks:
            self._peers.following.pop(peer.number, None)

    def _publish(self, peer: Peer, message: ms.Publish, _: Frames, now: float) -> None:
        self._core.published(message.topic, shown(message.body), peer.name, now)

    def _watch_pools(self, peer: Peer, message: ms.WatchPools, _: Frames, now: float) -> None:
        del now
        self._peers.watch_idle(peer, message.idle)
        peer.send(self._overview.pools())

    def _watch_tasks(self, peer: Peer, message: ms.WatchTasks, _: Frames, now: float) -> int:
        del message, now
        self._share()  # first, so that it is told of later events
        peer.watches_tasks = True
        self._peers.following[peer.number] = peer
        tasks = self._core.tasks_of(peer.number)
        states = [(task.task_id, task.state in IN_HAND) for task in tasks]
        peer.send_states(states)
        return len(states)

    def _answer_status(self, peer: Peer, message: ms.AskStatus, _: Frames, now: float) -> int:
        status = self._overview.status(message.request, now)
        peer.send(status)
        return len(status.workers)

    def _answer_why(self, peer: Peer, message: ms.AskWhy, _: Frames, now: float) -> None:
        del now
        peer.send(ms.TaskReason(message.request, self._core.why(message.task_id)))

    # -- moves and nodes ------------------------------------------------------------------------

    def _ask_move(self, peer: Peer, message: ms.AskMove, _: Frames, now: float) -> None:
        refusal = self._core.ask_move(
            peer.number,
            message.request,
            message.source,
            message.target,
            message.count,
            now,
            lease=message.lease,
            together=message.together,
            how=message.how,
            preempt_after_s=message.preempt_after_s,
        )
        if refusal:
            peer.send(ms.MoveNews(message.request, "refused", [], [], refusal))

    def _end_move(self, peer: Peer, message: ms.EndMove, _: Frames, now: float) -> None:
        self._core.end_move(peer.number, message.request, message.how, now)

    def _await_move(self, peer: Peer, message: ms.AwaitMove, _: Frames, now: float) -> None:
        by = message.cause or peer.name
        self._core.await_move(peer.number, message.request, message.count, message.holds, by, now)

    def _drain(self, peer: Peer, message: ms.AskDrain, _: Frames, now: float) -> None:
        refusal = self._core.drain(
            peer.number,
            message.request,
            message.node,
            now,
            within_s=message.within_s,
            retire=message.retire,
        )
        if refusal:
            peer.send(ms.NodeNews(message.request, "refused", refusal))

    def _undrain(self, peer: Peer, message: ms.AskUndrain, _: Frames, now: float) -> None:
        refusal = self._core.undrain(message.node, now)
        state: DrainEnd = "refused" if refusal else "undrained"
        peer.send(ms.NodeNews(message.request, state, refusal))

    def _pause(self, peer: Peer, message: ms.AskPause, _: Frames, now: float) -> None:
        number, why, again = peer.number, _by(peer, message.reason), message.again
        refusal = self._core.pause(number, message.request, message.pool, why, now, again=again)
        if refusal:
            peer.send(ms.PauseNews(message.request, refusal))

    def _resume(self, peer: Peer, message: ms.AskResume, _: Frames, now: float) -> None:
        refusal = self._core.resume(message.pool, _by(peer, message.reason), now)
        peer.send(ms.PauseNews(message.request, refusal))

    # -- orders to campaigns --------------------------------------------------------------------

    def _take_orders(self, peer: Peer, message: ms.TakeOrders, _: Frames, now: float) -> None:
        del now
        self._core.take_orders(peer.number, takes=message.takes)

    def _give_order(self, peer: Peer, message: ms.GiveOrder, _: Frames, now: float) -> None:
        del now
        given = message.given
        refusal = self._core.give_order(peer.number, message.request, message.to, given)
        if refusal:
            peer.send(ms.OrderNews(message.request, OrderAnswer(False, refusal)))

    def _ask_look(self, peer: Peer, message: ms.AskLook, _: Frames, now: float) -> None:
        look = ms.GiveOrder(message.request, message.to, GivenOrder(Look(), peer.name))
        self._give_order(peer, look, _, now)

    def _order_done(self, peer: Peer, message: ms.OrderDone, _: Frames, now: float) -> None:
        del now
        self._core.order_done(peer.number, message.number, message.answer)

    def _announce(self, peer: Peer, message: ms.Announce, _: Frames, now: float) -> None:
        number = self._core.announced(message.event, peer.name, now)
        peer.send(ms.Announced(message.request, number))

    # -- the store ----------------------------------------------------------------------------

    def _hold(self, peer: Peer, message: ms.HoldObject, _: Frames, now: float) -> None:
        del now
        self._core.hold(message.stored, peer.number)

    def _let_go(self, peer: Peer, message: ms.LetGo, _: Frames, now: float) -> int:
        del now
        for name in message.names:
            if not self._core.let_go(name, peer.number):
                self._drop("unknown object", f"{name!r} of {peer}")
        return len(message.names)

    def _publish_version(
        self, peer: Peer, message: ms.PublishVersion, _: Frames, now: float
    ) -> None:
        version, served = self._core.publish_version(
            message.name, message.stored, peer.name, now, message.number
        )
        peer.send(ms.VersionNews(message.request, version))
        for waiter in served:
            self._peers.send(waiter.client, ms.VersionNews(waiter.request, version))

    def _ask_version(self, peer: Peer, message: ms.AskVersion, _: Frames, now: float) -> None:
        del now
        waiter = VersionWaiter(peer.number, message.request, message.after)
        version = self._core.ask_version(message.name, waiter)
        if version is not None:
            peer.send(ms.VersionNews(message.request, version))


def _by(peer: Peer, reason: str) -> str:
    """Return, in words, which client wants something, and why."""
    return cut(f"by {peer.name}" + (f": {reason}" if reason else ""), REASON_CHARACTERS)
