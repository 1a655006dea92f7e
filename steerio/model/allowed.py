"""The functions that workers may run if they read no pickle, by their import paths.

A list of patterns names them: ``module:function``, ``module:Class.method``, ``module:*`` for all
functions that a module defines itself, and ``package.*:*`` for those of all modules of a package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from steerio.errors import FunctionRefused, UsageError
from steerio.model.showing import short
from steerio.model.tasks import TaskSpec

_NAME = r"[^\W\d]\w*"
_PATH = rf"{_NAME}(\.{_NAME})*"
_PATTERN = re.compile(rf"{_PATH}:({_PATH}|\*)|{_PATH}\.\*:\*")
_ALL = "*"

How = Literal["", "by name", "by module"]
"""How a function is allowed: not at all, itself, or with all that its module defines."""


def checked_patterns(patterns: Iterable[str] | None, what: str) -> tuple[str, ...] | None:
    """Return patterns of functions as a tuple; ``None``: every function is allowed.

    Args:
        patterns: as they were given.
        what: the argument or option, for errors.

    Raises:
        UsageError: one is no such pattern, or they are one text.
    """
    if patterns is None:
        return None
    given: Any = patterns
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise UsageError(f"{what} is a list of import paths, as ['search:*'], not {short(given)}")
    listed: tuple[Any, ...] = tuple(patterns)
    for text in listed:
        if not isinstance(text, str) or not _PATTERN.fullmatch(text):
            raise UsageError(
                f"{what} has {short(text)}, which is no import path of functions: say "
                "'module:function', 'module:*' for those that a module defines, or 'package.*:*'"
            )
    return listed


def parse_allowed(text: str | None) -> tuple[str, ...] | None:
    """Read the option ``--allow``: patterns with commas between them.

    Raises:
        UsageError: one is no pattern.
    """
    if text is None:
        return None
    return checked_patterns([each.strip() for each in text.split(",") if each.strip()], "--allow")


def how_allowed(name: str, patterns: Sequence[str]) -> How:
    """Return how a function is allowed by patterns, given its import path."""
    if name in patterns:
        return "by name"
    module, _, path = name.partition(":")
    if not path.replace(".", "_").isidentifier():  # of a lambda, or made in a function
        return ""
    for pattern in patterns:
        where, _, functions = pattern.partition(":")
        if functions != _ALL:
            continue
        package = where.removesuffix(".*")
        if module == package or (package != where and module.startswith(f"{package}.")):
            return "by module"
    return ""


def check_type(spec: TaskSpec, patterns: Sequence[str] | None) -> How:
    """Return how a task type is allowed; one that brings its code is not, whatever its name.

    Raises:
        FunctionRefused: it is not allowed.
    """
    if patterns is None:
        return "by name"
    if spec.code:
        raise FunctionRefused(
            spec.name, "it comes by value, as a pickle; put it at the top level of a module"
        )
    how = how_allowed(spec.name, patterns)
    if not how:
        raise FunctionRefused(spec.name, f"allowed are {', '.join(patterns) or 'none'}")
    return how
