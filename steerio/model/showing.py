"""Short texts for values in errors and results, made at little cost.

A value may be large, and its repr then takes seconds; it may hold proxies, which must not be
fetched for a line of text; and its class may have a repr that raises.
"""

from __future__ import annotations

import dataclasses
import re
import reprlib
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, cast

import msgspec

_ADDRESS = r"(?<=\S) at 0x[0-9a-fA-F]+(?=[^<>]*>)"
"""The address of an object in a repr, which is another one in each run."""
SHOWN_CHARACTERS = 60
"""Longer texts are cut."""
_ITEMS = 20
"""As many of them always make a text that is long enough to be cut."""
_DEPTH = 6
_OF_PROXIES = "__proxy_factory__"
"""An attribute of the class of ProxyStore's proxies; a proxy itself answers for its object."""


def short(value: Any) -> str:
    """Return at most 60 characters that show a value; resolves no proxy, and never raises."""
    text = steady(_short.repr(value))
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def in_words(value: Any) -> str:
    """Return the repr of a value as it is in every run: without addresses in memory."""
    try:
        return steady(repr(value))
    except Exception as error:  # noqa: BLE001 - it is the user's __repr__ that is called here
        return f"<{type(value).__qualname__}, whose repr raises {type(error).__name__}>"


def in_one_line(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """Return a text as one line that may be printed: spaces for breaks, no control characters."""
    line = " ".join(text[: 4 * most].split())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return line if len(line) <= most else line[: most - 1] + "…"


def printable(text: str, *, lines: bool = False) -> str:
    """Return a text of a user's own in which a terminal heeds nothing: escapes stand for all such.

    Args:
        text: the text.
        lines: whether its line breaks stay.
    """
    if text.isprintable():
        return text
    kept = "\t\n" if lines else "\t"
    return "".join(c if _is_shown(c) or c in kept else ascii(c)[1:-1] for c in text)


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def short_name(task_type: str) -> str:
    """Return the name of a task type without its module."""
    return task_type.rpartition(":")[2]


def steady(text: str) -> str:
    """Return a text without the addresses of the objects whose reprs are in it."""
    return re.sub(_ADDRESS, "", text) if " at 0x" in text else text


class _Short(reprlib.Repr):
    """Looks at a few items of built-in containers, in their own order."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = _DEPTH
        self.maxlist = self.maxtuple = self.maxdeque = self.maxarray = _ITEMS
        self.maxstring = self.maxother = 2 * SHOWN_CHARACTERS

    def repr1(self, x: object, level: int) -> str:
        return "<proxy>" if hasattr(type(x), _OF_PROXIES) else super().repr1(x, level)

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        return self._several("{", (f"{k}: {v}" for k, v in self._pairs(x, level)), len(x), "}")

    def repr_set(self, x: Iterable[Any], level: int) -> str:
        whole = cast("set[Any]", x)
        if not whole:
            return repr(whole)
        return self._several("{", (self._in(item, level) for item in whole), len(whole), "}")

    def repr_frozenset(self, x: frozenset[Any], level: int) -> str:
        return f"frozenset({self.repr_set(x, level)})" if x else repr(x)

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x[:SHOWN_CHARACTERS])

    def repr_bytearray(self, x: bytearray, level: int) -> str:
        return repr(x[:SHOWN_CHARACTERS])

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() < 1000 else f"<int of {x.bit_length()} bits>"

    def repr_instance(self, x: Any, level: int) -> str:
        names = _fields(type(x))
        if names is None:
            return super().repr_instance(x, level)
        missing = object()
        found = ((name, getattr(x, name, missing)) for name in names)
        items = (f"{name}={self._in(v, level)}" for name, v in found if v is not missing)
        return self._several(f"{type(x).__qualname__}(", items, len(names), ")")

    def _pairs(self, x: Mapping[Any, Any], level: int) -> Iterable[tuple[str, str]]:
        return ((self._in(key, level), self._in(item, level)) for key, item in x.items())

    def _in(self, x: Any, level: int) -> str:
        return self.repr1(x, level - 1) if level > 0 else "..."

    @staticmethod
    def _several(opening: str, items: Iterable[str], count: int, closing: str) -> str:
        more = ["..."] if count > _ITEMS else []
        return opening + ", ".join([*islice(items, _ITEMS), *more]) + closing


def _fields(kind: Any) -> tuple[str, ...] | None:
    """Return the fields that the repr of a class would show, if it is one made of its fields."""
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__ if kind.__repr__ is msgspec.Struct.__repr__ else None
    parameters = kind.__dict__.get("__dataclass_params__")
    if parameters is None or not parameters.repr:
        return None
    return tuple(field.name for field in dataclasses.fields(kind) if field.repr)


_short = _Short()


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, as in "1 worker" and "3 workers"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def time_of_cores(number: float) -> str:
    """Return a number of cores whose time is meant, as in "1 core's time"."""
    return f"{number:g} core's time" if number == 1 else f"{number:g} cores' time"
