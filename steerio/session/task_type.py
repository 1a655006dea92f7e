"""Task types: functions that workers know."""

from __future__ import annotations

import contextlib
import functools
import sys
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Generic, ParamSpec, TypeGuard, TypeVar, cast, overload

from steerio.edge.encoding.call_codec import CallCodec
from steerio.edge.encoding.callables import (
    fingerprint,
    is_bound,
    kind_of,
    name_of,
    stepped,
    written,
)
from steerio.edge.encoding.references import BareLatest, BareReference, gather, note
from steerio.launch.needs import Needs
from steerio.model.bounds import named, said
from steerio.model.objects import FROM_SETTING, check_number
from steerio.model.tasks import FunctionKind, TaskOptions, TaskSpec
from steerio.session.rebound_settings import Rebound
from steerio.session.reloads import watch
from steerio.session.task_checks import (
    check_decorated,
    check_function,
    check_gang,
    checked_memo,
    checked_name,
    make_options,
)
from steerio.session.task_code import (
    Bindings,
    Recent,
    bindings_of,
    is_importable,
    pickle_function,
)

P = ParamSpec("P")
R = TypeVar("R")
K = TypeVar("K")
V = TypeVar("V")

DEFAULT_POOL = "default"


class _Spec:
    """The spec that travels to the workers, made for each task unless it cannot change.

    If it cannot, it is put into the task type itself, and Python does not ask this again.
    """

    @overload
    def __get__(self, kind: None, owner: type) -> _Spec: ...

    @overload
    def __get__(self, kind: TaskType[..., Any], owner: type) -> TaskSpec: ...

    def __get__(self, kind: TaskType[..., Any] | None, owner: type) -> TaskSpec | _Spec:
        """Return it.

        Raises:
            UsageError: the function can neither be imported by workers nor be shipped.
        """
        return self if kind is None else kind._made_spec()  # pyright: ignore[reportPrivateUsage]


