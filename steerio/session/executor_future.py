"""The future of a call that was submitted to a session's executor."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, InvalidStateError
from typing import Any, Protocol, TypeVar

from steerio.errors import CallLost, TaskDidNotSucceed, TaskFailed
from steerio.model import results as rs
from steerio.session.reading_results import explain, value_of
from steerio.session.task import Task

R = TypeVar("R")


class Waits(Protocol):
    """An executor, as seen by its futures."""

    def refuse_own_thread(self, what: str) -> None:
        """Refuse a wait on the thread of the loop."""
        ...

    def withdraw(self, task: Task[Any]) -> None:
        """Have a task cancelled."""
        ...


class _Waiters(list[Any]):
    """The waiters of a future, to which ``futures.wait`` and ``as_completed`` add theirs."""

    def __init__(self, executor: Waits) -> None:
        self._executor = executor

    def append(self, waiter: Any) -> None:
        self._executor.refuse_own_thread("a wait for a future of an executor")
        super().append(waiter)


class ExecutorFuture(Future[R]):
    """A future of ``concurrent.futures``, of a task of a session.

    ``running`` and ``cancel`` go by the broker's last word. A call that has begun since is asked to
    stop when it is cancelled, and the future is cancelled all the same.
    """

    def __init__(self, executor: Waits) -> None:
        super().__init__()
        self._executor = executor
        self._waiters: list[Any] = _Waiters(executor)
        self.task: Task[R] | None = None
        """The handle of its task, for code on the session's loop: from the moment in which that has
        submitted it until it ends."""

    def __repr__(self) -> str:
        shown = super().__repr__()
        return shown.replace("state=pending", "state=running") if self.running() else shown

    def running(self) -> bool:
        """Say whether a worker runs the call now."""
        task = self.task
        return task is not None and not self.done() and task.state == "running"

    def cancel(self) -> bool:
        """Cancel the call, unless it runs or has ended; return whether it is cancelled."""
        if self.running() or not super().cancel():
            return False
        with self._condition:
            if self._state == "CANCELLED":
                self.set_running_or_notify_cancel()  # tells those that wait for several
        if self.task is not None:
            self._executor.withdraw(self.task)
        return True

    def stop(self) -> None:
        """Cancel the call, or ask it to stop if it runs: then it ends with `TaskCancelled`.

        A task that does not stop by itself is [killed](../how-to/cancel.md) after its grace.
        """
        if not self.cancel() and (task := self.task) is not None:
            self._executor.withdraw(task)

    def result(self, timeout: float | None = None) -> R:
        """Wait for the value.

        Raises:
            UsageError: on the thread of the session's loop, if the call has not ended.
            TimeoutError, CancelledError, Exception: as ``concurrent.futures`` has it.
        """
        self._refuse_to_wait(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the exception, or ``None``; errors as for `result`."""
        self._refuse_to_wait(timeout)
        return super().exception(timeout)

    def _refuse_to_wait(self, timeout: float | None) -> None:
        if not self.done() and (timeout is None or timeout > 0):
            self._executor.refuse_own_thread("waiting for the future of an executor")

    # -- from its executor, on the loop ------------------------------------------------------------

    def follows(self, task: Task[R]) -> None:
        """Take in the task of the call."""
        task.awaited = True
        self.task = task
        task.add_done_callback(self._task_ended)
        if self.cancelled():  # meanwhile, when it had no task
            task.cancel("its future was cancelled")

    def end_with(self, error: BaseException) -> None:
        """End with an error, unless it was cancelled."""
        with contextlib.suppress(InvalidStateError):
            self.set_exception(error)

    def _task_ended(self, task: Task[R]) -> None:
        self.task = None  # which has the arguments
        result = task.peek()
        if isinstance(result, rs.Succeeded):
            with contextlib.suppress(InvalidStateError):
                self.set_result(result.value)
        elif result is not None:
            self.end_with(_error_of(result))


def _error_of(result: rs.Result) -> BaseException:
    """Return the exception of a call that did not succeed, with the account of its task."""
    try:
        value_of(result)
    except TaskFailed as account:
        if isinstance(result, rs.Failed) and (own := result.error.exception) is not None:
            own.__cause__ = account.with_traceback(None)
            account.__cause__ = None
            return own
        return account
    except TaskDidNotSucceed as error:
        if isinstance(result, rs.Lost):
            return CallLost(explain(result), result)
        return error.with_traceback(None)
    raise AssertionError(f"{result!r} has a value")
