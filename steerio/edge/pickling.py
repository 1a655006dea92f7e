"""Pickles, for what msgpack has no word for.

Protocol 5 with long buffers out of band.  What another process could not look up goes by
value: classes and functions of ``__main__``, those inside functions, and those of modules
registered with ``cloudpickle.register_pickle_by_value``.

cloudpickle makes a class by first making an empty one and then filling it in.  A
``msgspec.Struct`` is laid out when it is made, so it takes a way of its own here: made with
its fields at once, given its methods and annotations (which may refer to it) afterwards,
and known by a number ever after, so that it is one class however often it travels.
"""

from __future__ import annotations

import copyreg
import functools
import io
import pickle
import sys
import types
import uuid
import weakref
from collections import ChainMap
from collections.abc import Callable
from typing import Any, ClassVar, get_type_hints

import msgspec

from steerio.edge import serializers
from steerio.edge.annotations import by_value
from steerio.edge.serializers import BUFFER_BYTES

LONG_BYTES = 65536
"""A longer pickle may hold arrays that are worth another try."""

_StructMeta = type(msgspec.Struct)
_made: weakref.WeakValueDictionary[str, type] = weakref.WeakValueDictionary()
_numbers: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()
_empty: weakref.WeakSet[type] = weakref.WeakSet()
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
_SEEN = "__msgspec_cache__"
"""Where msgspec keeps what it found out about a class; it does not travel, and comes again."""
_MADE_WITH_IT = {
    "__annotations__",
    "__dict__",
    "__doc__",
    "__match_args__",
    "__module__",
    "__post_init__",
    "__slots__",
    "__weakref__",
    _SEEN,
}


def dump(value: Any) -> tuple[bytes, list[memoryview]]:
    """Pickle a value; return the pickle and its out-of-band buffers, read-only.

    Raises:
        Exception: whatever pickling raises.
    """
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous: the pickle copies it
            return True
        if raw.nbytes < BUFFER_BYTES:
            return True
        buffers.append(raw.toreadonly())
        return False

    try:
        if serializers.wanted(type(value)):
            data = _dump_by_table(value, keep)
        else:
            data = pickle.dumps(value, protocol=5, buffer_callback=keep)
            if len(data) > LONG_BYTES and serializers.has_arrays(data):
                buffers.clear()
                data = _dump_by_table(value, keep)
    except (pickle.PicklingError, AttributeError, TypeError):
        data = b""
    if not data or b"__main__" in data:
        buffers.clear()
        data = _dump_by_value(value, keep)
    return data, buffers


def ship(function: Callable[..., Any]) -> bytes:
    """Pickle a function by value, with its annotations as the objects that they name.

    A shipped function keeps just those globals that its code mentions, so annotations that
    are strings would not resolve where it arrives, and its arguments not be understood.

    Raises:
        Exception: whatever pickling raises.
    """
    as_written = getattr(function, "__annotations__", None)
    try:
        resolved = get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - evaluating an annotation may raise anything
        resolved = {}
    if not as_written or not resolved:
        return _dump_by_value(function, None)
    function.__annotations__ = resolved
    try:
        return _dump_by_value(function, None)
    finally:
        function.__annotations__ = as_written


def proxies_exist() -> bool:
    """Whether this process has loaded ProxyStore, so that a value may be a proxy."""
    return "proxystore.proxy" in sys.modules


def is_proxy(value: Any) -> bool:
    """Whether a value stands for another that must not be fetched just to be sent.

    ProxyStore's proxies answer for what they stand for, even when asked for their class,
    so only ``type`` may be asked.
    """
    module = sys.modules.get("proxystore.proxy")
    return module is not None and issubclass(type(value), module.Proxy)


def _dump_by_table(value: Any, keep: Callable[[pickle.PickleBuffer], bool]) -> bytes:
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=5, buffer_callback=keep)
    pickler.dispatch_table = {**copyreg.dispatch_table, **serializers.learn()}
    pickler.dump(value)
    return file.getvalue()


def _dump_by_value(value: Any, keep: Callable[[pickle.PickleBuffer], bool] | None) -> bytes:
    file = io.BytesIO()
    serializers.learn()
    _pickler()(file, protocol=5, buffer_callback=keep).dump(value)
    return file.getvalue()


@functools.cache
def _pickler() -> Any:
    """Return the class of pickler; cloudpickle is slow to import and seldom needed."""
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

    known_otherwise: Any = cloudpickle.Pickler

    class Pickler(known_otherwise):  # type: ignore[misc]
        dispatch_table: ClassVar[Any] = ChainMap(
            serializers.learn(), known_otherwise.dispatch_table
        )

        def reducer_override(self, obj: Any) -> Any:
            if is_proxy(obj):  # cloudpickle would ask for its class
                return NotImplemented
            if type(obj) is types.CodeType:
                make, parts = self.dispatch_table[types.CodeType](obj)
                return _name_code, (obj.co_filename, make, parts)
            if issubclass(type(obj), type) and _goes_by_value(obj):
                if type(obj) is _StructMeta:
                    return _reduce_struct(obj)
                if _SEEN in vars(obj):
                    delattr(obj, _SEEN)
            otherwise: Any = super()
            return otherwise.reducer_override(obj)

    return Pickler


def _name_code(filename: str, make: Callable[..., Any], parts: tuple[Any, ...]) -> Any:
    """Make code that knows its file, which cloudpickle (since 3.1.3) keeps to itself.

    Without it the traceback of a task that failed could not show the lines.
    """
    return make(*parts).replace(co_filename=filename)


def _goes_by_value(kind: type) -> bool:
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

    return (
        by_value(kind)
        or kind in _numbers  # made here from what arrived by value
        or kind.__module__ in cloudpickle.list_registry_pickle_by_value()
    )


def _reduce_struct(kind: type[msgspec.Struct]) -> Any:
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
    """Return what a class is made from: names, fields, bases and settings."""
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
        _empty.add(kind)
    return kind


def _fill(kind: type, state: tuple[dict[str, Any], dict[str, Any], Any]) -> None:
    if kind not in _empty:
        return
    _empty.discard(kind)
    content, annotations, post_init = state
    for name, value in content.items():
        setattr(kind, name, value)
    kind.__annotations__ = annotations
    if post_init is not None:
        vars(kind)["__post_init__"].real = post_init


def _late_post_init() -> Any:
    def __post_init__(self: Any) -> None:  # noqa: N807 - it is one
        late.real(self)

    late: Any = __post_init__
    return late
