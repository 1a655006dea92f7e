"""The refusal of pickles, by a process that neither reads nor makes any.

Reading a pickle runs any code that its writer likes. A worker that refuses them runs the functions
of its allowed list, on arguments that msgspec has read, and nothing else. The refusal is a matter
of the whole process: so no place that reads values can be forgotten.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

from steerio.errors import PickleRefused

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


class _Refusing:
    """How many parts of this process refuse pickles."""

    count = 0


def refuses_pickles() -> bool:
    """Say whether this process refuses pickles."""
    return _Refusing.count > 0


def refuse_pickles() -> None:
    """Refuse pickles from now on, for as long as this process lives."""
    _Refusing.count += 1


@contextlib.contextmanager
def refusing_pickles() -> Generator[None, None, None]:
    """Refuse pickles during a ``with`` block, in the whole process."""
    _Refusing.count += 1
    try:
        yield
    finally:
        _Refusing.count -= 1


def check_pickle(what: str) -> None:
    """Refuse to read a pickle, if this process refuses them.

    Raises:
        PickleRefused: it does.
    """
    if _Refusing.count:
        raise PickleRefused(
            f"{what} came as a pickle, and this process reads none: its sender does not keep to "
            "that, or is another program"
        )


def is_plain(value: Any) -> bool:
    """Say whether msgpack alone gives a value back as it is: an atom, or lists and dicts of such.

    A tuple would come back as a list, and an object of a subclass as one of its base.
    """
    try:
        return _is_plain(value)
    except RecursionError:
        return False


def _is_plain(value: Any) -> bool:
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind is list:
        return all(map(_is_plain, value))
    if kind is dict:
        return all(type(key) is str and _is_plain(key) for key in value) and all(
            map(_is_plain, value.values())
        )
    if kind is int:
        return bool(_INT_MIN <= value <= _INT_MAX)
    if kind is str:
        return not any("\ud800" <= letter <= "\udfff" for letter in value)
    return kind in (float, bool, bytes, type(None))
