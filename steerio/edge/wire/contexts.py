"""Contexts of ZeroMQ that end, whatever exception struck as sockets were opened or closed.

ZeroMQ's own end of a context waits until each of its sockets is closed. An exception between the
making of a socket and its owner (from a signal, also inside pyzmq, or from an address that cannot
be encoded) leaves one that nothing closes, and a traceback that keeps it. So a context notes its
sockets; if that was interrupted, it is left to the end of the process.
"""

from __future__ import annotations

import zmq

from steerio.edge.system.threads import need_threads

_open: list[zmq.Context[zmq.Socket[bytes]]] = []
"""Contexts that have not ended: collected as garbage, one would wait for its sockets."""


class Context:
    """A context of ZeroMQ with an I/O thread of its own; the code that opens one ends it.

    Raises:
        OSError: there are no threads left for it.
    """

    def __init__(self) -> None:
        need_threads()  # ZeroMQ ends the process if they cannot start
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        _open.append(self._context)
        self._sockets: list[zmq.Socket[bytes]] = []
        self._being_made = 0

    def socket(self, kind: int) -> zmq.Socket[bytes]:
        """Return a fresh socket.

        Raises:
            OSError: there are no descriptors left for it.
        """
        self._being_made += 1
        try:
            made = self._context.socket(kind)
        except zmq.ZMQError as error:
            self._being_made -= 1
            raise OSError(error.errno, f"no socket can be opened: {error}") from None
        self._sockets.append(made)
        self._being_made -= 1
        return made

    def end(self) -> None:
        """Close the open sockets, and wait until flushed messages are sent, for a bounded time.

        The bound is the linger time of the sockets that were closed before.
        """
        for socket in self._sockets:
            socket.close(linger=0)
        if not self._being_made and self._context in _open:
            self._context.term()
            _open.remove(self._context)
