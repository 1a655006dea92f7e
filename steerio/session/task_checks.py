"""Checks of a task type: its function, and its options.

A wrong option is refused at the call that gives it, as is an object that no worker could call: at a
worker it would be an error of each task.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import msgspec

from steerio.errors import UsageError
from steerio.launch.needs import Needs
from steerio.model.bounds import TYPE_CHARACTERS, real
from steerio.model.objects import check_number
from steerio.model.showing import short
from steerio.model.tasks import FunctionKind, Retries, TaskOptions


def make_options(
    start: TaskOptions,
    priority: float | None = None,
    timeout_s: float | None = None,
    retries: Mapping[str, int] | None = None,
    *,
    cancel_grace_s: float | None = None,
    needs: Needs | None = None,
    gang: int | None = None,
) -> TaskOptions:
    """Return task options with some of them changed; ``Needs()`` means to need nothing.

    Raises:
        UsageError: one of them is wrong; the message says which.
    """
    numbers = {"priority": priority, "timeout_s": timeout_s, "cancel_grace_s": cancel_grace_s}
    changes: dict[str, Any] = {
        name: real(number, name) for name, number in numbers.items() if number is not None
    }
    if needs is not None:
        if not isinstance(needs, Needs):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"needs are like steerio.Needs(gpus=1), not {needs!r}")
        changes["needs"] = needs.value if needs != Needs() else None
    if gang is not None:
        check_number("gang", gang, least=1)
        changes["gang"] = gang
    if retries is not None:
        _check_retries(retries)
        changes["retries"] = msgspec.structs.replace(start.retries, **retries)
    return msgspec.structs.replace(start, **changes) if changes else start


def _check_retries(retries: Mapping[str, int]) -> None:
    kinds = Retries.__struct_fields__
    if not isinstance(retries, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"retries go by kind of end, as in {{'failed': 2}}, not {retries!r}")
    for kind, count in retries.items():
        if kind not in kinds:
            raise UsageError(f"retries go by kind of end ({', '.join(kinds)}), not {kind!r}")
        check_number(f"retries[{kind!r}]", count, least=0)


def check_function(function: object) -> None:
    """Refuse an object that cannot be called.

    Raises:
        UsageError: it cannot.
    """
    if callable(function):
        return
    if inspect.iscoroutine(function):
        called = function.__qualname__
        function.close()
        raise UsageError(
            f"this is a call of {called}, which only a worker should make: give the function and "
            f"its arguments, as in submit({called}, 1)"
        )
    if issubclass(type(function), classmethod):
        raise UsageError(
            f"{function!r} is called through its class: give that method, as in submit(Model.make)"
        )
    raise UsageError(
        f"{function!r} is neither a function nor a @task: give the function itself, then its "
        "arguments, as in submit(energy, 1)"
    )


def check_decorated(function: object) -> None:
    """Refuse an object that cannot be a task type.

    Raises:
        UsageError: it is no function, or one that needs an object.
    """
    if isinstance(function, str):
        raise UsageError(f"@task takes its pool by name: @task(pool={function!r})")
    check_function(function)
    if not isinstance(function, FunctionType):
        return
    where, _, name = function.__qualname__.rpartition(".")
    code = function.__code__
    in_class = bool(where) and not where.endswith("<locals>")
    if in_class and code.co_argcount and code.co_varnames[0] in ("self", "cls"):
        raise UsageError(
            f"{where}.{name} is a method, and @task is for functions: take it off and submit the "
            f"method of an object, as in run(model.{name}, ...) or task(pool=...)(model.{name})"
        )


def checked_name(name: str) -> str:
    """Return the name of a task type, which goes with every task.

    Raises:
        UsageError: it is too long to.
    """
    if len(name) > TYPE_CHARACTERS:
        raise UsageError(
            f"the name of a task type may have {TYPE_CHARACTERS} characters, not {len(name)}: "
            f"give {short(name)} another __qualname__"
        )
    return name


def check_gang(options: TaskOptions, kind: FunctionKind, name: str) -> None:
    """Refuse a generator that several workers would run.

    Raises:
        UsageError: it is one.
    """
    if options.gang > 1 and kind == "generator":
        raise UsageError(
            f"{name} is a generator, which a gang cannot run: have it return a list, or run it on "
            "one worker, with gang=1"
        )


def checked_memo(memo: object, kind: FunctionKind, name: str) -> bool:
    """Return whether a task type has a memo.

    Raises:
        UsageError: it is neither true nor false, or the function is a generator.
    """
    if not isinstance(memo, bool):
        raise UsageError(f"memo is True or False, not {short(memo)}")
    if memo and kind == "generator":
        raise UsageError(
            f"{name} is a generator, and its items are not kept, so it can have no memo: leave "
            "memo=True out, or return a list of all items"
        )
    return memo
