"""The attributes of a campaign that are its state, and those that are made anew."""

from __future__ import annotations

import functools
import pickle
import random
import sys
from collections import deque
from typing import Any, TypeVar

T = TypeVar("T")

_CONTAINERS = (list, dict, set, bytearray, deque)
NOT_STATE = frozenset({"_conductor", "_made_with", "run_dir"})
"""Attributes of a campaign that belong to one run."""


class transient(functools.cached_property[T]):  # noqa: N801 - it is written as a decorator
    """An attribute that is no part of a campaign's state: made when it is read first.

    ```python
    class Search(Campaign):
        @transient
        def database(self):
            return sqlite3.connect(self.path)
    ```

    When a campaign is resumed it is made anew.
    """


def attributes_of(campaign: object) -> dict[str, Any]:
    """Return the attributes that are a campaign's state."""
    return {name: value for name, value in vars(campaign).items() if _is_state(campaign, name)}


def replace_attributes(campaign: object, attributes: dict[str, Any]) -> None:
    """Give a campaign these attributes, in place of those that are its state."""
    for name in attributes_of(campaign):
        del vars(campaign)[name]
    vars(campaign).update(attributes)


def _is_state(campaign: object, name: str) -> bool:
    return name not in NOT_STATE and not isinstance(getattr(type(campaign), name, None), transient)


class ClassAttributes:
    """The lists, dicts and the like that are attributes of a campaign's class.

    They are no part of its state, so they may not change.

    Args:
        kind: the class.
        base: its base class, of which none count.
    """

    def __init__(self, kind: type, base: type) -> None:
        classes = kind.__mro__[: kind.__mro__.index(base)]
        self._found: dict[str, tuple[Any, bytes | None]] = {}
        for each in reversed(classes):
            value: Any
            for name, value in vars(each).items():
                if issubclass(type(value), _CONTAINERS) and not name.startswith("__"):
                    self._found[name] = value, _pickled(value)

    def __repr__(self) -> str:
        return f"<ClassAttributes: {', '.join(self._found)}>"

    def changed(self) -> str:
        """Return the name of one that has changed; empty: none has."""
        for name, (value, before) in self._found.items():
            if before is not None and _pickled(value) != before:
                return name
        return ""


def _pickled(value: object) -> bytes | None:
    try:
        return pickle.dumps(value)
    except Exception:  # noqa: BLE001 - of a user's value
        return None


def generators() -> tuple[Any, Any]:
    """Return the states of the global random generators, of Python and, if it is there, NumPy."""
    numpy: Any = sys.modules.get("numpy.random")
    return random.getstate(), None if numpy is None else numpy.get_state()


def set_generators(states: tuple[Any, Any]) -> None:
    """Give the global random generators the states that `generators` returned."""
    of_python, of_numpy = states
    random.setstate(of_python)
    numpy: Any = sys.modules.get("numpy.random")
    if of_numpy is not None and numpy is not None:
        numpy.set_state(of_numpy)
