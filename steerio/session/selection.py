"""The selection of tasks of a session: by handle or id, or by a function."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any, Protocol, TypeVar

from steerio.errors import UsageError
from steerio.model.bounds import real
from steerio.model.showing import short
from steerio.session.task import Task, TaskHome

R = TypeVar("R")


class HasTasks(TaskHome, Protocol):
    """A session, as seen by a choice of its tasks."""

    @property
    def pending(self) -> list[Task[Any]]:
        """Its tasks that have not ended."""
        ...


def chosen_tasks(
    session: HasTasks, tasks: Iterable[Task[Any] | int] | Callable[[Task[Any]], bool]
) -> list[Task[Any] | int]:
    """Return the tasks that are named, or that a function says yes to.

    Raises:
        UsageError: it is neither, or the function is async.
    """
    if callable(tasks):
        return [task for task in session.pending if _said_of(task, tasks)]
    if hasattr(tasks, "__iter__"):
        return list(tasks)
    raise UsageError(
        f"session.cancel takes a list of tasks or a function, not {tasks!r}: "
        "one task is cancelled by its own cancel()"
    )


def new_priorities(
    session: HasTasks, changes: Mapping[Any, float] | Callable[[Task[Any]], float | None]
) -> dict[int, float]:
    """Return new priorities by id; see `Session.reprioritise`.

    Raises:
        UsageError: one is no number, or a key no task, or the function is async.
    """
    if callable(changes):
        given = {task: _said_of(task, changes) for task in session.pending}
        changes = {task: value for task, value in given.items() if value is not None}
    elif not isinstance(changes, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            "session.reprioritise takes a dict of priorities by task, or a function, not "
            f"{short(changes)}: one task is re-ranked by its own reprioritise()"
        )
    ranked: dict[int, float] = {}
    for key, value in changes.items():
        number = number_of(session, key)
        # most are floats, and there may be very many
        known = type(value) is float and isfinite(value)
        ranked[number] = value if known else priority_of(number, value)
    return ranked


def _said_of(task: Task[Any], function: Callable[[Task[Any]], R]) -> R:
    """Return a function's answer on a task, which must be no coroutine."""
    said = function(task)
    if inspect.isawaitable(said):
        if inspect.iscoroutine(said):
            said.close()
        raise UsageError(f"{function!r} is asked of many tasks at once: it cannot be async")
    return said


def number_of(session: HasTasks, task: Task[Any] | int) -> int:
    """Return the id of a task.

    Raises:
        UsageError: it is of another session, or neither a task nor an id.
    """
    if isinstance(task, Task):
        if task.session is not session:
            raise UsageError(f"{task!r} is of another session: its own cancel() cancels it")
        return task.id
    try:
        number = operator.index(task)
    except TypeError:
        raise UsageError(f"{task!r} is neither a task nor the id of one") from None
    if not 0 <= number < 1 << 63:
        raise UsageError(f"{number} is not the id of any task")
    return number


def priority_of(number: int, value: object) -> float:
    """Return the new priority of a task.

    Raises:
        UsageError: it is no number, or not finite.
    """
    what = f"the priority of task {number}"
    priority = real(value, what)
    if not isfinite(priority):
        raise UsageError(f"{what} must be a number, not {value!r}")
    return priority
