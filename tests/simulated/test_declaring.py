"""A class of campaigns works as it is written, or is refused when it is made, with the way out."""

# Classes are declared here as they must not be.
# pyright: reportArgumentType=false, reportRedeclaration=false, reportIncompatibleMethodOverride=false

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from steerio import (
    Board,
    Campaign,
    Result,
    Succeeded,
    agent,
    every,
    on_event,
    on_failure,
    on_idle,
    on_result,
    on_success,
    task,
)
from steerio.errors import UsageError
from steerio.model.objects import StoreSetting
from steerio.testing import Model, simulate

pytestmark = pytest.mark.borders


@task
def energy(x: int) -> int:
    if x < 0:
        raise ValueError(x)
    return x


@task
def other(x: int) -> int:
    return x


MODEL = Model(1.0)


def refused(make: Callable[[], Any], *words: str) -> None:
    """Assert that making something is refused, with these words."""
    with pytest.raises(UsageError) as raised:
        make()
    for word in words:
        assert word in str(raised.value)


# -- several triggers ---------------------------------------------------------------------------


class Both(Campaign):
    """Hears of two task types and of failures, in one method."""

    workers: ClassVar = {"default": 4}

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []
        self.at_once = self.most = 0

    async def setup(self) -> None:
        self.map(energy, [1, 2, -3])
        self.map(other, [4, 5])

    @on_success(energy)
    @on_failure(energy)
    @on_result(other)
    async def hear(self, result: Result) -> None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(1)
        self.at_once -= 1
        self.heard.append((result.ended_as, result.args[0]))


def test_a_method_is_called_for_each_of_its_triggers_and_once_at_a_time() -> None:
    run = simulate(Both(), model=MODEL)
    assert sorted(run.campaign.heard) == [
        ("failed", -3),
        ("succeeded", 1),
        ("succeeded", 2),
        ("succeeded", 4),
        ("succeeded", 5),
    ]
    assert run.campaign.most == 1


def test_triggers_of_other_kinds_may_be_on_one_method_too() -> None:
    class Mixed(Campaign):
        workers: ClassVar = {"default": 1}
        calls: ClassVar[list[Any]] = []

        async def setup(self) -> None:
            self.map(energy, range(4))
            self.publish("news")

        @every(3.0)
        @on_event(str)
        @on_success(energy, every=2, concurrent=2)
        async def hear(self, what: Any = "time") -> None:
            self.calls.append(what if isinstance(what, str) else len(what))
            if len(self.calls) == 4:
                self.stop()

    Mixed.calls.clear()
    run = simulate(Mixed(), model=MODEL)
    assert sorted(map(str, run.campaign.calls)) == ["2", "2", "news", "time"]


def test_one_trigger_twice_and_an_agent_beside_others_are_refused() -> None:
    async def hear(self: Any, *result: Any) -> None: ...

    refused(lambda: on_success(energy)(on_success(energy)(hear)), "@on_success twice")
    refused(lambda: agent(hear), "a method of its own")
    refused(lambda: every(2.0)(agent(lambda_agent)), "a method of its own")


async def lambda_agent(self: Any) -> None: ...


def test_a_method_that_overrides_an_agent_is_one() -> None:
    class Base(Campaign):
        workers: ClassVar = {"default": 1}

        def __init__(self) -> None:
            self.heard: list[str] = []

        async def setup(self) -> None:
            self.submit(energy, 1)

        @on_success(energy)
        async def hear(self, result: Succeeded) -> None:
            self.heard.append("base")

    class Further(Base):
        async def hear(self, result: Succeeded) -> None:
            await super().hear(result)
            self.heard.append("further")

    class Silent(Base):
        hear: Any = None

    class Other(Base):
        @on_success(other)
        async def hear(self, result: Succeeded) -> None:
            self.heard.append("other")

    assert simulate(Further(), model=MODEL).campaign.heard == ["base", "further"]
    assert simulate(Silent(), model=MODEL).campaign.heard == []
    assert simulate(Other(), model=MODEL).campaign.heard == []

    def wrong() -> None:
        class Wrong(Base):
            async def hear(self) -> None: ...  # type: ignore[override]

    refused(wrong, "Wrong.hear(self)", "@on_success", "hear(self, result)")


# -- names --------------------------------------------------------------------------------------

OWN = [
    *(
        "approve",
        "as_completed",
        "checkpoint",
        "consult",
        "events",
        "gather",
        "map",
        "nodes",
        "note",
        "offload",
        "options",
        "pools",
        "publish",
    ),
    *("put", "recovered", "run", "run_chains", "session", "stop", "stream", "submit"),
    *("until", "versions"),
]


