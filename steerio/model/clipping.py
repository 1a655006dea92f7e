"""Clipping: numbers outside of the limits of their type become the nearest ones inside.

A type is as msgspec describes it: its limits are those of ``Annotated[float, Meta(ge=0, le=1)]``.
"""

from __future__ import annotations

import math
from typing import Any

from msgspec import inspect

from steerio.model.showing import in_one_line, short

_NUMBERS = inspect.IntType, inspect.FloatType
_RECORDS = inspect.StructType, inspect.DataclassType, inspect.TypedDictType
_LISTS = inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType


def clip(value: Any, of: inspect.Type, at: str, told: list[str]) -> Any:
    """Return a plain value with its numbers inside the limits of its type.

    Args:
        value: it.
        of: its type.
        at: its place in the answer.
        told: gets a text for each number that was outside.
    """
    if isinstance(of, inspect.Metadata):
        return clip(value, of.type, at, told)
    if isinstance(of, inspect.UnionType):
        member = next((each for each in of.types if _may_be(value, each)), None)
        return value if member is None else clip(value, member, at, told)
    if not _may_be(value, of):
        return value
    if isinstance(of, _NUMBERS):
        return _inside(value, of, at, told)
    if isinstance(of, _RECORDS):
        types = {field.encode_name: field.type for field in of.fields}
        return {
            name: clip(each, types[name], f"{at}.{name}".lstrip("."), told)
            if name in types
            else each
            for name, each in value.items()
        }
    if isinstance(of, inspect.DictType):
        return {
            key: clip(each, of.value_type, f"{at}[{short(key)}]", told)
            for key, each in value.items()
        }
    if isinstance(of, _LISTS):
        return [
            clip(each, of.item_type, f"{at}[{n}]", told)
            for n, each in enumerate(value)
        ]  # fmt: skip
    if isinstance(of, inspect.TupleType) and len(of.item_types) == len(value):
        pairs = zip(value, of.item_types, strict=True)
        return [clip(each, kind, f"{at}[{n}]", told) for n, (each, kind) in enumerate(pairs)]
    return value


def _may_be(value: Any, of: inspect.Type) -> bool:
    """Return whether a plain value may be of a type, but for limits."""
    if isinstance(of, inspect.Metadata):
        return _may_be(value, of.type)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return isinstance(of, inspect.FloatType if isinstance(value, float) else _NUMBERS)
    if isinstance(value, dict):
        return isinstance(of, (*_RECORDS, inspect.DictType))
    return isinstance(value, list | tuple) and isinstance(of, (*_LISTS, inspect.TupleType))


def _inside(
    value: float, of: inspect.IntType | inspect.FloatType, at: str, told: list[str]
) -> float:
    whole = isinstance(of, inspect.IntType)
    least: float | None = of.ge
    most: float | None = of.le
    if of.gt is not None:
        least = of.gt + 1 if whole else math.nextafter(of.gt, math.inf)
    if of.lt is not None:
        most = of.lt - 1 if whole else math.nextafter(of.lt, -math.inf)
    inside: float = value
    if least is not None and value < least:
        inside = least
    elif most is not None and value > most:
        inside = most
    if inside is value:
        return value
    inside = inside if whole else float(inside)
    told.append(f"{in_one_line(at, 100)} was {short(value)}, and is {inside!r}")
    return inside
