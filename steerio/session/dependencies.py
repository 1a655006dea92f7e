"""Tasks whose arguments are handles of others: they wait for these, and have their values.

They wait here, in the session: the broker hears of such a task when all values that it takes are
known. Its other arguments are copied at ``submit``, since they are sent only later.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol, TypeGuard, cast

from steerio.edge.encoding.pickling import is_proxy
from steerio.edge.encoding.references import gather
from steerio.edge.encoding.snapshots import Snapshots
from steerio.errors import DependencyFailed, EncodingError, UsageError
from steerio.model import results as rs
from steerio.model.objects import Inputs
from steerio.model.tasks import TaskOptions, TaskSpec
from steerio.session.chains import chain_after
from steerio.session.current_agent import current_agent, results_behind
from steerio.session.packed_call import packed_call, send_packed
from steerio.session.reading_results import explain
from steerio.session.task import KeepsValues, Task, TaskHome
from steerio.session.task_type import TaskType

TAKES = "it takes the value of another task: "
"""Beginning of the reason of a task that is cancelled because of another."""
DEPTH = 8
"""Depth to which handles are looked for in lists, tuples and dicts."""


class Recalling(KeepsValues, Protocol):
    """The recalls of a session, as seen by its tasks that wait for others."""

    def submit(
        self,
        task: Any,
        spec: TaskSpec,
        given: tuple[tuple[Any, ...], Mapping[str, Any]],
        inputs: Inputs | None,
        send: Callable[[], None],
    ) -> None:
        """Take in a task, whose id is reserved; ``send`` has it computed."""
        ...


class WaitingHome(TaskHome, Protocol):
    """A session, as seen by its tasks that wait for others."""

    snapshots: Snapshots

    @property
    def recalls(self) -> Recalling:
        """The recalls of its tasks whose types have a memo."""
        ...

    def task_submitted(self, task: Task[Any]) -> None:
        """Take in that a task was submitted."""
        ...

    def task_waits(self, task: Task[Any], *, waits: bool) -> None:
        """Take in that a task begins to wait for others, or waits no more."""
        ...


def handles_in(value: object, depth: int = DEPTH) -> Iterator[Task[Any]]:
    """Iterate over the handles in arguments, also inside lists, tuples and dicts."""
    if is_handle(value):
        yield value
    elif depth:
        for part in _parts_of(value):
            yield from handles_in(part, depth - 1)


def with_values(value: Any, kept: dict[int, Any], depth: int = DEPTH) -> Any:
    """Return arguments with the values of the handles in them, some of which were kept, by id."""
    if is_handle(value):
        if value.id in kept:
            return kept[value.id]
        result = value.result_nowait()
        assert isinstance(result, rs.Succeeded)
        return result.value
    parts = _parts_of(value) if depth else ()
    if not parts:
        return value
    values = [with_values(part, kept, depth - 1) for part in parts]
    whole: Any = value  # a dict, list or tuple
    return dict(zip(whole, values, strict=True)) if is_dict(whole) else type(whole)(values)


def is_handle(value: object) -> TypeGuard[Task[Any]]:
    """Say whether a value is a handle, without asking it: a proxy would be fetched for that."""
    return issubclass(type(value), Task)


def is_dict(value: object) -> TypeGuard[dict[Any, object]]:
    """Say whether a value is a plain dict."""
    return type(value) is dict


def _parts_of(value: object) -> Collection[object]:
    if is_dict(value):
        return value.values()
    return cast("Collection[object]", value) if type(value) in (list, tuple) else ()


def check_handles(session: TaskHome, handles: Iterable[Task[Any]], what: str) -> None:
    """Check that the handles that a task waits for are of its own session.

    Raises:
        UsageError: one is not.
    """
    for handle in handles:
        if handle.session is not session:
            raise UsageError(
                f"{what} is given {handle!r}, which is of another session: await it and give its "
                "value"
            )


def copied(what: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return a copy of arguments as they are now, with the same handles in it.

    Raises:
        EncodingError: one cannot be copied.
    """
    try:
        return copy.deepcopy((args, kwargs))
    except Exception as error:
        raise EncodingError(
            f"{what} waits for another task, and its arguments cannot be copied until then: {error}"
        ) from error


