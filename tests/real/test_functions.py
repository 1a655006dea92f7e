"""Functions of any kind reach workers as what they are at the call; what cannot says why."""

from __future__ import annotations

import abc
import asyncio
import contextvars
import enum
import functools
import gc
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import steerio
from steerio.errors import UsageError
from tests.real.programs import python, running
from tests.real.test_standing_broker import broker_in, workers_in

pytestmark = pytest.mark.borders

LOCK = threading.Lock()


class Scale(msgspec.Struct, frozen=True):
    """A callable struct, whose field is called as the parameter is."""

    x: str
    by: float = 3.0

    def __call__(self, x: float) -> float:
        """Scale."""
        return self.by * x


class Slotted:
    """A callable without a dictionary."""

    __slots__ = ("by",)

    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, x: float) -> float:
        """Scale."""
        return self.by * x


class Model:
    """Has methods of all kinds."""

    spec = codec = pool = "attributes that a task type has as well"

    def __init__(self, by: float) -> None:
        self.by = by
        self.name = "mine"

    def scale(self, x: float, *, twice: bool = False) -> float:
        """Scale."""
        return self.by * x * (1 + twice)

    @classmethod
    def named(cls, x: int) -> tuple[str, int]:
        """Name the class."""
        return cls.__name__, x

    @staticmethod
    def negated(x: int) -> int:
        """Negate."""
        return -x

    async def later(self, x: float) -> float:
        """Scale, some time."""
        await asyncio.sleep(0)
        return self.by * x

    def each(self, count: int) -> Any:
        """Yield."""
        yield from range(count)

    async def __call__(self, x: float) -> float:
        """Scale."""
        return self.by * x

    doubled = functools.partialmethod(scale, twice=True)


class Derived(Model):
    """Inherits a class method."""


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function in a plain one."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@logged
async def wrapped_coroutine(x: int) -> int:
    """Add one, some time."""
    await asyncio.sleep(0)
    return x + 1


@logged
def wrapped(x: int) -> int:
    """Add one."""
    return x + 1


@functools.lru_cache
def cached(x: int) -> int:
    """Add one."""
    return x + 1


async def test_callables_of_every_kind_run() -> None:  # noqa: C901 - it defines them
    model = Model(2.0)

    @functools.lru_cache(maxsize=5)
    def fibonacci(n: int) -> int:
        return n if n < 2 else int(fibonacci(n - 1)) + int(fibonacci(n - 2))

    @functools.singledispatch
    def kind(x: Any) -> str:
        return "any"

    @kind.register
    def _(x: int) -> str:
        return "int"

    class WithProperty:
        @functools.cached_property
        def value(self) -> int:
            return 5

        @functools.singledispatchmethod
        def kind(self, x: Any) -> str:
            return "any"

        @kind.register
        def _(self, x: int) -> str:
            return "int"

    class Color(enum.Enum):
        RED = 7

        def number(self) -> int:
            return int(self.value)

    class Abstract(abc.ABC):
        @abc.abstractmethod
        def go(self) -> int: ...

    class Concrete(Abstract):
        def go(self) -> int:
            return 3

    class Node(msgspec.Struct):
        x: int
        child: Any = None

        def deep(self) -> int:
            return self.x + (self.child.deep() if self.child else 0)

    async with steerio.open_session(workers={"default": 1}) as session:
        run = session.run
        assert await run(model.scale, 3.0) == 6.0
        assert await run(model.scale, 3, twice=True) == 12.0
        assert await run(model.doubled, 3.0) == 12.0
        assert await run(model.later, 3.0) == 6.0
        assert await run(model, 3.0) == 6.0
        assert [item async for item in session.stream(model.each, 3)] == [0, 1, 2]
        assert await run(Model.named, 1) == ("Model", 1)
        assert await run(Derived.named, 1) == ("Derived", 1)
        assert await run(model.negated, 1) == await run(Model.negated, 1) == -1
        assert await run(Scale("a"), 2.0) == 6.0
        assert await run(Slotted(4.0), 2.0) == 8.0
        assert await run(math.sqrt, 4.0) == 2.0
        assert await run("b".upper) == await run(str.upper, "b") == "B"
        assert (await run(dict, a=1), await run(np.negative, 1)) == ({"a": 1}, -1)
        assert (await run(wrapped, 1), await run(wrapped_coroutine, 1), await run(cached, 1)) == (
            (2, 2, 2)
        )
        assert await run(logged(wrapped_coroutine), 1) == 2
        assert await run(fibonacci, 20) == 6765
        assert (await run(kind, 1), await run(kind, "")) == ("int", "any")
        assert await run(lambda: WithProperty().value) == 5
        assert await run(WithProperty().kind, 1) == "int"
        assert (await run(Color.RED.number), await run(Concrete().go)) == (7, 3)
        assert await run(Node(1, Node(2)).deep) == 3
        assert await run(steerio.task(pool="default")(model.scale), 1.0) == 2.0


