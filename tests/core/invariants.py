"""What must hold of the core between any two steps, beside what it checks itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from steerio.core.core import Core
from steerio.core.records import TypeRecord
from steerio.model.events import AnyEvent, TaskEnded


def check_types(core: Core, always: Iterable[TypeRecord]) -> None:
    """A task type is there just while somebody knows it or has a task of it."""
    known = Counter(kind.type_id for kind in always)
    for client in core.clients.values():
        known.update(kind.type_id for kind in client.types.values())
    tasks = Counter(record.type.type_id for record in core.tasks.values())
    kinds = {kind.type_id: kind for kind in core.cluster.types}
    assert kinds.keys() == known.keys() | tasks.keys()
    for number, kind in kinds.items():
        assert (kind.clients, kind.tasks) == (known[number], tasks[number])
    for worker in core.workers.values():
        assert worker.known_types.items() <= kinds.items()


def check_events(events: list[AnyEvent]) -> None:
    """Numbers rise by one from 1, and no task ended twice."""
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    ended = Counter(event.task_id for event in events if isinstance(event, TaskEnded))
    assert all(times == 1 for times in ended.values()), ended
