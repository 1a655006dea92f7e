"""Warnings of settings in modules that were changed here, which no worker sees.

A function with an import path runs in workers with the globals of their own import of its module.
Shipping its module's globals instead would send caches and connections that are made in each
process on purpose. So each global that looks like a setting (a public name, bound to a number or a
text) is compared when a function that reads it is submitted, with a warning if it has changed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

from steerio.edge.encoding.callables import is_of_users, itself, stepped
from steerio.session.task_code import global_names

_SETTINGS = (int, float, complex, str, bytes, bool)

log = logging.getLogger("steerio.session")


class Rebound:
    """The settings that a function reads, with their values at its first ``submit``."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._read: list[tuple[dict[str, Any], str, Any]] = []
        self._seen: set[int] = set()
        self._follow(function)

    def __bool__(self) -> bool:
        """Say whether it reads any."""
        return bool(self._read)

    def look(self) -> None:
        """Warn of those that have changed, once of each."""
        for entry in list(self._read):
            names, name, was = entry
            now = names.get(name, was)
            if now is not was and now != was:
                self._read.remove(entry)
                log.warning(
                    "%s reads %s of %s, which was %.100r and is %.100r here by now: workers "
                    "import that module themselves, and go on with the value in its file. Pass "
                    "values that change as an argument",
                    self._name,
                    name,
                    names.get("__name__"),
                    was,
                    now,
                )

    def _follow(self, function: Any) -> None:
        function = stepped(itself(function))
        if type(function) is not FunctionType or id(function) in self._seen:
            return
        self._seen.add(id(function))
        names = function.__globals__
        module = names.get("__name__", "")
        if not is_of_users(module, sys.modules.get(module)):
            return
        for name in global_names(function):
            value = names.get(name)
            if type(value) in _SETTINGS:
                if not name.startswith("_"):
                    self._read.append((names, name, value))
            else:
                self._follow(value)
