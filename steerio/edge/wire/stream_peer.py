"""One peer of a router of Unix streams: its connection, and all that waits to be written to it."""

from __future__ import annotations

import socket
from typing import Any

from steerio.edge.wire.batches import Incoming, Outgoing
from steerio.edge.wire.packets import Piece
from steerio.edge.wire.spilling import Spilling
from steerio.model.messages import FromBroker

KEPT_BYTES = 1 << 25
"""A peer for which so much waits to be written is congested; all beyond that waits in a file."""


class StreamPeer:
    """One peer.

    Args:
        identity: its name at the router.
        connection: to it; does not block.
        incoming: cuts its bytes into batches.
    """

    def __init__(self, identity: bytes, connection: socket.socket, incoming: Incoming) -> None:
        self.identity = identity
        self.socket = connection
        self.incoming = incoming
        self.messages: list[FromBroker] = []
        """Messages that were collected for it, until the next flush."""
        self.frames: list[Any] = []
        self.writes_later = False
        """Whether it is written to once it has room for more."""
        self.broken = False
        """Whether nothing can be written to it any more; its last messages are still read."""
        self.parting = False
        """Whether the broker has let it go: nothing of it is taken in."""
        self.outgoing = Outgoing()
        self._waiting = Spilling(0)
        """Batches that come after the outgoing ones."""
        self._some_wait = False

    def __repr__(self) -> str:
        return f"<StreamPeer {self.identity!r}>"

    @property
    def congested(self) -> bool:
        """Whether it takes messages more slowly than they come."""
        return self.outgoing.nbytes >= KEPT_BYTES

    def add(self, batch: list[Any]) -> None:
        """Have a batch written to it."""
        if self._some_wait or self.outgoing.nbytes >= KEPT_BYTES:
            self._some_wait = True
            self._waiting.push(Piece(True, batch), 0)
        else:
            self.outgoing.add(batch)

    def write(self) -> bool:
        """Write as much as goes; ``True`` once all is written.

        Raises:
            OSError: the connection is gone.
            ProtocolError: batches that waited in a file cannot be read back.
        """
        done = self.outgoing.write(self.socket)
        while done and self._some_wait:
            while self._waiting and self.outgoing.nbytes < KEPT_BYTES:
                self.outgoing.add(self._waiting.pop()[0].parts)
            self._some_wait = bool(self._waiting)
            done = self.outgoing.write(self.socket)
        return done

    def clear(self) -> None:
        """Drop all that waits to be written to it."""
        self.outgoing.clear()
        if self._some_wait:
            self._waiting.close()
            self._waiting, self._some_wait = Spilling(0), False
