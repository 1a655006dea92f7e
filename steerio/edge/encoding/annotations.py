"""Annotations, judged: whether msgpack can carry a value there and back by one.

A type is *native* if its values come out of msgpack equal to those that went in, given the type.
Some types that msgspec knows are not: a ``datetime`` would come out in UTC whatever zone it was in,
a combination of flags is no member of its enumeration.  Classes of ``__main__`` (and those inside
functions) travel by value, so the two sides have to agree on them without being able to look one
another's up; they are pickled.
"""

from __future__ import annotations

import contextlib
import enum
import inspect
from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import Any, NamedTuple, get_type_hints

from msgspec import Struct
from msgspec import inspect as shapes

from steerio.edge.encoding.callables import written


class Verdict(NamedTuple):
    """The judgement on an annotation.

    ``classed`` says that it names classes with fields: a value of a *subclass* (or a
    mapping with more keys) would pass msgpack's check and come out as less than it was.
    """

    native: bool
    classed: bool = False


_NOT_NATIVE = (
    shapes.CustomType,
    shapes.AnyType,
    shapes.RawType,
    shapes.ExtType,
    shapes.DateTimeType,
    shapes.TimeType,
)
_CLASSED = (
    shapes.StructType,
    shapes.DataclassType,
    shapes.TypedDictType,
    shapes.NamedTupleType,
)


def judge(annotation: Any) -> Verdict:
    """Say whether msgpack alone can carry this type there and back."""
    seen: set[int] = set()
    try:
        native = _all_native(shapes.type_info(annotation), seen)
    except (TypeError, ValueError, NameError, AttributeError):
        native = False
    return Verdict(native, native and bool(seen))


def native(annotation: Any) -> bool:
    """Say whether msgpack alone can carry this type there and back."""
    return judge(annotation).native


def _all_native(info: Any, seen: set[int]) -> bool:
    if isinstance(info, _NOT_NATIVE):
        return False
    if isinstance(info, _CLASSED):
        if id(info.cls) in seen:
            return True
        seen.add(id(info.cls))
        return not by_value(info.cls) and all(_all_native(f.type, seen) for f in info.fields)
    if isinstance(info, shapes.EnumType):
        return not by_value(info.cls) and not issubclass(info.cls, enum.Flag)
    if isinstance(info, shapes.UnionType):
        return all(_all_native(part, seen) for part in info.types)
    if isinstance(info, shapes.TupleType):
        return all(_all_native(part, seen) for part in info.item_types)
    if isinstance(info, shapes.DictType):
        return _all_native(info.key_type, seen) and _all_native(info.value_type, seen)
    item = getattr(info, "item_type", None)
    return item is None or _all_native(item, seen)


def by_value(kind: type) -> bool:
    """Say whether a class has no import path that holds in another process."""
    return kind.__module__ == "__main__" or "<locals>" in kind.__qualname__


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a callable that resolve.

    For an instance or a class these are the annotations of the method that is called: those of
    their attributes say nothing of its parameters.
    """
    annotated = written(function)
    if issubclass(type(annotated), type) and not issubclass(annotated, Struct):
        made_by = getattr(annotated, "__init__", None)
        if type(made_by) is not FunctionType:
            return {}
        annotated = made_by
    try:
        hints = get_type_hints(annotated)
    except Exception:  # noqa: BLE001 - evaluating an annotation may raise anything
        hints = _resolvable_hints(annotated)
    if annotated is not function and issubclass(type(written(function)), type):
        hints.pop("return", None)  # that of __init__
    return hints


def hints_of_fields(kind: type) -> dict[str, Any]:
    """Return the annotations of a class's attributes; nothing if some do not resolve."""
    try:
        return get_type_hints(kind)
    except Exception:  # noqa: BLE001 - evaluating an annotation may raise anything
        return {}


def _resolvable_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Resolve one by one, so that one bad annotation does not spoil the others."""
    inner = inspect.unwrap(function)
    names = getattr(inner, "__globals__", {})
    hints: dict[str, Any] = {}
    for name, annotation in getattr(inner, "__annotations__", {}).items():
        one = SimpleNamespace(__annotations__={name: annotation})
        with contextlib.suppress(Exception):  # evaluating an annotation may raise anything
            hints.update(get_type_hints(one, names))
    return hints
