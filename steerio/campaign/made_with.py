"""What a campaign was made with: the values of its ``__init__``, for the record."""

from __future__ import annotations

import contextlib
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
    if not _is_long(value):
        with contextlib.suppress(Exception):  # a user's value may raise anything
            plain = msgspec.to_builtins(_unboxed(value))
            if len(msgspec.json.encode(plain)) <= SHOWN_BYTES:
                return plain
    kind = type(value)
    try:
        size = f" of {len(cast('Any', value))}"
    except Exception:  # noqa: BLE001 - of the user, too
        size = ""
    return f"<{kind.__qualname__}{size}>"


def _is_long(value: Any) -> bool:
    """Whether a value has so many entries that what it is in JSON need not be made."""
    size: Any = getattr(value, "size", 0) if type(value).__module__ == "numpy" else 0
    if type(value) in (list, tuple, dict, set, frozenset, str, bytes, bytearray):
        size = len(value)
    return bool(size > SHOWN_BYTES)


def _unboxed(value: Any) -> Any:
    """Return NumPy's arrays and numbers as Python's."""
    return value.tolist() if type(value).__module__ == "numpy" else value
