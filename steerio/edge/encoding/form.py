"""The form of an annotation: tests for its values, and functions that all forms share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from steerio.edge.encoding.references import is_reference

Fault = tuple[str, str]
"""The place in a value that does not fit its annotation (``[1].x``), and the reason."""
Exact = Callable[[Any, set[int]], bool]
kind_of: Callable[[Any], Any] = type
"""A value's own type, also of a proxy, which answers for another if asked otherwise."""
NO_TYPES: frozenset[type] = frozenset()


class Form(NamedTuple):
    """The tests for the values of one annotation.

    Attributes:
        atoms: types whose values are exact, and fit, without a look at them.
        exact: says whether a value is exact and fits; it is given the containers seen so far, since
            msgpack would make two of one that is met twice.
        fault: returns the place at which a value does not fit, or ``None``.
        shape: the type as which msgpack decodes such values.
        plain: whether msgpack decodes them without being told.
    """

    atoms: frozenset[type]
    exact: Exact
    fault: Callable[[Any], Fault | None]
    shape: Any
    plain: bool

    @property
    def wire(self) -> Any:
        """The type that msgpack is told for such values."""
        return Any if self.plain else self.shape


def never(_: Any, __: set[int]) -> bool:
    """Say that a value is not exact."""
    return False


def stands_in(kind: Any) -> bool:
    """Say whether values of a type stand for others, of which nothing is known here."""
    module = sys.modules.get("proxystore.proxy")
    return is_reference(kind) or (module is not None and issubclass(kind, module.Proxy))


def expected(name: str, value: Any) -> Fault:
    """Return the fault of a value that is of another type."""
    return (
        "",
        f"Expected `{name}`, got `{'None' if value is None else kind_of(value).__qualname__}`",
    )


def first_seen(value: Any, seen: set[int]) -> bool:
    """Say whether a container is met for the first time, and note it."""
    before = len(seen)
    seen.add(id(value))
    return len(seen) > before
