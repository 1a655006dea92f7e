"""Triggers: the decorators that make methods of a campaign its agents.

A method may have several triggers, except ``@agent``, and is called for each of them.  A method
that overrides a triggered method keeps its triggers, unless it has some of its own.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from types import FrameType, FunctionType
from typing import Any, ParamSpec, cast, overload

from steerio.campaign.gathering import Gathering, checked_gathering, whole
from steerio.campaign.trigger_marks import (
    MARK,
    MARKED,
    UNUSED,
    ResultKind,
    Trigger,
    check_callable,
    is_async,
    marks,
)
from steerio.errors import UsageError
from steerio.model.bounds import named
from steerio.model.events import Event
from steerio.model.showing import in_words
from steerio.session.task_type import TaskType, as_task_type

P = ParamSpec("P")
Method = Callable[P, Awaitable[Any]]


@overload
def agent(method: Method[P], /) -> Method[P]: ...


@overload
def agent(
    *, concurrent: int = 1, per_worker: str | None = None
) -> Callable[[Method[P]], Method[P]]: ...


def agent(
    method: Method[P] | None = None,
    /,
    *,
    concurrent: int | None = None,
    per_worker: str | None = None,
) -> Method[P] | Callable[[Method[P]], Method[P]]:
    """Run this ``async def`` method for the campaign's life, or several loops of it.

    A method that takes an argument is given the index of its loop, from 0. With ``per_worker``
    there are as many loops as the pool has workers, also while workers come and go, or
    ``concurrent`` times as many. When workers leave, the loops with the highest indices go: each
    ends at its next ``await self.checkpoint()``, as nothing is half done then; it stays if a worker
    comes before. A loop that returns has ended, and is not begun again.

    Args:
        method: the method, if the decorator is written without options.
        concurrent: how many loops of it run.
        per_worker: the pool that has so many workers.

    Raises:
        UsageError: it is no such method, or an option is wrong.
    """
    given: object = method
    if method is None and not (concurrent is None and per_worker is None):
        if per_worker is not None and not isinstance(per_worker, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"@agent(per_worker=...) takes the name of a pool, not {per_worker!r}")
        if per_worker is not None:
            named(per_worker, "the pool of @agent(per_worker=...)")
        loops = 1 if concurrent is None else whole("concurrent", concurrent)
        return _mark(Trigger("agent", per_worker, concurrent=loops))
    if not hasattr(given, "__get__"):  # which every method of a class has
        written = "@agent()" if given is None else f"@agent({given!r})"
        raise UsageError(
            f"write @agent, not {written}; several loops of one agent are @agent(concurrent=4), "
            'or @agent(per_worker="simulate")'
        )
    marked = _put_on(cast("Method[P]", method), Trigger("agent"))
    _note_in_body(marked, inspect.currentframe())
    return marked


def on_success(
    task_type: Callable[..., Any],
    *,
    every: int | None = None,
    concurrent: int = 1,
    coalesce: bool = False,
    latest: bool = False,
    debounce_s: float | None = None,
    within_s: float | None = None,
    quorum: int | None = None,
) -> Callable[[Method[P]], Method[P]]:
    """Call with each ``Succeeded`` of a task type, or with lists of ``every`` of them.

    Every success counts, also those that arrive while the handler runs.  Calls are made
    one at a time and in order, unless ``concurrent`` allows more.  With ``coalesce`` no more than
    one call waits: while the handler runs, all new results join the list of the next call, which so
    has at least ``every`` (or one) of them.  With ``latest`` that call has the newest result alone.

    When nothing is left from which more could come, a call is made with those that wait for
    ``debounce_s`` or ``within_s``, without waiting for that time.

    If ten calls or more have waited for 30 seconds, a warning is logged, once.

    Args:
        task_type: the ``@task`` function whose results count.
        every: how many successes make one call; the handler gets a list then, even of one.
        concurrent: most calls that run at a time.
        coalesce: whether new successes join the waiting call, if there is one.
        latest: whether a new success takes the place of all those that no call was begun with.
        debounce_s: call once none has come for so many seconds: with a list of all that came
            (``coalesce``), or with the newest (``latest``).
        within_s: call at the latest so many seconds after the first came: with fewer than
            ``every``, or although more come (``debounce_s``).
        quorum: the least number that is called with after ``within_s``; 1 by default.

    Raises:
        UsageError: an option is invalid, or two of them make no sense together.
    """
    gathering = checked_gathering(every, coalesce, latest, debounce_s, within_s, quorum)
    return _on("success", task_type, gathering, concurrent)


def on_failure(
    task_type: Callable[..., Any],
    *,
    every: int | None = None,
    concurrent: int = 1,
    coalesce: bool = False,
    latest: bool = False,
    debounce_s: float | None = None,
    within_s: float | None = None,
    quorum: int | None = None,
) -> Callable[[Method[P]], Method[P]]:
    """Call with each ``Failed``, ``TimedOut`` or ``Lost`` of a task type (see ``on_success``)."""
    gathering = checked_gathering(every, coalesce, latest, debounce_s, within_s, quorum)
    return _on("failure", task_type, gathering, concurrent)


def on_result(
    task_type: Callable[..., Any],
    *,
    every: int | None = None,
    concurrent: int = 1,
    coalesce: bool = False,
    latest: bool = False,
    debounce_s: float | None = None,
    within_s: float | None = None,
    quorum: int | None = None,
) -> Callable[[Method[P]], Method[P]]:
    """Call with each result of a task type, however it ended (see ``on_success``)."""
    gathering = checked_gathering(every, coalesce, latest, debounce_s, within_s, quorum)
    return _on("result", task_type, gathering, concurrent)


def on_event(
    event: type,
    *,
    every: int | None = None,
    concurrent: int = 1,
    coalesce: bool = False,
    latest: bool = False,
    debounce_s: float | None = None,
    within_s: float | None = None,
    quorum: int | None = None,
) -> Callable[[Method[P]], Method[P]]:
    """Call with each instance of a class that an agent publishes with ``self.publish``."""
    if not isinstance(event, type):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"@on_event takes the class of the events, not {event!r}")
    if issubclass(event, Event):
        raise UsageError(
            f"@on_event is for events of your own, which agents publish; follow {event.__name__} "
            f"in an @agent: async with self.events({event.__name__}) as events: ..."
        )
    gathering = checked_gathering(every, coalesce, latest, debounce_s, within_s, quorum)
    return _mark(Trigger("event", event, gathering, whole("concurrent", concurrent)))


def on_item(
    task_type: Callable[..., Any],
    *,
    every: int | None = None,
    concurrent: int = 1,
    coalesce: bool = False,
    latest: bool = False,
    debounce_s: float | None = None,
    within_s: float | None = None,
    quorum: int | None = None,
) -> Callable[[Method[P]], Method[P]]:
    """Call with each `StreamedItem` that the tasks of a generator type yield, while they run.

    The items of one task come in order, and calls with them do not overlap, also with
    ``concurrent``. While some calls wait the tasks are held back, as by ``Task.items``; with
    ``latest`` they are not. The options are those of ``on_success``.

    A task that is tried again, or submitted again by a resumed campaign, yields from its first item
    on: the handler is called with an item of ``index`` 0 again, and of another ``attempt``. Once
    ``item.task.cancel()`` was called it is called with no other item of that task.

    Raises:
        UsageError: the function is no generator, an option is invalid, or two of them make no sense
            together.
    """
    gathering = checked_gathering(every, coalesce, latest, debounce_s, within_s, quorum)
    subject = _task_type("item", task_type)
    if subject.kind != "generator":
        raise UsageError(
            f"@on_item is for the items of a generator task, and {subject.name} yields none: "
            "follow its results with @on_success, or its reports with self.events(TaskProgress)"
        )
    return _mark(Trigger("item", subject, gathering, whole("concurrent", concurrent)))


def on_idle(pool: str) -> Callable[[Method[P]], Method[P]]:
    """Call with the number of workers of a pool that are free while nothing is queued for them.

    While there are such workers, it is called, one call at a time, whenever something has happened
    since the last call that may change its answer: the number of idle workers has changed, a task
    was submitted or has ended, or another agent has gone on (after a wait, or to its end).  The
    campaign does not end before each ``on_idle`` was called when all else was at rest, and
    submitted nothing.  If there are several, they are then called in turn, each as often as there
    are ``on_idle`` methods, because one may leave work for another.

    Tasks that an agent starts with ``asyncio.create_task`` are not seen: await them.
    """
    if not isinstance(pool, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"@on_idle takes the name of a pool, not {pool!r}")
    return _mark(Trigger("idle", pool))


def every(seconds: float) -> Callable[[Method[P]], Method[P]]:
    """Call every so many seconds, from the start of one call to the start of the next.

    A call that takes longer delays the next; missed calls are not made up for.
    """
    if not 0 < _number(seconds) < math.inf:
        raise UsageError(
            f"@every takes a number of seconds above 0, as in @every(5.0), not {seconds!r}"
        )
    return _mark(Trigger("period", seconds=float(seconds)))


def _on(
    kind: ResultKind, task_type: Callable[..., Any], gathering: Gathering, concurrent: int
) -> Callable[[Method[P]], Method[P]]:
    subject = _task_type(kind, task_type)
    return _mark(Trigger(kind, subject, gathering, whole("concurrent", concurrent)))


def _task_type(kind: str, task_type: Callable[..., Any]) -> TaskType[..., Any]:
    """Return the task type that a trigger is about.

    Raises:
        UsageError: it is none.
    """
    code = task_type.__code__ if isinstance(task_type, FunctionType) else None
    if code is not None and code.co_varnames[:1] == ("self",):  # a method: () is missing
        raise UsageError(f"@on_{kind} names a task type first: @on_{kind}(simulate)")
    return as_task_type(task_type)


def _number(value: object) -> float:
    """Return a number as it is, and 0 for any other value."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def _mark(trigger: Trigger) -> Callable[[Method[P]], Method[P]]:
    def decorate(method: Method[P]) -> Method[P]:
        marked = _put_on(method, trigger)
        _note_in_body(marked, inspect.currentframe())
        return marked

    setattr(decorate, UNUSED, trigger.name)
    return decorate


