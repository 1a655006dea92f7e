"""The ways to submit tasks that sessions, campaigns and ``options(...)`` share."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from steerio.errors import UsageError
from steerio.model.bounds import tagged
from steerio.model.showing import short
from steerio.model.tasks import TaskOptions
from steerio.session.packed_call import PackedCall
from steerio.session.task import Task
from steerio.session.task_checks import make_options
from steerio.session.task_type import TaskType, as_arguments, as_task_type
from steerio.session.watching import watch_tasks

P = ParamSpec("P")
R = TypeVar("R")

Submit = Callable[
    [
        TaskType[..., Any],
        tuple[Any, ...],
        dict[str, Any],
        TaskOptions,
        "dict[str, str] | None",
        "PackedCall | None",
    ],
    Task[Any],
]
"""A function that queues a task of a type, with arguments, options, tags, and its packed call."""


class Submitter:
    """The methods by which sessions, campaigns and ``options(...)`` submit."""

    def _submit(self, kind: TaskType[..., Any], args: Any, kwargs: Any) -> Task[Any]:
        raise NotImplementedError

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Task[R]:
        """Queue a call of ``function`` and return its handle.

        Raises:
            TypeError: the function cannot be called like this.
            EncodingError: an argument does not fit its annotation, or cannot be sent.
            UnknownPool: there is no such pool.
            BrokerLost: the broker has ended.
        """
        return self._submit(as_task_type(function), args, kwargs)

    async def run(self, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Queue a call of ``function``, wait for it, and return its value.

        Cancelling the await cancels the task.

        Raises:
            TaskFailed, TaskCancelled, TaskTimedOut, TaskLost: it did not succeed.
            TypeError, EncodingError, UnknownPool, BrokerLost: as for `submit`.
        """
        kind = as_task_type(function)
        task = self._submit(kind, args, kwargs)
        if kind.kind == "generator":  # no other code has its handle
            task.ignore_items()
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel("its awaiter was cancelled")
            raise

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> list[Task[Any]]:
        """Queue one call for each item; return the handles in order.

        A plain tuple is all arguments of its call; anything else (a NamedTuple, too) the only
        one.  All run the function as it is before the first item is given out; each item keeps its
        state of the moment in which it is given out, so a generator may yield one buffer again and
        again.

        Raises:
            TypeError, EncodingError, UnknownPool, BrokerLost: as for `submit`; the items before
                that one are queued, also if ``items`` itself raises.
        """
        kind = as_task_type(function)
        tasks: list[Task[Any]] = []
        with kind.as_it_is():
            for item in items:
                try:
                    tasks.append(self._submit(kind, as_arguments(item), {}))
                except TypeError as error:
                    error.add_note(
                        "of the items that map is given, a plain tuple is all arguments of its "
                        "call: to pass a tuple as the only one, put it into another, as in "
                        "((1, 2),)"
                    )
                    raise
        return tasks

    async def gather(self, *tasks: Task[Any], progress: bool = False) -> list[Any]:
        """Wait for all tasks and return their values in order.

        Args:
            tasks: the tasks.
            progress: whether to show how far they are, in a notebook or on standard error.

        Raises:
            TaskFailed, TaskCancelled, TaskTimedOut, TaskLost: of the first in order that did
                not succeed; the others are left to run.
            UsageError: an entry is no task.
        """
        for task in checked_tasks(tasks, "gather"):
            task.awaited = True
        async with _shown(tasks, "gather", progress):
            return [await task for task in tasks]

    async def as_completed(
        self, tasks: Iterable[Task[Any]], *, progress: bool = False
    ) -> AsyncIterator[Task[Any]]:
        """Iterate over tasks as they end, in whatever way.

        Args:
            tasks: the tasks.
            progress: whether to show how far they are, as for `gather`.

        Raises:
            UsageError: an entry is no task.
        """
        waiting = checked_tasks(list(tasks), "as_completed")
        ended: asyncio.Queue[Task[Any]] = asyncio.Queue()
        for task in waiting:
            task.awaited = True
            task.add_done_callback(ended.put_nowait)
        async with _shown(waiting, "as_completed", progress):
            for _ in waiting:
                yield await ended.get()

    async def stream(
        self, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> AsyncGenerator[Any, None]:
        """Run a generator task and iterate over its items, with back-pressure.

        Leaving the loop early (``aclose``) cancels the task.

        Raises:
            UsageError: the function is not a generator.
            TaskFailed, TaskCancelled, TaskTimedOut, TaskLost: after the items that came.
        """
        kind = as_task_type(function)
        if kind.kind != "generator":
            raise UsageError(f"{kind.name} is not a generator, so there is nothing to stream")
        task = self._submit(kind, args, kwargs)
        try:
            async for item in task.items():
                yield item
        finally:
            task.cancel("its reader left")


def _shown(
    tasks: Iterable[Task[Any]], name: str, progress: object
) -> contextlib.AbstractAsyncContextManager[object]:
    """Return a context in which it is shown how far tasks are, if ``progress`` is true.

    Raises:
        UsageError: it is no truth value.
    """
    if not isinstance(progress, bool):
        raise UsageError(f"progress of {name} is True or False, not {short(progress)}")
    return watch_tasks(tasks, name) if progress else contextlib.nullcontext()


def checked_tasks(tasks: Sequence[Task[Any]], name: str) -> Sequence[Task[Any]]:
    """Return tasks, if all of them are.

    Raises:
        UsageError: one is none.
    """
    given: Sequence[object] = tasks
    for task in given:
        if not isinstance(task, Task):  # pyright: ignore[reportUnnecessaryIsInstance]
            if inspect.iscoroutine(task):
                task.close()
            raise UsageError(
                f"{name} takes tasks, as submit(...) and *map(...) return them, not {task!r}; of "
                "run(...) and other coroutines asyncio.gather waits for many at once"
            )
    return tasks


class Options(Submitter):
    """A submitter with other task options: ``session.options(priority=5).submit(...)``."""

    def __init__(
        self, submit_with: Submit, changes: dict[str, Any], tags: Mapping[str, str] | None
    ) -> None:
        self._submit_with = submit_with
        self._changes = changes
        self._tags = tagged(tags)

    def _submit(self, kind: TaskType[..., Any], args: Any, kwargs: Any) -> Task[Any]:
        return self.submit_packed(kind, args, kwargs)

    def belong_to(self, submit_with: Submit) -> bool:
        """Say whether this is how their session submits."""
        return self._submit_with == submit_with

    def submit_packed(
        self, kind: TaskType[..., Any], args: Any, kwargs: Any, packed: PackedCall | None = None
    ) -> Task[Any]:
        """Queue a call, which may be packed already, with these options."""
        options = make_options(kind.options, **self._changes)
        return self._submit_with(kind, args, kwargs, options, self._tags, packed)
