"""The link of a client that has no broker for now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from steerio.edge.wire.endpoint import Frames
from steerio.model.messages import FromBroker, ToBroker


class Nowhere:
    """The link of a client without a broker: all that is said there is forgotten."""

    immediate = False
    packets = 0

    def send(self, message: ToBroker, frames: Frames = ()) -> None:
        """Forget a message."""

    def flush(self) -> None:
        """Do nothing."""

    def tick(self) -> None:
        """Do nothing."""

    def renew(self) -> None:
        """Do nothing."""

    def receive(self, limit: int) -> list[tuple[FromBroker, Frames]]:
        """Return nothing."""
        del limit
        return []

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        """Do nothing."""

    def detach(self) -> None:
        """Do nothing."""

    def ready(self) -> bool:
        """Say that nothing has arrived."""
        return False

    def close(self) -> None:
        """Do nothing."""
