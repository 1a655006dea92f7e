"""An asyncio loop on a virtual clock.

Theory.  A loop asks its selector to wait until the next timer is due.  This loop's selector does
not wait: it sets the clock to that time.  So time stands still while any callback can run, and
jumps when none can; a day takes as long as its callbacks run.

Invariant: nothing outside the loop moves it.  Sockets and subprocesses, which would, are refused; a
function given to a thread runs while all else stands still.  When nothing is ready and no timer is
left, nothing will ever happen again: the loop raises a `DeadlockError` with the names of the tasks
that wait.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from types import CodeType, FrameType
from typing import Any, TypeVar, TypeVarTuple, Unpack

from steerio.errors import DeadlockError, UsageError
from steerio.session.executor import SessionExecutor

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

WALL_LIMIT_S = 600.0
"""Real seconds that a simulation may take, by default."""
CLEANING_UP_S = 10.0
"""Real seconds that coroutines get for their ``finally`` after a simulation was given up."""
MOST_TOLD = 30
"""Tasks that wait which an error names."""
TURNS_UNWATCHED = 200
"""Turns of a loop from one look at the real clock to the next."""
_NOTHING: list[tuple[selectors.SelectorKey, int]] = []


class VirtualTask(asyncio.Task[T]):
    """A task whose hash is its number, so that sets of tasks have the same order every time."""

    def __init__(
        self, coroutine: Any, number: int, loop: asyncio.AbstractEventLoop, **options: Any
    ) -> None:
        self.number = number  # first: ``super().__init__`` puts the task into a set
        super().__init__(coroutine, loop=loop, **options)

    __eq__ = object.__eq__

    def __hash__(self) -> int:
        return self.number


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop whose clock starts at 0 and jumps to the next timer.

    An exception that a callback raises ends the run; it is not just logged.

    Args:
        wall_limit_s: real seconds after which to give up: nothing else would end a coroutine that
            wakes itself for ever.
    """

    _scheduled: list[asyncio.TimerHandle]
    _ready: deque[asyncio.Handle]
    _selector: _Jump

    def __init__(self, *, wall_limit_s: float = WALL_LIMIT_S) -> None:
        self._now = 0.0
        self._wall_limit_s = wall_limit_s
        self._wall_end = time.monotonic() + wall_limit_s
        self._failure: BaseException | None = None
        self._made = 0
        super().__init__(_Jump(self))  # which becomes ``_selector``
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Set the clock forward."""
        self._now += seconds

    def check(self) -> None:
        """Raise if the run was failed or takes too long, which ends it.

        Raises:
            UsageError: the run has used up its real time.
            BaseException: the error that `fail` was given.
        """
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if time.monotonic() > self._wall_end:
            self._wall_end = time.monotonic() + CLEANING_UP_S
            raise UsageError(
                f"the simulation has taken {self._wall_limit_s:g} s and got to {self._now:g} s of "
                "virtual time: give it more with wall_limit_s, or end it sooner (until_s, limits). "
                "Waiting:\n  " + "\n  ".join(self.waiting())
            )

    def fail(self, error: BaseException) -> None:
        """Have the run end with this error; of several, the first counts."""
        self._failure = self._failure or error
        self._selector.look()

    def waiting(self) -> list[str]:
        """Return the tasks that have not ended, the oldest first, with the lines they wait at."""
        tasks = [task for task in asyncio.all_tasks(self) if isinstance(task, VirtualTask)]
        tasks.sort(key=hash)
        lines = [_whereabouts(task) for task in tasks[:MOST_TOLD]]
        return [*lines, f"and {len(tasks) - MOST_TOLD} more"] if tasks[MOST_TOLD:] else lines

    def awaits_timer(self, background: tuple[type, ...]) -> bool:
        """Whether a callback is due, now or later, that is no method of a ``background`` class."""
        for handle in (*self._scheduled, *self._ready):
            callback: Any = getattr(handle, "_callback", None)
            if not handle.cancelled() and not isinstance(
                getattr(callback, "__self__", None), background
            ):
                return True
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """End the run if a callback raised; log any other context."""
        error = context.get("exception")
        if "handle" in context and isinstance(error, BaseException):
            self.fail(error)
        else:
            super().call_exception_handler(context)

    def run_in_executor(
        self,
        executor: concurrent.futures.Executor | None,
        func: Callable[[Unpack[Ts]], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Run a function in a thread or in ``executor``, while the loop and its clock stand still.

        But for an executor of a session that this loop simulates: its calls are tasks, and take
        virtual time.

        Raises:
            UsageError: the function has not returned when the run's real time is over.
        """
        call: concurrent.futures.Future[T]
        if isinstance(executor, SessionExecutor) and executor.runs_on(self):
            return asyncio.wrap_future(executor.submit(func, *args), loop=self)
        if executor is not None:
            call = executor.submit(func, *args)
        else:
            call = concurrent.futures.Future()
            threading.Thread(target=_call, args=(call, func, args), daemon=True).start()
        concurrent.futures.wait([call], max(0.0, self._wall_end - time.monotonic()))
        if not call.done():
            raise UsageError(
                f"{getattr(func, '__qualname__', func)} was given to a thread and does not return: "
                "in virtual time the loop stands still until it does, so it must not wait for it"
            )
        answer: asyncio.Future[T] = self.create_future()
        self.call_soon(_copy, call, answer)
        return answer

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> VirtualTask[Any]:
        self._made += 1
        return VirtualTask(coroutine, self._made, loop, **options)


