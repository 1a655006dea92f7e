"""The code of a task type for workers: its import path, or its function by value.

A function that goes by value is pickled for each task, since anything in it may have changed since
the last: an object behind a method, a global that a script's function reads. Only a function
without parts that could change is pickled once, for as long as the names that it uses stand for the
same objects (`Bindings`).
"""

from __future__ import annotations

import dis
import functools
import importlib.machinery
import inspect
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_type_hints

from steerio.edge.encoding.callables import class_of, is_same, itself
from steerio.edge.encoding.pickling import is_proxy, is_sent_by_value, send_by_value, ship
from steerio.edge.encoding.references import packing
from steerio.errors import UsageError
from steerio.model.tasks import TaskSpec
from steerio.session.reloads import look, was_reloaded
from steerio.worker.resources import Resource

RECENT_NAMES, RECENT_BYTES = 1_000, 16 * 2**20
"""Most functions by value, and most bytes of them, whose last state is kept."""
_ATOMS = (int, float, complex, str, bytes, bool, type(None), type(...), type(NotImplemented))
_MISSING = object()


def is_importable(function: Callable[..., Any], name: str) -> bool:
    """Say whether workers find the function by its import path."""
    module, _, path = name.partition(":")
    look(module)
    if "<" in path or "(" in path or not _workers_import(module):
        return False
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return is_same(itself(found), function)


def _workers_import(module: str) -> bool:
    """Say whether workers can import a module, which they cannot for every one that is here."""
    if module == "__main__" or is_sent_by_value(module):
        return False
    top = module.partition(".")[0]
    if top in sys.builtin_module_names:
        return True
    return importlib.machinery.PathFinder.find_spec(top) is not None


def pickle_function(function: Callable[..., Any], name: str) -> bytes:
    """Pickle a function by value.

    Raises:
        UsageError: it refers to an object that cannot be pickled; the message names it.
    """
    module = name.partition(":")[0]
    if module != "__main__" and not _workers_import(module):
        send_by_value(module)
    try:
        return packing(ship, function)
    except Exception as error:
        why = f" by value (as {module} was reloaded here)" if was_reloaded(module) else ""
        raise UsageError(
            f"task type {name} cannot be shipped to workers{why}: {_blame(function, error)}; "
            "make or open such a thing in the task (once per worker: in a steerio.resource), pass "
            "it as data, or put the function into a module that workers can import"
        ) from error


class Recent:
    """The specs sent last under each name, up to a length in all: most often they are sent again.

    Comparing a spec costs less than finding it by its hash, which is that of all its bytes.
    """

    def __init__(self) -> None:
        self._specs: OrderedDict[str, TaskSpec] = OrderedDict()
        self._nbytes = 0

    def same(self, spec: TaskSpec) -> TaskSpec:
        """Return the one sent last under this name if it is equal, else this."""
        last = self._specs.pop(spec.name, None)
        if last is not None:
            self._nbytes -= len(last.code)
            if last == spec:
                spec = last
        self._specs[spec.name] = spec
        self._nbytes += len(spec.code)
        while len(self._specs) > 1 and (
            self._nbytes > RECENT_BYTES or len(self._specs) > RECENT_NAMES
        ):
            _, oldest = self._specs.popitem(last=False)
            self._nbytes -= len(oldest.code)
        return spec


# -- dependencies of a function ---------------------------------------------------------------


class Bindings:
    """The objects behind the names that a function by value uses: the same while this `holds`."""

    def __init__(self) -> None:
        self._functions: list[tuple[types.FunctionType, types.CodeType, Any, Any]] = []
        self._names: list[tuple[dict[str, Any], str, Any]] = []
        self._seen: set[int] = set()

    def holds(self) -> bool:
        """Say whether all names still stand for the same objects, which cannot change inside."""
        for function, code, defaults, named in self._functions:
            if function.__code__ is not code or function.__defaults__ is not defaults:
                return False
            if function.__kwdefaults__ is not named or function.__dict__:
                return False
        for names, name, value in self._names:  # noqa: SIM110 - this is asked for each task
            if names.get(name, _MISSING) is not value:
                return False
        return True

    def take(self, value: Any) -> bool:
        """Note the dependencies of a value; ``False`` if it may change unseen."""
        kind = class_of(value)
        if kind in _ATOMS or _goes_by_path(value, kind):
            return True
        if kind in (tuple, frozenset):
            return all(map(self.take, value))
        if issubclass(kind, Resource) or itself(value) is not value:  # these do not change
            return self.take(value.function)
        return kind is types.FunctionType and self._take_function(value)

    def _take_function(self, function: types.FunctionType) -> bool:
        if id(function) in self._seen:
            return True
        self._seen.add(id(function))
        if function.__closure__ or function.__dict__ or not _fixed_hints(function):
            return False
        named = function.__kwdefaults__ or {}
        self._functions.append(
            (function, function.__code__, function.__defaults__, function.__kwdefaults__)
        )
        self._names += [(named, name, value) for name, value in named.items()]
        names = function.__globals__
        used = [(names, name, names.get(name, _MISSING)) for name in global_names(function)]
        self._names += used
        values = [*(function.__defaults__ or ()), *named.values(), *(value for *_, value in used)]
        return all(value is _MISSING or self.take(value) for value in values)


def bindings_of(function: Callable[..., Any]) -> Bindings | None:
    """Return the dependencies of a function by value; ``None`` if one may change inside."""
    found = Bindings()
    return found if found.take(function) else None


