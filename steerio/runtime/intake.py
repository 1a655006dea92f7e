"""Takes messages in: looks whether they may be, and tells the core what they say.

A message that is malformed, comes from a stranger or out of place is dropped, counted
under a reason and logged; nothing that a peer sends can raise beyond here.
"""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Callable
from math import inf, isfinite
from typing import Any, cast

from steerio.core.membership import Membership
from steerio.core.records import NodeRecord, TaskRecord, TypeRecord
from steerio.core.versions import VersionWaiter
from steerio.edge.endpoint import Arrival, Frames, RouterEndpoint
from steerio.edge.journal import shown
from steerio.model import events as ev
from steerio.model import messages as ms
from steerio.model.objects import Inputs, StoredObject, StoreLoad
from steerio.model.status import NodeStatus, WorkerStatus
from steerio.model.tasks import CLIENT_BITS, TaskSpec
from steerio.runtime.objects import client_maker
from steerio.runtime.peers import Peer, Peers, Subscription

log = logging.getLogger("steerio.broker")

LIMIT_WORKERS = 10_000
"""Most workers that one node may offer."""
LIMIT_POOLS = 1_000
"""Most pools that one node may offer workers for."""
WRONG = ("malformed", "protocol", "out of place", "unknown task type or foreign id")
"""Reasons that no peer in good order gives; the others come of messages that crossed."""
LOGGED_DROPS = 10
"""How many drops for one reason are logged; all are counted."""
LOGGED_CHARACTERS = 500
"""How much is logged of what a peer chose to say."""


