"""Parameters: values of a campaign that it declares, and that may be set while it runs.

A parameter is a descriptor, and its value is in the campaign's ``__dict__`` under its own name: so
it is one of the attributes that snapshots keep. Each value is checked before it is taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Protocol, TypeVar, cast

from msgspec import Struct

from steerio.errors import UsageError
from steerio.model.campaign_orders import Plain
from steerio.model.showing import short
from steerio.session.current_agent import current_agent

T = TypeVar("T", int, float, bool, str)

KINDS: dict[str, type[Plain]] = {"bool": bool, "int": int, "float": float, "str": str}
"""The types that a parameter may have, by their names."""
IN_WORDS: dict[type, str] = {
    bool: "True or False", int: "a whole number", float: "a number", str: "a text"
}  # fmt: skip
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
"""The words for truth values, as they are typed."""


class Changes(Protocol):
    """One run of a campaign, as seen by its parameters."""

    def changed(self, name: str, old: Plain, new: Plain, by: str) -> None:
        """Take in that a parameter has another value."""
        ...


class Limited(Struct, frozen=True):
    """The values that a parameter may have.

    Attributes:
        kind: their type.
        ge, le: the least and the greatest of them.
        choices: all of them; empty: any within the bounds.
    """

    kind: type[Plain]
    ge: float | None = None
    le: float | None = None
    choices: tuple[Plain, ...] = ()

    def __str__(self) -> str:
        if self.choices:
            return "one of " + ", ".join(repr(each) for each in self.choices)
        bounds = [
            f"{word} {bound!r}"
            for word, bound in (("at least", self.ge), ("at most", self.le))
            if bound is not None
        ]
        return " ".join([IN_WORDS[self.kind], " and ".join(bounds)]).rstrip()

    def taken(self, value: object) -> Plain | None:
        """Return a value as one of this type, or ``None`` if it may not be."""
        plain = _as_plain(self.kind, value)
        if plain is None or (self.choices and plain not in self.choices):
            return None
        if not isinstance(plain, str):
            if self.ge is not None and not plain >= self.ge:
                return None
            if self.le is not None and not plain <= self.le:
                return None
        return plain

    def read(self, text: str) -> Plain | None:
        """Return the value that a text stands for, or ``None`` if it may not be."""
        if self.kind is str:
            return self.taken(text)
        if self.kind is bool:
            word = text.strip().lower()
            return True if word in TRUE else False if word in FALSE else None
        try:
            return self.taken(cast("type[float]", self.kind)(text))
        except ValueError:
            return None


class Parameter:
    """A value of a campaign that is declared, checked, and may be set while it runs.

    Args:
        default: its value, unless it is given another.
        limits: the values that it may have.
        help: a text for those that set it.
    """

    def __init__(self, default: Plain, limits: Limited, help: str) -> None:
        self.default = default
        self.limits = limits
        self.help = help
        self.name = ""

    def __repr__(self) -> str:
        return f"<Parameter {self.name} = {self.default!r}: {self.limits}>"

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, campaign: object | None, owner: type | None = None) -> Any:
        if campaign is None:
            return self
        return vars(campaign).get(self.name, self.default)

    def __set__(self, campaign: object, value: object) -> None:
        taken = self.checked(campaign, value)
        old: Plain = self.__get__(campaign)
        vars(campaign)[self.name] = taken
        run: Changes | None = getattr(campaign, "_conductor", None)
        if run is not None and taken != old:
            run.changed(self.name, old, taken, current_agent.get() or type(campaign).__name__)

    def checked(self, campaign: object, value: object) -> Plain:
        """Return a value that this parameter may have.

        Raises:
            UsageError: it may not.
        """
        return self._or_refuse(campaign, value, self.limits.taken(value))

    def checked_text(self, campaign: object, value: Plain) -> Plain:
        """Return a value that may be written as a text, of which the parameter's type is not.

        Raises:
            UsageError: the parameter may not have that value.
        """
        if isinstance(value, str):
            return self._or_refuse(campaign, value, self.limits.read(value))
        return self.checked(campaign, value)

    def _or_refuse(self, campaign: object, value: object, taken: Plain | None) -> Plain:
        if taken is None:
            written = f"{type(campaign).__name__}.{self.name}"
            raise UsageError(f"{written} cannot be {short(value)}: it is {self.limits}")
        return taken

    def settle(self, owner: type) -> None:
        """Take the type that the class annotates the parameter with, if it does.

        Raises:
            UsageError: a parameter cannot have that type, or the default does not fit it.
        """
        note = vars(owner).get("__annotations__", {}).get(self.name)
        if note is None:
            return
        word = note if isinstance(note, str) else getattr(note, "__name__", repr(note))
        written = f"{owner.__qualname__}.{self.name}"
        if word not in KINDS:
            kinds = ", ".join(KINDS)
            raise UsageError(f"{written} is a parameter, whose type is one of {kinds}, not {word}")
        self.limits = _limits(
            written, KINDS[word], self.limits.ge, self.limits.le, self.limits.choices
        )
        self.default = _default(written, self.default, self.limits)


def parameter(
    default: T,
    *,
    ge: float | None = None,
    le: float | None = None,
    choices: Sequence[T] = (),
    help: str = "",
) -> T:
    """Declare a parameter of a campaign, in the body of its class.

    It reads and is assigned like any attribute of the campaign. It is an option of ``steerio run``
    and may be set from outside while the campaign runs; each value is checked before. Its type is
    that of the default: a whole number or any number, a truth value, or a text; an annotation may
    say ``float`` for a default that is whole.

    Args:
        default: its value, unless it is given another.
        ge: the least number that it may be.
        le: the greatest.
        choices: all values that it may have.
        help: a text for those that set it.

    Raises:
        UsageError: it cannot be declared so.
    """
    kind = next((each for each in KINDS.values() if type(default) is each), None)
    if kind is None:
        kinds = ", ".join(KINDS)
        raise UsageError(
            f"the default of a parameter is of type {kinds}, not {short(default)}: keep other "
            "values in attributes of their own"
        )
    if not isinstance(help, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"the help of a parameter is a text, not {short(help)}")
    limits = _limits("a parameter", kind, ge, le, choices)
    made = Parameter(_default("a parameter", default, limits), limits, help)
    return cast("T", made)  # as the attribute reads


def parameters_of(cls: type) -> dict[str, Parameter]:
    """Return the parameters of a class of campaigns, by name, in the order of declaration."""
    found: dict[str, Parameter] = {}
    for each in reversed(cls.__mro__):
        for name, value in vars(each).items():
            if isinstance(value, Parameter):
                found[name] = value
    return found


def check_parameters(cls: type) -> None:
    """Settle the parameters that a class declares, and refuse values that would hide one.

    Raises:
        UsageError: one cannot be as it is declared.
    """
    for name, value in list(vars(cls).items()):
        if isinstance(value, Parameter):
            value.settle(cls)
        elif any(name in parameters_of(base) for base in cls.__mro__[1:]):
            raise UsageError(
                f"{cls.__qualname__}.{name} would hide a parameter: write {name} = "
                "steerio.parameter(...) to give it another default"
            )


def values_of(campaign: object) -> dict[str, Plain]:
    """Return the values of a campaign's parameters, by name."""
    return {name: getattr(campaign, name) for name in parameters_of(type(campaign))}