class _Jump(selectors.BaseSelector):
    """The selector that sets the clock forward instead of waiting."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._keys: dict[Any, selectors.SelectorKey] = {}
        self._turns = 0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self._keys:  # the first is the loop's own, with which threads wake it
            raise UsageError(
                "no socket, pipe or subprocess can be waited for in virtual time: "
                "let a model (or a task) stand for the program at its other end"
            )
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, 0, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Set the clock forward by the time that a real selector would have waited.

        Raises:
            DeadlockError: a real selector would have waited for ever.
        """
        if self._turns <= 0:
            self._turns = TURNS_UNWATCHED
            self._loop.check()
        self._turns -= 1
        if timeout is None:
            raise DeadlockError(self._loop.time(), self._loop.waiting())
        if timeout > 0:
            self._loop.advance(timeout)
        return _NOTHING

    def look(self) -> None:
        """Have the loop checked at the next turn."""
        self._turns = 0

    def close(self) -> None:
        self._keys.clear()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


def run_virtual(coroutine: Coroutine[Any, Any, T], *, wall_limit_s: float = WALL_LIMIT_S) -> T:
    """Run a coroutine on a `VirtualLoop` of its own and return its value.

    If a loop runs already (as in a notebook), the coroutine runs in another thread, while that loop
    stands still.

    Raises:
        DeadlockError: all tasks wait, and nothing is left that could wake one.
        UsageError: the coroutine took longer than ``wall_limit_s``, or waits for a real event.
    """

    def run() -> T:
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(wall_limit_s=wall_limit_s)) as runner:
            return runner.run(coroutine)

    if not _loop_runs():
        return run()
    box: concurrent.futures.Future[T] = concurrent.futures.Future()
    context = contextvars.copy_context()
    thread = threading.Thread(target=_call, args=(box, context.run, (run,)), daemon=True)
    thread.start()
    thread.join()
    return box.result()


def _loop_runs() -> bool:
    """Whether this thread runs a loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _call(box: concurrent.futures.Future[Any], function: Callable[..., Any], args: Any) -> None:
    """Put the value that a function returns, or its error, into a box."""
    try:
        value = function(*args)
    except BaseException as error:  # noqa: BLE001 - raised again when the box is opened
        box.set_exception(error)
    else:
        box.set_result(value)


def _copy(box: concurrent.futures.Future[Any], answer: asyncio.Future[Any]) -> None:
    if answer.done():  # cancelled meanwhile
        return
    error = box.exception()
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(box.result())


def _whereabouts(task: asyncio.Task[Any]) -> str:
    """Return a task's name, and the innermost line in it that is not asyncio's own."""
    where = ""
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame: FrameType | None = _part(awaited, "frame")
        code: CodeType | None = _part(awaited, "code")
        if frame is not None and code is not None and (not where or not _of_asyncio(code)):
            where = f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})"
        awaited = _part(awaited, "await") or _part(awaited, "yieldfrom")
    return f"{task.get_name()}: {where or 'has not begun'}"


def _part(awaited: Any, what: str) -> Any:
    """Return an attribute of a coroutine, generator or asynchronous generator."""
    for kind in ("cr", "gi", "ag"):
        found = getattr(awaited, f"{kind}_{what}", None)
        if found is not None:
            return found
    return None


def _of_asyncio(code: CodeType) -> bool:
    return "/asyncio/" in code.co_filename.replace("\\", "/")
