"""The outstanding tasks of a client, to be told again to a broker that knows nothing of them.

A standing broker keeps its queues in memory.  If it ends and another begins in its place, each
client tells that one of its tasks that have not ended: as they were submitted, and as the client
has changed them since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct, structs

from steerio.edge.encoding.snapshots import snapshot
from steerio.edge.wire.endpoint import Frames
from steerio.model import messages as ms
from steerio.model.tasks import TaskSpec

Change = ms.CancelTasks | ms.Reprioritise | ms.ReassignTasks | ms.GrantItems


class OutstandingTask(Struct, gc=False):
    """A task that was submitted and has not ended.

    ``changes`` are the last messages about it, of each kind; ``attempt`` is the last one whose
    items came.
    """

    message: ms.SubmitTask
    frames: Frames
    spec: TaskSpec
    changes: dict[type, Change] | None = None
    attempt: int = 0

    def again(self, type_id: int) -> ms.SubmitTask:
        """Return the message for a broker that calls its type by this number."""
        return structs.replace(self.message, type_id=type_id, attempts=self.attempt, again=True)


class Outstanding:
    """The tasks of one client that have not ended, in the order in which they were submitted."""

    def __init__(self) -> None:
        self._tasks: dict[int, OutstandingTask] = {}
        self._cancelled: dict[int, str] = {}
        """Those of them that the client wants cancelled, and why."""
        self._found: dict[int, dict[type, Change]] = {}
        """Tasks of earlier detached clients of this name, with the last messages about each."""

    def __repr__(self) -> str:
        return f"<Outstanding: {len(self._tasks)} tasks>"

    def __len__(self) -> int:
        return len(self._tasks)

    def submitted(self, message: ms.SubmitTask, frames: Frames, spec: TaskSpec) -> None:
        """Take in a task; its frames are copied if they may be changed later."""
        self._tasks[message.task_id] = OutstandingTask(message, snapshot(frames), spec)

    def found(self, number: int) -> None:
        """Take in a task of an earlier client, which the broker keeps an account of itself."""
        self._found[number] = {}

    def changes_of_found(self) -> list[Change]:
        """Return the last messages about tasks that were found."""
        return [change for changes in self._found.values() for change in changes.values()]

    def ended(self, number: int) -> None:
        """Take in that a task has ended."""
        if self._found:
            self._found.pop(number, None)
        if self._tasks.pop(number, None) is not None and self._cancelled:
            self._cancelled.pop(number, None)

    def cancelled(
        self, numbers: Iterable[int], reason: str, *, queued_only: bool, changes: bool
    ) -> None:
        """Take in that tasks are to be cancelled, or only not to be tried again.

        Args:
            numbers: of the tasks.
            reason: why.
            queued_only: whether they are only not to be tried again.
            changes: whether another broker has to be told of the tasks nevertheless.
        """
        for number in numbers:
            if changes:
                self._change(number, ms.CancelTasks([number], reason, queued_only))
            elif number in self._tasks:
                self._cancelled[number] = reason

    def ranked(self, changes: dict[int, float]) -> None:
        """Take in new priorities."""
        for number, priority in changes.items():
            self._change(number, ms.Reprioritise([(number, priority)]))

    def reassigned(self, numbers: Iterable[int], pool: str) -> None:
        """Take in that tasks are to wait in another pool."""
        for number in numbers:
            self._change(number, ms.ReassignTasks([number], pool))

    def unread(self, number: int) -> None:
        """Take in that no code reads the items of a generator task any more."""
        self._change(number, ms.GrantItems(number, 0))

    def yielded(self, message: ms.TaskItem) -> None:
        """Take in that an item came: another broker's attempts have later numbers."""
        task = self._tasks.get(message.task_id)
        if task is not None:
            task.attempt = message.attempt

    def take_cancelled(self, number: int) -> str | None:
        """Forget a task that need not be told again, and return why; ``None``: it has to be."""
        reason = self._cancelled.pop(number, None)
        if reason is not None:
            del self._tasks[number]
        return reason

    def all(self) -> Iterator[tuple[int, OutstandingTask, Iterable[Change]]]:
        """Yield each task that has not ended by then, and the messages that belong behind it."""
        for number in list(self._tasks):
            task = self._tasks.get(number)
            if task is not None:
                yield number, task, (task.changes or {}).values()

    def clear(self) -> None:
        """Forget all: no other broker will be told."""
        self._tasks.clear()
        self._cancelled.clear()
        self._found.clear()

    def _change(self, number: int, change: Change) -> None:
        task = self._tasks.get(number)
        if task is not None:
            task.changes = {**(task.changes or {}), type(change): change}
        elif number in self._found:
            self._found[number][type(change)] = change
