"""Results: made from a message, turned into a value or an exception, and put into words."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any, Protocol, assert_never

from steerio.edge.encoding.refusing import refuses_pickles
from steerio.errors import (
    TaskCancelled,
    TaskDidNotSucceed,
    TaskFailed,
    TaskLost,
    TaskTimedOut,
)
from steerio.model import results as rs
from steerio.model.messages import RemoteError, TaskSettled
from steerio.model.showing import counted, short
from steerio.session.arguments import Given
from steerio.session.task_type import TaskType

NO_VERSIONS: dict[str, int] = {}


class Unreadable(Protocol):
    """The items of a generator task, as seen by its result."""

    unreadable: rs.TaskError | None


class Ended(Protocol):
    """A task's handle, as seen by its result."""

    id: int
    type: TaskType[..., Any]
    given: Given
    created: float
    tags: dict[str, str]
    cause: str
    recalled: str

    @property
    def timeout_s(self) -> float:
        """The longest run of one attempt, in seconds."""
        ...

    @property
    def yielded(self) -> Unreadable | None:
        """The items that the task has yielded, if there were any."""
        ...


def make_result(
    task: Ended, message: TaskSettled, frames: Callable[[], Sequence[Any]]
) -> rs.Result:
    """Build the result of a task from the broker's message and the frames of its value."""
    args: Any  # they may be given late, as `Result` allows
    kwargs: Any
    args, kwargs = task.given
    common = (  # in place, not by name: a dict for each result costs as much as the rest of this
        task.id,
        task.type.name,
        args,
        kwargs,
        message.attempt,
        message.worker,
        rs.Timings(
            task.created,
            message.queued,
            message.sent,
            message.started,
            message.ended,
            message.received,
        ),
        rs.Sizes(message.args_bytes, message.value_bytes),
        task.tags,
        task.cause,
        message.versions or NO_VERSIONS,
    )
    items = task.yielded
    if items is not None and items.unreadable is not None:
        return rs.Failed(*common, items.unreadable)
    match message.ended_as:
        case "succeeded":
            try:
                value = task.type.codec.result.unpack(message.body, frames())
            except Exception as error:  # noqa: BLE001 - unpickling may raise anything
                return rs.Failed(*common, unreadable("value", error))
            return rs.Succeeded(*common, value, task.recalled)
        case "failed":
            return rs.Failed(*common, _task_error(message.error))
        case "timed_out":
            return rs.TimedOut(*common, task.timeout_s)
        case "cancelled":
            return rs.Cancelled(*common, message.reason)
        case "lost":
            return rs.Lost(*common, message.reason)
        case _:
            assert_never(message.ended_as)


def unreadable(what: str, error: Exception) -> rs.TaskError:
    """Return the error for a value or an item that came and cannot be unpacked."""
    return rs.TaskError(type(error).__name__, f"its {what} cannot be read here: {error}", "", error)


def as_failed(result: rs.Result, error: rs.TaskError) -> rs.Failed:
    """Return a result as one that failed with this error."""
    common: dict[str, Any] = {name: getattr(result, name) for name in rs.Result.__struct_fields__}
    return rs.Failed(**common, error=error)


def _task_error(error: RemoteError | None) -> rs.TaskError:
    if error is None:
        return rs.TaskError("Exception", "unknown", "")
    exception = None
    if error.pickled and not refuses_pickles():
        try:
            exception = pickle.loads(error.pickled)
        except Exception:  # noqa: BLE001 - unpickling may raise anything
            exception = None
    return rs.TaskError(error.type, error.message, error.traceback, exception)


def value_of(result: rs.Result) -> Any:
    """Return the value of a result, or raise the exception for its end.

    Raises:
        TaskFailed, TaskCancelled, TaskTimedOut, TaskLost: it did not succeed.
    """
    match result:
        case rs.Succeeded():
            return result.value
        case rs.Failed():
            raise TaskFailed(explain(result), result) from result.error.exception
        case rs.Cancelled():
            raise TaskCancelled(explain(result), result)
        case rs.TimedOut():
            raise TaskTimedOut(explain(result), result)
        case rs.Lost():
            raise TaskLost(explain(result), result)
        case _:
            raise TaskDidNotSucceed(explain(result), result)


def explain(result: rs.Result) -> str:
    """Say in words how a task ended, with all that helps to find the cause."""
    shown = ", ".join(
        [*map(short, result.args), *(f"{k}={short(v)}" for k, v in result.kwargs.items())]
    )
    what = f"task {result.task_id} {result.task_type}({shown})"
    match result:
        case rs.Failed():
            error = result.error
            where = f" on {result.worker}" if result.worker else ""
            text = f"{what} failed{where}: {error.type}: {error.message}"
            return f"{text}\n\n{error.traceback}" if error.traceback else text
        case rs.Cancelled():
            return f"{what} was cancelled: {result.reason}"
        case rs.TimedOut():
            return f"{what} ran longer than {result.timeout_s:g} s (attempt {result.attempt})"
        case rs.Lost():
            made = result.attempt  # 0, too, if the client lost its broker: it was not told of any
            after = f" after {counted(made, 'attempt')}" if made else ""
            return f"{what} was lost{after}: {result.reason}"
        case _:
            return f"{what} {result.ended_as}"