def test_these_names_are_campaigns_own() -> None:
    assert sorted(n for n in Campaign._reserved if not n.startswith("_")) == OWN


@pytest.mark.parametrize("name", [*OWN, "_conductor", "_submit"])
def test_an_attribute_of_a_name_that_campaigns_have_is_refused(name: str) -> None:
    class Plain(Campaign): ...

    refused(lambda: setattr(Plain(), name, {}), f"self.{name} of Plain", f"Campaign.{name}", "else")
    refused(lambda: type("Classy", (Campaign,), {name: 3}), f"Classy.{name} would hide")
    fields = {"__annotations__": {name: list}, name: field(default_factory=list)}
    refused(lambda: dataclass(type("Data", (Campaign,), fields)), f"Data.{name}")

    @dataclass
    class Annotated(Campaign):
        __annotations__ = {name: "int"}

    refused(lambda: Annotated(**{name: 3}), f"self.{name} of Annotated")


def test_a_method_or_trigger_of_such_a_name_is_refused() -> None:
    def trigger() -> None:
        class Stopping(Campaign):
            @on_success(energy)
            async def stop(self, result: Succeeded) -> None: ...  # type: ignore[override]

    def mixed_in() -> None:
        class Mixin:
            def events(self) -> None: ...

        class Mixed(Mixin, Campaign): ...  # type: ignore[misc]

    def slots() -> None:
        class Slotted(Campaign):
            __slots__ = ("pools",)

    refused(trigger, "Stopping.stop would hide Campaign.stop (End the campaign)")
    refused(mixed_in, "Mixin.events would hide Campaign.events")
    refused(slots, "Slotted.pools")


def test_a_store_that_is_no_setting_is_refused() -> None:
    class Storing(Campaign): ...

    for value in ({}, [], "shared-memory", Board(energy)):
        refused(lambda value=value: setattr(Storing(), "store", value), "StoreSetting")
    refused(lambda: type("Classy", (Campaign,), {"store": {}}), "Classy.store")
    storing = Storing()
    storing.store = StoreSetting()  # type: ignore[misc]
    assert storing.store == StoreSetting()


def test_settings_hooks_and_other_names_are_free() -> None:
    @dataclass
    class Free(Campaign):
        budget: int = 3
        stops: list[int] = field(default_factory=list)
        workers: ClassVar = {"default": 1}
        store: ClassVar = StoreSetting()

        async def setup(self) -> None:
            self.submit(energy, 1)

        async def finish(self) -> None:
            self.budget = 4

    free = Free()
    free.workers = {"default": 2}  # type: ignore[misc]
    assert simulate(free, model=MODEL).campaign.budget == 4


# -- hooks and agents that cannot be called ------------------------------------------------------


@pytest.mark.parametrize("name", ["setup", "finish"])
def test_a_hook_that_cannot_be_awaited_is_refused(name: str) -> None:
    def plain(self: Any) -> None: ...

    async def more(self: Any, more: int) -> None: ...

    async def generating(self: Any) -> Any:
        yield 1

    async def good(self: Any, *rest: Any, more: int = 3) -> None: ...

    @functools.wraps(good)
    def wrapping(*args: Any) -> Any:
        return good(*args)

    for wrong in (plain, generating, staticmethod(good), property(plain), 3, lambda self: None):
        refused(lambda w=wrong: type("C", (Campaign,), {name: w}), f"C.{name}", "async def")
    refused(lambda: type("C", (Campaign,), {name: more}), f"C.{name}", "nothing but self")
    for right in (good, wrapping):
        type("C", (Campaign,), {name: right})


async def nothing(self: Any) -> None: ...


async def one(self: Any, result: Any) -> None: ...


async def two(self: Any, result: Any, more: Any) -> None: ...


async def no_self(result: Any) -> None: ...


async def bare() -> None: ...


async def keyword(self: Any, *, result: Any) -> None: ...


async def some(self: Any, *results: Any) -> None: ...


async def defaults(self: Any, result: Any = None, more: Any = None) -> None: ...


async def anything(*args: Any, **kwargs: Any) -> None: ...


WITH_ONE = [
    on_success(energy),
    on_failure(energy),
    on_result(energy, every=3),
    on_event(str),
    on_event(int, every=2),
    on_idle("default"),
]


@pytest.mark.parametrize("trigger", WITH_ONE)
def test_a_handler_that_cannot_take_what_it_is_given_is_refused(trigger: Any) -> None:
    for wrong in (nothing, two, no_self, bare, keyword):
        refused(lambda w=wrong: trigger(w), f"{wrong.__name__}(", "async def", "(self, ")
    for right in (one, some, defaults, anything):
        trigger(_copy(right))


