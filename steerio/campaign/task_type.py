"""Task types: functions that workers know."""

from __future__ import annotations

import functools
import importlib.machinery
import inspect
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypeGuard, TypeVar, cast, overload

import msgspec

from steerio.edge.calls import CallCodec
from steerio.edge.pickling import ship
from steerio.errors import UsageError
from steerio.launch.needs import Needs
from steerio.model.objects import FROM_SETTING, check_number
from steerio.model.tasks import Retries, TaskOptions, TaskSpec

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_POOL = "default"


class TaskType(Generic[P, R]):
    """A function that workers know; made by `task`.

    Called directly it is just the function.  Given to ``run`` or ``submit`` it is run by a
    worker of its pool.
    """

    def __init__(
        self,
        function: Callable[P, R],
        pool: str = DEFAULT_POOL,
        options: TaskOptions | None = None,
        preload: Sequence[str] = (),
        threshold_bytes: int | None = FROM_SETTING,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.pool = pool
        self.options = options or TaskOptions()
        self.preload = list(preload)
        self.threshold_bytes = threshold_bytes
        self.name = _name_of(function)
        if inspect.iscoroutinefunction(function):
            self.kind = "coroutine"
        elif inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            self.kind = "generator"
        else:
            self.kind = "function"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task type {self.name} of pool {self.pool!r}>"

    @functools.cached_property
    def codec(self) -> CallCodec:
        """What carries its arguments and value."""
        return CallCodec(self.function, self.name)

    @functools.cached_property
    def spec(self) -> TaskSpec:
        """What travels to the workers.

        Raises:
            UsageError: the function can neither be imported by workers nor be shipped.
        """
        code = b"" if _importable(self) else _ship(self.function, self.name)
        return TaskSpec(self.name, self.pool, self.kind, code, self.threshold_bytes)

    def __reduce__(self) -> Any:
        """Travel as what it is made of, so that functions shipped by value may refer to it."""
        made_of = (self.function, self.pool, self.options, self.preload, self.threshold_bytes)
        return TaskType, made_of


@overload
def task(function: Callable[P, R], /) -> TaskType[P, R]: ...


@overload
def task(
    *,
    pool: str = ...,
    priority: float = ...,
    timeout_s: float | None = ...,
    retries: Mapping[str, int] | None = ...,
    preload: Sequence[str] = ...,
    cancel_grace_s: float = ...,
    needs: Needs | None = ...,
    threshold_bytes: int | None = ...,
) -> Callable[[Callable[P, R]], TaskType[P, R]]: ...


def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    pool: str = DEFAULT_POOL,
    priority: float = 0.0,
    timeout_s: float | None = None,
    retries: Mapping[str, int] | None = None,
    preload: Sequence[str] = (),
    cancel_grace_s: float = 0.2,
    needs: Needs | None = None,
    threshold_bytes: int | None = FROM_SETTING,
) -> Any:
    """Make a function a task type.

    Works on plain functions, ``async def`` functions and generators.

    Args:
        function: when used without parentheses.
        pool: the pool whose workers run it.
        priority: higher goes first.
        timeout_s: longest run of one attempt, in seconds.
        retries: how often to try again by kind of end, of ``lost`` (default 2), ``failed``
            and ``timed_out`` (default 0).
        preload: modules to import once per node before its workers are forked.
        cancel_grace_s: seconds between the request to stop, SIGTERM and SIGKILL.
        needs: what a worker must have to run it; by default any worker of its pool does.
        threshold_bytes: arguments and values that are longer go by reference, through the
            store; ``None``: never; by default (-1) what the store's setting says.

    Raises:
        UsageError: an option that cannot be.
    """
    options = make_options(
        TaskOptions(), priority, timeout_s, retries, cancel_grace_s=cancel_grace_s, needs=needs
    )
    named: object = pool
    if not isinstance(named, str) or not named:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"a task type needs a pool with a name, not {pool!r}")
    if threshold_bytes != FROM_SETTING:
        check_number("threshold_bytes", threshold_bytes, least=0, or_none=True)

    def decorate(function: Callable[..., Any]) -> TaskType[..., Any]:
        return TaskType(function, pool, options, preload, threshold_bytes)

    return decorate if function is None else decorate(function)


