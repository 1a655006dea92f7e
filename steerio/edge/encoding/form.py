"""What is asked of the values of one annotation, and what all such questions have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from steerio.edge.encoding.references import is_reference

Fault = tuple[str, str]
"""Where in a value it is not what is annotated (``[1].x``), and how."""
Exact = Callable[[Any, set[int]], bool]
kind_of: Callable[[Any], Any] = type
"""A value's own type, also of a proxy, which answers for another if asked otherwise."""
NO_TYPES: frozenset[type] = frozenset()


class Form(NamedTuple):
    """What is asked of the values of one annotation.

    Attributes:
        atoms: types whose values are exact, and fit, without a look at them.
        exact: whether a value is exact and fits; it is given the containers seen so far, since
            msgpack would make two of one that is met twice.
        fault: where a value does not fit, or ``None``.
        shape: what msgpack decodes such values as.
        plain: whether it decodes them without being told.
    """

    atoms: frozenset[type]
    exact: Exact
    fault: Callable[[Any], Fault | None]
    shape: Any
    plain: bool

    @property
    def wire(self) -> Any:
        """What msgpack is told of such values."""
        return Any if self.plain else self.shape


def never(_: Any, __: set[int]) -> bool:
    """Say that a value is not exact."""
    return False


def stands_in(kind: Any) -> bool:
    """Whether values of a type stand for others, of which nothing is known here."""
    module = sys.modules.get("proxystore.proxy")
    return is_reference(kind) or (module is not None and issubclass(kind, module.Proxy))


def expected(name: str, value: Any) -> Fault:
    """Say that a value is of another type."""
    return (
        "",
        f"Expected `{name}`, got `{'None' if value is None else kind_of(value).__qualname__}`",
    )


def first_seen(value: Any, seen: set[int]) -> bool:
    """Whether a container is met for the first time."""
    before = len(seen)
    seen.add(id(value))
    return len(seen) > before
