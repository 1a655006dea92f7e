"""A campaign ends when it should: not sooner for a stray error, nor later for a stubborn agent."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, ClassVar

import anyio
import pytest
from msgspec import structs

from steerio import (
    Board,
    Campaign,
    Limits,
    Result,
    agent,
    every,
    on_failure,
    on_result,
    on_success,
    task,
)
from steerio.campaign.conductor import Conductor
from steerio.errors import PoolBroken, UnhandledFailure
from steerio.testing import FailStarts, Model, simulate

TASK_S = 10.0
MODEL = Model(TASK_S)


@task
def compute(x: int) -> int:
    return x


@task
def fails(x: int) -> int:
    raise ValueError(x)


@task(pool="other")
def elsewhere(x: int) -> int:
    return x


class Two(Campaign):
    workers: ClassVar = {"default": 2}

    def __init__(self) -> None:
        self.seen: list[str] = []


async def cancelled_by_another() -> None:
    """Await an asyncio task that somebody else has cancelled."""
    side = asyncio.ensure_future(asyncio.Event().wait())
    side.cancel()
    await side


class StrayInHandler(Two):
    async def setup(self) -> None:
        self.map(compute, range(20))

    @on_success(compute)
    async def record(self, result: Result) -> None:
        await cancelled_by_another()


class StrayInAgent(Two):
    @agent
    async def watch(self) -> None:
        await cancelled_by_another()


class StrayInSetup(Two):
    async def setup(self) -> None:
        await cancelled_by_another()


class StrayInFinish(Two):
    async def finish(self) -> None:
        await cancelled_by_another()


@pytest.mark.parametrize("kind", [StrayInHandler, StrayInAgent, StrayInSetup, StrayInFinish])
def test_a_stray_cancellation_in_an_agent_is_its_error_and_not_the_end(kind: type[Two]) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        simulate(kind(), model=MODEL)
    (error,) = raised.value.exceptions
    assert isinstance(error, RuntimeError)
    assert f"{kind.__name__}." in str(error)
    assert isinstance(error.__cause__, asyncio.CancelledError)


@pytest.mark.parametrize("leave", [lambda: sys.exit(4), lambda: exec("raise KeyboardInterrupt")])
def test_what_would_end_the_program_is_an_error_of_the_agent(leave: Any) -> None:
    class Leaving(Two):
        async def setup(self) -> None:
            self.submit(compute, 1)

        @on_success(compute)
        async def record(self, result: Result) -> None:
            leave()

    with pytest.raises(ExceptionGroup) as raised:
        simulate(Leaving(), model=MODEL)
    assert raised.group_contains(RuntimeError, match=r"Leaving.record raised .*self.stop\(\)")


def test_what_finish_raises_is_in_a_group_as_that_of_other_agents() -> None:
    class Unfinished(Two):
        async def finish(self) -> None:
            raise KeyError("nothing found")

    with pytest.raises(ExceptionGroup) as raised:
        simulate(Unfinished(), model=MODEL)
    assert raised.group_contains(KeyError, depth=1)


class Stubborn(Two):
    """Takes results as data, so that it does not notice that the campaign stops."""

    long = True

    @agent
    async def loop(self) -> None:
        while True:
            self.seen.append((await self.submit(compute, 1).result()).ended_as)

    @agent
    async def another(self) -> None:
        if self.long:
            await asyncio.sleep(TASK_S / 2)
            self.seen.append((await self.submit(compute, 2).result()).ended_as)


@pytest.mark.parametrize("long", [False, True], ids=["alone", "while another's task runs"])
def test_a_limit_ends_an_agent_that_goes_on_submitting(long: bool) -> None:
    campaign = Stubborn()
    campaign.long = long
    run = simulate(campaign, model=MODEL, limits=Limits(tasks=1), wall_limit_s=30)
    assert run.duration_s == (1.5 * TASK_S if long else TASK_S)
    assert campaign.seen.count("succeeded") == 1 + long
    assert run.ended["cancelled"] <= 1_000


def test_a_call_that_goes_on_submitting_is_cut_short_and_others_still_finish(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Working(Two):
        async def setup(self) -> None:
            self.map(compute, range(2))

        @on_success(compute)
        async def loop(self, result: Result) -> None:
            self.stop()
            while True:
                await self.submit(compute, 1).result()

        @on_success(compute)
        async def think(self, result: Result) -> None:
            await asyncio.sleep(1_000)
            self.seen.append(f"thought of {result.args[0]}")

    with caplog.at_level(logging.WARNING, "steerio"):
        run = simulate(Working(), model=MODEL, wall_limit_s=30)
    assert run.campaign.seen == ["thought of 0", "thought of 1"]
    assert "Working.loop is cut short: it submitted 1,000 tasks" in caplog.text


def test_a_setup_that_goes_on_submitting_is_cut_short_too() -> None:
    class Endless(Two):
        async def setup(self) -> None:
            while True:
                await self.submit(compute, 1).result()

    run = simulate(Endless(), model=MODEL, limits=Limits(tasks=3), wall_limit_s=30)
    assert run.duration_s == 3 * TASK_S


def test_what_is_submitted_while_a_campaign_stops_calls_nobody() -> None:
    class Chain(Two):
        async def setup(self) -> None:
            self.submit(compute, 0)

        @on_result(compute)
        async def another(self, result: Result) -> None:
            self.seen.append(result.ended_as)
            self.stop()
            self.submit(compute, 1)

    assert simulate(Chain(), model=MODEL).campaign.seen == ["succeeded"]


def test_a_period_that_stops_the_campaign_may_finish_its_call() -> None:
    class Periodic(Two):
        @every(60.0)
        async def tick(self) -> None:
            self.stop()
            await asyncio.sleep(5)
            self.seen.append("ticked")

    run = simulate(Periodic(), model=MODEL)
    assert (run.campaign.seen, run.duration_s) == (["ticked"], 65)


def test_an_interrupted_campaign_waits_for_calls_within_a_bound(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Deaf(Two):
        async def setup(self) -> None:
            self.map(compute, range(2))

        @on_success(compute)
        async def wait(self, result: Result) -> None:
            assert isinstance(self._conductor, Conductor)
            self._conductor.interrupt()
            await asyncio.Event().wait()

        async def finish(self) -> None:
            self.seen.append("finished")

    with caplog.at_level(logging.WARNING, "steerio"):
        run = simulate(Deaf(), model=MODEL)
    assert run.campaign.seen == ["finished"]
    assert run.duration_s == TASK_S + 10
    assert "Deaf.wait is cut short" in caplog.text


class Hanging(Two):
    """Hangs where it is told to; each part is said when it ends."""

    def __init__(self, *where: str) -> None:
        super().__init__()
        self.where = where

    async def hang(self, where: str) -> None:
        try:
            if where in self.where:
                await asyncio.Event().wait()
        finally:
            self.seen.append(where)

    async def setup(self) -> None:
        self.submit(compute, 1)
        await self.hang("setup")

    @on_result(compute)
    async def look(self, result: Result) -> None:
        self.seen.append(result.ended_as)
        if "chain" in self.where:
            self.submit(compute, 1)
        await self.hang("handler")

    @agent
    async def watch(self) -> None:
        await self.hang("agent")

    @every(7.0)
    async def tick(self) -> None:
        await self.hang("period")

    async def finish(self) -> None:
        await self.hang("finish")


BOUNDS = Limits(wall_s=100, drain_s=20, calls_s=5, finish_s=3)


@pytest.mark.borders
@pytest.mark.parametrize(
    ("where", "takes_s", "ended_s"),
    [
        (["chain"], TASK_S, 100),
        (["handler"], TASK_S, 125),
        (["setup"], TASK_S, 125),
        (["period", "agent"], TASK_S, 125),
        (["agent"], TASK_S, 100),
        ([], 1e9, 120),
        (["handler"], 1e9, 125),
        (["handler", "finish"], 1e9, 128),
        (["finish", "agent"], TASK_S, 103),
    ],
)
def test_the_wall_limit_is_a_bound_whatever_hangs(
    where: list[str], takes_s: float, ended_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "steerio"):
        run = simulate(Hanging(*where), model=Model(takes_s), limits=BOUNDS)
    assert run.duration_s == pytest.approx(ended_s, abs=0.5)
    assert {*where} - {"chain"} <= {*run.campaign.seen}, "all were cancelled"
    assert "the campaign must end (100 s have passed): running tasks have 20 s" in caplog.text
    if ended_s > 103:
        assert "running tasks are cancelled, calls under way have 5 s to end" in caplog.text


@pytest.mark.borders
def test_the_wall_limit_bounds_a_finish_that_had_begun_before() -> None:
    class Slow(Two):
        async def finish(self) -> None:
            self.seen.append((await self.submit(compute, 1).result()).ended_as)
            await asyncio.Event().wait()

    run = simulate(Slow(), model=MODEL, limits=BOUNDS)
    assert (run.campaign.seen, run.duration_s) == (["succeeded"], 103)


@pytest.mark.borders
def test_a_finish_may_take_as_long_as_it_likes_where_nothing_must_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Slow(Two):
        async def setup(self) -> None:
            self.submit(compute, 1)

        @agent
        async def watch(self) -> None:
            await asyncio.sleep(50)
            self.stop()

        async def finish(self) -> None:
            assert isinstance(self._conductor, Conductor)
            await asyncio.sleep(10_000)
            self.seen.append(self._conductor.ending.said)

    with caplog.at_level(logging.WARNING, "steerio"):
        run = simulate(Slow(), model=MODEL)
    assert (run.campaign.seen, run.duration_s, caplog.text) == ([""], 10_050, "")


@pytest.mark.borders
def test_without_drain_the_wall_limit_cancels_at_once_and_0_is_a_grace_too() -> None:
    for limits in (structs.replace(BOUNDS, drain=False), structs.replace(BOUNDS, drain_s=0)):
        run = simulate(Hanging("handler"), model=Model(1e9), limits=limits)
        assert run.duration_s == pytest.approx(105, abs=0.5)
    unbounded = structs.replace(BOUNDS, drain_s=None)
    run = simulate(Hanging(), model=Model(500), limits=unbounded)
    assert (run.duration_s, run.campaign.seen[-1]) == (500, "finish")


def test_failures_too_few_for_a_call_are_errors_at_the_end() -> None:
    class Eights(Two):
        async def setup(self) -> None:
            self.map(fails, range(11))

        @on_failure(fails, every=8)
        async def look(self, results: list[Result]) -> None:
            self.seen += [result.ended_as for result in results]

    campaign = Eights()
    with pytest.raises(ExceptionGroup) as raised:
        simulate(campaign, model=MODEL)
    assert campaign.seen == ["failed"] * 8
    assert raised.group_contains(UnhandledFailure, match=r"Eights.look is called with 8, and there")
    tolerant = Eights()
    simulate(tolerant, model=MODEL, limits=Limits(failures=20))
    assert tolerant.seen == ["failed"] * 8


def test_failures_too_few_for_a_call_are_none_where_another_agent_handles_each() -> None:
    class Both(Two):
        async def setup(self) -> None:
            self.map(fails, range(3))

        @on_failure(fails, every=8)
        async def look(self, results: list[Result]) -> None: ...

        @on_failure(fails)
        async def take_in(self, result: Result) -> None:
            self.seen.append(result.ended_as)

    assert simulate(Both(), model=MODEL).campaign.seen == ["failed"] * 3


@pytest.mark.parametrize("used", ["not at all", "by a task", "by a board"])
def test_a_pool_that_fails_ends_only_campaigns_that_use_it(used: str) -> None:
    class Here(Two):
        def __init__(self) -> None:
            super().__init__()
            if used == "by a board":
                self.todo = Board(elsewhere, [1])

        async def setup(self) -> None:
            self.map(compute, range(10))
            if used == "by a task":
                self.submit(elsewhere, 1)

        @on_result(compute)
        async def record(self, result: Result) -> None:
            self.seen.append(result.ended_as)

    workers, faults = {"default": 1, "other": 1}, [FailStarts("other", "libxtb is missing")]
    if used == "not at all":
        run = simulate(Here(), model=MODEL, workers=workers, faults=faults)
        assert run.campaign.seen == ["succeeded"] * 10
        return
    with pytest.raises(ExceptionGroup) as raised:
        simulate(Here(), model=MODEL, workers=workers, faults=faults)
    assert raised.group_contains((PoolBroken, UnhandledFailure), match="libxtb is missing")


def test_failures_too_few_for_a_call_are_none_where_somebody_awaits_them() -> None:
    class Awaiting(Two):
        async def setup(self) -> None:
            self.seen += [(await task.result()).ended_as for task in self.map(fails, range(3))]

        @on_failure(fails, every=8)
        async def look(self, results: list[Result]) -> None: ...

    assert simulate(Awaiting(), model=MODEL).campaign.seen == ["failed"] * 3


def test_an_agent_that_does_not_end_when_cancelled_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Deaf(Two):
        @agent
        async def insist(self) -> None:
            self.stop()
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(60)

    with caplog.at_level(logging.WARNING, "steerio"):
        assert simulate(Deaf(), model=MODEL).duration_s == 60
    assert "Deaf.insist goes on although it was cancelled" in caplog.text
