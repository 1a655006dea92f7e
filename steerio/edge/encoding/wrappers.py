"""The standard library's wrappers of functions, which neither pickle nor cloudpickle takes apart.

A wrapper may be named by the function that it wraps (one that calls itself, cached), so it is
made first and given that function afterwards.
"""

from __future__ import annotations

import functools
import io
import sys
import types
from collections.abc import Callable
from typing import Any

from steerio.edge.encoding.callables import class_of

_CACHED = type(functools.lru_cache(len))


def reduce_wrapper(obj: Any, by_value: bool) -> Any:
    """Return the parts of a wrapper; ``None`` if it is none or goes by its import path.

    Args:
        obj: any object.
        by_value: whether cloudpickle, which knows functions only, takes it apart.

    Raises:
        TypeError: it is an open file.
    """
    kind = class_of(obj)
    if kind is types.FunctionType:
        if by_value and obj.__code__ is _DISPATCHING:
            registry = [(of, function) for of, function in obj.registry.items() if of is not object]
            return _dispatching, (), (obj.__wrapped__, registry), None, None, _fill_dispatching
    elif kind is types.MethodType:
        if issubclass(
            type(obj.__self__), type
        ):  # looked up in its class, as the class is in its module
            return getattr, (obj.__self__, obj.__name__)
    elif kind is functools.cached_property:  # which has a lock
        return _cached_property, (obj.func, obj.attrname)
    elif kind is io.TextIOWrapper and obj not in (sys.stdout, sys.stderr):
        raise TypeError(f"cannot pickle the open file {obj.name!r}")  # cloudpickle would read it
    elif kind is _CACHED and not _has_path(obj):
        how = obj.cache_parameters()
        made_of = how["maxsize"], how["typed"]
        return _cached, made_of, obj.__wrapped__, None, None, _fill_cached
    return None


def _has_path(function: Any) -> bool:
    module = function.__module__
    if module == "__main__" or module in _by_value_modules():
        return False
    found: Any = sys.modules.get(module)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function


def _by_value_modules() -> Any:
    cloudpickle = sys.modules.get("cloudpickle")
    return () if cloudpickle is None else cloudpickle.list_registry_pickle_by_value()


def _later() -> Any:
    def later(*args: Any, **kwargs: Any) -> Any:
        return late.real(*args, **kwargs)

    late: Any = later
    return late


def _cached(maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(_later())


def _fill_cached(cached: Any, function: Callable[..., Any]) -> None:
    cached.__wrapped__.real = function
    functools.update_wrapper(cached, function)


def _dispatching() -> Any:
    return functools.singledispatch(_later())


def _fill_dispatching(
    dispatching: Any, made_of: tuple[Callable[..., Any], list[tuple[type, Callable[..., Any]]]]
) -> None:
    function, registry = made_of
    dispatching.__wrapped__.real = function
    functools.update_wrapper(dispatching, function)
    for of, other in registry:
        dispatching.register(of, other)


def _cached_property(function: Callable[[Any], Any], name: str | None) -> Any:
    made: Any = functools.cached_property(function)
    made.attrname = name
    return made


_DISPATCHING = _dispatching().__code__
