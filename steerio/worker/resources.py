"""Resources: values that a worker sets up once and its later tasks use again.

Such as a loaded model, an open data set, a licence. The resource and its arguments tell values
apart; of each resource no more than ``keep`` outlast a task. `holding` has them.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from steerio.errors import UsageError
from steerio.worker.holding import HeldValue, HeldValues, Key, below, here, release_at_exit

P = ParamSpec("P")
R = TypeVar("R")

KEEP = 1
"""Values of one resource that outlast the task that used them, unless it says otherwise."""


_shipped: dict[str, Resource[..., Any]] = {}


class Resource(Generic[P, R]):
    """A function whose values a process sets up once; made by `resource`.

    Calling it returns the value for these arguments, which is set up by the first call.
    """

    def __init__(self, function: Callable[P, Any], keep: int = KEEP, token: str = "") -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.keep = keep
        self.name = f"{function.__module__}:{function.__qualname__}"
        self.token = token or os.urandom(16).hex()
        self._signature = inspect.signature(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the value of these arguments, from this process's earlier use if there was one.

        Raises:
            UsageError: an argument is not hashable, or setting this up needs this.
            Exception: any that setting it up raises; the next call tries again.
        """
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        held, key = here(), (self.token, (bound.args, tuple(sorted(bound.kwargs.items()))))
        with held.lock:
            try:
                entry = held.entries.get(key)
            except TypeError as error:
                raise UsageError(
                    f"resource {self.name} is kept by its arguments, which must be hashable: "
                    f"{error}; pass a name or a path, and load the object inside"
                ) from None
            if entry is None:
                entry = self._set_up(held, key, bound)
            held.use(key, entry)
            return cast("R", entry.value)

    def __repr__(self) -> str:
        return f"<resource {self.name}: {self.held} held, keeps {self.keep}>"

    def __reduce__(self) -> Any:
        """Travel by import path if there is one, else by value."""
        module, _, path = self.name.partition(":")
        if _goes_by_path(self, module, path):
            return _by_path, (module, path)
        return _by_value, (self.token, self.function, self.keep)

    @property
    def held(self) -> int:
        """The number of its values that this process holds."""
        return len(self._keys())

    def release(self) -> None:
        """Release all its values that this process holds, and those that were set up from them.

        For tests, and for a task that knows that a value is spoilt: the next call sets up another.
        An exception of a release is printed and goes no further.
        """
        held = here()
        with held.lock:
            held.drop(self._keys())

    def _keys(self) -> list[Key]:
        entries = list(here().entries.items())
        return [key for key, entry in entries if key[0] == self.token and entry.ready]

    def _set_up(self, held: HeldValues, key: Key, bound: inspect.BoundArguments) -> HeldValue:
        release_at_exit()
        shown = ", ".join(f"{name}={value!r}" for name, value in bound.arguments.items())
        before = below()
        entry = held.entries[key] = HeldValue(f"{self.name}({shown})", self.keep)
        held.being_set_up.append(entry)
        try:
            with held.keeping():
                self._make(entry, bound)
            entry.ready = True
        finally:
            held.being_set_up.pop()
            del held.entries[key]
        held.entries[key] = entry  # again, behind the values that its own set-up used
        held.crowded |= len(self._keys()) > self.keep
        held.changed()
        held.belongings |= below() - before
        return entry

    def _make(self, entry: HeldValue, bound: inspect.BoundArguments) -> None:
        made: Any = self.function(*bound.args, **bound.kwargs)
        if inspect.isgeneratorfunction(self.function):
            entry.value = _first(made, str(entry))
            entry.release = functools.partial(_finish, made, str(entry))
        elif inspect.isclass(self.function) and isinstance(made, AbstractContextManager):
            entry.value = made.__enter__()
            entry.release = functools.partial(made.__exit__, None, None, None)
        else:
            entry.value = made


def _first(made: Generator[Any, Any, Any], what: str) -> Any:
    """Return the first item of a generator.

    Raises:
        UsageError: it yields nothing.
    """
    for value in made:
        return value
    raise UsageError(f"{what} yielded nothing: yield the value once; the code after releases it")


def _finish(made: Generator[Any, Any, Any], what: str) -> None:
    """Run the code after a generator's yield.

    Raises:
        UsageError: it yields again.
    """
    for _ in made:
        made.close()
        raise UsageError(f"{what} yielded twice: the code after its only yield releases it")


@overload
def resource(function: type[AbstractContextManager[R]], /) -> Resource[..., R]: ...


@overload
def resource(function: Callable[P, Generator[R, Any, Any]], /) -> Resource[P, R]: ...


@overload
def resource(function: Callable[P, Iterator[R]], /) -> Resource[P, R]: ...


@overload
def resource(function: Callable[P, R], /) -> Resource[P, R]: ...


@overload
def resource(*, keep: int = ...) -> _Decorator: ...


def resource(function: Callable[..., Any] | None = None, /, *, keep: int = KEEP) -> Any:
    """Make a function a resource: a worker sets its value up once, and keeps it.

    Call it inside a task.  The first call with some arguments sets the value up, later ones,
    also those of later tasks, return the same.  A plain call sets it up, also in an ``async def``
    task, whose loop waits for it.

    A function returns the value, and has nothing to release.  A generator function yields it, once;
    the code after the ``yield`` releases it.  A class is instantiated; one with ``__enter__`` and
    ``__exit__`` is entered, and left to release it.

    A value is released when its worker ends in order, newest first; when a later task has
    made it one too many (``keep``), after that task; and by ``release()``.  A worker that is
    killed releases nothing.  Outside a worker the value belongs to the calling process, and
    is released when that exits.

    Args:
        function: when used without parentheses.
        keep: the number of values, told apart by their arguments (as ``functools.lru_cache`` does),
            that outlast the task that used them; those unused for longest are released first.

    Raises:
        UsageError: it is not a function that can be called without waiting, or ``keep`` is
            below 1.
    """
    if keep < 1:
        raise UsageError(f"a resource keeps 1 value or more, not keep={keep}")

    def decorate(function: Callable[..., Any]) -> Resource[..., Any]:
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise UsageError(
                f"{function.__qualname__} is async, and a resource outlasts the loop of any "
                "task: write a plain function (which may call asyncio.run)"
            )
        if not hasattr(function, "__qualname__"):
            raise UsageError(f"{function!r} is neither a function nor a class")
        return Resource(function, keep)

    return decorate if function is None else decorate(function)


class _Decorator(Protocol):
    """The decorator that ``resource(keep=...)`` returns."""

    @overload
    def __call__(self, function: type[AbstractContextManager[R]], /) -> Resource[..., R]: ...

    @overload
    def __call__(self, function: Callable[P, Generator[R, Any, Any]], /) -> Resource[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, Iterator[R]], /) -> Resource[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Resource[P, R]: ...


# -- travelling -------------------------------------------------------------------------------


def _goes_by_path(what: Resource[..., Any], module: str, path: str) -> bool:
    """Say whether another process finds it by import path, as cloudpickle decides for functions."""
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    if found is not what or module == "__main__":
        return False
    cloudpickle = sys.modules.get("cloudpickle")
    return cloudpickle is None or module not in cloudpickle.list_registry_pickle_by_value()


def _by_path(module: str, path: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _by_value(token: str, function: Callable[..., Any], keep: int) -> Resource[..., Any]:
    """Return the resource that was shipped; each of a worker's task types brings it along."""
    return _shipped.setdefault(token, Resource(function, keep, token))
