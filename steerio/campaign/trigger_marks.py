"""Triggers as values: the marks on methods, and whether a method can be called by its trigger."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, assert_never, cast

from msgspec import Struct

from steerio.campaign.gathering import Gathering
from steerio.errors import UsageError
from steerio.model.results import Cancelled, Result, Succeeded

ResultKind = Literal["success", "failure", "result"]
"""The kinds of triggers that watch the results of a task type."""
TriggerKind = Literal["agent", "event", "item", "period", "idle"] | ResultKind
"""The kinds of triggers."""

MARK = "__steerio_triggers__"
"""The attribute of a method that lists its triggers, in the order in which they were put on."""
UNUSED = "__steerio_unused__"
"""The attribute of a decorator that was not put on a method yet."""
MARKED = "__steerio_marked__"
"""The name in a class body that lists the methods which were given triggers in it."""


class Trigger(Struct, frozen=True):
    """A condition on which a method of a campaign is called.

    Attributes:
        kind: the thing that it watches, or ``agent``: it is called once, or once for each loop.
        subject: the task type, the class of events, or the pool that it watches or follows.
        gathering: the portions in which the handler is given results or events.
        concurrent: how many calls may run at a time; how many loops an agent has, or has for each
            worker of the pool.
        seconds: the period.
    """

    kind: TriggerKind
    subject: Any = None
    gathering: Gathering = Gathering()
    concurrent: int = 1
    seconds: float = 0.0

    @property
    def every(self) -> int | None:
        """How many results or events make a call, which has a list of them."""
        return self.gathering.every

    @property
    def name(self) -> str:
        """The trigger as it is written."""
        match self.kind:
            case "agent":
                return "@agent"
            case "period":
                return "@every"
            case "success" | "failure" | "result" | "event" | "item" | "idle":
                return f"@on_{self.kind}"
            case _:
                assert_never(self.kind)

    @property
    def given(self) -> tuple[str, ...]:
        """The names of the arguments that a call is given."""
        match self.kind:
            case "agent" | "period":
                return ()
            case "idle":
                return ("idle",)
            case "event":
                return ("event" if self.every is None else "events",)
            case "item":
                return ("item" if self.every is None else "items",)
            case "success" | "failure" | "result":
                return ("result" if self.every is None else "results",)
            case _:
                assert_never(self.kind)

    @property
    def has_loops(self) -> bool:
        """Whether it makes a method an agent of several loops, each of which has an index."""
        return self.kind == "agent" and (self.concurrent > 1 or self.subject is not None)

    @property
    def of_pool(self) -> bool:
        """Whether its subject is a pool."""
        return self.kind == "idle" or (self.kind == "agent" and self.subject is not None)

    def wants(self, result: Result) -> bool:
        """Whether a result is of this trigger's kind (its task type was checked already)."""
        match self.kind:
            case "success":
                return isinstance(result, Succeeded)
            case "failure":
                return not isinstance(result, (Succeeded, Cancelled))
            case "result":
                return True
            case "agent" | "event" | "item" | "period" | "idle":
                return False
            case _:
                assert_never(self.kind)


def triggers_of(campaign: object) -> list[tuple[str, Trigger, Callable[..., Any]]]:
    """Return the triggers of a campaign's methods, as (name, trigger, bound method)."""
    return [
        (name, trigger, getattr(campaign, name))
        for name in dir(type(campaign))
        for trigger in triggers_on(type(campaign), name)
    ]


def triggers_on(cls: type, name: str) -> tuple[Trigger, ...]:
    """Return the triggers of a method, or of the method that it overrides."""
    for each in cls.__mro__:
        if name in vars(each):
            attribute = vars(each)[name]
            triggers = marks(attribute)
            if triggers or not is_async(attribute):
                return triggers
    return ()


def marks(value: object) -> tuple[Trigger, ...]:
    """Return the triggers on a function, without calling a proxy."""
    found: object = inspect.getattr_static(value, MARK, ())
    return cast("tuple[Trigger, ...]", found) if isinstance(found, tuple) else ()


def is_async(function: object) -> bool:
    """Whether a call of a function seems to make a coroutine."""
    wrapped = inspect.unwrap(function) if callable(function) else function
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(wrapped)


def is_generator(function: object) -> bool:
    """Whether a call of a function, or of a task type's, makes a generator."""
    wrapped = inspect.unwrap(function) if callable(function) else function
    return any(
        test(each)
        for test in (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
        for each in (function, wrapped)
    )


def check_callable(function: Callable[..., Any], trigger: Trigger, name: str) -> None:
    """Refuse a method that cannot be called as its trigger does.

    Raises:
        UsageError: the method takes other arguments.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a compiled function's is not known
        return
    taken = ("self", *trigger.given)
    try:
        signature.bind(*taken)
    except TypeError:
        if trigger.has_loops and _can_bind(signature, "self", "index"):
            return
        raise UsageError(
            f"{name}{signature} cannot be called by {trigger.name}, which gives it "
            f"{trigger.given[0] if trigger.given else 'nothing'}: "
            f"write async def {name.split('.')[-1]}({', '.join(taken)})"
        ) from None


def takes_index(method: Callable[..., Any]) -> bool:
    """Whether a bound method can be called with the index of its loop."""
    try:
        return _can_bind(inspect.signature(method), 0)
    except (TypeError, ValueError):  # a compiled function's is not known
        return False


def _can_bind(signature: inspect.Signature, *args: object) -> bool:
    try:
        signature.bind(*args)
    except TypeError:
        return False
    return True
