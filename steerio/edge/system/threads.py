"""Daemon threads for calls that may block, which a process that ends does not wait for.

And a check that threads can start, for code that ends the process if they cannot.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import errno
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

R = TypeVar("R")

NEEDED = 2
"""Threads of a context: one for input and output, and one that closes sockets."""

Call = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


class DaemonThreads:
    """A few threads that make the calls they are given, in order.

    The interpreter waits for those of the standard library as it ends, so a store that does not
    answer would keep it from ending for ever.

    Args:
        count: their number; they are started with the first call.
        name: of the threads.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, function: Callable[..., R], *args: Any) -> Future[R]:
        """Have a function called by one of the threads.

        Raises:
            RuntimeError: not one of them can be started.
        """
        future: Future[R] = Future()
        if not self._threads:
            self._start()
        self._calls.put((future, function, args))
        return future

    def _start(self) -> None:
        for number in range(self._count):
            thread = threading.Thread(
                target=_serve, args=(self._calls,), name=f"{self._name}-{number}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                if not self._threads:
                    raise
                return  # fewer will do
            self._threads.append(thread)

    def close(self, within_s: float) -> None:
        """End the threads once they are done with their calls, or leave them behind."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join(within_s)


async def in_thread(function: Callable[..., R], *args: Any) -> R:
    """Call a function in a daemon thread of its own, and wait for it without blocking the loop.

    If no thread can be started, the loop's own calls it.
    """
    threads = DaemonThreads(1, f"steerio-{function.__name__}")
    try:
        try:
            called = threads.submit(function, *args)
        except RuntimeError:
            return function(*args)
        return await asyncio.wrap_future(called)
    finally:
        threads.close(0.0)


def _serve(calls: SimpleQueue[Call | None]) -> None:
    while (call := calls.get()) is not None:
        future, function, args = call
        if not future.set_running_or_notify_cancel():
            continue
        try:
            value = function(*args)
        except BaseException as error:  # noqa: BLE001 - the future raises it for the caller
            _let_locals_go(error)
            _tell(future.set_exception, error)
        else:
            _tell(future.set_result, value)
        del call, future, function, args  # so that nothing of them is kept until the next call


def _let_locals_go(error: BaseException) -> None:
    """Free the locals in the frames of an error, all of which have ended.

    The coroutine that awaits the future is in a cycle with the error. In there, memoryviews of one
    another would be left to the garbage collector, which before Python 3.13 crashes over them.
    """
    seen: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in seen:
        traceback.clear_frames(at.__traceback__)
        seen.append(at)
        at = at.__context__


def _tell(tell: Callable[[Any], None], what: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the waiting loop has been closed
        tell(what)


def need_threads() -> None:
    """Check that a few threads can start, as many as a context of ZeroMQ has.

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
        for _ in range(NEEDED):  # bare, for this is on the way to the first result
            _thread.start_new_thread(wait, ())
            started += 1
    except RuntimeError:
        raise OSError(errno.EAGAIN, "no more threads can be started") from None
    finally:
        enough.release()
        for _ in range(started):
            ended.acquire()