def give_values(campaign: object, values: Mapping[str, Plain]) -> None:
    """Give a campaign values of parameters that it had before, if it still has these.

    No event tells of them.

    Raises:
        UsageError: a parameter may not have its value any more.
    """
    declared = parameters_of(type(campaign))
    for name, value in values.items():
        if name in declared:
            vars(campaign)[name] = declared[name].checked(campaign, value)


def _limits(
    written: str,
    kind: type[Plain],
    ge: float | None,
    le: float | None,
    choices: Sequence[Plain],
) -> Limited:
    """Return the limits of a parameter, checked.

    Raises:
        UsageError: they are none for this type.
    """
    if kind not in (int, float) and (ge is not None or le is not None):
        raise UsageError(
            f"{written} of type {kind.__name__} has no bounds: ge and le are of numbers"
        )
    for word, bound in (("ge", ge), ("le", le)):
        if bound is not None and _as_plain(float, bound) is None:
            raise UsageError(f"{word}={short(bound)} of {written} is no number")
    if ge is not None and le is not None and ge > le:
        raise UsageError(f"{written} has no value: ge={ge!r} is above le={le!r}")
    if isinstance(choices, str):
        raise UsageError(f"choices of {written} are several: choices=({choices!r},)")
    free = Limited(kind, ge, le)
    taken: list[Plain] = []
    for each in choices:
        plain = free.taken(each)
        if plain is None:
            raise UsageError(
                f"{short(each)} among the choices of {written} cannot be: it is {free}"
            )
        taken.append(plain)
    return Limited(kind, ge, le, tuple(taken))


def _default(written: str, default: Plain, limits: Limited) -> Plain:
    taken = limits.taken(default)
    if taken is None:
        raise UsageError(f"the default of {written} cannot be {short(default)}: it is {limits}")
    return taken


def _as_plain(kind: type[Plain], value: object) -> Plain | None:
    """Return a value as Python's own of a type; ``None`` if it is of another."""
    if kind is str:
        return str(value) if isinstance(value, str) else None
    truth = isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
    if kind is bool or truth:
        return bool(value) if truth and kind is bool else None
    if kind is int:
        return int(value) if isinstance(value, Integral) else None
    number = float(value) if isinstance(value, Real) else math.nan
    return number if math.isfinite(number) else None
