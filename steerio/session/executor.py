"""An executor, as ``concurrent.futures`` has it, whose calls are tasks of a session.

Any thread may use it. The submitting thread packs a call, so that later changes of its
arguments do not reach it, and a queue takes it to the session's loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import itertools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent import futures
from typing import Any, NamedTuple, NoReturn, ParamSpec, Protocol, Self, TypeVar

from steerio.client.client import Client
from steerio.edge.encoding.snapshots import Snapshots, snapshot
from steerio.errors import BrokerLost, ExecutorBroken, UsageError
from steerio.session.dependencies import handles_in
from steerio.session.executor_future import ExecutorFuture
from steerio.session.packed_call import PackedCall, packed_call
from steerio.session.session_store import SessionStore
from steerio.session.submitting import Options
from steerio.session.task import Task
from steerio.session.task_type import TaskType, as_task_type

P = ParamSpec("P")
R = TypeVar("R")
AnyFuture = ExecutorFuture[Any]


class Submits(Protocol):
    """A session, as seen by an executor."""

    client: Client
    store: SessionStore


class ThreadsCall(NamedTuple):
    """A call that another thread has submitted.

    Attributes:
        future: its future.
        context: in which it was submitted, so that its task has the right cause.
        kind, args, kwargs: its function and arguments.
        packed: the call as it was then; ``None``: it takes values of other tasks.
    """

    future: AnyFuture
    context: contextvars.Context
    kind: TaskType[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    packed: PackedCall | None


class SessionExecutor(futures.Executor):
    """The executor of a session: `Session.executor` makes it, on the session's loop.

    It keeps to ``concurrent.futures.Executor``: ``submit``, ``map``, ``shutdown``, ``with``; and
    its futures to ``Future``. Beyond that:

    - ``async with`` waits for the calls that are left without stopping the loop. On the thread of
      the loop every wait that would stop it for ever raises `UsageError`.
    - A worker that dies costs no more than its call a try. A call that may not be tried again ends
      with `CallLost`, a ``BrokenExecutor``, and the executor goes on.
    - Functions need not be importable, and arguments may be references of the session, or its
      tasks. Annotations of functions that are no task types are not checked.
    """

    def __init__(
        self,
        session: Submits,
        pool: str | None,
        options: Options,
    ) -> None:
        session.client.refuse_threads()
        self._session = session
        self._pool = pool
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._lock = threading.RLock()  # a finalizer may submit at any point
        self._packing = threading.RLock()  # pickling may run code that submits
        self._calls: deque[ThreadsCall] = deque()
        self._left: set[AnyFuture] = set()
        """The futures of calls that have not ended."""
        self._ended = ""
        """Why no more calls are taken."""
        self._woken = False
        """Whether the loop is going to submit the queued calls."""
        self._broken = False
        self._snapshots = Snapshots()
        self._kinds: weakref.WeakKeyDictionary[TaskType[..., Any], TaskType[..., Any]]
        self._kinds = weakref.WeakKeyDictionary()
        session.client.watch.watch_tasks()  # so that futures know whether they run

    def __repr__(self) -> str:
        state = self._ended or "open"
        return f"<SessionExecutor of {self._session!r}: {state}, {len(self._left)} calls left>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "an executor of a session stays in the process of its session: give calls the values "
            "that they need, and submit calls that follow from others here"
        )

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> ExecutorFuture[R]:
        """Queue a call and return its future.

        The future ends with the function's value or exception. It also has the error of a call
        that cannot be sent or made (`EncodingError`, ``TypeError``), of one that was lost
        (`CallLost`), that ran too long (`TaskTimedOut`), or that was cancelled otherwise
        (`TaskCancelled`).

        Raises:
            RuntimeError: the executor was shut down.
            ExecutorBroken: its session has ended.
        """
        future: ExecutorFuture[R] = ExecutorFuture(self)
        call = self._packed(future, fn, args, kwargs)
        with self._lock:
            if self._broken:
                raise ExecutorBroken(self._ended)
            if self._ended:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if call is None:
                return future
            self._left.add(future)
            self._calls.append(call)
        future.add_done_callback(self._left.discard)
        if threading.get_ident() == self._thread:
            self._submit_queued()
            return future
        with self._lock:
            if not self._woken:
                self._call_on_loop(self._submit_queued)
                self._woken = True
        return future

    def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[R]:
        """Call a function with the items of iterables; return an iterator over the values in order.

        All calls are submitted at once. Those that are left are cancelled when the iterator is
        closed, or has raised.

        Args:
            fn: the function.
            iterables: the iterables: each call takes one item of each.
            timeout: seconds, from now, after which the iterator raises ``TimeoutError``.
            chunksize: calls that go to a worker together, as one task.

        Raises:
            ValueError: ``chunksize`` is less than 1.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        chunks = super().map(
            functools.partial(_call_each, fn),
            _chunks(zip(*iterables, strict=False), chunksize),
            timeout=timeout,
        )
        return _chained(chunks)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls.

        Args:
            wait: whether to wait until all calls have ended.
            cancel_futures: whether to cancel those that do not run yet.

        Raises:
            UsageError: it would wait on the thread of the session's loop, for ever.
        """
        with self._lock:
            self._ended = self._ended or "it was shut down"
            left = set(self._left)
        if cancel_futures:
            for future in left:
                future.cancel()
        if wait:
            futures.wait(left)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, *_: object
    ) -> None:
        """Take no more calls, and wait until all have ended; a cancellation stops them first."""
        self.shutdown(wait=False)
        left = list(self._left)
        if error is not None and not isinstance(error, Exception):
            for future in left:
                future.stop()
        ending = [asyncio.wrap_future(future) for future in left]
        for waiter in ending:
            waiter.add_done_callback(_take)  # the error is for those who hold the future
        if ending:
            await asyncio.wait(ending)

    @property
    def workers(self) -> int:
        """How many workers its pool has, or all pools if each call goes to its own."""
        pools = self._session.client.watch.pools
        loads = pools.values() if self._pool is None else [pools[self._pool]]
        return sum(load.workers for load in list(loads))

    # -- from its futures, on any thread -----------------------------------------------------------

    def refuse_own_thread(self, what: str) -> None:
        """Refuse a wait on the thread of the loop, which it would stop for ever.

        Raises:
            UsageError: this is that thread.
        """
        if threading.get_ident() == self._thread:
            raise UsageError(
                f"{what} would stop the loop of the session, which has to run for it to end: await "
                "asyncio.wrap_future(future) or loop.run_in_executor(executor, f, x), leave the "
                "executor by async with, or wait in a thread (asyncio.to_thread)"
            )

    def withdraw(self, task: Task[Any]) -> None:
        """Have the task of a future that was cancelled cancelled."""
        self._call_on_loop(task.cancel, "its future was cancelled")

    def runs_on(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Say whether its session belongs to this loop."""
        return self._loop is loop

    # -- from its session, on the loop -------------------------------------------------------------

    def break_off(self, reason: str) -> None:
        """Take no more calls, and end those that have not ended: the session has."""
        with self._lock:
            self._broken, self._ended = True, reason
            self._calls.clear()
        for future in list(self._left):
            future.end_with(ExecutorBroken(reason))

    # ----------------------------------------------------------------------------------------------

    def _packed(
        self, future: AnyFuture, fn: Callable[..., Any], args: Any, kwargs: Any
    ) -> ThreadsCall | None:
        """Return a call, packed if this is another thread; ``None``: its future has its error."""
        try:
            kind = self._kind(fn)
            packed = None
            if threading.get_ident() != self._thread:
                packed = self._packed_here(kind, args, kwargs)
        except Exception as error:  # noqa: BLE001 - as of any executor, its future has it
            future.end_with(error)
            return None
        return ThreadsCall(future, contextvars.copy_context(), kind, args, kwargs, packed)

    def _packed_here(
        self, kind: TaskType[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> PackedCall | None:
        try:
            with self._packing:
                packed = packed_call(self._session.store, self._snapshots, kind, args, kwargs)
        except Exception:
            if any(handles_in((args, kwargs))):
                return None
            raise
        spec, body, frames, inputs, stored, given, of_atoms = packed
        return spec, body, snapshot(frames), inputs, stored, given, of_atoms

    def _kind(self, fn: Callable[..., Any]) -> TaskType[..., Any]:
        given = as_task_type(fn)
        if given.kind == "generator":
            raise UsageError(
                f"{given.name} is a generator, whose items no future can have: have it return a "
                "list, or use session.stream"
            )
        known = self._kinds.get(given)
        if known is None:
            known = given if given is fn else given.unchecked()
            self._kinds[given] = known = known.in_pool(self._pool or known.pool)
        return known

    def _call_on_loop(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError as error:  # the loop is closed, and never closed the session
            self.break_off(str(error))

    def _submit_queued(self) -> None:
        with self._lock:
            self._woken = False
        for _ in range(len(self._calls)):
            with self._lock:
                call = self._calls.popleft() if self._calls else None
            if call is not None and not call.future.cancelled():
                call.context.run(self._submit, call)
        if self._calls:  # others have their turn between
            self._loop.call_soon(self._submit_queued)

    def _submit(self, call: ThreadsCall) -> None:
        future = call.future
        try:
            task = self._options.submit_packed(call.kind, call.args, call.kwargs, call.packed)
        except BrokerLost as error:
            future.end_with(ExecutorBroken(str(error)))
        except Exception as error:  # noqa: BLE001 - as of any executor, its future has it
            future.end_with(error)
        else:
            future.follows(task)


def _chunks(items: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def _chained(chunks: Iterator[list[R]]) -> Generator[R]:
    try:
        for chunk in chunks:
            yield from chunk
    finally:
        chunks.close()  # type: ignore[attr-defined]  # a generator, which cancels the calls left


def _take(ended: asyncio.Future[Any]) -> None:
    if not ended.cancelled():
        ended.exception()


def _call_each(fn: Callable[..., Any], chunk: list[tuple[Any, ...]]) -> list[Any]:
    return [fn(*args) for args in chunk]
