"""Takes messages in: checks that each may come from its peer, and tells the core its content.

A message that comes from a stranger or out of place is dropped, counted under a reason and logged;
no message can raise an exception beyond this module.  If a message of a peer that was let in cannot
be read, or taken in, the broker cannot know which effects it should have had: so the broker ends
that peer, tells it so, and ends all that depended on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from math import inf
from typing import cast

from steerio.broker.admission import Welcome
from steerio.broker.client_messages import FromClients
from steerio.broker.door import Door
from steerio.broker.drops import Drops
from steerio.broker.ledger_messages import FromDetached
from steerio.broker.ledgers import Ledgers
from steerio.broker.node_messages import FromNodes
from steerio.broker.overview import Overview
from steerio.broker.peers import Intakes, Peer, Peers
from steerio.broker.succession import Succession
from steerio.core.core import Core
from steerio.core.lifecycle import CLIENTS, Role, Word, change
from steerio.core.records import WorkerRecord
from steerio.core.rights import is_revoked
from steerio.edge.wire.endpoint import Arrival, Frames, RouterEndpoint, Way
from steerio.errors import FunctionRefused
from steerio.model import messages as ms
from steerio.model.allowed import check_type
from steerio.model.bounds import REASON_CHARACTERS, cut


class Intake:
    """Takes in messages: finds the method for each, by its kind and the role of its sender.

    Args:
        core: the core, which is told the content of the messages.
        peers: the peers that were let in.
        succession: its broker's place among those of its run directory.
        share: shares the events so far, before a new subscriber is added.
        hear_out: takes in all that has arrived from a worker, before it counts as ended.
        started: when the broker started, on its clock.
        ledgers: of the detached clients.
        allow: the functions that workers may run; ``None``: any.
        door: knows the keys that were revoked, and counts those that were refused.
    """

    def __init__(
        self,
        core: Core,
        peers: Peers,
        succession: Succession,
        share: Callable[[], None],
        hear_out: Callable[[WorkerRecord, float], None],
        started: float,
        ledgers: Ledgers,
        allow: tuple[str, ...] | None = None,
        door: Door | None = None,
    ) -> None:
        self._allow = allow
        self._door = door
        drops = Drops(core)
        overview = Overview(core, self.all_dropped, started)
        self._dropped = drops.count
        self.closing = ""
        self._core = core
        self._peers = peers
        self._hear_out = hear_out
        self._drop = drops.drop
        self._ledgers = ledgers
        self._welcome = Welcome(
            core, peers, drops, overview, succession, ledgers, allow, door
        ).welcome
        clients = FromClients(core, peers, drops, overview, share)
        detached = FromDetached(core, ledgers, clients.take_task)
        self.take_up = detached.take_up
        self._define_allowed = clients.define
        self._by_kind: Intakes = {
            **clients.by_kind,
            **detached.by_kind,
            **FromNodes(core, peers, drops, hear_out).by_kind,
            (Role.CLIENT, ms.DefineTask): self._define,
            (Role.CLIENT, ms.Beat): self._beat,
            (Role.CLIENT, ms.Leave): self._leave,
            (Role.CLIENT, ms.StopBroker): self._stop,
            (Role.OBSERVER, ms.Beat): self._beat,
            (Role.OBSERVER, ms.Leave): self._leave,
            (Role.NODE, ms.WorkerSaid): self._pass_on,
            (Role.NODE, ms.Leave): self._leave,
        }

    def take(self, router: Way, arrival: Arrival, now: float, room: float) -> tuple[int, float]:
        """Take in messages of one arrival, the first in any case.

        Args:
            router: the endpoint through which they came.
            arrival: they, from one peer.
            now: the time, in seconds on the broker's clock.
            room: no more are taken in once they have cost as much; one that is about many things
                costs as much as one about each of these.

        Returns how many were taken in, and their cost.
        """
        peer = self._peers.at(router, arrival.peer)
        if peer is not None and peer.key != arrival.key:  # another has taken its name
            self._drop("another key", f"{peer} has the key of {peer.key}s, not {arrival.key}s")
            return len(arrival.messages), 1
        if not arrival.messages:
            self._take_no_message(router, arrival, peer, now)
            return 0, 1
        taken = spent = 0
        for message, frames in arrival.messages:
            if spent >= room:
                break
            taken += 1
            spent += 1
            kind = cast("type", message.__class__)
            try:
                if peer is None:
                    peer = self._welcome(router, arrival, message, now)
                    if peer is None:
                        router.forget(arrival.peer)
                        return len(arrival.messages), spent
                    continue
                take_in = self._by_kind.get((peer.role, kind))
                if take_in is None:
                    self._not_expected(peer, kind, now)
                    continue
                spent += take_in(peer, message, frames, now) or 0
            except Exception as error:  # noqa: BLE001 - our bug must not end the broker
                self._drop("error", f"{peer} sent {kind.__name__}", error)
                if peer is not None:
                    what = f"{kind.__name__} cannot be taken in: {type(error).__name__}: {error}"
                    self._end(peer, what, now)
        return taken, spent

    def all_dropped(self) -> dict[str, int]:
        """Return how many messages were dropped, and connections refused, by reason."""
        refused: Counter[str] = Counter() if self._door is None else self._door.refused
        return dict(self._dropped + refused)

    def end_revoked(self, revoked: Collection[str], now: float) -> None:
        """End the peers whose keys were revoked, and all that depended on them."""
        for peer in [peer for peer in self._peers if is_revoked(peer.key, revoked)]:
            if peer.role is not Role.GONE:
                self._drop("revoked key", f"{peer} is ended")
                self._end(peer, "its key was revoked", now)

    def unreachable(self, router: RouterEndpoint, identity: bytes, now: float) -> None:
        """Take in that a peer's connection is gone; nodes tell of workers.

        A node whose host can only not be reached for now is told from one that ended by its lease.
        """
        peer = self._peers.at(router, identity)
        if peer is not None and peer.role in CLIENTS:
            self._peers.forget(peer)
            self._core.client_left(peer.number, "its connection closed", now)
        elif peer is not None and peer.role is Role.NODE and router.lasting:
            self._peers.forget(peer)
            reason = "the node's process ended or closed its connection"
            self._core.node_lost(peer.number, reason, now)

    def _take_no_message(
        self, router: Way, arrival: Arrival, peer: Peer | None, now: float
    ) -> None:
        """Take in a fault, or that a part of a long message arrived."""
        if arrival.fault:
            self._drop("malformed", f"{peer}: {arrival.fault}")
            if peer is not None:
                self._end(peer, f"a message of it cannot be read: {arrival.fault}", now)
            else:
                router.forget(arrival.peer)
        elif peer is not None:
            self._core.heard(peer.number, now)

    def _not_expected(self, peer: Peer, kind: type, now: float) -> None:
        """Drop a message that its sender may not send; an observer that tries is shown out."""
        observes = peer.role is Role.OBSERVER
        self._drop("not allowed" if observes else "out of place", f"{peer} sent {kind.__name__}")
        if observes:  # its own end refuses that, with an error: so this one is another program
            self._end(peer, f"an observer may only look on, and it sent {kind.__name__}", now)

    def _end(self, peer: Peer, reason: str, now: float) -> None:
        """End a peer that was let in, and have it told; its later messages are dropped."""
        change(peer, Word.PARTS)
        try:
            self._core.unreadable(peer.number, cut(reason, REASON_CHARACTERS), now)
        except Exception as error:  # noqa: BLE001 - as above: the broker goes on for the others
            self._drop("error", f"{peer} could not be ended", error)

    # -- from clients and nodes -----------------------------------------------------------------

    def _pass_on(self, peer: Peer, message: ms.WorkerSaid, frames: Frames, now: float) -> int:
        """Take in the words of a worker behind a node; a fault in them is the worker's."""
        assert peer.relay is not None
        peer.said += 1
        arrival = peer.relay.take(message, frames)
        _, cost = self.take(peer.relay, arrival, now, inf)
        if self._peers.at(peer.relay, arrival.peer) is None:  # it said nothing, or not its own name
            peer.relay.forget(arrival.peer)
        return int(cost) - 1  # one is counted for the envelope

    def _define(self, peer: Peer, message: ms.DefineTask, _: Frames, now: float) -> None:
        """Take in a task type, if workers may run it; a client that tries others is shown out."""
        try:
            check_type(message.spec, self._allow)
        except FunctionRefused as error:  # its own end refuses that: so this is another program
            self._drop("not allowed", f"{peer}: {error}")
            self._end(peer, str(error), now)
        else:
            self._define_allowed(peer, message)

    def _beat(self, peer: Peer, message: ms.Beat, _: Frames, now: float) -> None:
        self._core.heard(peer.number, now)
        peer.send(ms.BeatAnswer(message.sent, now))

    def _leave(self, peer: Peer, message: ms.Leave, _: Frames, now: float) -> None:
        reason = message.reason or "it left"
        if peer.role is Role.NODE:
            node = self._core.nodes.get(peer.number)
            for worker in list(node.workers.values()) if node is not None else ():
                self._hear_out(worker, now)
            self._core.node_lost(peer.number, reason, now)
        else:
            unneeded = peer.ledger is not None and peer.ledger.empty
            if unneeded:
                self._core.attach(peer.number)
            self._core.client_left(peer.number, reason, now)
            if unneeded:
                self._ledgers.remove(peer.name)
        self._peers.forget(peer)

    def _stop(self, peer: Peer, message: ms.StopBroker, _: Frames, now: float) -> None:
        del now
        self.closing = message.reason or f"stopped by {peer.name}"
