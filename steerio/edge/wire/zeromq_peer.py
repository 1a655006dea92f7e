"""One peer of a router of ZeroMQ: its session, and all that waits to be sent to it."""

from __future__ import annotations

from typing import Any

from steerio.edge.wire.packets import Assembly
from steerio.edge.wire.spilling import Spilling
from steerio.edge.wire.wire_session import WINDOW_BYTES, WireSession
from steerio.model.messages import FromBroker

PASSING_TICKS = 30
"""How many ticks a peer is kept that was not let in yet, or was let go."""


class ZmqPeer:
    """One peer.

    Args:
        session: the number of its session.
        key: the role whose key it has.
    """

    __slots__ = ("assembly", "frames", "key", "messages", "parting", "session", "ticks", "waiting")

    def __init__(self, session: int, key: str) -> None:
        self.key = key
        self.waiting = Spilling()
        self.session = WireSession(session, self.waiting, WINDOW_BYTES)
        self.assembly = Assembly()
        self.messages: list[FromBroker] = []
        """Messages that were collected for it, until the next flush."""
        self.frames: list[Any] = []
        self.parting = False
        """Whether the broker has let it go: it gets its last messages, and no more is taken in."""
        self.ticks = PASSING_TICKS
        """The ticks that it is kept if it was not let in or was let go; 0: as long as it likes."""
