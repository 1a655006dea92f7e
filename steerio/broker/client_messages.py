"""Takes in what clients say: of tasks, events, pools, moves, nodes and the store.

Whether a peer may say such a thing ``broker.intake`` has looked.
"""

from __future__ import annotations

from collections.abc import Callable

from steerio.broker.drops import Drops
from steerio.broker.peers import Intakes, Peer, Peers, Subscription
from steerio.broker.status import Overview
from steerio.core.lifecycle import State
from steerio.core.membership import Membership
from steerio.core.records import TaskRecord
from steerio.core.versions import VersionWaiter
from steerio.edge.record.journal import shown
from steerio.edge.wire.endpoint import Frames
from steerio.model import events as ev
from steerio.model import messages as ms
from steerio.model.tasks import CLIENT_BITS

IN_HAND = (State.RUNNING, State.STOPPING)
"""The states of a task that its worker works on."""


class FromClients:
    """Takes in what clients say, one method for each kind of message.

    Args:
        members: the core.
        peers: who was let in.
        drops: where to count what may not be.
        overview: how the broker is.
        share: shares the events so far, before a new subscriber is added.
    """

    def __init__(
        self,
        members: Membership,
        peers: Peers,
        drops: Drops,
        overview: Overview,
        share: Callable[[], None],
    ) -> None:
        self._members = members
        self._dispatch = members.dispatch
        self._roster = members.roster
        self._events = members.dispatch.log
        self._holdings = members.dispatch.holdings
        self._versions = members.dispatch.versions
        self._peers = peers
        self._overview = overview
        self._share = share
        self._drop = drops.drop
        self._refuse_frames = drops.refuse_frames
        self._order = 0
        self.by_kind: Intakes = {
            ("client", ms.DefineTask): self._define,
            ("client", ms.ForgetTypes): self._forget_types,
            ("client", ms.SubmitTask): self._submit,
            ("client", ms.CancelTasks): self._cancel,
            ("client", ms.Reprioritise): self._reprioritise,
            ("client", ms.Subscribe): self._subscribe,
            ("client", ms.Unsubscribe): self._unsubscribe,
            ("client", ms.Publish): self._publish,
            ("client", ms.WatchPools): self._watch_pools,
            ("client", ms.WatchTasks): self._watch_tasks,
            ("client", ms.AskStatus): self._answer_status,
            ("client", ms.GrantItems): self._grant,
            ("client", ms.ReassignTasks): self._reassign,
            ("client", ms.HoldObject): self._hold,
            ("client", ms.LetGo): self._let_go,
            ("client", ms.PublishVersion): self._publish_version,
            ("client", ms.AskVersion): self._ask_version,
            ("client", ms.AskMove): self._ask_move,
            ("client", ms.EndMove): self._end_move,
            ("client", ms.DrainNode): self._drain,
            ("client", ms.UndrainNode): self._undrain,
            ("client", ms.AwaitMove): self._await_move,
        }

    # -- tasks --------------------------------------------------------------------------------

    def _define(self, peer: Peer, message: ms.DefineTask, _: Frames, now: float) -> None:
        del now
        known = self._members.clients[peer.number].types
        effects = self._dispatch.types.define(known, message.type_id, message.spec)
        self._dispatch.effects += effects

    def _forget_types(self, peer: Peer, message: ms.ForgetTypes, _: Frames, now: float) -> None:
        del now
        known = self._members.clients[peer.number].types
        unknown = [number for number in message.types if number not in known]
        if unknown:
            self._drop("unknown task type or foreign id", f"types {unknown[:5]} of {peer}")
        self._dispatch.effects += self._dispatch.types.forget(known, message.types)

    def _submit(self, peer: Peer, message: ms.SubmitTask, frames: Frames, now: float) -> None:
        kind = self._members.clients[peer.number].types.get(message.type_id)
        if kind is None or message.task_id >> CLIENT_BITS != peer.client_number:
            what = "unknown task type or foreign id"
            self._drop(what, f"task {message.task_id} of {peer}")
            self._refuse_frames(message.inputs)
            at = now + self._events.epoch
            peer.send(ms.TaskSettled.unknown(message.task_id, "lost", at, what))
            return
        self._order += 1
        options = message.options
        record = TaskRecord(
            message.task_id,
            peer.number,
            kind,
            message.body,
            frames,
            options,
            message.created,
            now,
            self._order,
            options.priority,
            message.tags,
            message.cause,
            inputs=message.inputs,
        )
        if not self._dispatch.submit(record, now):
            self._drop("repeated task", f"task {message.task_id} of {peer}")

    def _cancel(self, peer: Peer, message: ms.CancelTasks, _: Frames, now: float) -> None:
        del peer
        for task_id in message.tasks:
            self._dispatch.cancel(task_id, message.reason, now, queued_only=message.queued_only)

    def _reprioritise(self, peer: Peer, message: ms.Reprioritise, _: Frames, now: float) -> None:
        del peer, now
        self._dispatch.reprioritise(message.changes)

    def _grant(self, peer: Peer, message: ms.GrantItems, _: Frames, now: float) -> None:
        del peer, now
        self._dispatch.grant(message.task_id, message.count)

    def _reassign(self, peer: Peer, message: ms.ReassignTasks, _: Frames, now: float) -> None:
        pool = self._roster.pool(message.pool)
        if pool is None:
            self._drop("unknown pool", f"{peer} wants tasks in {message.pool!r}")
        else:
            self._dispatch.reassign(message.tasks, pool, now)

    # -- events, pools and the status -----------------------------------------------------------

    def _subscribe(self, peer: Peer, message: ms.Subscribe, _: Frames, now: float) -> None:
        self._share()  # first, so that the new one starts with what comes after it
        subscription = peer.subscriptions[message.subscription] = Subscription(message)
        if message.since is not None:
            since = min(max(message.since, 0), self._events.count)
            missed, kept = self._events.after(since)
            subscription.missed(since + 1, missed)
            subscription.share(peer, list(kept))

    def _unsubscribe(self, peer: Peer, message: ms.Unsubscribe, _: Frames, now: float) -> None:
        del now
        peer.subscriptions.pop(message.subscription, None)

    def _publish(self, peer: Peer, message: ms.Publish, _: Frames, now: float) -> None:
        value = shown(message.body)
        at = now + self._events.epoch
        event = ev.Published(self._events.next(), at, message.topic, value, peer.name)
        self._events.append(event)

    def _watch_pools(self, peer: Peer, message: ms.WatchPools, _: Frames, now: float) -> None:
        del now
        peer.watches_idle = message.idle
        peer.send(self._overview.pools())

    def _watch_tasks(self, peer: Peer, message: ms.WatchTasks, _: Frames, now: float) -> None:
        del message, now
        self._share()  # first, so that it is told of what comes after
        peer.watches_tasks = True
        tasks = self._dispatch.tasks.values()
        peer.send_states(
            [(task.task_id, task.state in IN_HAND) for task in tasks if task.client == peer.number]
        )

    def _answer_status(self, peer: Peer, message: ms.AskStatus, _: Frames, now: float) -> None:
        peer.send(self._overview.status(message.request, now))

    # -- moves and nodes ------------------------------------------------------------------------

    def _ask_move(self, peer: Peer, message: ms.AskMove, _: Frames, now: float) -> None:
        refusal = self._members.moves.ask(
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
            peer.send(ms.MoveNews(message.request, "refused", [], refusal))

    def _end_move(self, peer: Peer, message: ms.EndMove, _: Frames, now: float) -> None:
        self._members.moves.end(peer.number, message.request, message.how, now)

    def _await_move(self, peer: Peer, message: ms.AwaitMove, _: Frames, now: float) -> None:
        by = message.cause or peer.name
        self._members.moves.awaits(
            peer.number, message.request, message.count, message.holds, by, now
        )

    def _drain(self, peer: Peer, message: ms.DrainNode, _: Frames, now: float) -> None:
        refusal = self._members.draining.ask(
            peer.number,
            message.request,
            message.node,
            now,
            within_s=message.within_s,
            retire=message.retire,
        )
        if refusal:
            peer.send(ms.NodeNews(message.request, "refused", refusal))

    def _undrain(self, peer: Peer, message: ms.UndrainNode, _: Frames, now: float) -> None:
        refusal = self._members.draining.undo(message.node, now)
        state = "refused" if refusal else "undrained"
        peer.send(ms.NodeNews(message.request, state, refusal))

    # -- the store ----------------------------------------------------------------------------

    def _hold(self, peer: Peer, message: ms.HoldObject, _: Frames, now: float) -> None:
        del now
        self._holdings.hold(message.stored, ("client", peer.number))

    def _let_go(self, peer: Peer, message: ms.LetGo, _: Frames, now: float) -> None:
        del now
        for name in message.names:
            if not self._holdings.let_go(name, ("client", peer.number)):
                self._drop("unknown object", f"{name!r} of {peer}")

    def _publish_version(
        self, peer: Peer, message: ms.PublishVersion, _: Frames, now: float
    ) -> None:
        served = self._versions.publish(message.name, message.stored, peer.name, now)
        version = self._versions.newest[message.name]
        peer.send(ms.VersionNews(message.request, version))
        for waiter in served:
            self._peers.send(waiter.client, ms.VersionNews(waiter.request, version))

    def _ask_version(self, peer: Peer, message: ms.AskVersion, _: Frames, now: float) -> None:
        del now
        waiter = VersionWaiter(peer.number, message.request, message.after)
        version = self._versions.ask(message.name, waiter)
        if version is not None:
            peer.send(ms.VersionNews(message.request, version))
