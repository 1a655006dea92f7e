"""The connections of a TCP address that have not said anything yet, and the bounds on them.

A connection is a *stranger* until a message of it has arrived, for which it needs a key. Strangers
take descriptors and memory from all others, so there are few of them at a time: one more costs the
oldest its place. A peer with a key is known within milliseconds, so it has its place long enough
even while many others press in; and those that are known are not touched.
"""

from __future__ import annotations

import threading

MOST_STRANGERS = 128
"""Most strangers at a time: each may have a packet of memory (``edge.wire.packets``)."""


class Strangers:
    """Tells strangers from known connections, by their descriptors, and which has to go.

    Args:
        most_connections: most connections in all.
        most_strangers: most strangers among them.

    The thread that follows the connections calls `accepted` and `closed`, another one `heard`.
    """

    def __init__(self, most_connections: int, most_strangers: int = MOST_STRANGERS) -> None:
        self._most_connections = most_connections
        self._most_strangers = most_strangers
        self._lock = threading.Lock()
        self._known: set[int] = set()
        self._strangers: dict[int, None] = {}
        """In the order in which they came."""
        self._ahead: set[int] = set()
        """Those that were heard before it was said that they are there."""

    def __repr__(self) -> str:
        return f"<{len(self._strangers)} Strangers beside {len(self._known)} known connections>"

    def __len__(self) -> int:
        return len(self._strangers)

    @property
    def known(self) -> int:
        """How many connections are known."""
        return len(self._known)

    def accepted(self, descriptor: int, *, scarce: bool = False) -> int | None:
        """Take in a new connection; return the one that has to go for it, if one has.

        Args:
            descriptor: of the new connection.
            scarce: whether it is one of the last that there are.
        """
        with self._lock:
            self._forget(descriptor)
            if descriptor in self._ahead:
                self._ahead.discard(descriptor)
                self._known.add(descriptor)
            else:
                self._strangers[descriptor] = None
            strangers = len(self._strangers)
            full = strangers + len(self._known) > self._most_connections
            crowded = full or scarce or strangers > self._most_strangers
            if not (crowded and strangers):
                return None
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            return oldest

    def heard(self, descriptor: int) -> None:
        """Take in that a message of a connection has arrived."""
        if descriptor in self._known:
            return
        with self._lock:
            if descriptor in self._strangers:
                del self._strangers[descriptor]
                self._known.add(descriptor)
            else:
                self._ahead.add(descriptor)

    def closed(self, descriptor: int) -> bool:
        """Take in that a connection is no more; return whether it was a stranger's."""
        with self._lock:
            stranger = descriptor in self._strangers
            self._forget(descriptor)
            self._ahead.discard(descriptor)
            return stranger

    def _forget(self, descriptor: int) -> None:
        self._known.discard(descriptor)
        self._strangers.pop(descriptor, None)
