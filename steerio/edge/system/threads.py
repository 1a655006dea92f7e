"""Threads for what may keep its caller waiting, and that a process which ends does not wait for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

R = TypeVar("R")

Call = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


class DaemonThreads:
    """A few threads that call what they are given, in order.

    Those of the standard library are waited for as the interpreter ends, which a store that
    does not answer would keep from ending for ever.

    Args:
        count: how many; they are started with the first call.
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
        """End the threads once they are done with what they were given, or leave them behind."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join(within_s)


async def in_thread(function: Callable[..., R], *args: Any) -> R:
    """Call a function in a daemon thread of its own, and wait for it without blocking the loop.

    Where there are no threads left, the loop calls it.
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
        except BaseException as error:  # noqa: BLE001 - it is raised where the call came from
            _let_locals_go(error)
            _tell(future.set_exception, error)
        else:
            _tell(future.set_result, value)
        del call, future, function, args  # what they hold is not kept until the next call comes


def _let_locals_go(error: BaseException) -> None:
    """Free what the frames of an error hold, all of which have ended.

    Who awaits the future is in a cycle with the error.  In there, memoryviews of one another
    would be left to the garbage collector, which before Python 3.13 crashes over them.
    """
    seen: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in seen:
        traceback.clear_frames(at.__traceback__)
        seen.append(at)
        at = at.__context__


def _tell(tell: Callable[[Any], None], what: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop of who waits has been closed
        tell(what)
