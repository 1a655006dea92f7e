"""The tasks and task types of a ledger, as its entries say, with the places of those entries."""

from __future__ import annotations

from msgspec import Struct, structs

from steerio.broker.ledger_entries import Change
from steerio.edge.record.ledger_files import EntryPlace
from steerio.model import messages as ms
from steerio.model.tasks import TaskSpec


class NotedTask(Struct, gc=False):
    """A task: the places of its entries, the number of its type, and its last changes."""

    submitted: EntryPlace
    kind: int
    ended: EntryPlace | None = None
    changes: dict[type, Change] | None = None

    @property
    def nbytes(self) -> int:
        """How long its entries are."""
        return self.submitted.length + (0 if self.ended is None else self.ended.length)


class NotedTasks:
    """The content of one ledger, in the order in which tasks were submitted."""

    def __init__(self) -> None:
        self.types: dict[int, TaskSpec] = {}
        self.numbers: dict[TaskSpec, int] = {}
        """The numbers of the types."""
        self.next_type = 0
        """The number of a type that is not there yet."""
        self.tasks: dict[int, NotedTask] = {}
        """All tasks, by their ids."""
        self.nbytes = 0
        """How long their entries are."""

    def define(self, number: int, spec: TaskSpec) -> None:
        """Note a task type."""
        self.types[number], self.numbers[spec] = spec, number
        self.next_type = max(self.next_type, number + 1)

    def note(self, kind: int, task_id: int, place: EntryPlace) -> None:
        """Note a task, of the type with the number ``kind``."""
        self.tasks[task_id] = NotedTask(place, kind)
        self.nbytes += place.length

    def end(self, task_id: int, place: EntryPlace) -> None:
        """Note that a task has ended, if it is there."""
        known = self.tasks.get(task_id)
        if known is not None:
            self.nbytes -= known.nbytes
            known.ended, known.changes = place, None
            self.nbytes += known.nbytes

    def forget(self, task_id: int) -> None:
        """Forget a task."""
        known = self.tasks.pop(task_id, None)
        if known is not None:
            self.nbytes -= known.nbytes

    def still(self, message: Change) -> Change | None:
        """Return changes as far as their tasks have not ended; ``None``: all have."""
        if isinstance(message, ms.Reprioritise):
            changes = [change for change in message.changes if self._waits(change[0])]
            return ms.Reprioritise(changes) if changes else None
        numbers = [number for number in message.tasks if self._waits(number)]
        return structs.replace(message, tasks=numbers) if numbers else None

    def change(self, message: Change) -> None:
        """Note changes of tasks, each with its task, as far as they have not ended."""
        each: list[tuple[int, Change]]
        if isinstance(message, ms.Reprioritise):
            each = [(number, ms.Reprioritise([(number, p)])) for number, p in message.changes]
        else:
            each = [(n, structs.replace(message, tasks=[n])) for n in message.tasks]
        for number, change in each:
            if self._waits(number):
                known = self.tasks[number]
                known.changes = {**(known.changes or {}), type(change): change}

    def _waits(self, task_id: int) -> bool:
        known = self.tasks.get(task_id)
        return known is not None and known.ended is None
