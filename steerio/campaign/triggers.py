"""Triggers: the decorators that make methods of a campaign its agents."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from types import FunctionType
from typing import Any, ParamSpec

from msgspec import Struct

from steerio.campaign.task_type import as_task_type
from steerio.errors import UsageError
from steerio.model.events import Event
from steerio.model.results import Cancelled, Result, Succeeded

P = ParamSpec("P")
Method = Callable[P, Awaitable[Any]]

MARK = "__steerio_trigger__"


class Trigger(Struct, frozen=True):
    """When a method of a campaign is called.

    Attributes:
        kind: ``agent``, ``success``, ``failure``, ``result``, ``event``, ``period``, ``idle``.
        subject: the task type, the class of events, or the pool it is about.
        every: how many make a call; the handler then gets them as a list.
        concurrent: how many calls may run at a time.
        seconds: the period.
    """

    kind: str
    subject: Any = None
    every: int | None = None
    concurrent: int = 1
    seconds: float = 0.0

    def wants(self, result: Result) -> bool:
        """Whether a result is of this trigger's kind (its task type was looked at already)."""
        if self.kind == "success":
            return isinstance(result, Succeeded)
        if self.kind == "failure":
            return not isinstance(result, (Succeeded, Cancelled))
        return self.kind == "result"


def agent(method: Method[P]) -> Method[P]:
    """Run this ``async def`` method for the campaign's life."""
    return _mark(Trigger("agent"))(method)


def on_success(
    task_type: Callable[..., Any], *, every: int | None = None, concurrent: int = 1
) -> Callable[[Method[P]], Method[P]]:
    """Call with each ``Succeeded`` of a task type, or with lists of ``every`` of them.

    Every success counts, also those that arrive while the handler runs.  Calls are made
    one at a time and in order, unless ``concurrent`` allows more.
    """
    return _on("success", task_type, every, concurrent)


def on_failure(
    task_type: Callable[..., Any], *, every: int | None = None, concurrent: int = 1
) -> Callable[[Method[P]], Method[P]]:
    """Call with each ``Failed``, ``TimedOut`` or ``Lost`` of a task type (see ``on_success``)."""
    return _on("failure", task_type, every, concurrent)


def on_result(
    task_type: Callable[..., Any], *, every: int | None = None, concurrent: int = 1
) -> Callable[[Method[P]], Method[P]]:
    """Call with each result of a task type, however it ended (see ``on_success``)."""
    return _on("result", task_type, every, concurrent)


def on_event(
    event: type, *, every: int | None = None, concurrent: int = 1
) -> Callable[[Method[P]], Method[P]]:
    """Call with each instance of a class that an agent publishes with ``self.publish``."""
    if not isinstance(event, type):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"@on_event takes the class of the events, not {event!r}")
    if issubclass(event, Event):
        raise UsageError(
            f"@on_event is for events of your own, which agents publish; follow {event.__name__} "
            f"in an @agent: async with self.events({event.__name__}) as events: ..."
        )
    return _mark(Trigger("event", event, _checked(every), concurrent))


def on_idle(pool: str) -> Callable[[Method[P]], Method[P]]:
    """Call with the number of workers of a pool that are free while nothing is queued for them.

    Called one at a time, while there are such workers, whenever something has happened since it
    was called last that may change its answer: the number of idle workers is another, a task was
    submitted or has ended, or another agent has gone on (after a wait, or to its end).  The
    campaign does not end before each ``on_idle`` was called when everything else was at rest, and
    submitted nothing.  Where there are several they are called in turn then, each as often as
    there are of them, for one may leave work for another.

    What an agent sets going beside itself (``asyncio.create_task``) is not seen: await it.
    """
    if not isinstance(pool, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"@on_idle takes the name of a pool, not {pool!r}")
    return _mark(Trigger("idle", pool))


def every(seconds: float) -> Callable[[Method[P]], Method[P]]:
    """Call every so many seconds, from the start of one call to the start of the next.

    A call that takes longer delays the next; none are made up for.
    """
    if not seconds > 0:
        raise UsageError(f"@every takes a number of seconds above 0, not {seconds!r}")
    return _mark(Trigger("period", seconds=float(seconds)))


def triggers_of(campaign: object) -> list[tuple[str, Trigger, Callable[..., Any]]]:
    """Return the triggered methods of a campaign, as (name, trigger, bound method)."""
    found: list[tuple[str, Trigger, Callable[..., Any]]] = []
    for name in dir(type(campaign)):
        trigger = getattr(inspect.getattr_static(type(campaign), name), MARK, None)
        if isinstance(trigger, Trigger):
            found.append((name, trigger, getattr(campaign, name)))
    return found


def _on(
    kind: str, task_type: Callable[..., Any], every: int | None, concurrent: int
) -> Callable[[Method[P]], Method[P]]:
    code = task_type.__code__ if isinstance(task_type, FunctionType) else None
    if code is not None and code.co_varnames[:1] == ("self",):  # the method, for want of ()
        raise UsageError(f"@on_{kind} names a task type first: @on_{kind}(simulate)")
    subject = as_task_type(task_type)
    if concurrent < 1:
        raise UsageError(f"concurrent must be at least 1, not {concurrent}")
    return _mark(Trigger(kind, subject, _checked(every), concurrent))


def _checked(every: int | None) -> int | None:
    if every is not None and every < 1:
        raise UsageError(f"every must be a whole number above 0, not {every!r}")
    return every


def _mark(trigger: Trigger) -> Callable[[Method[P]], Method[P]]:
    def decorate(method: Method[P]) -> Method[P]:
        if not inspect.iscoroutinefunction(method):
            name = getattr(method, "__qualname__", repr(method))
            raise UsageError(f"{name} must be 'async def': agents are coroutines")
        setattr(method, MARK, trigger)
        return method

    return decorate
