"""The socket at which peers on this host connect; it lets them wait if descriptors run out."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import selectors
import socket
import time
from math import inf
from pathlib import Path

from steerio.edge.system.descriptors import is_scarce

PAUSE_S = 1.0
"""How long no connection is accepted once descriptors have run out."""
TOLD_S = 60.0
"""Least time between two warnings of that."""

log = logging.getLogger("steerio.edge")


class UnixListener:
    """A listening socket, which does not block.

    Args:
        path: of the socket; its folder must be closed to others.
        selector: tells of peers that want to connect, with no data.

    Raises:
        OSError: it cannot listen there.
    """

    def __init__(self, path: str, selector: selectors.BaseSelector) -> None:
        self.paused = 0.0
        """The time until which no connection is accepted, for want of descriptors; 0: none."""
        self._path = path
        self._selector = selector
        self._told = -inf
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(path)
            Path(path).chmod(0o600)  # its folder is closed to others, too
            self._socket.listen(1024)
            self._socket.setblocking(False)
            selector.register(self._socket, selectors.EVENT_READ)
        except BaseException:
            self._socket.close()
            raise

    def __repr__(self) -> str:
        return f"<UnixListener at {self._path}{': paused' if self.paused else ''}>"

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._socket.fileno() < 0

    def accept(self) -> socket.socket:
        """Return the connection of a peer, which does not block.

        Raises:
            OSError: there is none, or descriptors run out.
        """
        if _are_scarce(self._socket):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        accepted, _ = self._socket.accept()
        accepted.setblocking(False)
        return accepted

    def pause(self, error: OSError | MemoryError, connected: int) -> None:
        """Let connecting peers wait; trying again at once would keep this process busy.

        Args:
            error: why none can be accepted.
            connected: the number of those that were.
        """
        self._selector.unregister(self._socket)
        self.paused = time.monotonic() + PAUSE_S
        if self.paused > self._told + TOLD_S:
            self._told = self.paused
            log.warning(
                "no worker or client can connect: %s, and %d are connected; raise the bound of "
                "this process (ulimit -n) or have fewer of them",
                getattr(error, "strerror", None) or type(error).__name__,
                connected,
            )

    def goes_on(self) -> bool:
        """Accept again if the pause is over; say whether it does."""
        if time.monotonic() < self.paused:
            return False
        try:
            self._selector.register(self._socket, selectors.EVENT_READ)
        except (OSError, MemoryError):
            self.paused = time.monotonic() + PAUSE_S
            return False
        self.paused = 0.0
        return True

    def close(self) -> None:
        """Close the socket, and remove it."""
        self._socket.close()
        with contextlib.suppress(OSError):
            Path(self._path).unlink()


def _are_scarce(listener: socket.socket) -> bool:
    """Say whether the next descriptor is one of the last.

    Raises:
        OSError: there is none at all.
    """
    probe = os.dup(listener.fileno())
    os.close(probe)
    return is_scarce(probe)
