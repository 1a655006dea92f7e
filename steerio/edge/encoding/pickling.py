"""Pickles, for values that msgpack has no word for.

Protocol 5 with long buffers out of band. Classes and functions that another process could not look
up go by value: those of ``__main__``, those inside functions, and those of modules registered with
``cloudpickle.register_pickle_by_value``.
"""

from __future__ import annotations

import copyreg
import functools
import io
import pickle
import sys
import types
from collections import ChainMap
from collections.abc import Callable
from typing import Any, ClassVar, get_type_hints

import msgspec

from steerio.edge.encoding import serializers
from steerio.edge.encoding.callables import class_of, written
from steerio.edge.encoding.classes import SEEN, goes_by_value, reduce_class, reduce_struct
from steerio.edge.encoding.serializers import BUFFER_BYTES
from steerio.edge.encoding.wrappers import reduce_wrapper

LONG_BYTES = 65536
"""A longer pickle may hold arrays that are worth another try."""


_by_value: dict[str, bytes] = {}
"""The modules whose functions and classes go by value, by name, with the name in pickles."""


def send_by_value(module: str) -> None:
    """Send functions and classes of a module by value, as workers lack it or have another."""
    _by_value[module] = module.encode()


def is_sent_by_value(module: str) -> bool:
    """Say whether functions and classes of a module go by value."""
    return module in _by_value


def dump(value: Any, *, whole: bool = False) -> tuple[bytes, list[memoryview]]:
    """Pickle a value; return the pickle and its out-of-band buffers, read-only.

    There are no buffers if it is to be ``whole``.

    Raises:
        Exception: any that pickling raises.
    """
    buffers: list[memoryview] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous: the pickle copies it
            return True
        if whole or raw.nbytes < BUFFER_BYTES:
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
    if not data or b"__main__" in data or any(name in data for name in _by_value.values()):
        buffers.clear()
        data = _dump_by_value(value, keep)
    return data, buffers


def ship(function: Callable[..., Any]) -> bytes:
    """Pickle a function by value, with its annotations as the objects that they name.

    A shipped function keeps just those globals that its code mentions, so annotations that
    are strings would not resolve in the worker, and its arguments not be understood.

    Raises:
        Exception: any that pickling raises.
    """
    return _dump_by_value(function, None, written(function))


def proxies_exist() -> bool:
    """Say whether this process has loaded ProxyStore, so that a value may be a proxy."""
    return "proxystore.proxy" in sys.modules


def is_proxy(value: Any) -> bool:
    """Say whether a value is a proxy, whose object must not be fetched just to be sent.

    ProxyStore's proxies answer for their objects, even when asked for their class, so only ``type``
    may be asked.
    """
    module = sys.modules.get("proxystore.proxy")
    return module is not None and issubclass(type(value), module.Proxy)


def _dump_by_table(value: Any, keep: Callable[[pickle.PickleBuffer], bool]) -> bytes:
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=5, buffer_callback=keep)
    pickler.dispatch_table = {**copyreg.dispatch_table, **serializers.learn()}
    pickler.dump(value)
    return file.getvalue()


def _dump_by_value(
    value: Any, keep: Callable[[pickle.PickleBuffer], bool] | None, signed: Any = None
) -> bytes:
    file = io.BytesIO()
    serializers.learn()
    _register()
    pickler = _pickler()(file, protocol=5, buffer_callback=keep)
    pickler.signed = signed
    pickler.dump(value)
    return file.getvalue()


def _register() -> None:
    """Have cloudpickle know the modules that go by value, as far as they are loaded."""
    # slow to load, and needed only for code that goes by value
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

    for name in _by_value:
        if name in sys.modules:
            cloudpickle.register_pickle_by_value(sys.modules[name])  # pyright: ignore[reportUnknownMemberType]


@functools.cache
def _pickler() -> Any:
    """Return the class of pickler; cloudpickle is slow to import and seldom needed."""
    # slow to load, and needed only for code that goes by value
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

    known_otherwise: Any = cloudpickle.Pickler
    struct_meta = type(msgspec.Struct)

    class Pickler(known_otherwise):  # type: ignore[misc]
        dispatch_table: ClassVar[Any] = ChainMap(
            serializers.learn(), known_otherwise.dispatch_table
        )
        signed: Any = None
        """The function whose annotations arrive as the objects that they name."""

        def reducer_override(self, obj: Any) -> Any:
            if is_proxy(obj):  # cloudpickle would ask for its class
                return NotImplemented
            kind = class_of(obj)
            if kind is types.CodeType:
                make, parts = self.dispatch_table[types.CodeType](obj)
                return _name_code, (obj.co_filename, make, parts)
            is_class = issubclass(kind, type)
            if is_class and kind is struct_meta and goes_by_value(obj):
                return reduce_struct(obj)
            if is_class and SEEN in vars(obj) and goes_by_value(obj):
                delattr(obj, SEEN)
            otherwise: Any = super()
            reduced = otherwise.reducer_override(obj)
            by_value = reduced is not NotImplemented and len(reduced) == 6
            if is_class:
                return reduce_class(obj, reduced) if by_value else reduced
            if obj is self.signed and by_value:
                _resolve_annotations(obj, reduced[2][1])
            return reduce_wrapper(obj, by_value) or reduced

    return Pickler


def _name_code(filename: str, make: Callable[..., Any], parts: tuple[Any, ...]) -> Any:
    """Make code that knows its file, which cloudpickle (since 3.1.3) keeps to itself.

    Without it the traceback of a task that failed could not show the lines.
    """
    return make(*parts).replace(co_filename=filename)


def _resolve_annotations(function: Callable[..., Any], slots: dict[str, Any]) -> None:
    try:
        resolved = get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - evaluating an annotation may raise anything
        return
    if function.__annotations__ and resolved:
        slots["__annotations__"] = resolved
