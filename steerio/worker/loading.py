"""The function of a task type, found by import path or read from its shipped code."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.callables import class_of, fingerprint, itself, name_of
from steerio.edge.encoding.classes import Read
from steerio.edge.encoding.references import holds_references
from steerio.errors import FunctionRefused
from steerio.model.allowed import check_type
from steerio.model.tasks import FunctionKind, TaskSpec
from steerio.worker.resources import Resource

_ATOMS = (int, float, complex, str, bytes, bool, type(None), type(...))
_CACHED = type(functools.lru_cache(len))


class LoadedType:
    """A task type, ready to run: its function, kind and codec."""

    __slots__ = ("codec", "fleeting", "function", "kind", "name", "orderly", "read", "spec")

    def __init__(self, spec: TaskSpec, allow: Sequence[str] | None = None) -> None:
        """Find the function, which must be among those that ``allow`` lets be run.

        Raises:
            FunctionRefused: it is not; nothing of it was imported or read.
            Exception: any that importing or reading it raises.
        """
        how = check_type(spec, allow)
        self.spec = spec
        self.name = spec.name
        self.kind: FunctionKind = spec.kind
        self.read: Read | None = None
        self.orderly = 0
        """The number of its tasks in a row that left the process as it was."""
        self.fleeting = False
        """Whether it is read anew for each task, as it refers to stored values, or has parts that a
        task may change, which the next task or attempt must not see."""
        if spec.code:
            self._read()
            self.fleeting = holds_references(spec.code) or holds_state(self.function)
        else:
            self.function: Callable[..., Any] = _find_same(spec)
            if how == "by module":
                _check_home(self.function, spec.name)
        self.codec = CallCodec(self.function, spec.name, checked=spec.checked)

    def renew(self) -> bool:
        """Undo changes since it was sent; return whether it was read anew."""
        if self.fleeting:
            self._read()
        elif self.read is not None:
            self.read.restore()
        return self.fleeting

    def _read(self) -> None:
        self.read = Read(self.spec.code)
        self.function = self.read.value


def holds_state(function: Any) -> bool:
    """Say whether a function has parts of its own that may change: object, cells, defaults.

    The globals that it reads are not its own: they are the worker's, as those of a module are.
    """
    return _may_change(function, set())


def _may_change(value: Any, seen: set[int]) -> bool:
    value = itself(value)
    kind = class_of(value)
    if kind in _ATOMS or issubclass(kind, (type, ModuleType, Resource)) or id(value) in seen:
        return False
    seen.add(id(value))
    if kind in (tuple, frozenset):
        return any(_may_change(part, seen) for part in value)
    if kind is _CACHED:
        return _may_change(value.__wrapped__, seen)
    if kind in (MethodType, BuiltinFunctionType):
        return _may_change(value.__self__, seen)
    if kind is not FunctionType:
        return True
    return any(_may_change(part, seen) for part in _held_by(value))


def _held_by(function: FunctionType) -> Iterator[Any]:
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # it has nothing yet
            yield cell.cell_contents


def _find_same(spec: TaskSpec) -> Callable[..., Any]:
    """Return the function of an import path that has the code of the one that was submitted.

    If this process has other code, it imports the module anew: the submitter may have loaded a
    later state of the file. Functions that were found before keep their module.

    Raises:
        ImportError: it is not there, or the file has other code; the message says what to do.
        Exception: any that importing the module raises.
    """
    module, path = spec.name.split(":", 1)
    found = _find(module, path)
    if _same_code(found, spec.digest):
        return found
    before = sys.modules.pop(module)
    importlib.invalidate_caches()
    try:
        found = _find(module, path)
    except BaseException:
        sys.modules[module] = before
        raise
    if not _same_code(found, spec.digest):
        raise ImportError(
            f"{path} of {module} has other code here than in the process that submitted it: "
            f"{sys.modules[module].__file__} was changed since one of the two imported it, or is "
            "another file; reload the module there (importlib.reload) or start that program anew"
        )
    return found


def _check_home(function: Callable[..., Any], name: str) -> None:
    """Refuse a function that a module has only imported, as ``search:os.system``.

    Raises:
        FunctionRefused: another module defines it.
    """
    if name_of(function) != name:
        raise FunctionRefused(
            name, f"its module does not define it: it is {name_of(function)}, to be allowed itself"
        )


def _same_code(function: Callable[..., Any], digest: bytes) -> bool:
    """Say whether a function has the code of a digest, as far as that can be compared."""
    own = fingerprint(function) if digest else b""
    return not own or own == digest or own.partition(b" ")[0] != digest.partition(b" ")[0]


def _find(module: str, path: str) -> Callable[..., Any]:
    """Return the function of an import path.

    Raises:
        ImportError: workers do not find it there; the message says what to do.
        Exception: any that importing the module raises.
    """
    advice = "define it at the top level of a module that every worker can import"
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(f"workers do not find {module}:{path} ({error}); {advice}") from error
    for part in path.split("."):
        found = getattr(found, part, None)
    if found is None:
        place = getattr(sys.modules[module], "__file__", "it is built in")
        raise ImportError(f"workers do not find {path} in {module} ({place}); {advice}")
    function: Callable[..., Any] = itself(found)
    return function


def load_file(name: str, path: str | Path) -> ModuleType:
    """Load a Python file as the module ``name``; its folder becomes importable.

    Campaign and workers both load the campaign's file under the same name, so that its
    functions are found by import path on either side.

    Raises:
        ImportError: it cannot be loaded as Python.
        Exception: any that the file itself raises.
    """
    if name in sys.modules:
        return sys.modules[name]
    folder = str(Path(path).resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