class TaskType(Generic[P, R]):
    """A function that workers know; made by `task`.

    Called directly it is just the function.  Given to ``run`` or ``submit`` it is run by a
    worker of its pool.
    """

    __steerio_task_type__ = True

    def __init__(
        self,
        function: Callable[P, R],
        pool: str = DEFAULT_POOL,
        options: TaskOptions | None = None,
        preload: Sequence[str] = (),
        threshold_bytes: int | None = FROM_SETTING,
        version: str = "",
        memo: bool = False,
        checked: bool = True,
    ) -> None:
        given: Any = function
        if issubclass(type(given), staticmethod):
            function = given.__func__
        elif is_task_type(given):
            function = given.function
        functools.update_wrapper(self, function, updated=())
        if type(function) is FunctionType:
            for name, value in vars(function).items():
                if not hasattr(type(self), name):  # or it would hide an attribute of the task type
                    setattr(self, name, value)
        self.function: Callable[P, R] = function
        self.pool = pool
        self.options = options or TaskOptions()
        self.preload = list(preload)
        self.threshold_bytes = threshold_bytes
        self.version = version
        self.checked = checked
        """Whether arguments and value have to fit the function's annotations."""
        self.name = checked_name(name_of(function))
        self.kind: FunctionKind = kind_of(function)
        self.memo = checked_memo(memo, self.kind, self.name)
        check_gang(self.options, self.kind, self.name)
        self._by_path: bool | None = None
        self._sent: TaskSpec | None = None
        self._bindings: Bindings | None = None
        self._rebound: Rebound
        self._made = False
        self._fixed: tuple[TaskSpec, list[BareReference | BareLatest]] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task type {self.name} of pool {self.pool!r}>"

    def in_pool(self, pool: str) -> TaskType[P, R]:
        """Return this task type, as it is for another pool."""
        return self if pool == self.pool else self._again(pool, checked=self.checked)

    def unchecked(self) -> TaskType[P, R]:
        """Return this task type, as it is for arguments and values that annotations do not bind."""
        return self._again(self.pool, checked=False) if self.checked else self

    def _again(self, pool: str, *, checked: bool) -> TaskType[P, R]:
        made_of = self.options, self.preload, self.threshold_bytes, self.version, self.memo
        return TaskType(self.function, pool, *made_of, checked)

    @functools.cached_property
    def codec(self) -> CallCodec:
        """The codec of its arguments and value."""
        return _codec(self.function, self.name, checked=self.checked)

    @functools.cached_property
    def is_known_by_name(self) -> bool:
        """Whether the function's name, and the version that it is given, tell which it is."""
        function = stepped(self.function)
        is_plain = type(function) is FunctionType and not function.__closure__
        return is_plain and "<" not in function.__qualname__  # as of lambdas, and in functions

    spec = _Spec()

    def _made_spec(self) -> TaskSpec:
        """Return the spec that travels to the workers for a task that is submitted now."""
        if self._fixed is not None:
            spec, references = self._fixed
            for reference in references:
                note(reference)
            return spec
        self.note_settings()
        if self._by_path and self._sent is not None:
            self._rebound.look()
            return self._sent
        bindings = self._bindings
        if self._sent is not None and bindings is not None and bindings.holds():
            return self._sent
        if bindings is not None or not self._made:
            bindings = self._bindings = bindings_of(self.function)
        self._made = True
        spec = _recent.same(self._with(pickle_function(self.function, self.name)))
        keeps = bindings is not None and len(spec.code) <= KEPT_CODE
        self._sent = spec if keeps else None
        if keeps:
            _known.add(self)
        return spec

    def note_settings(self) -> None:
        """Note the settings that an importable function reads of its module now.

        Its spec is always the same; and if it reads no settings, no look is needed again.
        """
        if self._by_path is None:
            self._by_path = is_importable(self.function, self.name)
        if self._by_path and self._sent is None:
            _known.add(self)
            self._sent = self._with(b"", fingerprint(self.function))
            self._rebound = Rebound(self.name, self.function)
            if not self._rebound:
                self.__dict__["spec"] = self._sent

    @contextlib.contextmanager
    def as_it_is(self) -> Generator[None, None, None]:
        """Have all tasks submitted in here run the function as it is now, pickled once."""
        with gather() as used:
            spec = self.spec
        if "spec" in vars(self):
            yield
            return
        outer = self._fixed  # the iterable of a map may submit as well
        self._fixed = spec, [*used.references.values(), *map(BareLatest, used.latest)]
        try:
            yield
        finally:
            self._fixed = outer

    def _with(self, code: bytes, digest: bytes = b"") -> TaskSpec:
        about = self.threshold_bytes, digest, self.checked
        return TaskSpec(self.name, self.pool, self.kind, code, *about)

    def look_again(self) -> None:
        """Find out anew how the function travels, as some module was reloaded."""
        self.__dict__.pop("spec", None)
        self._by_path = self._sent = self._bindings = None
        self._made = False

    def __reduce__(self) -> Any:
        """Travel in parts, so that functions shipped by value may refer to it."""
        made_of = (self.function, self.pool, self.options, self.preload, self.threshold_bytes)
        return TaskType, (*made_of, self.version, self.memo, self.checked)


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
    gang: int = ...,
    threshold_bytes: int | None = ...,
    version: str = ...,
    memo: bool = ...,
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
    gang: int = 1,
    threshold_bytes: int | None = FROM_SETTING,
    version: str = "",
    memo: bool = False,
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
        needs: the least make of a worker that runs it; by default any worker of its pool does.
        gang: the number of workers of its pool that run it together, all or none; see `gang`.
        threshold_bytes: arguments and values that are longer go by reference, through the store;
            ``None``: never; by default (-1) the store's setting decides.
        version: of the function; give it another, and results that a journal has of it are not
            used any more when a campaign is resumed, or recalled.
        memo: whether the value depends on the arguments alone, so that one that was computed may be
            given to every equal call, of this run and of later ones that name it. Then equal calls
            are computed once.

    Raises:
        UsageError: an option is wrong.
    """
    if function is not None:
        check_decorated(function)
    options = make_options(
        TaskOptions(),
        priority,
        timeout_s,
        retries,
        cancel_grace_s=cancel_grace_s,
        needs=needs,
        gang=gang,
    )
    pool = named(pool, "the pool of a task type")
    version = said(version, "the version of a task type")
    if threshold_bytes != FROM_SETTING:
        check_number("threshold_bytes", threshold_bytes, least=0, or_none=True)

    def decorate(function: Callable[..., Any]) -> TaskType[..., Any]:
        check_decorated(function)
        return TaskType(function, pool, options, preload, threshold_bytes, version, memo)

    return decorate if function is None else decorate(function)


def is_task_type(value: object) -> TypeGuard[TaskType[..., Any]]:
    """Say whether a value was made by `task`."""
    return issubclass(type(value), TaskType)


def as_arguments(item: Any) -> tuple[Any, ...]:
    """Return the arguments in an item: a tuple is all of them, another value the only one.

    A NamedTuple, as any tuple of a class of its own, is one value.
    """
    return tuple(cast("Iterable[Any]", item)) if type(item) is tuple else (item,)


KEPT = 1_000
"""Most plain functions with their task type, and most other callables with their codec, that are
kept: by identity, as others may be equal."""
KEPT_CODE = 65536
"""Longest code of a function that is kept with it, if it does not change."""
_recent = Recent()
_known: weakref.WeakSet[TaskType[..., Any]] = weakref.WeakSet()
"""The task types that keep their spec."""
_plain: dict[int, TaskType[..., Any]] = {}
_codecs: dict[tuple[int, bool], tuple[weakref.ref[Any], str, CallCodec]] = {}


def as_task_type(function: Callable[..., Any]) -> TaskType[..., Any]:
    """Return the task type of a function; a plain function runs in the pool ``default``.

    Raises:
        UsageError: it is not a function.
    """
    if is_task_type(function):
        return function
    known = _plain.get(id(function))
    if known is not None:
        return known
    check_function(function)
    made = TaskType(function)
    if _holds_nothing(function):
        _keep(_plain, id(function), made)
    return made


def _holds_nothing(function: Callable[..., Any]) -> bool:
    """Say whether keeping a function keeps only its code, or objects its module keeps anyway."""
    called: Any = function
    if type(called) is BuiltinFunctionType:
        return type(called.__self__) is ModuleType
    if type(called) is not FunctionType:
        return False
    if not (called.__closure__ or called.__defaults__ or called.__kwdefaults__):
        return True
    held = getattr(sys.modules.get(called.__module__), called.__name__, None)
    # a script may define its functions again and again, as a notebook does
    return held is called and called.__module__ != "__main__"


def _keep(kept: dict[K, V], number: K, value: V) -> None:
    if len(kept) >= KEPT:
        del kept[next(iter(kept))]
    kept[number] = value


def _codec(function: Callable[..., Any], name: str, *, checked: bool) -> CallCodec:
    """Return the codec of a function's arguments, which equal methods share."""
    key: Any = written(function) if is_bound(function) else function
    known = _codecs.get((id(key), checked))
    if known is not None and known[0]() is key and known[1] == name:
        return known[2]
    made = CallCodec(function, name, checked=checked)
    with contextlib.suppress(TypeError):  # not weakly referable, so not kept
        _keep(_codecs, (id(key), checked), (weakref.ref(key), name, made))
    return made


def _look_again() -> None:
    for kind in list(_known):
        kind.look_again()
    for kept in (_known, _plain, _codecs):
        kept.clear()


watch(_look_again)
