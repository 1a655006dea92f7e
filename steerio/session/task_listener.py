"""The listener of a session, which is told of all tasks: a campaign that runs on it."""

from __future__ import annotations

from typing import Any, Protocol

from steerio.model.results import Result
from steerio.session.task import Task


class TaskListener(Protocol):
    """The listener to all tasks of a session: a campaign, while it runs on the session."""

    def task_submitted(self, task: Task[Any]) -> None:
        """Take in that a task was submitted."""
        ...

    def task_waits(self, task: Task[Any], *, waits: bool) -> None:
        """Take in that a task begins to wait for others, or waits no more."""
        ...

    def task_ended(self, task: Task[Any], result: Result) -> None:
        """Take in that a task has ended, and how."""
        ...

    def never_awaited(self, result: Result) -> bool:
        """Take in a failure that no code has read; return whether the listener handles it."""
        ...
