"""Admission: lets strangers in, whose first message gives their protocol and their role."""

from __future__ import annotations

import socket
from collections.abc import Collection
from math import inf
from typing import Any

from msgspec import structs

from steerio.broker.door import Door
from steerio.broker.drops import Drops
from steerio.broker.ledgers import Ledgers
from steerio.broker.overview import Overview
from steerio.broker.peers import Peer, Peers
from steerio.broker.relays import RelayRouter
from steerio.broker.succession import Succession
from steerio.core.core import Core
from steerio.core.lifecycle import CLIENTS, Role, Word, change
from steerio.core.records import KeptByNode
from steerio.core.rights import is_revoked, role_of, why_not_join
from steerio.edge.wire.endpoint import Arrival, Way
from steerio.edge.wire.keys import OBSERVER
from steerio.errors import JournalDamaged, UsageError
from steerio.model import messages as ms
from steerio.model.objects import client_maker

LIMIT_WORKERS = 10_000
"""Most workers that one node may offer."""
LIMIT_POOLS = 1_000
"""Most pools that one node may offer workers for."""


class Welcome:
    """Lets strangers in, or tells them why not.

    Args:
        core: the core, which decides whether a node or a worker may join.
        peers: the peers that were let in.
        drops: counts the strangers that were not let in.
        overview: describes the pools to clients.
        succession: numbers the clients.
        ledgers: of the detached clients.
        allow: the functions that workers may run, of which clients are told; ``None``: any.
        door: knows the keys that were revoked.
    """

    def __init__(
        self,
        core: Core,
        peers: Peers,
        drops: Drops,
        overview: Overview,
        succession: Succession,
        ledgers: Ledgers,
        allow: tuple[str, ...] | None = None,
        door: Door | None = None,
    ) -> None:
        self._door = door
        self._core = core
        self._allow = allow
        self._ledgers = ledgers
        self._succession = succession
        self._before = core.event_count
        self._peers = peers
        self._overview = overview
        self._drop = drops.drop
        self._refuse = drops.refuse
        self._refuse_frames = drops.refuse_frames

    def welcome(self, router: Way, arrival: Arrival, message: Any, now: float) -> Peer | None:
        """Let the sender of an arrival in and return it as a peer, or tell it why not."""
        identity, key = arrival.peer, arrival.key
        protocol = getattr(message, "protocol", None)
        if protocol is None:
            self._drop("stranger", f"{type(message).__name__} before joining")
            if role_of(key) != OBSERVER:  # which has put no object anywhere
                self._refuse(getattr(message, "stored", None))
                self._refuse_frames(getattr(message, "inputs", None))
            router.send(identity, ms.Refused("join first", True))
            return None
        revoked = self._door.revoked if self._door is not None else ()
        refusal = _why_not(message, key, revoked)
        if refusal:
            wrong = "revoked key" if is_revoked(key, revoked) else "wrong key"
            self._drop(wrong if protocol == ms.PROTOCOL else "protocol", refusal)
            router.send(identity, ms.Refused(refusal, False))
            return None
        number = self._peers.next_number()
        peer = Peer(number, router, identity)
        peer.key = key
        again = False
        if isinstance(message, ms.JoinClient):
            refusal, again = self._welcome_client(peer, message, now)
        elif isinstance(message, ms.JoinNode):
            change(peer, Word.NODE_JOINS)
            peer.name = message.name
            refusal = self._welcome_node(peer, message, now)
        elif isinstance(message, ms.JoinWorker):
            refusal = self._welcome_worker(peer, message, now)
        if refusal:
            self._drop("refused", refusal)
            router.send(identity, ms.Refused(refusal, again))
            return None
        self._peers.add(peer)
        told = self._core.pools.items() if peer.role in CLIENTS and self._core.closed else ()
        pools = {name: pool.workers for name, pool in told}
        number, settings = max(0, peer.client_number), self._core.settings
        observes = peer.role is Role.OBSERVER
        peer.send(
            ms.Accepted(
                number,
                pools,
                peer.name,
                settings,
                observes,
                self._succession.incarnation,
                self._before,
                *_noted(peer),
                self._allow,
            )
        )
        if peer.role in CLIENTS:
            peer.send(self._overview.pools())
        return peer

    def _welcome_client(self, peer: Peer, message: ms.JoinClient, now: float) -> tuple[str, bool]:
        """Let a client in, or return why not, and whether it may ask again later.

        One that observes has no task and no object.
        """
        observes = message.observes or role_of(peer.key) == OBSERVER
        detached = message.detached and not observes
        number: int | None
        try:
            if detached:
                number = self._take_ledger(peer, message, now)
            else:
                number = self._number_of(message)
        except UsageError as error:
            return str(error), False
        except OSError as error:
            return f"the broker cannot take a note of another client: {error}", True
        if number is None:
            return "tasks that this client had before are still being stopped", True
        change(peer, Word.OBSERVER_JOINS if observes else Word.CLIENT_JOINS)
        peer.name, peer.client_number = message.name, number
        maker = "" if observes else client_maker(peer.client_number)
        inside = "" if observes else message.worker
        watched = not peer.router.local
        self._core.client_joined(
            peer.number, message.name, watched, now, maker, inside, detached=detached
        )
        return "", False

    def _take_ledger(self, peer: Peer, message: ms.JoinClient, now: float) -> int:
        """Give a detached client its ledger, and return its number.

        A client that is new takes the place of the one that has it, which may have died; one that
        comes back that of its own old link, which may not have been missed yet.

        Raises:
            UsageError: the name is too long for a file, another session has it since, or the
                ledger cannot be read.
            OSError: the ledger cannot be opened.
        """
        returns = message.returns
        number = self._succession.next_client if returns < 0 else lambda: returns
        try:
            ledger = self._ledgers.open(message.name, number)
        except JournalDamaged as error:
            raise UsageError(f"the tasks of sessions before cannot be read: {error}") from error
        reason = f"another session has taken the name {message.name!r}"
        if returns < 0:
            ledger.begin_session()
        else:
            ledger.check_returns(returns, message.session)
            reason = "it has come back by another connection"
        holder = self._peers.by_number.get(ledger.peer)
        if holder is not None:
            self._core.client_left(holder.number, reason, now)
            holder.send(ms.Refused(reason, False))
            self._peers.forget(holder)
        peer.ledger, peer.number = ledger, ledger.peer
        return ledger.client_number

    def _number_of(self, message: ms.JoinClient) -> int | None:
        """Return the number of a client, by which its tasks have their ids; ``None``: not yet.

        One that comes back has its own again, once none has it and none of its tasks is left.

        Raises:
            OSError: the number cannot be noted.
        """
        number = message.returns
        if number >= 0:
            return None if self._in_use(number) else number
        while self._in_use(number := self._succession.next_client()):
            pass  # a client has come back with a number of which nothing was noted here
        return number

    def _in_use(self, number: int) -> bool:
        taken = any(client.client_number == number for client in self._peers.clients.values())
        return taken or self._core.has_tasks_of(number)

    def _welcome_worker(self, peer: Peer, message: ms.JoinWorker, now: float) -> str:
        """Let a worker in, or return why not."""
        change(peer, Word.WORKER_JOINS)
        peer.name = message.worker
        if self._may_come(peer.router, peer.identity, message.worker):
            peer.worker = self._core.worker_joined(peer.number, message.worker, message.pid, now)
        return "" if peer.worker else f"no worker {message.worker!r} is expected"

    def _may_come(self, router: Way, identity: bytes, worker: str) -> bool:
        """Say whether a worker may join from there: if from behind a node, from its own one."""
        if not isinstance(router, RelayRouter):
            return True
        expected = self._core.workers.get(worker)
        own = expected is not None and expected.node.peer == router.node
        return own and identity == worker.encode()

    def _welcome_node(self, peer: Peer, message: ms.JoinNode, now: float) -> str:
        """Let a node in, or return why not."""
        counts = message.workers.values()
        if any(count < 0 for count in counts) or sum(counts) > LIMIT_WORKERS:
            return f"a node offers 0 to {LIMIT_WORKERS} workers"
        if max(len(counts), len(message.makes)) > LIMIT_POOLS:
            return f"a node offers workers for up to {LIMIT_POOLS} pools"
        left_s, least_s = message.walltime_s, self._core.settings.leave_s
        if left_s is not None and not least_s < left_s < inf:
            return (
                f"a walltime of {left_s:.0f} s is too short: a node is left {least_s:g} s before "
                "its end (leave_s)"
            )
        node = self._core.node_joined(
            peer.number,
            message.name,
            message.host,
            message.workers,
            now,
            message.requires,
            message.makes,
            message.walltime_s,
            [KeptByNode(*structs.astuple(each)) for each in message.keeps],
        )
        if node is None:
            return f"there are just the pools {', '.join(sorted(self._core.pools))} here"
        peer.name = node.name
        here = message.host == socket.gethostname() and not peer.router.remote
        peer.local_pid = message.pid if here else 0
        return ""


def _noted(peer: Peer) -> tuple[int, int]:
    """Return the last task of a detached client, and its number among those of its name."""
    return (0, 0) if peer.ledger is None else (peer.ledger.last_task, peer.ledger.sessions)


def _why_not(message: Any, key: str, revoked: Collection[str]) -> str:
    """Return why no peer with this key (``""``: it needed none) is let in by such a message."""
    if message.protocol != ms.PROTOCOL:
        return (
            f"this broker speaks protocol {ms.PROTOCOL}, you speak {message.protocol}: "
            "install the same version of steerio on both sides"
        )
    return why_not_join(_ASKS[type(message)], key, revoked)


_ASKS: dict[type, Role] = {
    ms.JoinClient: Role.CLIENT,
    ms.JoinNode: Role.NODE,
    ms.JoinWorker: Role.WORKER,
}
"""The role that each first message asks for."""
