"""The course of one attempt, drawn as a whole: duration, end, value, and items with their times.

A `Model` draws the duration and the failure of an attempt one by one. If they belong together, as
when failures come early or items are the denser the longer a task runs, a function draws a `Course`
from one generator. That generator belongs to the call: see `task_streams`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from msgspec import UNSET, Struct, UnsetType

from steerio.edge.wire.endpoint import Frames
from steerio.errors import UsageError
from steerio.model.messages import RunTask
from steerio.model.tasks import FunctionKind
from steerio.testing.task_streams import TaskStream
from steerio.worker.loading import LoadedType

Obeys = Literal["asked", "term", "kill"]


class Course(Struct, frozen=True, eq=False):
    """The course of one attempt.

    Attributes:
        duration_s: seconds from its begin to its end. Of a generator without ``items`` here: the
            seconds from one item of its own to the next, as in a `Model`.
        value: its value; by default the task's own function is called for it.
        items: for a generator: its items, each as (seconds since the begin, item), in order. Its
            own function is not called then. If its reader keeps it waiting, the rest comes later.
        fails: whether it fails at its end; a text says with which message, an exception is raised.
        crashes: whether its worker crashes at its end.
        obeys: as in a `Model`.

    Raises:
        UsageError: one of them is invalid.
    """

    duration_s: float
    value: Any = UNSET
    items: Sequence[tuple[float, Any]] | UnsetType = UNSET
    fails: bool | str | BaseException = False
    crashes: bool = False
    obeys: Obeys | None = None

    def __post_init__(self) -> None:
        """Refuse invalid attributes."""
        check_duration(self.duration_s)
        check_obeys(self.obeys, "Course")
        if not isinstance(self.fails, (bool, str, BaseException)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"Course.fails is a bool, a message or an error, not {self.fails!r}")
        if self.items is UNSET:
            return
        before = 0.0
        for entry in self.items:
            at_s = _time_of(entry)
            if not before <= at_s <= self.duration_s:
                raise UsageError(
                    f"an item of a Course is at {at_s:g} s: the times go up, from 0 to its "
                    f"duration of {self.duration_s:g} s"
                )
            before = at_s

    def error(self, name: str) -> BaseException | None:
        """Return the error with which an attempt at the task type ``name`` fails, if it does."""
        if isinstance(self.fails, BaseException):
            return self.fails
        if not self.fails:
            return None
        model = f"this attempt at {name} fails by its model"
        return RuntimeError(self.fails if isinstance(self.fails, str) else model)


Draw = Callable[..., Course]
"""Draws the course of an attempt; called with a ``random.Random`` and the task's arguments."""


@runtime_checkable
class DrawsCalls(Protocol):
    """A draw that looks at calls as they travel, such as that of a recorded run."""

    def draw_call(
        self, stream: TaskStream, task: RunTask, frames: Frames, loaded: LoadedType
    ) -> Course:
        """Draw the course of an attempt.

        Args:
            stream: the random numbers of the call, and how often it was begun before.
            task: the attempt, with the packed arguments.
            frames: of the arguments.
            loaded: its task type.
        """
        ...


AnyDraw = Draw | DrawsCalls


def checked_course(drawn: Any, name: str, kind: FunctionKind) -> Course:
    """Return the course that a draw returned, if a task of this kind can have it.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(drawn, Course):
        raise UsageError(
            f"the model of {name} returned {drawn!r}, not a Course(duration_s=...); "
            "a function that returns only seconds goes into a Model: Model(function)"
        )
    if drawn.items is not UNSET and kind != "generator":
        raise UsageError(f"the model of {name} has items, and that task is no generator")
    return drawn


def check_duration(duration_s: Any, of: str = "") -> None:
    """Refuse a duration that is no number of 0 or more seconds.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(duration_s, (int, float)) or not 0 <= duration_s < math.inf:
        about = f" of {of}" if of else ""
        raise UsageError(f"a duration{about} must be 0 or more seconds, not {duration_s!r}")


def check_obeys(obeys: object, of: str) -> None:
    """Refuse any word but those that say when an attempt stops.

    Raises:
        UsageError: it is another.
    """
    if obeys not in (None, "asked", "term", "kill"):
        raise UsageError(f"{of}.obeys is 'asked', 'term' or 'kill', not {obeys!r}")


def _time_of(entry: object) -> float:
    if isinstance(entry, tuple) and len(entry) == 2:  # pyright: ignore[reportUnknownArgumentType]
        at_s: object = entry[0]  # pyright: ignore[reportUnknownVariableType]
        if isinstance(at_s, (int, float)):
            return at_s
    raise UsageError(f"Course.items has tuples of seconds and an item, not {entry!r}")
