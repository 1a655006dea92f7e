"""Checks of a campaign class, made when the class is, so that no declaration gets lost.

A campaign's own names, such as ``run`` and ``events``, are reserved: a subclass, or an instance,
that used one for something else would take it away from all code that needs it.  All names of
`Campaign` are reserved but for its *hooks*, methods that are there to be overridden, and its
settings, public attributes of the class that are no methods.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import cached_property, partial, partialmethod
from typing import Any, TypeVar, cast

from steerio.campaign.trigger_marks import (
    MARKED,
    UNUSED,
    check_callable,
    is_async,
    marks,
    triggers_on,
)
from steerio.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

HOOK = "__steerio_hook__"
LIMIT_AROUND = 100
"""Most decorators around a method that are looked through."""


def hook(method: F) -> F:
    """Mark a method of `Campaign` as one that is there to be overridden."""
    setattr(method, HOOK, True)
    return method


def reserved_names(base: type) -> dict[str, str]:
    """Return the names that a class of campaigns keeps for itself, each with its purpose."""
    names: dict[str, str] = {}
    for name in dir(base):
        if name.startswith("__") or (name.startswith("_") and name.endswith("_")):
            continue  # others call it: Python, or a notebook
        value = inspect.getattr_static(base, name)
        function = value.fget if isinstance(value, property) else value
        if getattr(value, HOOK, False) or not (callable(function) or name.startswith("_")):
            continue
        names[name] = (inspect.getdoc(function) or "").split("\n")[0] if callable(function) else ""
    return names


def say_taken(written: str, name: str, purpose: str) -> str:
    """Return the words that refuse a campaign's own name."""
    doing = f" ({purpose.rstrip('.')})" if purpose else ""
    return f"{written} would hide Campaign.{name}{doing}: call it something else"


def check_class(cls: type, base: type, reserved: dict[str, str]) -> None:
    """Refuse a class of campaigns that could not work as it is written.

    Raises:
        UsageError: it hides a campaign's own name, or a method cannot be the agent that it should
            be.
    """
    for name, purpose in reserved.items():
        value = inspect.getattr_static(cls, name)
        if value is not inspect.getattr_static(base, name):
            owner = next(each for each in cls.__mro__ if name in vars(each))
            raise UsageError(say_taken(f"{owner.__qualname__}.{name}", name, purpose))
    for name in dir(base):
        if getattr(inspect.getattr_static(base, name), HOOK, False):
            _check_hook(cls, base, name)
    for name, value in list(vars(cls).items()):
        _check_attribute(cls, name, value)
    _check_found(cls)


def check_value(cls: type, name: str, own: object, value: object) -> None:
    """Refuse an attribute of a campaign that hides one of its agents, or ``setup`` or ``finish``.

    Args:
        cls: the campaign's class.
        name: the attribute's name.
        own: the class's own attribute of that name.
        value: the value that would hide it.

    Raises:
        UsageError: it would hide one, and cannot be awaited in its place.
    """
    if getattr(own, HOOK, False):
        good = callable(value) and is_async(value) == is_async(own)
    else:
        good = own is None or not marks(own) or is_async(value)
    if not good:
        raise UsageError(
            f"self.{name} would hide {cls.__qualname__}.{name}: call it something else"
        )


def _check_hook(cls: type, base: type, name: str) -> None:
    """Refuse a hook, such as ``setup``, that cannot be called or awaited as it will be."""
    hook: Any = inspect.getattr_static(cls, name)
    usual: Any = inspect.getattr_static(base, name)
    called = f"{cls.__qualname__}.{name}"
    taken = list(inspect.signature(usual).parameters)
    way = f"{'async ' * is_async(usual)}def {name}({', '.join(taken)})"
    is_method = callable(hook) and type(hook) is not staticmethod
    if not is_method or is_async(hook) != is_async(usual):
        raise UsageError(f"{called} must be a method with '{way}'")
    try:
        inspect.signature(hook).bind(*taken)
    except TypeError:
        rest = " and ".join(taken[1:]) or "nothing but self"
        raise UsageError(f"{called} takes {rest}: {way}") from None


def _check_attribute(cls: type, name: str, value: object) -> None:
    """Refuse an attribute that hides an agent, or cannot be called like the agent it overrides."""
    called = f"{cls.__qualname__}.{name}"
    unused = inspect.getattr_static(value, UNUSED, "")
    if unused:
        raise UsageError(f"{called} has {unused} without its arguments: write {unused}(...)")
    if not marks(value) and any(marks(each) for each in _inside(value)):
        raise UsageError(
            f"{called} is no agent: {type(value).__name__} is around its trigger; put the trigger "
            "outermost, on a method that is 'async def' and takes self"
        )
    if inspect.isfunction(value):
        for trigger in triggers_on(cls, name):
            check_callable(value, trigger, called)


def _check_found(cls: type) -> None:
    """Refuse methods whose triggers a decorator loses, or another method of the same name."""
    marked: list[Callable[..., Any]] = vars(cls).get(MARKED, [])
    if not marked:
        return
    delattr(cls, MARKED)
    reached = {id(each) for value in vars(cls).values() for each in (value, *_inside(value))}
    for method in marked:
        if id(method) not in reached:
            raise UsageError(
                f"{cls.__qualname__}.{method.__name__} has a trigger, but the class does not have "
                "that method: another of its name follows, or its decorator hides it "
                "(functools.wraps would show it)"
            )


def _inside(value: object) -> Iterator[object]:
    """Yield the functions inside a decorated method, without calling a proxy."""
    for _ in range(LIMIT_AROUND):
        if isinstance(value, (staticmethod, classmethod)):
            value = cast("staticmethod[..., Any]", value).__func__
        elif isinstance(value, property):
            value = value.fget
        elif isinstance(value, (partial, partialmethod, cached_property)):
            value = cast("partial[Any]", value).func
        else:
            value = inspect.getattr_static(value, "__wrapped__", None)
        if value is None:
            return
        yield value
