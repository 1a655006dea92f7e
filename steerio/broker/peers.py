"""The broker's peers, and their subscriptions to the event stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, assert_never

from steerio.broker.ledger import Ledger
from steerio.broker.relays import RelayRouter, Relays
from steerio.core.lifecycle import CLIENTS, Role, Word, change
from steerio.core.records import WorkerRecord
from steerio.edge.wire.endpoint import Frames, Way
from steerio.model import events as ev
from steerio.model.events import AnyEvent, EventsMissed
from steerio.model.messages import Events, FromBroker, Subscribe, TaskStates
from steerio.model.tasks import CLIENT_BITS

EVENTS_IN_MESSAGE = 1_000
"""Most events that travel in one message."""
STATES_IN_MESSAGE = 10_000
"""Most tasks whose states travel in one message."""


class Peer:
    """One peer: its role, and its address."""

    def __init__(self, number: int, router: Way, identity: bytes) -> None:
        self.number = number
        self.router = router
        self.identity = identity
        self.role = Role.STRANGER
        self.key = ""
        """The role whose key it has shown, if it needed one."""
        self.name = ""
        self.client_number = -1
        self.local_pid = 0
        """The process of a node on the broker's own host."""
        self.worker: WorkerRecord | None = None
        self.relay: RelayRouter | None = None
        """The way to the workers behind a node."""
        self.said = 0
        """How many messages about its workers came from a node."""
        self.ledger: Ledger | None = None
        """The ledger of a detached client."""
        self.subscriptions: dict[int, Subscription] = {}
        self.watches_tasks = False

    def __repr__(self) -> str:
        return f"<Peer {self.number}: {self.role} {self.name!r}>"

    def send(self, message: FromBroker, frames: Frames = ()) -> None:
        """Collect a message for this peer."""
        self.router.send(self.identity, message, frames)

    def send_states(self, states: Sequence[tuple[int, bool]]) -> None:
        """Send a client the states of tasks, given as pairs of id and whether it runs."""
        for start in range(0, len(states), STATES_IN_MESSAGE):
            some = states[start : start + STATES_IN_MESSAGE]
            queued = [number for number, runs in some if not runs]
            self.send(TaskStates(queued, [number for number, runs in some if runs]))


def task_states(events: Sequence[AnyEvent]) -> dict[int, dict[int, bool]]:
    """Return whether the tasks run that these events are about, by the numbers of their clients."""
    states: dict[int, dict[int, bool]] = {}
    for event in events:
        match event:
            case ev.TaskStarted():
                states.setdefault(event.task_id >> CLIENT_BITS, {})[event.task_id] = True
            case ev.TaskQueued() | ev.TaskRetried():
                states.setdefault(event.task_id >> CLIENT_BITS, {})[event.task_id] = False
            case ev.TaskEnded() | ev.TaskProgress() | ev.TaskYielded():
                pass
            case ev.WorkerJoined() | ev.WorkerLost() | ev.WorkerMoved() | ev.WorkerRetired():
                pass
            case ev.NodeJoined() | ev.NodeLost() | ev.NodeEnding():
                pass
            case ev.NodeDraining() | ev.NodeDrained() | ev.NodeUndrained():
                pass
            case (
                ev.PoolChanged()
                | ev.PoolFailed()
                | ev.PoolStalled()
                | ev.PoolPaused()
                | ev.PoolResumed()
                | ev.ClientLost()
                | ev.BrokerReturned()
            ):
                pass
            case (
                ev.Published()
                | ev.VersionPublished()
                | ev.ParameterChanged()
                | ev.Asked()
                | ev.Answered()
                | ev.QuestionClosed()
                | ev.Ordered()
                | ev.Advised()
                | ev.BoardChanged()
                | ev.LoopStalled()
                | ev.EventsMissed()
            ):
                pass
            case _:
                assert_never(event)
    return states


