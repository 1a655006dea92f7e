"""What a campaign was made with: the values of its ``__init__``, for the record."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, cast

import msgspec

SHOWN_BYTES = 2048
"""A longer value is named by its type alone."""


def bound_arguments(
    kind: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return by name what an object is made with, defaults included; ``None``: it cannot be."""
    try:
        bound = inspect.signature(cast("Any", kind).__init__).bind(None, *args, **kwargs)
    except (TypeError, ValueError):
        return None
    bound.apply_defaults()
    return dict(list(bound.arguments.items())[1:])


def in_short(value: object) -> Any:
    """Return a value as JSON can have it: itself where it is plain and small, else its type."""
    if isinstance(value, PurePath):
        return str(value)
    try:
        plain: Any = msgspec.to_builtins(_unboxed(value))
        small = len(msgspec.json.encode(plain)) <= SHOWN_BYTES
    except Exception:  # noqa: BLE001 - a user's value may raise anything
        small, plain = False, None
    if small:
        return plain
    kind = type(value)
    try:
        size = f" of {len(cast('Any', value))}"
    except Exception:  # noqa: BLE001 - as above
        size = ""
    return f"<{kind.__qualname__}{size}>"


def _unboxed(value: Any) -> Any:
    """Return NumPy's arrays and numbers as Python's."""
    return value.tolist() if type(value).__module__ == "numpy" else value
