"""Relays: the workers of a node on another host, reached through the node's one link.

To the broker such a worker is a peer as any other, whose router is the `RelayRouter` of its node.
Messages for it travel in envelopes among those for the node, and so do its own.
"""

from __future__ import annotations

from typing import Any

from steerio.edge.wire.endpoint import Arrival, Frames, Way
from steerio.edge.wire.relaying import arrival_of, batches_or_refusal, told_to
from steerio.model import messages as ms


class _WorkerBehind:
    """One worker behind a node: the messages for it until the next flush."""

    __slots__ = ("frames", "messages", "runs", "said", "tasks", "worker")

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.messages: list[ms.FromBroker] = []
        self.frames: list[Any] = []
        self.runs: list[int] = []
        """The attempts among the messages."""
        self.tasks: list[int] = []
        """The tasks of these."""
        self.said = 0
        """How many envelopes came from it."""


class Relays:
    """The relays of a broker's nodes that have messages to be put into envelopes."""

    def __init__(self) -> None:
        self._waiting: list[RelayRouter] = []

    def __repr__(self) -> str:
        return f"<Relays: {len(self._waiting)} with messages>"

    def wait(self, relay: RelayRouter) -> None:
        """Have the messages of a relay sent with the next flush."""
        self._waiting.append(relay)

    def flush(self) -> None:
        """Hand over the messages for workers to the routers of their nodes."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for relay in waiting:
                relay.flush()


class RelayRouter:
    """The broker's end of the workers behind one node.

    Args:
        node: the node's number as a peer.
        router: the way to the node.
        identity: by which that knows it.
        relays: flushes this.
    """

    local = False
    remote = True

    def __init__(self, node: int, router: Way, identity: bytes, relays: Relays) -> None:
        self.node = node
        self.told = 0
        """How many envelopes were sent to the node."""
        self._router = router
        self._identity = identity
        self._relays = relays
        self._lines: dict[bytes, _WorkerBehind] = {}
        self._due: list[_WorkerBehind] = []
        """Those for which there are messages."""

    def __repr__(self) -> str:
        return f"<RelayRouter of node {self.node}: {len(self._lines)} workers>"

    def send(self, peer: bytes, message: ms.FromBroker, frames: Frames = ()) -> None:
        """Collect a message for a worker."""
        line = self._lines.get(peer) or self._line(peer)
        if not line.messages:
            if not self._due:
                self._relays.wait(self)
            self._due.append(line)
        line.messages.append(message)
        if frames:
            line.frames.extend(frames)
        if isinstance(message, ms.RunTask):
            line.runs.append(message.run)
            line.tasks.append(message.task_id)

    def flush(self) -> None:
        """Put the collected messages into envelopes, and those among the messages for the node."""
        due, self._due = self._due, []
        for line in due:
            messages, frames, runs, tasks = line.messages, line.frames, line.runs, line.tasks
            line.messages, line.runs, line.tasks = [], [], []
            if frames:
                line.frames = []
            found = batches_or_refusal(messages, frames)
            while len(found) > 1:  # the attempts are there when all batches are
                self._tell(line.worker, found.pop(0), [], [])
            self._tell(line.worker, found[0], runs, tasks)

    def admit(self, peer: bytes) -> None:
        """Do nothing: its node was let in."""

    def congested(self, peer: bytes) -> bool:
        """Say whether the node takes messages more slowly than they come."""
        del peer
        return self._router.congested(self._identity)

    def connected(self, peer: bytes) -> bool:
        """Say whether the connection of the node stands, as far as is known."""
        del peer
        return self._router.connected(self._identity)

    def take(self, envelope: ms.WorkerSaid, frames: Frames) -> Arrival:
        """Return a worker's batch as if the worker itself had sent it here."""
        arrival = arrival_of(envelope, frames)
        line = self._lines.get(arrival.peer) or self._line(arrival.peer)
        line.said += 1
        return arrival

    def has_lost(self, worker: str, said: int) -> bool:
        """Say, once, whether other than so many envelopes came from a worker."""
        line = self._lines.get(worker.encode())
        if line is None:
            return said > 0
        came, line.said = line.said, said
        return came != said

    def forget(self, peer: bytes) -> None:
        """Forget a worker; messages that wait for it are sent all the same."""
        self._lines.pop(peer, None)

    def close(self) -> list[bytes]:
        """Forget all workers, as the node is gone; return them."""
        workers = list(self._lines)
        self._lines.clear()
        self._due.clear()
        return workers

    def _line(self, peer: bytes) -> _WorkerBehind:
        line = self._lines[peer] = _WorkerBehind(peer.decode())
        return line

    def _tell(self, worker: str, batch: list[Any], runs: list[int], tasks: list[int]) -> None:
        self.told += 1
        envelope, frames = told_to(worker, batch, runs, tasks)
        self._router.send(self._identity, envelope, frames)
