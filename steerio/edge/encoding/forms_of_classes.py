"""Forms of classes with fields, whose values msgpack makes again from these fields."""

from __future__ import annotations

import dataclasses
import typing
from collections import abc
from collections.abc import Sequence
from typing import Any

import msgspec

from steerio.edge.encoding.form import (
    NO_TYPES,
    Exact,
    Fault,
    Form,
    expected,
    first_seen,
    kind_of,
    stands_in,
)


def instances(kind: Any, exact: Exact, fields: dict[str, Form]) -> Form:
    """Return the form of a class: msgpack makes its own values again, those of subclasses fit."""

    def fault(value: Any) -> Fault | None:
        given = kind_of(value)
        if stands_in(given):
            return None
        if not issubclass(given, kind):
            return expected(kind.__qualname__, value)
        for name, form in fields.items():
            wrong = form.fault(getattr(value, name, None)) if hasattr(value, name) else None
            if wrong is not None:
                return f".{name}{wrong[0]}", wrong[1]
        return None

    return Form(NO_TYPES, exact, fault, kind, plain=False)


def fields_of(kind: Any) -> Sequence[str] | None:
    """Return the names of a class's declared fields, or ``None`` if it has none."""
    if issubclass(kind, msgspec.Struct):
        return list(kind.__struct_fields__)
    fields: Any = getattr(kind, "_fields", None)
    if fields is not None and issubclass(kind, tuple):
        return list(fields)
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    return None


def rebuilt_exactly(kind: Any) -> bool:
    """Say whether msgspec makes values of a class again from their fields, and does no more."""
    if hasattr(kind, "__post_init__"):
        return False
    if issubclass(kind, msgspec.Struct):
        config = kind.__struct_config__
        return not config.omit_defaults
    if issubclass(kind, tuple):
        return True
    fields = dataclasses.fields(kind)
    names = {field.name for field in fields} | {"__dict__", "__weakref__"}
    return all(field.init for field in fields) and all(
        (names.issuperset(_slots_of(base)) and dataclasses.is_dataclass(base))
        or base in (object, typing.Generic, typing.Protocol)
        for base in kind.__mro__
    )


def _slots_of(kind: type) -> list[str]:
    """Return the names for which a class itself has room in its values."""
    slots: Any = vars(kind).get("__slots__", ())
    names: list[str] = [slots] if isinstance(slots, str) else list(slots)
    return names


def exact_fields(kind: Any, fields: Sequence[str], forms: dict[str, Form]) -> Exact:
    """Return the test whether a value has nothing but its fields, and each of these is exact."""
    names = set(fields)
    shared = not issubclass(kind, tuple)

    def exact(value: Any, seen: set[int]) -> bool:
        if kind_of(value) is not kind or (shared and not first_seen(value, seen)):
            return False
        held = getattr(value, "__dict__", None)
        if held and (not dataclasses.is_dataclass(kind) or held.keys() != names):
            return False
        try:
            return all(forms[name].exact(getattr(value, name), seen) for name in fields)
        except AttributeError:  # a field that was never set
            return False

    return exact


def typed_dict(kind: Any, forms: dict[str, Form]) -> Form:
    """Return the form of a ``TypedDict`` with these values."""
    required: frozenset[str] = kind.__required_keys__

    def exact(value: Any, seen: set[int]) -> bool:
        return (
            kind_of(value) is dict
            and first_seen(value, seen)
            and required <= value.keys() <= forms.keys()
            and all(map(_is_text, value))
            and all(forms[name].exact(one, seen) for name, one in value.items())
        )

    def fault(value: Any) -> Fault | None:
        given = kind_of(value)
        if stands_in(given):
            return None
        if not issubclass(given, abc.Mapping):
            return expected(kind.__qualname__, value)
        if not required <= value.keys():
            return "", f"Expected the key {min(required - value.keys())!r}"
        for name, form in forms.items():
            wrong = form.fault(value[name]) if name in value else None
            if wrong is not None:
                return f"[{name!r}]{wrong[0]}", wrong[1]
        return None

    return Form(NO_TYPES, exact, fault, kind, plain=False)


def _is_text(key: Any) -> bool:
    return kind_of(key) is str
