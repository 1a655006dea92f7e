"""The listener of a session: it hears of all tasks, as a campaign does while it runs on one."""

from __future__ import annotations

from typing import Any, Protocol

from steerio.model.results import Result
from steerio.session.task import Task


class TaskListener(Protocol):
    """Hears of all tasks of a session: a campaign does while it runs on one."""

    def task_submitted(self, task: Task[Any]) -> None:
        """Take in that there is another task."""
        ...

    def task_waits(self, task: Task[Any], *, waits: bool) -> None:
        """Take in that a task begins to wait for others, or waits no more."""
        ...

    def task_ended(self, task: Task[Any], result: Result) -> None:
        """Take in that a task has ended, and how."""
        ...

    def never_awaited(self, result: Result) -> bool:
        """Take in a failure for which no code has asked; returns whether it is seen to."""
        ...