@pytest.mark.timeout(240)
async def test_what_goes_by_value_is_what_it_is_at_the_call(tmp_path: Path) -> None:
    module = ("-m", "tests.real.changing")
    with running(*python(*module), cwd=tmp_path) as program:
        assert await asyncio.to_thread(program.status) == 0, program
        assert "all held" in program.output
    with (
        broker_in(tmp_path) as broker,
        workers_in(tmp_path, "--workers", "default=2"),
        running(*python(*module, "broker"), cwd=tmp_path) as program,
    ):
        assert await asyncio.to_thread(program.status) == 0, (program, broker)
        assert "all held" in program.output


async def test_what_cannot_be_sent_is_named_with_where_it_is() -> None:
    lock, variable = threading.Lock(), contextvars.ContextVar[int]("variable")
    opened = Path(__file__).open()  # noqa: ASYNC230, SIM115 - to be sent open

    class Holder:
        def __init__(self) -> None:
            self.inner = {"guards": [LOCK]}

        def go(self) -> int:
            return 1

    class Guarded:
        def back(self) -> Any:
            return lock

    def helper() -> Any:
        return variable

    def work(x: int = 1, guard: Any = lock) -> Any:
        return x

    refused: list[tuple[Callable[..., Any], str]] = [
        (lambda: lock, "variable 'lock' of .*lambda.* is of type _thread.lock"),
        (lambda: [helper()], r"variable 'variable' of .*helper, through variable 'helper' of "),
        (lambda: opened, r"variable 'opened' of .* _io.TextIOWrapper"),
        (Holder().go, r"entry 0, through entry 'guards', through attribute 'inner' of a .*Holder"),
        (functools.partial(wrapped, lock), "argument 0 of the partial is of type _thread.lock"),
        (work, "default 1 of .*work"),
        (lambda: Guarded, "variable 'lock' of .*back, through attribute 'back' of .*Guarded"),
        ((i for i in range(3)).__next__, "generator"),
    ]
    async with steerio.open_session(workers={"default": 1}) as session:
        try:
            for function, says in refused:
                with pytest.raises(UsageError, match=says):
                    session.submit(function)
        finally:
            opened.close()


async def test_what_is_no_function_is_refused_with_the_way_to_say_it() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        for give in (session.submit, session.run, lambda what: session.map(what, [1])):
            with pytest.raises(UsageError, match=r"submit\(wrapped_coroutine, 1\)"):
                await asyncio.ensure_future(_awaited(give, wrapped_coroutine(1)))
            with pytest.raises(UsageError, match="5 is neither a function nor a @task"):
                await _awaited(give, 5)
            with pytest.raises(UsageError, match="through its class"):
                await _awaited(give, vars(Model)["named"])


async def _awaited(give: Callable[[Any], Any], what: Any) -> None:
    given = give(what)
    if asyncio.iscoroutine(given):
        await given


def test_a_decorator_used_wrongly_says_how_to() -> None:
    decorate: Any = steerio.task
    with pytest.raises(UsageError, match=r"@task\(pool='gpu'\)"):
        decorate("gpu")
    with pytest.raises(UsageError, match="neither a function"):
        decorate(5)
    with pytest.raises(UsageError, match="neither a function"):
        decorate(pool="gpu")(None)
    with pytest.raises(UsageError, match=r"Wrong.energy is a method.*run\(model.energy"):

        class Wrong:
            @decorate
            def energy(self) -> None: ...

    class Right:
        @staticmethod
        @decorate
        def one(x: int) -> int:
            return x

        @decorate
        @staticmethod
        def two(x: int) -> int:
            return x

    assert Right.one(1) == Right.two(1) == 1


def memory_of_this_process() -> int:
    """Return the bytes that this process has in memory for itself."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
async def test_functions_that_hold_something_else_each_time_do_not_pile_up() -> None:
    megabyte = 2**20
    async with steerio.open_session(workers={"default": 1}) as session:

        async def ship(count: int) -> list[int]:
            for number in range(count):
                data = np.full(megabyte, number % 256, dtype=np.uint8)
                assert await session.run(lambda data=data: int(data[-1])) == number % 256
                assert await session.run(functools.partial(np.max, data)) == number % 256
            gc.collect()
            return [memory_of_this_process(), await session.run(memory_of_this_process)]

        before = await ship(30)
        after = await ship(60)
        grown = [(b - a) / megabyte for a, b in zip(before, after, strict=True)]
        assert max(grown) < 30, f"of 120 MB that were sent, here and in the worker: {grown}"
