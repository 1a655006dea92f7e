"""The attributes of a campaign that are its state, and those that are made anew."""

from __future__ import annotations

import functools
from typing import Any, TypeVar

T = TypeVar("T")

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
