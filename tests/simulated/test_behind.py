"""Handlers that are slower than what they are called for: said, and what they can do about it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

import pytest

from steerio import Campaign, Limits, Result, agent, on_event, on_failure, on_success, task
from steerio.campaign.call_queue import BEHIND_CALLS, BEHIND_S
from steerio.errors import UnhandledFailure, UsageError
from steerio.testing import Model, simulate

pytestmark = pytest.mark.borders


@task
def compute(x: int) -> int:
    if x < 0:
        raise ValueError(x)
    return x


MODEL = Model(1.0)


class Many(Campaign):
    workers: ClassVar = {"default": 4}
    count = 120
    takes_s = 10.0

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.seen: list[int] = []
        self.most = self.running = 0

    async def setup(self) -> None:
        self.map(compute, range(self.count))

    async def take(self, results: list[Result]) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.sizes.append(len(results))
        self.seen += [result.args[0] for result in results]
        await asyncio.sleep(self.takes_s)
        self.running -= 1


class Piling(Many):
    @on_success(compute, every=4)
    async def handle(self, results: list[Result]) -> None:
        await self.take(results)


class OneByOne(Many):
    @on_success(compute)
    async def handle(self, result: Result) -> None:
        await self.take([result])


class Bursting(Many):
    """Gets a thousand calls at once, and is fast."""

    workers: ClassVar = {"default": 1000}
    count = 3000
    takes_s = 0.01

    @on_success(compute)
    async def handle(self, result: Result) -> None:
        await self.take([result])


@pytest.mark.parametrize("piling", [Piling, OneByOne])
def test_a_handler_that_is_behind_is_named_once(
    piling: type[Many], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run = simulate(piling(), model=MODEL)
    assert sorted(run.campaign.seen) == list(range(120))
    (said,) = (record for record in caplog.records if "is behind" in record.getMessage())
    assert f"{piling.__name__}.handle is behind: " in said.getMessage()
    assert "coalesce=True" in said.getMessage()


def test_one_that_gets_many_at_once_and_is_fast_is_not(caplog: pytest.LogCaptureFixture) -> None:
    assert BEHIND_CALLS < 1000
    assert 1000 * Bursting.takes_s < BEHIND_S
    with caplog.at_level(logging.WARNING):
        run = simulate(Bursting(), model=MODEL)
    assert len(run.campaign.seen) == 3000
    assert "behind" not in caplog.text


@pytest.mark.parametrize("every", [None, 1, 4, 7])
@pytest.mark.parametrize("concurrent", [1, 2])
def test_with_coalesce_a_call_has_all_that_waits(
    every: int | None, concurrent: int, caplog: pytest.LogCaptureFixture
) -> None:
    class Coalescing(Many):
        @on_success(compute, every=every, coalesce=True, concurrent=concurrent)
        async def handle(self, results: list[Result]) -> None:
            await self.take(results)

    with caplog.at_level(logging.WARNING):
        run = simulate(Coalescing(), model=MODEL)
    campaign = run.campaign
    assert sorted(campaign.seen) == list(range(120)) or len(campaign.seen) > 120 - (every or 1)
    assert len(set(campaign.seen)) == len(campaign.seen)
    assert min(campaign.sizes) >= (every or 1)
    assert max(campaign.sizes) >= 16
    assert len(campaign.sizes) <= 12
    assert campaign.most == concurrent
    assert "behind" not in caplog.text
    assert run.duration_s <= 60


def test_events_coalesce_too() -> None:
    class Telling(Campaign):
        workers: ClassVar = {"default": 1}
        sizes: ClassVar[list[int]] = []

        @agent
        async def tell(self) -> None:
            for number in range(20):
                self.publish(number)
                await asyncio.sleep(1)

        @on_event(int, coalesce=True)
        async def hear(self, numbers: list[int]) -> None:
            self.sizes.append(len(numbers))
            await asyncio.sleep(5)

    Telling.sizes.clear()
    simulate(Telling(), model=MODEL)
    assert sum(Telling.sizes) == 20
    assert len(Telling.sizes) <= 6


def test_failures_that_join_a_call_that_waits_are_handled() -> None:
    class Failing(Many):
        async def setup(self) -> None:
            self.map(compute, range(-5, 0))

        @on_failure(compute, every=2, coalesce=True)
        async def handle(self, results: list[Result]) -> None:
            await self.take(results)

    run = simulate(Failing(), model=MODEL, workers={"default": 5})
    assert run.campaign.sizes[0] >= 2
    assert sum(run.campaign.sizes) == 5


def test_failures_too_few_for_a_call_are_errors_with_coalesce_as_without() -> None:
    class Failing(Many):
        async def setup(self) -> None:
            self.submit(compute, -1)

        @on_failure(compute, every=2, coalesce=True)
        async def handle(self, results: list[Result]) -> None:
            await self.take(results)

    with pytest.raises(ExceptionGroup) as raised:
        simulate(Failing(), model=MODEL)
    assert isinstance(raised.value.exceptions[0], UnhandledFailure)


def test_what_waits_when_the_campaign_stops_is_handled_in_one_call() -> None:
    class Coalescing(Many):
        @on_success(compute, coalesce=True)
        async def handle(self, results: list[Result]) -> None:
            await self.take(results)

    run = simulate(Coalescing(), model=MODEL, limits=Limits(successes=40))
    assert len(run.campaign.seen) == run.ended["succeeded"]


def test_coalesce_is_a_truth_value() -> None:
    for wrong in (1, "yes", None, 4):
        value: Any = wrong
        with pytest.raises(UsageError, match="coalesce is True or False"):
            on_success(compute, coalesce=value)