def global_names(function: types.FunctionType) -> list[str]:
    """Return the names of the globals that a function uses, and the functions that it makes."""
    names: dict[str, None] = {}
    codes = [function.__code__]
    for code in codes:
        steps = dis.get_instructions(code)
        names |= dict.fromkeys(step.argval for step in steps if step.opname.endswith("_GLOBAL"))
        codes += [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return list(names)


def _fixed_hints(function: types.FunctionType) -> bool:
    """Say whether annotations name only objects with an import path."""
    if not function.__annotations__:
        return True
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - evaluating an annotation may raise anything
        return all(isinstance(hint, str) for hint in function.__annotations__.values())
    return all(map(_is_fixed_hint, hints.values()))


def _is_fixed_hint(hint: Any) -> bool:
    if issubclass(class_of(hint), (list, tuple)):  # of Callable
        return all(map(_is_fixed_hint, hint))
    if parts := get_args(hint):
        return all(map(_is_fixed_hint, parts))
    if issubclass(class_of(hint), type):
        return _goes_by_path(hint, class_of(hint))
    return type(hint) in _ATOMS or getattr(hint, "__module__", None) == "typing"


def _goes_by_path(value: Any, kind: type) -> bool:
    """Say whether it is a module, or a class or function that workers find by import path."""
    if kind is types.ModuleType:
        return value.__name__ in sys.modules and _workers_import(value.__name__)
    if not issubclass(kind, (type, types.FunctionType, types.BuiltinFunctionType)):
        return False
    name = f"{value.__module__}:{value.__qualname__}"
    return is_importable(value, name)


# -- objects that cannot be sent --------------------------------------------------------------


def _blame(function: Callable[..., Any], error: Exception) -> str:
    """Return words that name the object behind a function that cannot be pickled."""
    trail: list[str] = []
    guilty: Any = function
    seen: set[int] = set()
    while id(guilty) not in seen:
        seen.add(id(guilty))
        for called, part in _parts(guilty):
            try:
                packing(ship, part)
            except Exception as reason:  # noqa: BLE001 - pickling may raise anything
                error = reason
                trail.insert(0, called)
                guilty = part
                break
    what = f"{type(error).__name__}: {error}"
    if not trail:
        return what
    kind = class_of(guilty)
    where = ", through ".join(trail) + "," * (len(trail) > 1)
    return f"{where} is of type {kind.__module__}.{kind.__qualname__} ({what})"


def _refuses(owner: Any) -> bool:
    """Say whether an object refuses by itself to be pickled, as a campaign does that runs."""
    kind: Any = class_of(owner)
    if kind.__reduce_ex__ is object.__reduce_ex__ or isinstance(owner, type):
        return False
    try:
        owner.__reduce_ex__(5)
    except Exception:  # noqa: BLE001 - it is the user's code
        return True
    return False


def _parts(owner: Any) -> Iterator[tuple[str, Any]]:
    """Yield the objects that are pickled together with one, each with its name."""
    kind = class_of(owner)
    if is_proxy(owner) or _refuses(owner):
        return
    if kind is types.FunctionType:
        yield from _parts_of_function(owner)
    elif kind is types.MethodType:
        yield "its object", owner.__self__
        yield f"method {owner.__qualname__}", owner.__func__
    elif issubclass(kind, Resource) or itself(owner) is not owner:
        yield repr(owner), owner.function
    elif issubclass(kind, functools.partial):
        yield "the function of the partial", owner.func
        yield from ((f"argument {n} of the partial", value) for n, value in enumerate(owner.args))
        yield from ((f"argument {name!r} of the partial", v) for name, v in owner.keywords.items())
    elif kind in (list, tuple, set, frozenset):
        yield from ((f"entry {number}", value) for number, value in enumerate(owner))
    elif kind is dict:
        yield from ((f"entry {key!r}", value) for key, value in owner.items())
    else:
        yield from _parts_of_object(owner)


def _parts_of_object(owner: Any) -> Iterator[tuple[str, Any]]:
    kind = class_of(owner)
    is_class = issubclass(kind, type)
    if kind.__module__ == "builtins" and not is_class:
        return
    called = owner.__qualname__ if is_class else f"a {kind.__qualname__}"
    attributes: dict[str, Any] = dict(getattr(owner, "__dict__", ()))
    for base in inspect.getmro(kind):
        slots: Any = vars(base).get("__slots__", ())
        names: list[str] = [slots] if isinstance(slots, str) else list(slots)
        for name in names:
            attributes[name] = getattr(owner, name, None)
    for name, value in attributes.items():
        if not name.startswith("__") or isinstance(value, types.FunctionType):
            yield f"attribute {name!r} of {called}", value
    if not is_class:
        yield f"class {kind.__qualname__}", kind


def _parts_of_function(function: Any) -> Iterator[tuple[str, Any]]:
    called = function.__qualname__
    for name in global_names(function):
        if name in function.__globals__:
            yield f"global {name!r} of {called}", function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"variable {name!r} of {called}", cell.cell_contents
        except ValueError:  # it has none yet
            continue
    yield from ((f"default {n} of {called}", v) for n, v in enumerate(function.__defaults__ or ()))
    by_name: dict[str, Any] = function.__kwdefaults__ or {}
    for name, value in by_name.items():
        yield f"default {name!r} of {called}", value
    for name, value in function.__dict__.items():
        yield f"attribute {name!r} of {called}", value
