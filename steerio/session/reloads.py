"""Modules that were reloaded in this process, while workers still run their old code.

Reloading them in workers as well would not do, since tasks that were submitted before must run the
code of that time. So functions and classes of such a module go by value from then on, and those of
the modules that use it, whose own files no longer tell their behaviour.

Python asks finders for a module that is reloaded, and tells them so.  The one here finds nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from steerio.edge.encoding.callables import is_of_users
from steerio.edge.encoding.pickling import is_proxy, send_by_value

_reloaded: set[str] = set()
_first: dict[str, ModuleType] = {}
"""The modules as they were when a function of theirs was first sent."""
_on_reload: list[Callable[[], None]] = []


class _Finder:
    """A finder that Python asks before others, and that finds nothing."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: ModuleType | None = None) -> None:
        """Note a module that is reloaded: only then Python gives a target."""
        del path
        if target is not None and is_of_users(name, target):
            _note(name)


def watch(on_reload: Callable[[], None]) -> None:
    """Notice reloads from now on, and call back at each of them."""
    _on_reload.append(on_reload)
    if _Finder not in sys.meta_path:
        finder: Any = _Finder
        sys.meta_path.insert(0, finder)


def look(name: str) -> None:
    """Send by value all code that workers which import this module may find otherwise."""
    module = sys.modules.get(name)
    if module is not None and _first.setdefault(name, module) is not module:
        _note(name)  # it was removed, and imported again
    if not _reloaded:
        return
    uses = {
        other: {_module_of(value) for value in list(vars(here).values())}
        for other, here in list(sys.modules.items())
        if is_of_users(other, here)
    }
    affected = set(_reloaded)
    while more := {other for other, used in uses.items() if used & affected} - affected:
        affected |= more
    for other in affected:
        send_by_value(other)


def was_reloaded(name: str) -> bool:
    """Say whether this process has reloaded a module."""
    return name in _reloaded


def _note(name: str) -> None:
    _reloaded.add(name)
    for callback in _on_reload:
        callback()


def _module_of(value: Any) -> str:
    if type(value) is ModuleType:
        return value.__name__
    if is_proxy(value):  # asking it would fetch its object
        return ""
    name = getattr(value, "__module__", "")
    return name if isinstance(name, str) else ""
