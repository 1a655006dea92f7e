"""Contexts of ZeroMQ that end, whatever exception struck as sockets were opened or closed.

ZeroMQ's own end of a context waits until each of its sockets is closed. An exception between the
making of a socket and its owner (from a signal, also inside pyzmq, or from an address that cannot
be encoded) leaves one that nothing closes, and a traceback that keeps it. So a context notes its
sockets; if that was interrupted, it is left to the end of the process.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import threading
from collections.abc import Generator

import zmq

from steerio.errors import UsageError

THREADS = 2
"""Threads of a context: one for input and output, and one that closes sockets."""

_open: list[zmq.Context[zmq.Socket[bytes]]] = []
"""Contexts that have not ended: collected as garbage, one would wait for its sockets."""


class Context:
    """A context of ZeroMQ with an I/O thread of its own; the code that opens one ends it.

    Raises:
        OSError: there are no threads left for it.
    """

    def __init__(self) -> None:
        need_threads()
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


@contextlib.contextmanager
def connecting(address: str) -> Generator[None, None, None]:
    """Turn an error that keeps a link from being opened into one in words.

    Raises:
        UsageError: the address or its keys are malformed, or there are no descriptors or threads.
    """
    try:
        yield
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot connect to a broker at {address}: {why or error}") from None


def need_threads() -> None:
    """Check that a few threads can start, as a context's: ZeroMQ ends the process if they cannot.

    Raises:
        OSError: they cannot.
    """
    enough, ended = _thread.allocate_lock(), threading.Semaphore(0)
    enough.acquire()

    def wait() -> None:
        with enough:
            pass
        ended.release()

    started = 0
    try:
        for _ in range(THREADS):  # bare, for this is on the way to the first result
            _thread.start_new_thread(wait, ())
            started += 1
    except RuntimeError:
        raise OSError(errno.EAGAIN, "no more threads can be started") from None
    finally:
        enough.release()
        for _ in range(started):
            ended.acquire()