def _put_on(method: Method[P], trigger: Trigger) -> Method[P]:
    """Put a trigger on a method, which may have other triggers."""
    name = getattr(method, "__qualname__", in_words(method))
    _check_method(method, trigger, name)
    triggers = marks(method)
    if trigger in triggers:
        raise UsageError(f"{name} has {trigger.name} twice, for the same")
    if triggers and "agent" in (trigger.kind, *(other.kind for other in triggers)):
        raise UsageError(
            f"{name} cannot have @agent beside another trigger: "
            "it runs for the campaign's life, so give it a method of its own"
        )
    setattr(method, MARK, (*triggers, trigger))
    return method


def _note_in_body(method: Callable[..., Any], decorator: FrameType | None) -> None:
    """Note a method in the class body that its decorator is written in, to be looked for there."""
    body = decorator.f_back.f_locals if decorator and decorator.f_back else {}
    if "__qualname__" in body:  # else it is the body of a function, or a module
        body.setdefault(MARKED, []).append(method)


def _check_method(method: object, trigger: Trigger, name: str) -> None:
    """Refuse a value that is no async method, or that cannot be called as the trigger does.

    Raises:
        UsageError: it is such a value.
    """
    kind = type(method).__name__
    if kind in ("staticmethod", "classmethod", "property"):
        raise UsageError(
            f"{trigger.name} is put on a {kind}, but agents are methods of a campaign: "
            f"leave @{kind} out, and take self"
        )
    if not callable(method) or not is_async(method):
        generator = inspect.isasyncgenfunction(method)
        has = ", and without yield: its items would not be read" if generator else ""
        raise UsageError(f"{name} must be 'async def'{has}: agents are coroutines")
    check_callable(method, trigger, name)
