"""Results: how a task ended, as a closed union of frozen values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from msgspec import Struct

from steerio.model.cards import result_card
from steerio.model.showing import short
from steerio.model.tasks import EndedAs


class Timings(Struct, frozen=True, gc=False, array_like=True):
    """When a task passed each station, in Unix seconds on the broker's clock.

    The worker takes ``started`` and ``ended``, and the broker corrects them by the measured
    difference between its clock and the node's; ``created`` is the submitter's. ``None``: the task
    never got there.
    """

    created: float | None = None
    queued: float | None = None
    sent: float | None = None
    started: float | None = None
    ended: float | None = None
    received: float | None = None

    @property
    def run_s(self) -> float | None:
        """Seconds the task's function ran, or ``None`` if it never started."""
        if self.started is None or self.ended is None:
            return None
        return self.ended - self.started


class Sizes(Struct, frozen=True, gc=False, array_like=True):
    """Bytes that travelled, as counted on the wire."""

    args_bytes: int = 0
    value_bytes: int = 0


class TaskError(Struct, frozen=True):
    """An exception raised by a task's function, on the worker.

    Attributes:
        type: its qualified class name.
        message: ``str()`` of it.
        traceback: the remote traceback as text.
        exception: the exception itself if it could be pickled, else ``None``.
    """

    type: str
    message: str
    traceback: str
    exception: BaseException | None = None


class LateArguments(Protocol):
    """The arguments of a call, decoded when they are read."""

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional ones."""
        ...

    @property
    def kwargs(self) -> dict[str, Any]:
        """Those by keyword."""
        ...


class Result(Struct, frozen=True):
    """The fields of every result; a result is always one of its five subclasses.

    Attributes:
        task_id: the task's number, unique in a campaign.
        task_type: name of the task type, ``module:qualname``.
        args, kwargs: the arguments as they were submitted, even if those objects have been changed
            since; an object that is equal only to itself is that object. In a call of more than 1
            MB, a ``NotKept`` stands for each argument that may have been changed. (When a result is
            made they may be given as `LateArguments`.)
        attempt: number of the last attempt, from 1; 0 if none was made.
        worker: the worker of the last attempt, or ``None``.
        timings, sizes: see `Timings` and `Sizes`.
        tags: the submitter's own tags.
        cause: the agent whose decision submitted the task.
        versions: the version it was given of each name of which it took the latest.

    Its repr shows arguments and value in short: they may be large.
    """

    ended_as: ClassVar[EndedAs]

    task_id: int
    task_type: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    attempt: int
    worker: str | None
    timings: Timings
    sizes: Sizes
    tags: dict[str, str]
    cause: str
    versions: dict[str, int]

    def __repr__(self) -> str:
        fields = ((name, getattr(self, name)) for name in self.__struct_fields__)
        shown = (f"{name}={_SHOWN.get(name, repr)(value)}" for name, value in fields)
        return f"{type(self).__name__}({', '.join(shown)})"

    def _repr_html_(self) -> str:
        return str(result_card(self))

    def __reduce__(self) -> Any:
        return type(self), tuple(getattr(self, name) for name in self.__struct_fields__)


def args_of(given: tuple[Any, ...] | LateArguments) -> tuple[Any, ...]:
    """Return the positional arguments of a call, which may be given late."""
    return given if isinstance(given, tuple) else given.args


def kwargs_of(given: dict[str, Any] | LateArguments) -> dict[str, Any]:
    """Return the arguments by keyword of a call, which may be given late."""
    return given if isinstance(given, dict) else given.kwargs


def _opened(field: str, of: Callable[[Any], Any]) -> None:
    """Have a field of results decoded when it is read."""
    stored = vars(Result)[field].__get__
    setattr(Result, field, property(lambda self: of(stored(self))))


_opened("args", args_of)
_opened("kwargs", kwargs_of)


def _args(args: tuple[Any, ...]) -> str:
    return f"({', '.join(map(short, args))}{',' * (len(args) == 1)})"


def _kwargs(kwargs: dict[str, Any]) -> str:
    return f"{{{', '.join(f'{name!r}: {short(value)}' for name, value in kwargs.items())}}}"


_SHOWN: dict[str, Callable[[Any], str]] = {"args": _args, "kwargs": _kwargs, "value": short}
"""The functions that show fields which may hold anything."""


class Succeeded(Result, frozen=True):
    """The task's function returned ``value``.

    Attributes:
        value: the value.
        recalled: of a task type with ``memo=True``, the run in which an equal call was computed
            whose value this is: ``this run``, or the folder of the earlier one. Empty: it was
            computed for this call.
    """

    ended_as: ClassVar[EndedAs] = "succeeded"
    value: Any
    recalled: str = ""


class Failed(Result, frozen=True):
    """The task's function raised ``error``."""

    ended_as: ClassVar[EndedAs] = "failed"
    error: TaskError


class Cancelled(Result, frozen=True):
    """The task was cancelled; ``reason`` says why."""

    ended_as: ClassVar[EndedAs] = "cancelled"
    reason: str


class TimedOut(Result, frozen=True):
    """The last attempt ran longer than ``timeout_s`` seconds and was stopped."""

    ended_as: ClassVar[EndedAs] = "timed_out"
    timeout_s: float


class Lost(Result, frozen=True):
    """The worker or the broker was lost and the task may not be tried again."""

    ended_as: ClassVar[EndedAs] = "lost"
    reason: str
