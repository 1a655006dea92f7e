"""The forms of annotations: which values fit one, and which of them msgpack carries exactly.

Theory. An annotation is a promise of the sender, not a wish to convert: a value arrives as it was
sent, in type and value. So a form puts two questions to each value. *Is it exact in msgpack?*
Numbers, text and lists and dicts of them are, whatever the annotation; tuples, sets, enumerations,
structs and the like come out unchanged if the annotation names just their class. This test looks at
types alone, and is the hot path. A value that is not exact is pickled. *Does it fit?* This question
is for values that are not exact, and is generous, as Python is: a subclass, a ``bool`` for an
``int``, an ``int`` or a NumPy number for a ``float``, a tuple for a list all fit.
"""

from __future__ import annotations

import enum
import types
import typing
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from steerio.edge.encoding.annotations import hints_of_fields, judge
from steerio.edge.encoding.form import NO_TYPES, Form, kind_of, never
from steerio.edge.encoding.forms_of_atoms import ATOMS, atom, literal, union, unknown
from steerio.edge.encoding.forms_of_classes import (
    exact_fields,
    fields_of,
    instances,
    rebuilt_exactly,
    typed_dict,
)
from steerio.edge.encoding.forms_of_containers import (
    DICTS,
    LISTS,
    SETS,
    any_tuple,
    dictionary,
    fixed_tuple,
    listed,
    set_of,
)


def form_of(annotation: Any) -> Form | None:
    """Return the form of an annotation; ``None`` if there is nothing in it to check."""
    if annotation is None or not judge(annotation).native:
        return None
    try:
        form = _form(annotation, strict=False)
    except RecursionError:  # a dict that is annotated with itself
        return None
    if not form.plain:
        try:
            msgspec.msgpack.Decoder(form.shape)
        except (TypeError, ValueError):  # it cannot be told apart from another of a union
            form = form._replace(exact=never, atoms=NO_TYPES, plain=True)
    return form


def misfit(form: Form, value: Any) -> str:
    """Say how a value does not fit its annotation; ``""`` if it fits."""
    try:
        fault = form.fault(value)
    except RecursionError:  # it is in itself, or so deep that it cannot be pickled either
        fault = None
    except Exception as error:  # noqa: BLE001 - of a value's own methods
        return f"{type(error).__name__}: {error}"
    if fault is None:
        return ""
    where, said = fault
    return f"{said} - at `${where}`" if where else said


def is_exact(form: Form, value: Any) -> bool:
    """Say whether msgpack carries a value as it is, and it fits."""
    try:
        return kind_of(value) in form.atoms or form.exact(value, set())
    except RecursionError:
        return False


def _form(hint: Any, *, strict: bool) -> Form:
    """Return the form of an annotation; ``strict``: msgpack would convert values that only fit."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _form(args[0], strict=strict)
    if origin in (typing.Final, typing.Required, typing.NotRequired):
        return _form(args[0], strict=strict)
    if origin in (Union, types.UnionType):
        return union([_form(part, strict=strict) for part in args])
    if origin is Literal:
        return literal(hint, args)
    if hasattr(hint, "__supertype__"):  # a NewType
        return _form(hint.__supertype__, strict=strict)
    if hasattr(hint, "__value__"):  # a type alias
        return _form(hint.__value__, strict=strict)
    if hint is None:
        hint = types.NoneType
    kind = origin or hint
    if kind in ATOMS:
        return atom(kind, strict)
    if not isinstance(kind, type):  # a TypeVar, say
        return unknown(hint)
    return _container(kind, args, strict) or _class(kind, hint) or unknown(hint)


def _container(kind: type, args: tuple[Any, ...], strict: bool) -> Form | None:
    if kind in LISTS:
        item = _form(args[0] if args else Any, strict=strict)
        return listed(kind, item)
    if kind in SETS:
        return set_of(kind, _form(args[0] if args else Any, strict=strict))
    if kind in DICTS:
        key, value = args or (Any, Any)
        return dictionary(_form(key, strict=strict), _form(value, strict=strict))
    if kind is tuple and (not args or (len(args) == 2 and args[1] is Ellipsis)):
        return any_tuple(_form(args[0] if args else Any, strict=strict))
    if kind is tuple:
        return fixed_tuple([_form(part, strict=strict) for part in args if part != ()])
    return None


def _class(kind: Any, hint: Any) -> Form | None:
    if issubclass(kind, enum.Enum):
        return instances(kind, lambda value, _: kind_of(value) is kind, {})
    if typing.is_typeddict(kind):
        return typed_dict(
            kind, {name: _form(hint, strict=True) for name, hint in hints_of_fields(kind).items()}
        )
    fields = fields_of(kind)
    if fields is None:
        return None
    forms: dict[str, Form] = {}
    unchecked = instances(kind, never, forms)  # it may be in itself
    key = id(kind)
    if key in _making:
        return _making[key]
    made = _making[key] = unchecked
    try:
        hints = hints_of_fields(kind)
        forms.update({name: _form(hints.get(name, Any), strict=True) for name in fields})
    finally:
        del _making[key]
    if rebuilt_exactly(kind) and get_origin(hint) is None:
        made = instances(kind, exact_fields(kind, fields, forms), forms)
    return made


_making: dict[int, Form] = {}
"""Forms of classes that are being made."""
