"""The calls that the entries of a board become: their task types, pools, options and tags.

An entry of its own task type, pool, needs or gang is in another *lane* than the rest of its board:
other workers fit it, so it is counted, and handed out, by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from steerio.launch.needs import Needs
from steerio.model.bounds import named, tagged
from steerio.model.places import WorkerNeeds
from steerio.model.tasks import TaskOptions
from steerio.session.task_checks import check_gang, make_options
from steerio.session.task_type import TaskType

RankedBy = tuple[str, tuple[int, ...]]
"""The agent that ranked an entry last, and the results that it handled then."""
Ranked = tuple[Any, ...]
"""An entry: score, number, item, the agent that ranked it last, the results that it handled, and
its `EntryCall`, if it has one of its own; the last two are missing in some old snapshots."""


class Lane(NamedTuple):
    """The workers that an entry is for: those of a pool, with these needs, so many at once.

    Attributes:
        pool: the pool.
        needs: of the task, as in its options.
        gang: how many run it together.
    """

    pool: str
    needs: WorkerNeeds | None
    gang: int = 1


class EntryCall(NamedTuple):
    """How an entry becomes a task, if not as the others of its board.

    Attributes:
        task_type: the task type.
        pool: the pool, if it is not that of the task type.
        options: of the task.
        tags: of the task.
    """

    task_type: TaskType[..., Any]
    pool: str | None
    options: TaskOptions
    tags: dict[str, str] | None

    @property
    def lane(self) -> Lane:
        """The workers that it is for."""
        return Lane(self.pool or self.task_type.pool, self.options.needs, self.options.gang)

    def placed_type(self) -> TaskType[..., Any]:
        """Return the task type, for the pool of this call."""
        return self.task_type.in_pool(self.pool or self.task_type.pool)


class HandedOut(NamedTuple):
    """An entry that a board has handed out.

    Attributes:
        key: its key.
        args: the arguments of its task.
        cause: the agent that ranked it last.
        because: the results that this agent handled then.
        call: how it becomes a task, if not as the others of its board.
    """

    key: Any
    args: tuple[Any, ...]
    cause: str
    because: tuple[int, ...]
    call: EntryCall | None


class EntrySettings(TypedDict, total=False):
    """The options of one entry, if they differ from those of its board."""

    tags: Mapping[str, str] | None
    priority: float | None
    timeout_s: float | None
    retries: Mapping[str, int] | None
    cancel_grace_s: float | None
    needs: Needs | None
    gang: int | None


def call_of(
    board: EntryCall,
    task_type: TaskType[..., Any] | None,
    pool: str | None,
    settings: EntrySettings,
) -> EntryCall | None:
    """Return the call of an entry, or ``None`` if it is that of its board.

    An entry with a task type of its own has the options of that type, and not of the board.

    Raises:
        UsageError: the pool is no name, or an option is wrong.
    """
    if task_type is None and pool is None and not settings:
        return None
    options = dict(settings)
    tags: Any = options.pop("tags", board.tags if task_type is None else None)
    unknown = set(options) - set(EntrySettings.__annotations__)
    if unknown:
        raise TypeError(f"an entry of a board has no option {min(unknown)!r}")
    start = board.options if task_type is None else task_type.options
    if pool is not None:
        pool = named(pool, "the pool of an entry")
    elif task_type is None:
        pool = board.pool
    kind = board.task_type if task_type is None else task_type
    changed: Any = options
    made = make_options(start, **changed)
    check_gang(made, kind.kind, kind.name)
    return EntryCall(kind, pool, made, tagged(tags))
