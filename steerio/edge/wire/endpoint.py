"""Endpoints: the two ends of a connection, which send and receive messages.

The broker has *router* endpoints, each of its peers one *link*.  Both are non-blocking and batch:
``send`` only collects, ``flush`` hands over, ``receive`` takes the messages that have arrived.
``attach`` asks for a call of ``wake`` on the loop's thread whenever a message may have arrived;
``wake`` may be called without cause, but never too seldom.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from steerio.model.messages import FromBroker, ToBroker

Frames = tuple[Any, ...]

NO_MEMORY = "the broker has no memory for it: put large values into the store, or return less"
"""The fault of messages for which the broker has no memory left."""
NO_MEMORY_HERE = "this process has no memory for it"
"""The fault of a message of the broker for which its peer has no memory left."""


class Arrival(NamedTuple):
    """The messages that arrived at a router together.

    Attributes:
        peer: their sender.
        messages: with their frames.
        fault: why they cannot be read; ``""``: they can.
        key: the role whose key the sender has shown (`edge.wire.keys`); ``""``: it needed none.
    """

    peer: bytes
    messages: Sequence[tuple[Any, Frames]]
    fault: str = ""
    key: str = ""


class Way(Protocol):
    """The way from the broker to peers, told apart by their identity."""

    local: bool
    """Whether peers are in this process, so that none can be lost without it."""
    remote: bool
    """Whether peers may be on other machines, on which names and numbers may be as here."""

    def send(self, peer: bytes, message: FromBroker, frames: Frames = ()) -> None:
        """Collect a message for a peer."""
        ...

    def congested(self, peer: bytes) -> bool:
        """Say whether a peer takes messages more slowly than they come."""
        ...

    def connected(self, peer: bytes) -> bool:
        """Say whether a peer is there, and its connection stands, as far as is known."""
        ...

    def admit(self, peer: bytes) -> None:
        """Take in that a peer was let in: no more is kept of strangers than a short message."""
        ...

    def forget(self, peer: bytes) -> None:
        """Let a peer go: it still gets all that was sent to it, and nothing of it is taken in."""
        ...


class RouterEndpoint(Way, Protocol):
    """The broker's end: its socket, at which peers arrive."""

    lasting: bool
    """Whether a connection lasts as long as its peer, so that one that ended is the peer's end."""
    first: bool
    """Whether it is flushed before the record is written: it has workers and no clients."""

    def flush(self) -> list[bytes]:
        """Hand over the collected messages; return the peers that cannot be reached any more.

        A peer whose message is too long to be handed over is told to end instead.
        """
        ...

    def receive(self, limit: int) -> list[Arrival]:
        """Take arrivals until they have ``limit`` messages or more, without waiting."""
        ...

    def tick(self) -> None:
        """Take in that a beat has passed: see to all that peers have not acknowledged."""
        ...

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever something may have arrived."""
        ...

    def detach(self) -> None:
        """Call ``wake`` no more."""
        ...

    def ready(self) -> bool:
        """Whether something is there to receive; to be asked after each receive and flush."""
        ...

    def expect(self) -> None:
        """Look for arrivals with the next receive, though ``wake`` was not called."""
        ...

    def fileno(self) -> int | None:
        """Return a descriptor that a thread can poll, or ``None``."""
        ...

    def close(self) -> None:
        """Let go of everything; flushed messages are still delivered for a moment."""
        ...


class LinkEndpoint(Protocol):
    """A peer's end: one broker."""

    immediate: bool
    """Whether a message that is sent has arrived without a flush."""
    packets: int
    """How many packets have come; a long message has many, before it is complete."""

    def send(self, message: ToBroker, frames: Frames = ()) -> None:
        """Collect a message for the broker; its frames may not change any more."""
        ...

    def flush(self) -> None:
        """Hand over the collected messages, in batches that the broker takes in.

        Raises:
            EncodingError: a message is too long; those before it were handed over.
        """
        ...

    def tick(self) -> None:
        """Take in that a beat has passed: see to all that the broker has not acknowledged."""
        ...

    def renew(self) -> None:
        """Begin anew with a broker that does not know this peer any more: nothing is kept."""
        ...

    def receive(self, limit: int) -> Sequence[tuple[FromBroker, Frames]]:
        """Take the messages that have arrived, without waiting.

        Raises:
            ProtocolError: they cannot be read.
            OSError: the broker is gone and all its messages were taken, if the transport can tell.
        """
        ...

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever something may have arrived."""
        ...

    def detach(self) -> None:
        """Call ``wake`` no more."""
        ...

    def ready(self) -> bool:
        """Whether something is there to receive; to be asked after each receive and flush."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class BlockingLink(Protocol):
    """A worker's end, without a loop: the worker has nothing to do but wait."""

    def send(self, message: ToBroker, frames: Frames = ()) -> None:
        """Collect a message for the broker."""
        ...

    def flush(self) -> None:
        """Hand over the collected messages, in batches that the broker takes in.

        The frames may be changed from then on.

        Raises:
            EncodingError: a message is too long; those before it were handed over.
        """
        ...

    def receive_within(self, timeout_s: float) -> Sequence[tuple[FromBroker, Frames]]:
        """Wait up to ``timeout_s`` for a message; take all that have arrived.

        Raises:
             OSError: the broker is gone, if the transport can tell.
        """
        ...

    def let_go(self) -> None:
        """In a fork of the worker: have nothing of this link, which stays the worker's."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...