def submit_after(
    session: WaitingHome,
    handles: list[Task[Any]],
    kind: TaskType[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: TaskOptions,
    tags: dict[str, str] | None,
) -> Task[Any]:
    """Queue a task once those have ended whose values it takes.

    Raises:
        TypeError: the function cannot be called like this.
        UsageError: a handle is of another session.
        EncodingError: an argument cannot be copied.
    """
    kind.codec.check(args, kwargs)
    check_handles(session, handles, kind.name)
    args, kwargs = copied(kind.name, args, kwargs)
    by = current_agent.get(), results_behind.get()
    task: Task[Any] = Task(session, kind, args, kwargs, tags, *by, session.clock(), options)
    task.chain = chain_after(kind.name, task.chain, handles)
    waiting = WaitingTask(session, task)
    task.id = session.client.reserve_later(task)
    session.task_submitted(task)
    waiting.begin(handles)
    return task


class WaitingTask:
    """A task that waits for others.

    Args:
        session: of all of them.
        task: the task, with its id, and the handles among its arguments.
    """

    def __init__(self, session: WaitingHome, task: Task[Any]) -> None:
        self._session = session
        self._task = task
        self._used = gather()
        with self._used:
            self._spec = task.type.spec  # in its present state
        self._waits = True
        self._kept: dict[int, Any] = {}
        """Values that came while others are awaited: their readers may change them."""

    def __repr__(self) -> str:
        return f"<WaitingTask: {self._task!r}>"

    def begin(self, handles: list[Task[Any]]) -> None:
        """Begin to wait."""
        self._left = len(handles)
        self._session.task_waits(self._task, waits=True)
        self._task.add_done_callback(self._over)
        for handle in handles:
            handle.awaited = True  # the waiting task tells how it ends
            handle.add_done_callback(self._one_ended)

    def _over(self, task: Task[Any]) -> None:
        """Wait no more: the task is submitted, or was cancelled."""
        if self._waits:
            self._waits = False
            self._session.task_waits(task, waits=False)

    def _one_ended(self, handle: Task[Any]) -> None:
        self._left -= 1
        if not self._session.client.is_reserved(self._task.id):
            return  # it was cancelled, or lost with all others
        result = handle.result_nowait()
        if isinstance(result, rs.Succeeded):
            if not self._left:
                self._submit()
            elif handle.id not in self._kept:
                self._kept[handle.id] = _own(result.value)
        elif isinstance(result, rs.Cancelled):
            self._session.client.give_up(self._task.id, "cancelled", _because(result))
        else:
            assert result is not None
            self._fail(_first_failure(result))

    def _submit(self) -> None:
        task, session = self._task, self._session
        try:
            args, kwargs = with_values((task.args, task.kwargs), self._kept)
            packed = packed_call(
                session.store,
                session.snapshots,
                task.type,
                args,
                kwargs,
                self._spec,
                self._used,
            )
        except Exception as error:  # noqa: BLE001 - pickling may raise anything
            self._fail(error)
            return
        self._over(task)
        spec, body, _, inputs, _, task.given, of_atoms = packed
        recorder = session.recorder
        if recorder is not None and recorder.knows(
            task, spec, args, kwargs, body, of_atoms=of_atoms
        ):
            recorder.give(task)
            return
        send = partial(send_packed, session, task, packed)
        if task.type.memo:
            session.recalls.submit(task, spec, (args, kwargs), inputs, send)
        else:
            send()

    def _fail(self, error: Exception) -> None:
        """End the task, which was never sent, soon."""
        self._session.client.withdraw(self._task.id)
        asyncio.get_running_loop().call_soon(self._failed, error)

    def _failed(self, error: Exception) -> None:
        task = self._task
        if self._session.client.sinks.pop(task.id, None) is not None:
            task.fail_unsent(rs.TaskError(_name_of(error), str(error), "", error))


def _own(value: Any) -> Any:
    """Return a copy of a value, if one can be made."""
    if is_proxy(value):  # a copy would fetch it
        return value
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - of a value that can be sent, but not copied
        return value


def _because(result: rs.Cancelled) -> str:
    """Return the reason of a task that is cancelled because another is, the first of a chain."""
    return result.reason if result.reason.startswith(TAKES) else f"{TAKES}{explain(result)}"


def _first_failure(result: rs.Result) -> DependencyFailed:
    """Return the error of a task that takes the value of another, which did not succeed.

    All tasks of a chain have the error of the first, or the last would quote all before.
    """
    why = result.error.exception if isinstance(result, rs.Failed) else None
    if isinstance(why, DependencyFailed) and isinstance(why.result, rs.Result):
        result = why.result
    return DependencyFailed(explain(result), result)


def _name_of(error: Exception) -> str:
    kind = type(error)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