class Intake:
    """Takes in what peers say, one method for each kind of message.

    Args:
        members: the core.
        peers: who was let in.
        share: shares the events so far, before a new subscriber is added.
        started: when the broker started, on its clock.
    """

    def __init__(
        self, members: Membership, peers: Peers, share: Callable[[], None], started: float
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self.closing = ""
        self._members = members
        self._dispatch = members.dispatch
        self._roster = members.roster
        self._events = members.dispatch.log
        self._holdings = members.dispatch.holdings
        self._versions = members.dispatch.versions
        self._peers = peers
        self._share = share
        self._started = started
        self._clients = 0
        self._order = 0
        self._types: dict[TaskSpec, TypeRecord] = {}
        self._handlers: dict[tuple[str, type], Callable[[Peer, Any, Frames, float], None]] = {
            ("client", ms.DefineTask): self._define,
            ("client", ms.SubmitTask): self._submit,
            ("client", ms.CancelTasks): self._cancel,
            ("client", ms.Reprioritise): self._reprioritise,
            ("client", ms.Subscribe): self._subscribe,
            ("client", ms.Unsubscribe): self._unsubscribe,
            ("client", ms.Publish): self._publish,
            ("client", ms.WatchPools): self._watch_pools,
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
            ("client", ms.Beat): self._beat,
            ("client", ms.Leave): self._leave,
            ("client", ms.StopBroker): self._stop,
            ("node", ms.Beat): self._beat,
            ("node", ms.Leave): self._leave,
            ("node", ms.WorkerExited): self._worker_exited,
            ("node", ms.NotBegun): self._not_begun,
            ("worker", ms.Report): self._report,
            ("worker", ms.ReturnTask): self._returned,
            ("worker", ms.YieldItem): self._item,
            ("worker", ms.ReportProgress): self._progress,
        }

    def take(self, router: RouterEndpoint, arrival: Arrival, now: float) -> None:
        """Take in what arrived from one peer."""
        peer = self._peers.at(router, arrival.peer)
        if arrival.fault:
            self._drop("malformed", f"{peer}: {arrival.fault}")
            return
        for message, frames in arrival.messages:
            kind = cast("type", message.__class__)
            try:
                if peer is None:
                    peer = self._welcome(router, arrival.peer, message, now)
                    continue
                handler = self._handlers.get((peer.role, kind))
                if handler is None:
                    self._drop("out of place", f"{peer} sent {kind.__name__}")
                    continue
                handler(peer, message, frames, now)
            except Exception as error:  # noqa: BLE001 - our bug must not end it for everybody
                self._drop("error", f"{peer} sent {kind.__name__}", error)

    def _drop(self, why: str, what: str, error: Exception | None = None) -> None:
        self.dropped[why] += 1
        if self.dropped[why] <= LOGGED_DROPS:
            level = logging.ERROR if error else logging.WARNING if why in WRONG else logging.INFO
            log.log(level, "dropped (%s): %.*s", why, LOGGED_CHARACTERS, what, exc_info=error)

    def _welcome(
        self, router: RouterEndpoint, identity: bytes, message: Any, now: float
    ) -> Peer | None:
        """Let a stranger in, or say why not."""
        protocol = getattr(message, "protocol", None)
        if protocol is None:
            self._drop("stranger", f"{type(message).__name__} before joining")
            self._refuse(getattr(message, "stored", None))
            self._refuse_frames(getattr(message, "inputs", None))
            router.send(identity, ms.Refused("join first", True))
            return None
        if protocol != ms.PROTOCOL:
            reason = (
                f"this broker speaks protocol {ms.PROTOCOL}, you speak {protocol}: "
                "install the same version of steerio on both sides"
            )
            self._drop("protocol", reason)
            router.send(identity, ms.Refused(reason, False))
            return None
        number = self._peers.next_number()
        refusal = ""
        peer = Peer(number, router, identity, "client", "")
        if isinstance(message, ms.JoinClient):
            peer.name, peer.client_number = message.name, self._clients
            self._clients += 1
            maker = client_maker(peer.client_number)
            self._members.client_joined(number, message.name, not router.local, now, maker)
        elif isinstance(message, ms.JoinNode):
            peer.role, peer.name = "node", message.name
            refusal = self._welcome_node(peer, message, now)
        elif isinstance(message, ms.JoinWorker):
            peer.role, peer.name = "worker", message.worker
            peer.worker = self._members.worker_joined(number, message.worker, message.pid, now)
            if peer.worker is None:
                refusal = f"no worker {message.worker!r} is expected"
        if refusal:
            self._drop("refused", refusal)
            router.send(identity, ms.Refused(refusal, False))
            return None
        self._peers.add(peer)
        pools = {name: pool.workers for name, pool in self._roster.pools.items()}
        shown_pools = pools if self._roster.closed else {}
        peer.send(ms.Accepted(max(0, peer.client_number), shown_pools))
        if peer.role == "client":
            self._show_pools(peer)
        return peer

    def _welcome_node(self, peer: Peer, message: ms.JoinNode, now: float) -> str:
        """Let a node in, or return why not."""
        counts = message.workers.values()
        if any(count < 0 for count in counts) or sum(counts) > LIMIT_WORKERS:
            return f"a node offers 0 to {LIMIT_WORKERS} workers"
        if max(len(counts), len(message.makes)) > LIMIT_POOLS:
            return f"a node offers workers for up to {LIMIT_POOLS} pools"
        left_s, least_s = message.walltime_s, self._roster.settings.leave_s
        if left_s is not None and not least_s < left_s < inf:
            return (
                f"a walltime is more than the {least_s:g} s in which a node is left: {left_s:g} s"
            )
        node = self._members.node_joined(
            peer.number,
            message.name,
            message.host,
            message.workers,
            now,
            message.requires,
            message.makes,
            message.walltime_s,
        )
        if node is None:
            return f"there are just the pools {', '.join(sorted(self._roster.pools))} here"
        peer.name = node.name
        peer.local_pid = message.pid if message.host == socket.gethostname() else 0
        return ""

    # -- from clients -----------------------------------------------------------------------

    def _define(self, peer: Peer, message: ms.DefineTask, _: Frames, now: float) -> None:
        del now
        kind = self._types.get(message.spec)
        if kind is None:
            kind = self._types[message.spec] = TypeRecord(len(self._types) + 1, message.spec)
        self._members.clients[peer.number].types[message.type_id] = kind

    def _submit(self, peer: Peer, message: ms.SubmitTask, frames: Frames, now: float) -> None:
        kind = self._members.clients[peer.number].types.get(message.type_id)
        if kind is None or message.task_id >> CLIENT_BITS != peer.client_number:
            self._drop("unknown task type or foreign id", f"task {message.task_id} of {peer}")
            self._refuse_frames(message.inputs)
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
        self._show_pools(peer)

    def _show_pools(self, peer: Peer) -> None:
        peer.send(ms.PoolStatus({n: p.load() for n, p in self._roster.pools.items()}))

    def _answer_status(self, peer: Peer, message: ms.AskStatus, _: Frames, now: float) -> None:
        workers = [
            WorkerStatus(
                worker.name,
                worker.pool,
                worker.node.name,
                worker.pid,
                worker.phase,
                worker.in_hand[0].task_id if worker.in_hand else None,
            )
            for worker in self._roster.workers.values()
        ]
        peer.send(
            ms.Status(
                message.request,
                {name: pool.load() for name, pool in self._roster.pools.items()},
                workers,
                {node.name: _describe(node, now) for node in self._roster.nodes.values()},
                [client.name for client in self._members.clients.values()],
                dict(self._dispatch.ended),
                dict(self.dropped),
                self._events.count,
                now - self._started,
                self._store_load(),
            )
        )

    def _store_load(self) -> StoreLoad:
        sizes = self._holdings.sizes
        names = {c.peer: c.name for c in self._members.clients.values()}
        by_tasks = 0
        by_clients: Counter[str] = Counter()
        by_versions: dict[str, int] = {}
        for (kind, who), nbytes in self._holdings.bytes_by_holder().items():
            if kind == "task":
                by_tasks += nbytes
            elif kind == "client":
                by_clients[names.get(int(who), "?")] += nbytes
            else:
                by_versions[str(who)] = nbytes
        newest = {name: version.number for name, version in self._versions.newest.items()}
        total = sum(sizes.values())
        return StoreLoad(len(sizes), total, by_tasks, dict(by_clients), by_versions, newest)

    def _grant(self, peer: Peer, message: ms.GrantItems, _: Frames, now: float) -> None:
        del peer, now
        record = self._dispatch.tasks.get(message.task_id)
        if record is not None and record.worker is not None and record.run in self._dispatch.runs:
            self._peers.send(record.worker.peer, ms.GrantRun(record.run, message.count))

    def _reassign(self, peer: Peer, message: ms.ReassignTasks, _: Frames, now: float) -> None:
        pool = self._roster.pool(message.pool)
        if pool is None:
            self._drop("unknown pool", f"{peer} wants tasks in {message.pool!r}")
        else:
            self._dispatch.reassign(message.tasks, pool, now)

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

    def _await_move(self, peer: Peer, message: ms.AwaitMove, _: Frames, now: float) -> None:
        by = message.cause or peer.name
        self._members.moves.awaits(
            peer.number, message.request, message.count, message.holds, by, now
        )

    def _stop(self, peer: Peer, message: ms.StopBroker, _: Frames, now: float) -> None:
        del now
        self.closing = message.reason or f"stopped by {peer.name}"

    # -- from members -------------------------------------------------------------------------

    def _beat(self, peer: Peer, message: ms.Beat, _: Frames, now: float) -> None:
        self._members.heard(peer.number, now)
        if peer.role == "node" and message.offset_s is not None and isfinite(message.offset_s):
            self._members.nodes[peer.number].offset_s = message.offset_s
        peer.send(ms.BeatAnswer(message.sent, now))

    def _leave(self, peer: Peer, message: ms.Leave, _: Frames, now: float) -> None:
        reason = message.reason or "it left"
        if peer.role == "node":
            self._members.node_lost(peer.number, reason, now)
        else:
            self._members.client_left(peer.number, reason, now)
        self._peers.forget(peer)

    def _worker_exited(self, peer: Peer, message: ms.WorkerExited, _: Frames, now: float) -> None:
        worker = self._roster.workers.get(message.worker)
        if worker is None or worker.node.peer != peer.number:
            self._drop("unknown worker", f"{message.worker} of {peer}")
            return
        gone = self._peers.by_number.get(worker.peer)
        if gone is not None:
            self._peers.forget(gone)
        self._members.worker_exited(message.worker, message.run, message.reason, now)

    def _not_begun(self, peer: Peer, message: ms.NotBegun, _: Frames, now: float) -> None:
        record = self._dispatch.runs.get(message.run)
        worker = record.worker if record else None
        if worker is None or worker.name != message.worker or worker.node.peer != peer.number:
            self._drop("late return", f"run {message.run} of {message.worker}, by {peer}")
            return
        self._dispatch.not_begun(message.run, now)

    def _own_run(self, peer: Peer, run: int) -> TaskRecord | None:
        """Return the task that a worker speaks of, where it is in this worker's own hands."""
        record = self._dispatch.runs.get(run)
        return record if record is not None and record.worker is peer.worker else None

    def _report(self, peer: Peer, message: ms.Report, frames: Frames, now: float) -> None:
        if self._own_run(peer, message.run) is None:
            self._drop("late report", f"run {message.run} of {peer}")
            self._refuse(message.stored)
            return
        assert peer.worker is not None
        offset_s = peer.worker.node.offset_s
        self._dispatch.reported(
            message.run,
            message.ended_as,
            message.started + offset_s,
            message.ended + offset_s,
            now,
            message.body,
            frames,
            message.error,
            message.stored,
        )

    def _refuse(self, stored: StoredObject | None) -> None:
        if stored is not None:
            self._holdings.refuse(stored)

    def _refuse_frames(self, inputs: Inputs | None) -> None:
        self._refuse(inputs.frames if inputs is not None else None)

    def _returned(self, peer: Peer, message: ms.ReturnTask, _: Frames, now: float) -> None:
        if self._own_run(peer, message.run) is None:
            self._drop("late return", f"run {message.run} of {peer}")
            return
        self._dispatch.returned(message.run, now)

    def _item(self, peer: Peer, message: ms.YieldItem, frames: Frames, now: float) -> None:
        record = self._own_run(peer, message.run)
        if record is None:
            self._drop("late item", f"run {message.run} of {peer}")
            self._refuse(message.stored)
            return
        if message.stored is not None:
            self._holdings.hold(message.stored, ("client", record.client))
        spec = record.type.spec
        at = now + self._events.epoch
        self._events.append(
            ev.TaskYielded(
                self._events.next(), at, record.task_id, spec.name, record.pool, message.index
            )
        )
        item = ms.TaskItem(record.task_id, message.index, message.body, len(frames), message.stored)
        self._peers.send(record.client, item, frames)

    def _progress(self, peer: Peer, message: ms.ReportProgress, _: Frames, now: float) -> None:
        record = self._own_run(peer, message.run)
        if record is None:
            self._drop("late progress", f"run {message.run} of {peer}")
            return
        spec = record.type.spec
        at = now + self._events.epoch
        self._events.append(
            ev.TaskProgress(
                self._events.next(),
                at,
                record.task_id,
                spec.name,
                record.pool,
                message.fraction,
                message.message,
            )
        )


def _describe(node: NodeRecord, now: float) -> NodeStatus:
    """Return a node at a glance."""
    busy = sum(bool(worker.in_hand) for worker in node.workers.values())
    state = "drained" if node.drained else "draining" if node.draining else "up"
    left_s = node.ends - now if node.ends < inf else None
    return NodeStatus(node.host, len(node.workers), busy, state, left_s)
