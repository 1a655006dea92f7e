"""Detached sessions: their tasks go on when they end, and the next of the same name finds them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Protocol

from steerio.client.client import Client
from steerio.errors import BrokerLost, UsageError
from steerio.model.messages import LedgerTask
from steerio.model.showing import counted
from steerio.session.recovered import UnknownType, task_type_of
from steerio.session.selection import HasTasks, number_of
from steerio.session.task import Task

log = logging.getLogger("steerio.session")

HEARD_S = 10.0
"""Longest wait, at the end of a detached session, for the broker to have heard of its tasks."""
KEY = "key"
"""The tag that has a task's key."""


class EarlierTasks:
    """The tasks of the sessions of this name before, in the order in which they were submitted.

    By their keys (``options(key=...)``) they are found one by one; of several that share a key the
    last.
    """

    def __init__(self) -> None:
        self._tasks: dict[int, Task[Any]] = {}
        self._by_key: dict[str, Task[Any]] = {}

    def __repr__(self) -> str:
        done = sum(task.done for task in self)
        return f"<EarlierTasks: {counted(len(self), 'task')}, {done} ended>"

    def __iter__(self) -> Iterator[Task[Any]]:
        return iter(list(self._tasks.values()))

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, key: object) -> bool:
        return key in self._by_key

    def __getitem__(self, key: str) -> Task[Any]:
        """Return the task of a key.

        Raises:
            KeyError: there is none.
        """
        return self._by_key[key]

    def get(self, key: str) -> Task[Any] | None:
        """Return the task of a key, or ``None``."""
        return self._by_key.get(key)

    def add(self, task: Task[Any]) -> None:
        """Take in a task."""
        self._tasks[task.id] = task
        if (key := task.tags.get(KEY)) is not None:
            self._by_key[key] = task

    def remove(self, task: Task[Any]) -> None:
        """Forget a task, if it is one of them."""
        if self._tasks.pop(task.id, None) is not None:
            key = task.tags.get(KEY)
            if key is not None and self._by_key.get(key) is task:
                del self._by_key[key]


class Home(HasTasks, Protocol):
    """A session, as seen by its earlier tasks."""

    detached: bool
    earlier: EarlierTasks


@contextlib.asynccontextmanager
async def left_and_found(session: Home) -> AsyncGenerator[None, None]:
    """Have a session know the tasks of those of its name before, and leave its own to the next.

    Raises:
        BrokerLost: the broker ended, or did not answer in time.
    """

    def take(listed: list[LedgerTask]) -> None:
        for each in listed:
            task = _handle(session, each)
            session.client.find(task.id, task)
            session.earlier.add(task)

    session.detached = True
    await session.client.requests.ledger(take)
    try:
        yield
    finally:
        await session.store.under_way_ended()
        _warn_of_unsent(session.client)
        await _heard_by_broker(session.client)


def _handle(session: Home, listed: LedgerTask) -> Task[Any]:
    found = task_type_of(listed.task_type)
    kind: Any = UnknownType(listed.task_type) if found is None else found
    args: Any = ()
    kwargs: Any = {}
    if listed.body and found is not None:
        try:
            args, kwargs = found.codec.unpack(listed.body, ())
        except Exception as error:  # noqa: BLE001 - unpickling may raise anything
            log.warning("the arguments of task %d cannot be read here: %s", listed.task_id, error)
    task: Task[Any] = Task(
        session,
        kind,
        args,
        kwargs,
        listed.tags,
        listed.cause,
        listed.because,
        listed.created,
        listed.options,
    )
    task.id = listed.task_id
    task.awaited = True  # how it ended is kept, whether this session looks at it or not
    return task


def forget(session: Home, tasks: tuple[Task[Any], ...]) -> None:
    """Have the broker forget the results of tasks of a detached session.

    Raises:
        UsageError: one of them has not ended, or is no task of this session; none is forgotten.
        BrokerLost: the broker has ended.
    """
    numbers = [number_of(session, task) for task in tasks]
    for task in tasks:
        if not task.done:
            raise UsageError(f"{task!r} has not ended: cancel it, await it, and then forget it")
    session.client.requests.forget(numbers)
    for task in tasks:
        session.earlier.remove(task)


def _warn_of_unsent(client: Client) -> None:
    unsent = sum(client.is_reserved(number) for number in client.sinks)
    if unsent and not client.lost:
        log.warning(
            "%s waited for other tasks, and %s never sent: a detached session leaves behind only "
            "tasks whose arguments are known",
            counted(unsent, "task"),
            "was" if unsent == 1 else "were",
        )


async def _heard_by_broker(client: Client) -> None:
    """Wait until the broker has heard all that was said, and so has the tasks; or say so."""
    try:
        await client.requests.status(HEARD_S)
    except BrokerLost:
        if not client.lost:
            log.warning(
                "the broker does not answer as this detached session ends: tasks that it has not "
                "heard of are lost"
            )