def _copy(function: Any) -> Any:
    """Return a function of the same signature, without triggers."""

    @functools.wraps(function)
    async def copied(*args: Any) -> None: ...

    copied.__dict__.pop("__steerio_triggers__", None)
    return copied


@pytest.mark.parametrize("trigger", [agent, every(1.0)])
def test_an_agent_takes_nothing(trigger: Any) -> None:
    for wrong in (one, two, bare, keyword):
        refused(lambda w=wrong: trigger(w), f"{wrong.__name__}(", "nothing", "(self)")
    for right in (nothing, some, defaults, anything):
        trigger(_copy(right))


@pytest.mark.parametrize("trigger", [agent, every(1.0), on_success(energy), on_idle("default")])
def test_what_is_no_async_method_is_refused(trigger: Any) -> None:
    def plain(self: Any, result: Any = None) -> None: ...

    async def generating(self: Any, result: Any = None) -> Any:
        yield 1

    for wrong in (plain, 3, "x", None):
        refused(lambda w=wrong: trigger(w))
    refused(lambda: trigger(generating), "without yield")
    for kind in (staticmethod, classmethod, property):
        refused(lambda k=kind: trigger(k(one)), kind.__name__, "take self")


def test_a_decorator_that_hides_an_agent_is_refused() -> None:
    def without_wraps(function: Any) -> Any:
        async def inner(*args: Any) -> Any:
            return await function(*args)

        return inner

    def with_wraps(function: Any) -> Any:
        return functools.wraps(function)(without_wraps(function))

    def make(around: Any) -> type[Campaign]:
        class Hiding(Campaign):
            workers: ClassVar = {"default": 1}
            heard: ClassVar[list[int]] = []

            async def setup(self) -> None:
                self.submit(energy, 1)

            @around
            @on_success(energy)
            async def hear(self, result: Succeeded) -> None:
                self.heard.append(1)

        return Hiding

    refused(lambda: make(without_wraps), "Hiding.hear", "functools.wraps")
    for kind in (staticmethod, classmethod, property, functools.cached_property):
        refused(lambda k=kind: make(k), "Hiding.hear is no agent", kind.__name__)
    good = make(with_wraps)
    assert simulate(good(), model=MODEL).campaign.heard == [1]  # type: ignore[attr-defined]


def test_two_agents_of_one_name_are_refused() -> None:
    def make() -> None:
        class Twice(Campaign):
            @on_success(energy)
            async def hear(self, result: Succeeded) -> None: ...

            @on_failure(energy)
            async def hear(self, result: Result) -> None: ...  # type: ignore[no-redef]  # noqa: F811

    def make_agents() -> None:
        class Twice(Campaign):
            @agent
            async def go(self) -> None: ...

            @agent
            async def go(self) -> None: ...  # type: ignore[no-redef]  # noqa: F811

    refused(make, "Twice.hear", "another of its name follows")
    refused(make_agents, "Twice.go", "another of its name follows")


def test_triggers_without_what_they_are_about_are_refused() -> None:
    on_anything: Any = on_success

    def unused() -> None:
        class Bare(Campaign):
            hear = on_success(energy)

    def bare_event() -> None:
        class Bare(Campaign):
            @on_event  # type: ignore[arg-type]
            async def hear(self, result: Any) -> None: ...

    refused(unused, "Bare.hear has @on_success without")
    refused(bare_event, "@on_event takes the class")
    refused(agent, "write @agent, not @agent()")
    refused(lambda: agent("x"), "write @agent")  # type: ignore[arg-type, call-overload]
    refused(lambda: on_anything(one), "names a task type first")
    refused(lambda: on_anything("energy"), "neither a function nor a @task")
    for seconds in (one, "5", 0, -1, None, True, float("nan"), float("inf")):
        refused(lambda s=seconds: every(s), "@every(5.0)")
    for count in ("8", 0, -1, 2.0, True, [3], 1.5):
        refused(lambda c=count: on_success(energy, every=c), "every must be a whole number")
        refused(lambda c=count: on_event(str, concurrent=c), "concurrent must be a whole number")


@pytest.mark.parametrize("name", ["record", "setup", "finish"])
def test_an_attribute_that_would_hide_an_agent(name: str) -> None:
    class Recording(Campaign):
        def __init__(self) -> None:
            setattr(self, name, [])

        @on_success(energy)
        async def record(self, result: Succeeded) -> None: ...

    with pytest.raises(UsageError, match=rf"self\.{name} would hide .*Recording\.{name}: call it"):
        Recording()