def make_options(
    start: TaskOptions,
    priority: float | None = None,
    timeout_s: float | None = None,
    retries: Mapping[str, int] | None = None,
    *,
    cancel_grace_s: float | None = None,
    needs: Needs | None = None,
) -> TaskOptions:
    """Return task options with some of them changed; ``Needs()`` is to need nothing.

    Raises:
        UsageError: one of them cannot be; the message says which.
    """
    numbers = {"priority": priority, "timeout_s": timeout_s, "cancel_grace_s": cancel_grace_s}
    changes: dict[str, Any] = {
        name: _number(name, number) for name, number in numbers.items() if number is not None
    }
    if needs is not None:
        if not isinstance(needs, Needs):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"needs are like steerio.Needs(gpus=1), not {needs!r}")
        changes["needs"] = needs.value if needs != Needs() else None
    if retries is not None:
        _check_retries(retries)
        changes["retries"] = msgspec.structs.replace(start.retries, **retries)
    return msgspec.structs.replace(start, **changes) if changes else start


def _number(name: str, number: float) -> float:
    try:
        return float(number)
    except (TypeError, ValueError):
        raise UsageError(f"{name} must be a number, not {number!r}") from None


def _check_retries(retries: Mapping[str, int]) -> None:
    kinds = Retries.__struct_fields__
    if not isinstance(retries, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"retries go by kind of end, as in {{'failed': 2}}, not {retries!r}")
    for kind, count in retries.items():
        if kind not in kinds:
            raise UsageError(f"retries go by kind of end ({', '.join(kinds)}), not {kind!r}")
        check_number(f"retries[{kind!r}]", count, least=0)


def is_task_type(value: object) -> TypeGuard[TaskType[..., Any]]:
    """Whether a value was made by `task`."""
    return issubclass(type(value), TaskType)


def _name_of(function: Callable[..., Any]) -> str:
    if isinstance(function, functools.partial):
        module, _, path = _name_of(function.func).partition(":")
        return f"{module}:partial({path})"
    module = getattr(function, "__module__", None) or "__main__"
    return f"{module}:{getattr(function, '__qualname__', type(function).__qualname__)}"


def as_arguments(item: Any) -> tuple[Any, ...]:
    """Return the arguments that an item stands for: a tuple is all of them, else the only one."""
    if issubclass(type(item), tuple):  # a proxy, asked for its class, would be fetched
        return tuple(cast("Iterable[Any]", item))
    return (item,)


_plain: weakref.WeakKeyDictionary[Callable[..., Any], TaskType[..., Any]] = (
    weakref.WeakKeyDictionary()
)


def as_task_type(function: Callable[..., Any]) -> TaskType[..., Any]:
    """Return the task type of a function; a plain function runs in the pool ``default``.

    Raises:
        UsageError: it is not a function.
    """
    if is_task_type(function):
        return function
    if not callable(function):
        raise UsageError(f"{function!r} is neither a function nor a @task")
    try:
        known = _plain.get(function)
    except TypeError:  # not weakly referable, so not kept
        return TaskType(function)
    if known is None:
        known = _plain[function] = TaskType(function)
    return known


_shipped_modules: set[str] = set()


def ship_module(name: str) -> None:
    """Ship the functions of a module by value, for workers that cannot import it."""
    _shipped_modules.add(name)


def _importable(kind: TaskType[..., Any]) -> bool:
    """Whether workers find the function by its import path."""
    module, _, path = kind.name.partition(":")
    if "<" in path or not _workers_import(module):
        return False
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return getattr(found, "__wrapped__", found) is kind.function


def _workers_import(module: str) -> bool:
    """Whether workers can import a module, which is not so for every one that is here."""
    if module == "__main__" or module in _shipped_modules:
        return False
    top = module.partition(".")[0]
    if top in sys.builtin_module_names:
        return True
    return importlib.machinery.PathFinder.find_spec(top) is not None


def _ship(function: Callable[..., Any], name: str) -> bytes:
    """Pickle a function by value.

    Raises:
        UsageError: it refers to something that cannot be pickled.
    """
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

    module = sys.modules.get(getattr(function, "__module__", None) or "__main__")
    by_value = (
        module is not None
        and module.__name__ != "__main__"  # which goes by value anyway
        and not _workers_import(module.__name__)
    )
    if by_value:
        cloudpickle.register_pickle_by_value(module)  # pyright: ignore[reportUnknownMemberType]
    try:
        return ship(function)
    except Exception as error:
        raise UsageError(
            f"task type {name} cannot be shipped to workers ({type(error).__name__}: {error}); "
            "put it in a module that they can import, or do not refer to such objects in it"
        ) from error
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)  # pyright: ignore[reportUnknownMemberType]
