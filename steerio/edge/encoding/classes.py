"""Classes by value: taken apart here, made again elsewhere, and brought up to date later.

cloudpickle makes an empty class, then fills it in, and knows it by a number ever after. A
``msgspec.Struct`` is laid out when it is made, so this module has a way of its own for it: it makes
the class with its fields at once, gives it its methods and annotations (which may refer to it)
afterwards, and knows it by a number as well.

A class is one class however often it travels, but its content may change between two times. In a
process that receives it, it takes on the content that it had when it was sent; in the process that
it comes from, to which it returns with values, it stays as it is. So a process that keeps things it
read (a worker its functions) restores their classes, by `Read`, if other code has changed them
since.
"""

from __future__ import annotations

import contextlib
import pickle
import uuid
import weakref
from typing import Any, get_type_hints

import msgspec

from steerio.edge.encoding.annotations import by_value
from steerio.edge.encoding.refusing import check_pickle

_StructMeta = type(msgspec.Struct)
_made: weakref.WeakValueDictionary[str, type] = weakref.WeakValueDictionary()
_numbers: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()
_own: weakref.WeakSet[type] = weakref.WeakSet()
"""Classes of this process that it has sent."""
_given: weakref.WeakKeyDictionary[type, frozenset[str]] = weakref.WeakKeyDictionary()
"""Classes that arrived here, and the names of the attributes they were given."""
_SETTINGS = (
    "array_like",
    "cache_hash",
    "dict",
    "eq",
    "forbid_unknown_fields",
    "frozen",
    "gc",
    "omit_defaults",
    "order",
    "repr_omit_defaults",
    "tag",
    "tag_field",
    "weakref",
)
SEEN = "__msgspec_cache__"
"""The attribute in which msgspec caches facts of a class; it does not travel, and comes again."""
_MADE_WITH_IT = {
    "__annotations__",
    "__dict__",
    "__doc__",
    "__match_args__",
    "__module__",
    "__post_init__",
    "__slots__",
    "__weakref__",
    SEEN,
}


class _Now:
    """The state of reading and filling in classes in this process."""

    changes = 0
    """The number of times that a class that arrived was filled in."""
    read: list[tuple[type, Any]] | None = None
    """The list that notes the classes that arrive, if any does."""


class Read:
    """A value read from a pickle, with the classes in it, to be restored before each use.

    Args:
        data: the pickle.

    Raises:
        Exception: any that unpickling raises.
    """

    def __init__(self, data: bytes) -> None:
        self._classes: list[tuple[type, Any]] = []
        outer, _Now.read = _Now.read, self._classes
        try:
            check_pickle("a function")
            self.value: Any = pickle.loads(data)
        finally:
            _Now.read = outer
        self._changes = _Now.changes

    def restore(self) -> None:
        """Give the classes their content of the moment of sending, if it was changed since."""
        if self._classes and self._changes != _Now.changes:
            for kind, content in self._classes:
                _fill_in(kind, content)
            _Now.changes += 1
            self._changes = _Now.changes

    def settle(self) -> None:
        """Note that the classes read since were sent together with this."""
        self._changes = _Now.changes


