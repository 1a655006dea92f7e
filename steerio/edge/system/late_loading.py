"""A hook on the first load of a module, which a task may do at any time."""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any


def call_once_loaded(names: Iterable[str], tell: Callable[[str, ModuleType], None]) -> None:
    """Call ``tell`` with the name and the module when one of these is loaded, before its user."""
    sys.meta_path.insert(0, _Watch(names, tell))


class _Watch:
    """A finder that has the other finders find, and notes the modules that are found."""

    def __init__(self, names: Iterable[str], tell: Callable[[str, ModuleType], None]) -> None:
        self._names = set(names)
        self._tell = tell

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module as the other finders do, if it is one of ours."""
        if name not in self._names:
            return None
        for finder in sys.meta_path:
            find: Any = None if finder is self else getattr(finder, "find_spec", None)
            spec: importlib.machinery.ModuleSpec | None = find and find(name, path, target)
            if spec is not None:
                self._follow(name, spec.loader)
                return spec
        return None

    def _follow(self, name: str, loader: Any) -> None:
        execute: Callable[[ModuleType], None] = loader.exec_module

        def execute_and_tell(module: ModuleType) -> None:
            loader.exec_module = execute  # it may load others as well
            execute(module)
            self._names.discard(name)
            self._tell(name, module)

        loader.exec_module = execute_and_tell
