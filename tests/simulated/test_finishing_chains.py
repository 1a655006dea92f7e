"""A stop that begins nothing new, and finishes the chains that were begun."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, ClassVar

import pytest

from steerio import Board, Campaign, Limits, Succeeded, agent, every, on_idle, on_success, task
from steerio.campaign.ending import LATE_TASKS
from steerio.errors import TaskCancelled, UsageError
from steerio.testing import Model, simulate


@task
def embed(x: int) -> int:
    return x


@task
def relax(x: int) -> int:
    return x


@task
def score(x: int) -> int:
    return x


MODEL = Model(lambda random, x: random.uniform(1, 9), value=lambda x: x)
FIXED = {
    embed: Model(3.0, value=lambda x: x),
    relax: Model(5.0, value=lambda x: x),
    score: Model(2.0, value=lambda x: x),
}


class Stages(Campaign):
    """Stops when the first chain has ended."""

    workers: ClassVar = {"default": 4}
    chains = True

    def __init__(self) -> None:
        self.ran: dict[str, list[int]] = {"embed": [], "relax": [], "score": []}
        self.cut: list[int] = []

    def ends(self, x: int) -> None:
        self.ran["score"].append(x)
        self.stop(finish_chains=self.chains, reason="enough")


class ByHandlers(Stages):
    def __init__(self) -> None:
        super().__init__()
        self.todo = Board(embed, range(100))

    @on_success(embed)
    async def embedded(self, result: Succeeded) -> None:
        self.ran["embed"].append(result.value)
        self.options(priority=1).submit(relax, result.value)

    @on_success(relax)
    async def relaxed(self, result: Succeeded) -> None:
        self.ran["relax"].append(result.value)
        self.options(priority=2).submit(score, result.value)

    @on_success(score)
    async def scored(self, result: Succeeded) -> None:
        self.ends(result.value)


class InACircle(ByHandlers):
    """Begins the next chain when one has ended, without a board."""

    def __init__(self) -> None:
        super().__init__()
        self.todo = Board(embed, range(12))

    @on_success(score)
    async def scored(self, result: Succeeded) -> None:
        self.ends(result.value)
        self.submit(embed, result.value + 100)


class ByLoops(Stages):
    def __init__(self) -> None:
        super().__init__()
        self.left = list(range(100))

    async def loop(self) -> None:
        while self.left:
            x = self.left.pop(0)
            try:
                self.ran["embed"].append(await self.run(embed, x))
                self.ran["relax"].append(await self.run(relax, x))
                self.ends(await self.run(score, x))
            except TaskCancelled:
                self.cut.append(x)
                raise

    @agent
    async def loops(self) -> None:
        await asyncio.gather(*(self.loop() for _ in range(8)))


class ByTasksOfAsyncio(ByLoops):
    async def loop(self) -> None:
        with contextlib.suppress(TaskCancelled):
            await super().loop()

    @agent
    async def loops(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(self.loop())


@pytest.mark.parametrize("kind", [ByHandlers, InACircle, ByTasksOfAsyncio])
def test_chains_that_were_begun_are_finished_and_no_other_is_begun(kind: type[Stages]) -> None:
    run = simulate(kind(), model=MODEL)
    ran = {name: sorted(each) for name, each in run.campaign.ran.items()}
    assert ran["embed"] == ran["relax"] == ran["score"]
    assert 4 <= len(ran["embed"]) <= 12
    assert max(ran["embed"]) < 100

    drained = simulate(type("Drained", (kind,), {"chains": False})(), model=MODEL)
    ran = drained.campaign.ran
    assert len(ran["score"]) < len(ran["embed"])


def test_an_agent_ends_when_its_next_chain_would_begin() -> None:
    class Alone(ByLoops):
        workers: ClassVar = {"default": 1}

        @agent
        async def loops(self) -> None:
            await self.loop()

        @every(7.0)
        async def enough(self) -> None:
            self.stop(finish_chains=True)

    run = simulate(Alone(), model=FIXED)
    assert run.campaign.ran == {"embed": [0], "relax": [0], "score": [0]}
    assert run.campaign.cut == [1]
    assert run.duration_s == pytest.approx(10, abs=0.5)


def test_what_is_queued_and_begins_something_ends_and_what_follows_does_not() -> None:
    class Queued(Campaign):
        workers: ClassVar = {"default": 1}

        def __init__(self) -> None:
            self.order: list[str] = []

        async def setup(self) -> None:
            first: Any = self.submit(embed, 1)
            self.waiting = self.submit(relax, first)
            self.new: Any = self.submit(embed, 2)
            self.behind_new = self.submit(relax, self.new)

        @every(1.0)
        async def enough(self) -> None:
            self.stop(finish_chains=True)

        async def finish(self) -> None:
            for each in (self.waiting, self.new, self.behind_new):
                self.order.append((await each.result()).ended_as)

    run = simulate(Queued(), model=MODEL)
    assert run.campaign.order == ["succeeded", "cancelled", "cancelled"]


def test_no_other_agent_begins_anything_meanwhile() -> None:
    class Others(ByHandlers):
        asked = 0

        @every(1.0)
        async def tick(self) -> None:
            if len(self.ran["score"]) > 1:
                self.cut.append((await self.submit(embed, 1000).result()).ended_as == "cancelled")

        @on_idle("default")
        async def more(self, idle: int) -> None:
            self.asked += not self.ran["score"]
            assert not self.ran["score"]

    run = simulate(Others(), model=MODEL)
    assert len(run.campaign.ran["embed"]) == len(run.campaign.ran["score"])
    assert all(run.campaign.cut)


def test_another_stop_and_a_bound_of_time_end_chains_too() -> None:
    class Drained(ByHandlers):
        @on_success(score)
        async def scored(self, result: Succeeded) -> None:
            self.ends(result.value)
            if len(self.ran["score"]) == 2:
                self.stop(reason="not even these")
                self.stop(finish_chains=True)

    run = simulate(Drained(), model=MODEL)
    assert len(run.campaign.ran["score"]) < len(run.campaign.ran["embed"])

    class Slow(ByHandlers):
        workers: ClassVar = {"default": 1}

        async def setup(self) -> None:
            self.stop_at = asyncio.get_running_loop().call_later(
                1.0, lambda: self.stop(finish_chains=True)
            )

    run = simulate(Slow(), model=MODEL, limits=Limits(wall_s=4, drain_s=0, calls_s=0))
    assert run.campaign.ran["relax"] == []
    assert run.duration_s < 6


def test_a_call_that_goes_on_for_ever_is_cut_short(caplog: pytest.LogCaptureFixture) -> None:
    class Endless(Campaign):
        workers: ClassVar = {"default": 1}
        count = 0

        async def setup(self) -> None:
            self.submit(embed, 1)

        @on_success(embed)
        async def again(self, result: Succeeded) -> None:
            self.stop(finish_chains=True)
            while True:
                await self.run(relax, 1)
                self.count += 1

    with caplog.at_level(logging.WARNING):
        run = simulate(Endless(), model=MODEL)
    assert run.campaign.count == LATE_TASKS - 1
    assert "Endless.again is cut short" in caplog.text


def test_to_cancel_and_to_finish_chains_is_refused() -> None:
    class Both(Campaign):
        workers: ClassVar = {"default": 1}

        async def setup(self) -> None:
            with pytest.raises(UsageError, match="take one of the two"):
                self.stop(cancel=True, finish_chains=True)
            self.stop()

    simulate(Both(), model=MODEL)


def test_a_model_that_results_train_begins_no_new_round() -> None:
    class Rounds(Campaign):
        workers: ClassVar = {"default": 4}

        def __init__(self) -> None:
            self.seen: list[Any] = []

        async def setup(self) -> None:
            self.map(embed, range(8))

        @on_success(embed, every=4)
        async def train(self, results: list[Succeeded]) -> None:
            self.seen.append("train")
            self.submit(relax, 0)
            if self.seen.count("train") == 3:
                self.stop(finish_chains=True)

        @on_success(relax)
        async def choose(self, result: Succeeded) -> None:
            self.seen.append("chosen")
            self.map(embed, range(10, 18))

    run = simulate(Rounds(), model=MODEL)
    trained = run.campaign.seen.count("train")
    assert run.campaign.seen.count("chosen") == trained
    embedded = [each for each in run.records if "embed" in each.task_type]
    assert {each.ended_as for each in embedded} == {"succeeded", "cancelled"}