def reduce_class(kind: type, as_cloudpickle: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the parts of a class by value, given those that cloudpickle makes."""
    _note_own(kind)
    return (*as_cloudpickle[:5], _arrive)


def _note_own(kind: type) -> None:
    if kind not in _given:
        _own.add(kind)


def _arrive(kind: type, state: tuple[dict[str, Any], Any]) -> None:
    if kind in _own:
        return
    _note_arrival(kind, state[0])
    _fill_in(kind, state[0])


def _note_arrival(kind: type, content: Any) -> None:
    _Now.changes += 1
    if _Now.read is not None:
        _Now.read.append((kind, content))


def _fill_in(kind: type, content: Any) -> None:
    """Give a class its attributes, and remove those that it had before and has no more."""
    if type(kind) is _StructMeta:
        _fill_struct(kind, *content)
        return
    for name, value in content.items():
        if name != "_abc_impl":
            setattr(kind, name, value)
    if "__firstlineno__" in content:  # setting another attribute may remove it
        kind.__firstlineno__ = content["__firstlineno__"]  # type: ignore[attr-defined]
    _drop_others(kind, content)
    virtual: Any = kind
    for subclass in content.get("_abc_impl") or ():
        virtual.register(subclass)


def _drop_others(kind: type, content: dict[str, Any]) -> None:
    for name in _given.get(kind, frozenset()) - content.keys():
        with contextlib.suppress(AttributeError):
            delattr(kind, name)
    _given[kind] = frozenset(content)


def goes_by_value(kind: type) -> bool:
    """Say whether another process could not look up this class, or must not."""
    # slow to load, and needed only for code that goes by value
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

    if by_value(kind) or kind in _numbers:  # made here from one that arrived by value
        return True
    parts = kind.__module__.split(".")
    packages = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return any(name in cloudpickle.list_registry_pickle_by_value() for name in packages)


def reduce_struct(kind: type[msgspec.Struct]) -> Any:
    """Return the parts of a struct's class."""
    _note_own(kind)
    number = _numbers.get(kind)
    if number is None:
        number = _numbers[kind] = uuid.uuid4().hex
        _made[number] = kind
    content = {
        name: value
        for name, value in vars(kind).items()
        if name not in _MADE_WITH_IT
        and not name.startswith("__struct_")
        and name not in kind.__struct_fields__
    }
    post_init = vars(kind).get("__post_init__")
    state = content, _annotations_of(kind), getattr(post_init, "real", post_init)
    return _make_struct, (number, *_recipe(kind)), state, None, None, _fill


def _recipe(kind: type[msgspec.Struct]) -> tuple[Any, ...]:
    """Return the recipe for making a class: names, fields, bases and settings."""
    written = vars(kind).get("__annotations__", {})
    own = [field for field in msgspec.structs.fields(kind) if field.name in written]
    fields: list[tuple[str, dict[str, Any]]] = []
    for field in own:
        how = {"default": field.default, "default_factory": field.default_factory}
        how = {key: value for key, value in how.items() if value is not msgspec.NODEFAULT}
        if field.encode_name != field.name:
            how["name"] = field.encode_name
        fields.append((field.name, how))
    config = kind.__struct_config__
    settings = {name: getattr(config, name) for name in _SETTINGS}
    settings["kw_only"] = any(field.name not in kind.__match_args__ for field in own)
    settings["module"] = kind.__module__
    names = kind.__name__, kind.__qualname__, kind.__doc__
    return names, fields, kind.__bases__, settings, "__post_init__" in vars(kind)


def _annotations_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    written = vars(kind).get("__annotations__", {})
    try:
        resolved = get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001 - evaluating an annotation may raise anything
        return dict(written)
    return {name: resolved[name] for name in written}


def _make_struct(
    number: str,
    names: tuple[str, str, str | None],
    fields: list[tuple[str, dict[str, Any]]],
    bases: tuple[type, ...],
    settings: dict[str, Any],
    has_post_init: bool,
) -> type:
    kind = _made.get(number)
    if kind is None:
        namespace: dict[str, Any] = {"__qualname__": names[1], "__doc__": names[2]}
        if has_post_init:  # looked up once, as the class is made; the real one comes later
            namespace["__post_init__"] = _late_post_init()
        made = [(name, Any, msgspec.field(**how)) for name, how in fields]
        kind = msgspec.defstruct(names[0], made, bases=bases, namespace=namespace, **settings)
        _made[number] = kind
        _numbers[kind] = number
    return kind


def _fill(kind: type, state: tuple[dict[str, Any], dict[str, Any], Any]) -> None:
    if kind in _own:
        return
    _note_arrival(kind, state)
    _fill_struct(kind, *state)


def _fill_struct(
    kind: type, content: dict[str, Any], annotations: dict[str, Any], post_init: Any
) -> None:
    for name, value in content.items():
        setattr(kind, name, value)
    _drop_others(kind, content)
    kind.__annotations__ = annotations
    if post_init is not None:
        vars(kind)["__post_init__"].real = post_init


def _late_post_init() -> Any:
    def __post_init__(self: Any) -> None:  # noqa: N807 - it is one
        late.real(self)

    late: Any = __post_init__
    return late
