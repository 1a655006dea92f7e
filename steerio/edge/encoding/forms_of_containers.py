"""Forms of lists, tuples, sets and dicts."""

from __future__ import annotations

from collections import abc
from collections.abc import Iterable
from typing import Any

from steerio.edge.encoding.form import (
    NO_TYPES,
    Fault,
    Form,
    expected,
    first_seen,
    kind_of,
    stands_in,
)

LISTS = {list: False, abc.MutableSequence: False, abc.Sequence: True, abc.Collection: True}
SETS = {set: set, abc.Set: set, abc.MutableSet: set, frozenset: frozenset}
DICTS = (dict, abc.Mapping, abc.MutableMapping)
_TEXTS = (str, bytes, bytearray, memoryview)


def listed(kind: Any, item: Form) -> Form:
    """Return the form of a list, or of another of ``LISTS``."""
    fits: Any = {
        list: (abc.Sequence,),
        abc.MutableSequence: (abc.Sequence,),
        abc.Sequence: (abc.Sequence,),
        abc.Collection: (abc.Sequence, abc.Set, abc.Mapping, abc.ValuesView),
    }[kind]
    texts = _TEXTS if not LISTS[kind] else ()

    def exact(value: Any, seen: set[int]) -> bool:
        return kind_of(value) is list and first_seen(value, seen) and _all_exact(value, item, seen)

    def fault(value: Any) -> Fault | None:
        given = kind_of(value)
        if stands_in(given):
            return None
        if not issubclass(given, fits) or issubclass(given, texts):
            return expected(kind.__name__, value)
        return _first_fault(value, item)

    return Form(NO_TYPES, exact, fault, _of(list, item.wire), item.plain)


def set_of(kind: Any, item: Form) -> Form:
    """Return the form of a set, or of another of ``SETS``."""
    made = SETS[kind]
    fits = (abc.Set,) if made is set else (frozenset,)

    def exact(value: Any, seen: set[int]) -> bool:
        return kind_of(value) is made and first_seen(value, seen) and _all_exact(value, item, seen)

    def fault(value: Any) -> Fault | None:
        given = kind_of(value)
        if stands_in(given):
            return None
        return _first_fault(value, item) if issubclass(given, fits) else expected("set", value)

    return Form(NO_TYPES, exact, fault, _of(made, item.wire), plain=False)


def dictionary(key: Form, item: Form) -> Form:
    """Return the form of a dict."""

    def exact(value: Any, seen: set[int]) -> bool:
        return (
            kind_of(value) is dict
            and first_seen(value, seen)
            and _all_exact(value, key, seen)
            and _all_exact(value.values(), item, seen)
        )

    def fault(value: Any) -> Fault | None:
        given = kind_of(value)
        if stands_in(given):
            return None
        if not issubclass(given, abc.Mapping):
            return expected("dict", value)
        wrong = _first_fault(value, key)
        if wrong is not None:
            return f"[a key]{wrong[0].partition(']')[2]}", wrong[1]
        for name, one in value.items():
            wrong = item.fault(one)
            if wrong is not None:
                return f"[{name!r:.50}]{wrong[0]}", wrong[1]
        return None

    shape = _of(dict, key.wire, item.wire)
    return Form(NO_TYPES, exact, fault, shape, key.plain and item.plain)


def any_tuple(item: Form) -> Form:
    """Return the form of a tuple of any length."""

    def exact(value: Any, seen: set[int]) -> bool:
        return kind_of(value) is tuple and _all_exact(value, item, seen)

    def fault(value: Any) -> Fault | None:
        given = kind_of(value)
        if stands_in(given):
            return None
        if not issubclass(given, abc.Sequence) or issubclass(given, _TEXTS):
            return expected("tuple", value)
        return _first_fault(value, item)

    return Form(NO_TYPES, exact, fault, _of(tuple, item.wire, ...), plain=False)


def fixed_tuple(items: list[Form]) -> Form:
    """Return the form of a tuple with just these entries."""

    def exact(value: Any, seen: set[int]) -> bool:
        if kind_of(value) is not tuple or len(value) != len(items):
            return False
        return all(form.exact(one, seen) for form, one in zip(items, value, strict=True))

    def fault(value: Any) -> Fault | None:
        given = kind_of(value)
        if stands_in(given):
            return None
        if not issubclass(given, abc.Sequence) or issubclass(given, _TEXTS):
            return expected("tuple", value)
        if len(value) != len(items):
            return "", f"Expected {len(items)} entries, got {len(value)}"
        for index, (form, one) in enumerate(zip(items, value, strict=True)):
            wrong = form.fault(one)
            if wrong is not None:
                return f"[{index}]{wrong[0]}", wrong[1]
        return None

    wires = [form.wire for form in items]
    return Form(NO_TYPES, exact, fault, _of(tuple, *(wires or [()])), plain=False)


def _of(kind: Any, *parts: Any) -> Any:
    return kind[parts if parts != ((),) else ()]


def _all_exact(values: Iterable[Any], item: Form, seen: set[int]) -> bool:
    if item.atoms and item.atoms.issuperset(map(type, values)):
        return True
    exact = item.exact
    return all(exact(value, seen) for value in values)


def _first_fault(values: Any, item: Form) -> Fault | None:
    if type(values) is range:  # it may be as long as it likes
        values = values[:1]
    if item.atoms and item.atoms.issuperset(map(type, values)):
        return None
    for index, value in enumerate(values):
        wrong = item.fault(value)
        if wrong is not None:
            return f"[{index}]{wrong[0]}", wrong[1]
    return None
