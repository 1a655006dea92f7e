"""Griffe extension: shows the fields of msgspec structs, and roles of docstrings as code.

Griffe reads the source without running it, so it does not know that a struct's annotations
are the arguments of its constructor.  Docstrings that name things as ``:class:`Task` `` are
for editors; on a page the name is enough.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import (
    Attribute,
    Class,
    Extension,
    Function,
    Module,
    Object,
    Parameter,
    ParameterKind,
    Parameters,
)

ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")


class Structs(Extension):
    """Gives each struct the ``__init__`` that msgspec makes for it."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Go through a package once it has been read."""
        visit(pkg)


def visit(thing: Object) -> None:
    """Treat a module or class, and what is in it."""
    if thing.docstring is not None:
        thing.docstring.value = ROLE.sub(r"`\1`", thing.docstring.value)
    if isinstance(thing, Class) and is_struct(thing) and "__init__" not in thing.members:
        thing.set_member("__init__", constructor(thing))
    for member in thing.members.values():
        if not member.is_alias:
            visit(member)


def is_struct(class_: Class) -> bool:
    """Whether a class derives from ``msgspec.Struct``, by way of other classes or not."""
    return any(
        str(base).split(".")[-1] == "Struct" for kind in lineage(class_) for base in kind.bases
    )


def lineage(class_: Class) -> list[Class]:
    """Return a class behind those of its ancestors that are in this package."""
    return [*reversed(class_.mro()), class_]


def constructor(struct: Class) -> Function:
    """Return the ``__init__`` of a struct."""
    by_name = "kw_only" in struct.keywords
    kind = ParameterKind.keyword_only if by_name else ParameterKind.positional_or_keyword
    fields = {"self": Parameter("self", kind=ParameterKind.positional_or_keyword)}
    for class_ in lineage(struct):
        for name, member in class_.members.items():
            if isinstance(member, Attribute) and "instance-attribute" in member.labels:
                fields[name] = Parameter(
                    name, annotation=member.annotation, kind=kind, default=member.value
                )
    return Function("__init__", parameters=Parameters(*fields.values()), parent=struct)
