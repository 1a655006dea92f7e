"""Agents of several loops, a number of them or one for each worker of a pool."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

import pytest

from steerio import Campaign, agent, on_success, task
from steerio.errors import UnknownPool, UsageError
from steerio.testing import Model, simulate
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import cut, play


@task(pool="simulate")
def measure(x: int) -> int:
    return x


@task(pool="train")
def train(x: int) -> int:
    return x


MODEL = Model(1.0)


class Sampling(Campaign):
    """Loops that each take a number, measure it and note it, until none is left."""

    workers: ClassVar = {"simulate": 4, "train": 1}

    def __init__(self, n: int = 40) -> None:
        self.left = list(range(n))
        self.known: list[int] = []
        self.by: dict[int, list[int]] = {}
        self.at_work: set[int] = set()
        self.most = 0

    async def step(self, index: int) -> None:
        assert index not in self.at_work
        self.at_work.add(index)
        self.most = max(self.most, len(self.at_work))
        x = self.left.pop(0)
        self.known.append(await self.run(measure, x))
        self.by.setdefault(index, []).append(x)
        self.at_work.remove(index)


@pytest.mark.smoke
def test_an_agent_runs_as_several_loops_each_with_its_index() -> None:
    class Three(Sampling):
        @agent(concurrent=3)
        async def sample(self, index: int) -> None:
            while self.left:
                await self.step(index)

    run = simulate(Three(), model=MODEL)
    assert sorted(run.campaign.known) == list(range(40))
    assert sorted(run.campaign.by) == [0, 1, 2]
    assert run.campaign.most == 3
    assert run.duration_s == pytest.approx(14.0)
    assert {record.cause for record in run.records} == {"Three.sample"}


def test_the_index_need_not_be_taken() -> None:
    class Plain(Campaign):
        workers: ClassVar = {"simulate": 4}

        @agent(concurrent=3)
        async def sample(self) -> None:
            await self.run(measure, 1)

    assert simulate(Plain(), model=MODEL).ended == {"succeeded": 3}


class Following(Sampling):
    """One loop for each worker of a pool, of which some are lent away for a while."""

    lends: ClassVar[tuple[float, float]] = (10.0, 20.0)

    @agent(per_worker="simulate")
    async def sample(self, index: int) -> None:
        while self.left:
            await self.checkpoint()
            if self.left:
                await self.step(index)

    @agent
    async def lend(self) -> None:
        await asyncio.sleep(self.lends[0] + 0.5)
        self.before = self.most
        async with self.pools.lend("simulate", to="train", workers=3):
            await asyncio.sleep(1.5)
            self.most = 0
            await asyncio.sleep(self.lends[1] - self.lends[0])
            self.during = self.most
            self.most = 0
        await asyncio.sleep(5.0)
        self.after = self.most


def test_loops_follow_the_workers_of_a_pool_and_lose_nothing() -> None:
    campaign = simulate(Following(100), model=MODEL).campaign
    assert (campaign.before, campaign.during, campaign.after) == (4, 1, 4)
    assert sorted(campaign.known) == list(range(100))
    assert sorted(campaign.by) == [0, 1, 2, 3]


def test_several_loops_for_each_worker() -> None:
    class Doubled(Sampling):
        @agent(per_worker="simulate", concurrent=2)
        async def sample(self, index: int) -> None:
            while self.left:
                await self.step(index)

    campaign = simulate(Doubled(), model=MODEL).campaign
    assert campaign.most == 8
    assert sorted(campaign.known) == list(range(40))


def test_a_loop_that_waits_at_a_checkpoint_goes_at_once_and_comes_back() -> None:
    class Waiting(Campaign):
        workers: ClassVar = {"simulate": 2, "train": 1}

        def __init__(self) -> None:
            self.told: list[Any] = []
            self.go = False

        @agent(per_worker="simulate")
        async def wait(self, index: int) -> None:
            self.told.append(("begins", index))
            try:
                await self.checkpoint(until=lambda: self.go)
                self.told.append(("ends", index))
            except asyncio.CancelledError:
                self.told.append(("goes", index))
                raise

        @agent
        async def lend(self) -> None:
            await self.run(train, 1)
            async with self.pools.lend("simulate", to="train", workers=1):
                await self.run(train, 1)
            await self.run(train, 1)
            self.go = True

    told = simulate(Waiting(), model=MODEL).campaign.told
    assert told[:4] == [("begins", 0), ("begins", 1), ("goes", 1), ("begins", 1)]
    assert sorted(told[4:]) == [("ends", 0), ("ends", 1)]


def test_a_loop_without_a_checkpoint_goes_on_and_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stubborn(Sampling):
        @agent(per_worker="simulate")
        async def sample(self, index: int) -> None:
            while self.left:
                await self.step(index)

        @agent
        async def give(self) -> None:
            await self.pools.move("simulate", "train", 2)

    with caplog.at_level(logging.WARNING, "steerio.campaign"):
        campaign = simulate(Stubborn(600), model=MODEL).campaign
    assert sorted(campaign.known) == list(range(600))
    assert caplog.text.count("goes on although its worker has left the pool simulate") == 2


def test_loops_begin_when_the_first_workers_come() -> None:
    class Late(Sampling):
        workers: ClassVar = {"simulate": 0, "train": 3}

        async def setup(self) -> None:
            self.submit(train, 1)

        @on_success(train)
        async def give(self, result: Any) -> None:
            await self.pools.move("train", "simulate", 2)

        @agent(per_worker="simulate")
        async def sample(self, index: int) -> None:
            while self.left:
                await self.step(index)

    campaign = simulate(Late(), model=MODEL).campaign
    assert sorted(campaign.known) == list(range(40))
    assert sorted(campaign.by) == [0, 1]


def test_a_campaign_whose_loops_can_never_begin_ends() -> None:
    class Never(Sampling):
        workers: ClassVar = {"simulate": 0, "train": 1}

        @agent(per_worker="simulate")
        async def sample(self, index: int) -> None:
            await self.step(index)

    assert simulate(Never(), model=MODEL).campaign.known == []


def test_loops_that_all_wait_for_a_condition_end_the_campaign() -> None:
    class Resting(Sampling):
        @agent(concurrent=5)
        async def sample(self) -> None:
            await self.run(measure, 1)
            await self.until(lambda: False)

    assert simulate(Resting(), model=MODEL).ended == {"succeeded": 5}


class Walkers(Campaign):
    """Loops of different length, that checkpoint between two steps."""

    workers: ClassVar = {"simulate": 2}

    def __init__(self) -> None:
        self.at = [0, 0, 0]
        self.done: list[int] = []

    @agent(concurrent=3)
    async def walk(self, index: int) -> None:
        while self.at[index] < 4 * (index + 1):
            await self.run(measure, 100 * index + self.at[index])
            self.at[index] += 1
            await self.checkpoint()
        self.done.append(index)


def test_loops_go_on_from_a_snapshot_and_those_that_ended_do_not_begin_again() -> None:
    disk = CrashingDisk()
    options: dict[str, Any] = {"model": MODEL, "pool": "simulate", "every_s": 1.0}
    keeping = play(Walkers(), disk, **options)
    assert keeping.snapshots.taken > 2
    for at in range(2, disk.changes, 3):
        files = cut(Walkers(), CrashingDisk(), at, **options)
        if files is None:
            continue
        again = Walkers()
        play(again, CrashingDisk(files), **options)
        assert again.at == [4, 8, 12]
        assert sorted(again.done) == [0, 1, 2]


def test_options_of_an_agent_that_make_no_sense_are_refused() -> None:
    for wrong in (0, -1, True, "4", 1.5):
        with pytest.raises(UsageError, match="concurrent must be a whole number"):
            agent(concurrent=wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="takes the name of a pool, not 3"):
        agent(per_worker=3)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match=r"pool of @agent.* must be a name"):
        agent(per_worker="")
    with pytest.raises(UsageError, match="several loops of one agent are"):
        agent(4)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="cannot be called by @agent"):

        class Wrong(Campaign):
            @agent
            async def go(self, index: int) -> None: ...

    with pytest.raises(UsageError, match="cannot be called by @agent"):

        class Much(Campaign):
            @agent(concurrent=2)
            async def go(self, index: int, other: int) -> None: ...

    class Elsewhere(Campaign):
        workers: ClassVar = {"simulate": 1}

        @agent(per_worker="simulation")
        async def go(self) -> None: ...

    with pytest.raises(ExceptionGroup) as caught:
        simulate(Elsewhere(), model=MODEL)
    assert caught.group_contains(UnknownPool)
