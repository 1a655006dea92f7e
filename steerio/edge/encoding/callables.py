"""Callables of any kind: the name of one, and the function that has its signature.

A method, a partial or an instance with ``__call__`` has neither a signature nor annotations of its
own: those belong to a function in the source, which this module finds. It tells the kind of a value
by ``type`` alone, as asking a proxy for its class would fetch its object.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any, cast

from steerio.model.tasks import FunctionKind

LIBRARIES = ("site-packages", "dist-packages")
"""Folders of installed libraries."""
TASK_TYPE = "__steerio_task_type__"
"""An attribute of the class of task types, by which lower layers know them."""
PROGRAM = "__steerio_program__"
"""An attribute of functions that step through another, which yields commands to run: it says how,
as a text."""


def class_of(value: object) -> type[Any]:
    """Return the class of a value, without asking the value."""
    return type(value)


def written(function: Callable[..., Any]) -> Any:
    """Return the function (or class, or C function) whose code runs when this is called."""
    called: Any = function
    while True:
        kind = class_of(called)
        if issubclass(kind, functools.partial):
            called = called.func
        elif issubclass(kind, (MethodType, staticmethod, classmethod)):
            called = called.__func__
        elif issubclass(kind, (FunctionType, BuiltinFunctionType, type)):
            return called
        else:
            inner = getattr(kind, "__call__", None)  # noqa: B004 - it is wanted, not asked for
            return inner if type(inner) is FunctionType else called


def is_bound(function: Callable[..., Any]) -> bool:
    """Say whether its signature is that of the written function but for the first parameter."""
    kind = class_of(function)
    if kind is MethodType:
        return type(function.__func__) is FunctionType  # type: ignore[attr-defined]
    plain = (functools.partial, staticmethod, classmethod, FunctionType, BuiltinFunctionType, type)
    return not issubclass(kind, plain) and written(function) is not function


def is_dispatched_method(function: Callable[..., Any]) -> bool:
    """Say whether it is the method of an object that ``functools.singledispatchmethod`` made."""
    if type(function) is not FunctionType:
        return False
    code = function.__code__
    if code.co_qualname != "singledispatchmethod.__get__.<locals>._method":
        return False
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    return "obj" in cells and cells["obj"].cell_contents is not None


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function: ``module:qualname``, as far as it has such a name."""
    called: Any = function
    kind = class_of(called)
    if issubclass(kind, functools.partial):
        of, _, inner = name_of(called.func).partition(":")
        return f"{of}:partial({inner})"
    owner: Any = getattr(called, "__self__", None)
    if kind is MethodType and issubclass(type(owner), type):  # it may be inherited
        return f"{owner.__module__}:{owner.__qualname__}.{called.__name__}"
    path = cast("str", getattr(called, "__qualname__", kind.__qualname__))
    module: str | None = getattr(called, "__module__", None)
    if module is None:  # of C: a method of a type, of an instance, or a function of a module
        home: type[Any] = getattr(called, "__objclass__", class_of(owner))
        module = "__main__" if home is type(None) else home.__module__
    if path.endswith("<lambda>") and hasattr(called, "__code__"):  # to tell them apart
        path = f"{path.removesuffix('>')} of line {called.__code__.co_firstlineno}>"
    return f"{module}:{path}"


def kind_of(function: Callable[..., Any]) -> FunctionKind:
    """Return how a function is run: as a ``function``, ``coroutine`` or ``generator``."""
    either = (function, written(function))
    if any(map(inspect.iscoroutinefunction, either)):
        return "coroutine"
    if any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in either):
        return "generator"
    return "function"


def itself(found: Any) -> Any:
    """Return the function of a task type; return anything else as it is."""
    kind = class_of(found)
    return found.function if hasattr(kind, TASK_TYPE) else found


def stepped(function: Any) -> Any:
    """Return the function that this one steps through, if it does; else itself."""
    steps = class_of(function) is FunctionType and hasattr(function, PROGRAM)
    return function.__wrapped__ if steps else function


def is_same(one: Any, other: Any) -> bool:
    """Say whether two are the same callable; methods of a class are made anew each time."""
    if one is other:
        return True
    if type(one) is not MethodType or type(other) is not MethodType:
        return False
    owner = one.__self__
    alike = owner is other.__self__ and one.__func__ is other.__func__
    return alike and issubclass(type(owner), type)


def is_of_users(name: str, module: object) -> bool:
    """Say whether a module is the user's: not of a library nor ours, which do not change."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in ("steerio", "__main__"):
        return False
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and not any(part in file for part in LIBRARIES)


def fingerprint(function: Callable[..., Any]) -> bytes:
    """Return a digest of a function's code; empty if processes may rightly differ in it.

    They may if the code is not compiled from the file of its module as it stands there (other
    versions of Python, optimization, a loader that rewrites it, as pytest's does), or if it belongs
    to a library, of which hosts may have different versions.
    """
    how = str(getattr(function, PROGRAM, ""))
    function = stepped(function)
    if type(function) is not FunctionType:
        return b""
    module = sys.modules.get(function.__module__)
    spec: Any = getattr(module, "__spec__", None)
    if type(getattr(spec, "loader", None)) is not SourceFileLoader:
        return b""
    if function.__code__.co_filename != spec.origin or sys.flags.optimize:
        return b""
    if not is_of_users(function.__module__, module):
        return b""
    parts = b"".join(_parts_of_code(function.__code__)) + how.encode()
    return b"%d.%d " % sys.version_info[:2] + hashlib.blake2b(parts, digest_size=16).digest()


def _parts_of_code(code: CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_flags)).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts_of_code(constant)
        elif isinstance(constant, frozenset):  # in another order in each process
            yield repr(sorted(map(repr, cast("frozenset[object]", constant)))).encode()
        else:
            yield repr(constant).encode()
