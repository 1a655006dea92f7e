"""Failures that no agent handles or awaits: errors of the campaign, each reported once.

A failure is handled when a trigger was called with it, or when code awaits its task or has read its
result.  Code that may still do so has time for that as long as it keeps the handle, and until the
campaign ends.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from steerio.campaign.calls import Calls
from steerio.errors import UnhandledFailure
from steerio.model.results import Result
from steerio.session.reading_results import explain
from steerio.session.session import Session
from steerio.session.task import Task


class Unhandled:
    """The failures of a campaign that no code has handled.

    Args:
        session: the session of the tasks.
        fail: called with the error that an unhandled failure makes.
        broker_lost: called instead, with the reason, if the broker is lost.
        tolerated: whether the limits bound the number of failures, so that none is an error by
            itself.
    """

    def __init__(
        self,
        session: Session,
        fail: Callable[[Exception], None],
        broker_lost: Callable[[str], None],
        *,
        tolerated: bool,
    ) -> None:
        self._session = session
        self._fail = fail
        self._broker_lost = broker_lost
        self._tolerated = tolerated
        self._unasked: weakref.WeakSet[Task[Any]] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"<Unhandled: {len(self._unasked)} tasks whose failure was not read yet>"

    def ended(self, task: Task[Any], result: Result, *, of_board: bool) -> None:
        """Take in that a task did not succeed, and that no trigger wants its result."""
        if self._tolerated:
            task.awaited = True
        elif of_board:  # whose handle no code has
            task.awaited = True
            self.report(result)
        elif not task.awaited:
            self._unasked.add(task)

    def report(self, result: Result, mend: str = "") -> None:
        """Make a failure the error of the campaign, unless some are tolerated."""
        if self._tolerated:
            return
        if self._session.client.lost:
            self._broker_lost(self._session.client.lost)
            return
        text = explain(result)
        if result.attempt:  # else no worker ever had it, and no handler could mend that
            name = result.task_type.split(":")[-1]
            mend = mend or f"No agent handles that: add @on_failure({name}), await the task"
            text += f"\n{mend}, or allow some with Limits(failures=...)"
        self._fail(UnhandledFailure(text))

    def report_rest(self, calls: Iterable[Calls]) -> None:
        """Report, at the end, failures that were not read, and those too few to make a call."""
        for each in calls:
            few = f"{each.name} is called with {each.trigger.every}, and there were fewer:"
            for task in each.unheard:
                self._report_task(task, f"{few} add an @on_failure without every=")
        for task in self._unasked:
            self._report_task(task)

    def _report_task(self, task: Task[Any], mend: str = "") -> None:
        result = task.peek()
        if not task.awaited and result is not None:
            task.awaited = True
            self.report(result, mend)
