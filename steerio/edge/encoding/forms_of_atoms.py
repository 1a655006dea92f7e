"""Forms of types without parts, and of unions."""

from __future__ import annotations

import datetime as dt
import numbers
import sys
import types
import uuid
from decimal import Decimal
from typing import Any, Union

from steerio.edge.encoding.form import (
    NO_TYPES,
    Exact,
    Fault,
    Form,
    expected,
    kind_of,
    never,
    stands_in,
)

ATOMS: dict[Any, tuple[frozenset[type], tuple[type, ...], Any]] = {
    types.NoneType: (frozenset({types.NoneType}), (types.NoneType,), None),
    bool: (frozenset({bool}), (bool,), bool),
    int: (frozenset({bool, int}), (numbers.Integral,), Union[bool, int]),  # noqa: UP007
    float: (frozenset({bool, int, float}), (numbers.Real,), Union[bool, int, float]),  # noqa: UP007
    str: (frozenset({str}), (str,), str),
    bytes: (NO_TYPES, (bytes, bytearray, memoryview), bytes),
    bytearray: (NO_TYPES, (bytearray,), bytearray),
    memoryview: (NO_TYPES, (memoryview,), memoryview),
    dt.date: (frozenset({dt.date}), (dt.date,), dt.date),
    dt.timedelta: (frozenset({dt.timedelta}), (dt.timedelta,), dt.timedelta),
    Decimal: (frozenset({Decimal}), (Decimal,), Decimal),
    uuid.UUID: (NO_TYPES, (uuid.UUID,), uuid.UUID),
}
"""For each atom the exact types, the classes that fit, and the type that msgpack is told."""
_NAMED = frozenset({dt.date, dt.timedelta, Decimal, uuid.UUID, bytearray, memoryview})
_LONG_BYTES = 4096
"""Longer byte strings are better taken apart."""


def atom(kind: Any, strict: bool) -> Form:
    """Return the form of a type of ``ATOMS``; ``strict``: without values that msgpack converts."""
    types_, fitting, shape = ATOMS[kind]
    if strict:
        types_, shape = types_ & {kind}, kind
    exact: Exact = never
    if kind is bytes:
        exact = _short_bytes
    elif kind is uuid.UUID:
        exact = _plain_uuid
    elif types_:
        exact = _of_types(types_)
    number = kind if kind in (bool, int, float) else None
    name = kind.__name__ if kind is not types.NoneType else "None"

    def fault(value: Any) -> Fault | None:
        given = kind_of(value)
        if issubclass(given, fitting) or stands_in(given):
            return None
        return None if number and _numpy_number(value, number) else expected(name, value)

    return Form(types_, exact, fault, shape, kind not in _NAMED)


def _of_types(types_: frozenset[type]) -> Exact:
    return lambda value, _: kind_of(value) in types_


def _short_bytes(value: Any, _: set[int]) -> bool:
    return kind_of(value) is bytes and len(value) <= _LONG_BYTES


def _plain_uuid(value: Any, _: set[int]) -> bool:
    return kind_of(value) is uuid.UUID and value.is_safe is uuid.SafeUUID.unknown


def _numpy_number(value: Any, kind: type) -> bool:
    """Say whether a value is a NumPy number, or an array of no dimension, that fits a type."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not issubclass(kind_of(value), (numpy.generic, numpy.ndarray)):
        return False
    kinds = {bool: "b", int: "biu", float: "biuf"}[kind]
    return value.ndim == 0 and value.dtype.kind in kinds


def unknown(hint: Any) -> Form:
    """Return the form of an annotation that is not looked into: any value fits, and is pickled."""

    def fault(_: Any) -> Fault | None:
        return None

    return Form(NO_TYPES, never, fault, hint, plain=True)


def literal(hint: Any, values: tuple[Any, ...]) -> Form:
    """Return the form of a choice among values."""

    def exact(value: Any, _: set[int]) -> bool:
        return any(kind_of(value) is type(one) and value == one for one in values)

    def fault(value: Any) -> Fault | None:
        given = kind_of(value)
        if stands_in(given) or any(issubclass(given, type(x)) and value == x for x in values):
            return None
        return "", f"Expected one of {', '.join(map(repr, values))}, got {value!r:.100}"

    return Form(NO_TYPES, exact, fault, hint, plain=True)


def union(parts: list[Form]) -> Form:
    """Return the form of a union of these."""

    def exact(value: Any, seen: set[int]) -> bool:
        return any(part.exact(value, seen) for part in parts)

    def fault(value: Any) -> Fault | None:
        faults = [part.fault(value) for part in parts]
        if None in faults:
            return None
        deep = [fault for fault in faults if fault is not None and fault[0]]
        if deep:  # the fault of the part it was meant for says more
            return deep[0]
        said = " | ".join(f[1].removeprefix("Expected ").partition(", got")[0] for f in faults if f)
        return "", f"Expected {said}, got {expected('', value)[1].partition('got ')[2]}"

    atoms = frozenset[type]().union(*(part.atoms for part in parts))
    shapes: Any = tuple(part.shape for part in parts)
    return Form(atoms, exact, fault, Union[shapes], all(part.plain for part in parts))  # noqa: UP007
