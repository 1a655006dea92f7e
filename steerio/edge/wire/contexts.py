"""Contexts of ZeroMQ that end, whatever was raised while their sockets were opened or closed.

ZeroMQ's own end of a context waits for each of its sockets to be closed.  What is raised
between a socket's making and its owner (by a signal, also inside pyzmq, or by an address that
cannot be encoded) leaves one that nobody closes, and a traceback that keeps it.  So sockets are
noted here, and where that was interrupted the context is left to the end of the process.
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
"""Those that have not ended: collected as garbage, one would wait for its sockets."""


class Context:
    """What sockets belong to, with an I/O thread of its own; whoever opens one ends it.

    Raises:
        OSError: there are no threads left for it.
    """

    def __init__(self) -> None:
        _need_threads()
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
        """Close what is still open, and wait until what was flushed is sent: that is bounded.

        The bound is the time that its sockets linger, of those that were closed before.
        """
        for socket in self._sockets:
            socket.close(linger=0)
        if not self._being_made and self._context in _open:
            self._context.term()
            _open.remove(self._context)


@contextlib.contextmanager
def connecting(address: str) -> Generator[None, None, None]:
    """Have what keeps a link from being opened said in words.

    Raises:
        UsageError: the address or its keys are none, or there are no descriptors or threads.
    """
    try:
        yield
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot connect to a broker at {address}: {why or error}") from None


def _need_threads() -> None:
    """See whether a context's threads can be had: ZeroMQ ends the process where they cannot.

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