class Subscription:
    """One subscription: its filters, and the events that its peer missed."""

    def __init__(self, asked: Subscribe) -> None:
        self.number = asked.subscription
        self._types = None if asked.types is None else frozenset(asked.types)
        self._task_type = asked.task_type
        self._pool = asked.pool
        self._missed = 0
        self._first_missed = 0

    def wanted(self, events: Sequence[AnyEvent]) -> list[Any]:
        """Return those of these events that pass the filters."""
        types, pool, task_type = self._types, self._pool, self._task_type
        wanted: list[Any] = [e for e in events if types is None or type(e).__name__ in types]
        if pool is not None:
            wanted = [event for event in wanted if getattr(event, "pool", None) == pool]
        if task_type is not None:
            wanted = [event for event in wanted if getattr(event, "task_type", None) == task_type]
        return wanted

    def missed(self, first: int, count: int) -> None:
        """Note events that the peer did not get."""
        if count > 0:
            self._first_missed = self._first_missed or first
            self._missed += count

    def share(self, peer: Peer, events: Sequence[AnyEvent]) -> None:
        """Send the peer the events that it wants of these, or count them if it is too slow."""
        wanted = self.wanted(events)
        if not wanted:
            return
        if peer.router.congested(peer.identity):
            self.missed(wanted[0].number, len(wanted))
            return
        if self._missed:
            wanted.insert(0, self._take_missed(wanted[0].number, wanted[0].at))
        for start in range(0, len(wanted), EVENTS_IN_MESSAGE):
            peer.send(Events(self.number, wanted[start : start + EVENTS_IN_MESSAGE]))

    def catch_up(self, peer: Peer, number: int, at: float) -> None:
        """Tell a peer that can take messages again how much it missed up to event ``number``."""
        if self._missed and not peer.router.congested(peer.identity):
            peer.send(Events(self.number, [self._take_missed(number, at)]))

    def _take_missed(self, number: int, at: float) -> EventsMissed:
        count, first = self._missed, self._first_missed
        self._missed = self._first_missed = 0
        return EventsMissed(number, at, count, first)


class Peers:
    """All peers of a broker, by address and by number.

    A number is never used twice, so code that kept that of a peer that is gone reaches none. Only
    detached clients of one name share theirs, one after the other: the core forgets all it has
    for one of them when it leaves.
    """

    def __init__(self) -> None:
        self.by_number: dict[int, Peer] = {}
        self.clients: dict[int, Peer] = {}
        """The peers that may watch and subscribe; there are far more workers."""
        self.following: dict[int, Peer] = {}
        """The clients that follow events, or the states of their tasks."""
        self.watching_idle: dict[int, Peer] = {}
        """The clients that are told of each change of the pools at once."""
        self.relays = Relays()
        self._by_place: dict[tuple[int, bytes], Peer] = {}
        self._numbers = 0

    def __len__(self) -> int:
        return len(self.by_number)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self.by_number.values())

    def at(self, router: Way, identity: bytes) -> Peer | None:
        """Return the peer that is reached there, or ``None``."""
        return self._by_place.get((id(router), identity))

    def next_number(self) -> int:
        """Return the number of the next peer."""
        self._numbers += 1
        return self._numbers

    def add(self, peer: Peer) -> None:
        """Let a peer in."""
        self._by_place[id(peer.router), peer.identity] = peer
        self.by_number[peer.number] = peer
        peer.router.admit(peer.identity)
        if peer.role in CLIENTS:
            self.clients[peer.number] = peer
        elif peer.role is Role.NODE:
            peer.relay = RelayRouter(peer.number, peer.router, peer.identity, self.relays)

    def watch_idle(self, peer: Peer, watches: bool) -> None:
        """Note whether a client is told of each change of the pools at once."""
        if watches:
            self.watching_idle[peer.number] = peer
        else:
            self.watching_idle.pop(peer.number, None)

    def forget(self, peer: Peer) -> None:
        """Let a peer go; its other messages in the same batch count as a stranger's.

        The workers behind a node go with it.
        """
        change(peer, Word.PARTS)
        self._by_place.pop((id(peer.router), peer.identity), None)
        self.by_number.pop(peer.number, None)
        if self.clients.pop(peer.number, None) is not None:
            self.following.pop(peer.number, None)
            self.watching_idle.pop(peer.number, None)
        if peer.relay is not None:
            for identity in peer.relay.close():
                worker = self.at(peer.relay, identity)
                if worker is not None:
                    self.forget(worker)
        peer.router.forget(peer.identity)

    def send(self, number: int, message: FromBroker, frames: Frames = ()) -> None:
        """Collect a message for a peer; nothing happens if it is gone."""
        peer = self.by_number.get(number)
        if peer is not None:
            peer.router.send(peer.identity, message, frames)


Intakes = dict[tuple[Role, type], Callable[[Peer, Any, Frames, float], int | None]]
"""The functions that take in messages, by the sender's role and the message's kind.

Some return how many things a message was about, beside itself.
"""
