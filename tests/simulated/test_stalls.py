"""Who has made it so that nothing can go on is told; nobody is while anything still can."""

from __future__ import annotations

import asyncio
import logging
from typing import ClassVar

import pytest

from steerio import Board, Campaign, Limits, PoolStalled, Succeeded, agent, on_success, task
from steerio.campaign.conductor import Conductor
from steerio.campaign.progress import Progress
from steerio.errors import DeadlockError
from steerio.model.settings import Settings
from steerio.testing import KillWorker, Model, SimulatedCluster, run_virtual, simulate
from tests.simulated.virtual import of_kind

pytestmark = pytest.mark.borders


@task(pool="sim")
def energy(x: int) -> float:
    return x / 2


@task(pool="learn")
def fit(x: int) -> float:
    return x / 2


MODEL = Model(1.0)


class Waiting(Campaign):
    """Lends the only worker away, and awaits a task for it."""

    workers: ClassVar = {"sim": 1, "learn": 0}

    async def setup(self) -> None:
        self.submit(energy, 0)

    @on_success(energy)
    async def wait(self, result: Succeeded) -> None:
        async with self.pools.lend("sim", to="learn"):
            await self.run(energy, 1)


class WaitingInGroup(Waiting):
    @on_success(energy)
    async def wait(self, result: Succeeded) -> None:
        async with self.pools.lend("sim", to="learn"), asyncio.TaskGroup() as group:
            group.create_task(self.run(energy, 1))
            group.create_task(self.run(energy, 2))


class WaitingForBoard(Waiting):
    def __init__(self) -> None:
        self.todo = Board(energy, [1])

    @on_success(energy, every=2)
    async def wait(self, result: list[Succeeded]) -> None:  # type: ignore[override]
        async with self.pools.lend("sim", to="learn"):
            self.todo.add(2)
            while len(self.todo.ended) < 2:
                await self.pools.changed()


@pytest.mark.parametrize("waiting", [Waiting, WaitingInGroup, WaitingForBoard])
def test_a_handler_that_awaits_tasks_for_workers_that_it_lent_is_told_so(
    waiting: type[Campaign], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run = simulate(waiting(), model=MODEL, until_s=100)
    (stalled,) = of_kind(run.events, PoolStalled)
    assert stalled.pool == "sim"
    assert "do not await these tasks inside" in stalled.reason
    assert f"nothing can go on: {stalled.reason}" in caplog.text


def test_a_deadlock_in_a_simulation_says_which_tasks_wait_in_vain() -> None:
    with pytest.raises(DeadlockError) as raised:
        simulate(Waiting(), model=MODEL)
    assert raised.value.at_s == 1
    assert "all its workers are lent" in raised.value.waiting[-1]


def test_the_progress_line_says_so_as_long_as_it_is_so() -> None:
    lines: list[str] = []

    async def watch() -> None:
        async with SimulatedCluster({"sim": 1, "learn": 0}, model=MODEL) as cluster:
            async with cluster.session("test") as session:
                progress = Progress(Conductor(Waiting(), session), "off")
                async with session.pools.lend("sim", to="learn"):
                    waiting = session.submit(energy, 1)
                    lines.append(progress.line())
                    await asyncio.sleep(20)
                    lines.append(progress.line())
                await waiting
                await asyncio.sleep(1)
                lines.append(progress.line())

    run_virtual(watch())
    before, stalled, after = lines
    assert "nothing can go on: 1 queued in 'sim' wait" in stalled
    assert "nothing" not in before + after


def test_a_pool_without_workers_is_said_before_it_is_given_up() -> None:
    class Nobody(Waiting):
        @on_success(energy)
        async def wait(self, result: Succeeded) -> None:
            await self.run(fit, 1)

    cluster_events: list[PoolStalled] = []

    class Seen(Nobody):
        @agent
        async def watch(self) -> None:
            async with self.events(PoolStalled) as events:
                async for event in events:
                    cluster_events.append(event)

    with pytest.raises(ExceptionGroup, match="TaskGroup"):
        simulate(Seen(), model=MODEL)
    assert [event.pool for event in cluster_events] == ["learn"]


class Working(Waiting):
    """Lends, trains for long there, while tasks queue for the worker that is away."""

    @on_success(energy)
    async def wait(self, result: Succeeded) -> None:
        if result.args == (0,):
            async with self.pools.lend("sim", to="learn"):
                self.submit(energy, 1)
                await self.run(fit, 1)


class Starting(Campaign):
    """Has tasks before it has workers."""

    workers: ClassVar = {"sim": 2}

    async def setup(self) -> None:
        self.map(energy, range(20))


class Moving(Campaign):
    """Waits for a move away from a busy pool while tasks wait at its end."""

    workers: ClassVar = {"sim": 2, "learn": 0}

    async def setup(self) -> None:
        self.map(energy, range(20))
        self.submit(fit, 1)

    @agent
    async def move(self) -> None:
        await self.pools.move("sim", "learn", 1)


@pytest.mark.parametrize("campaign", [Working, Starting, Moving])
def test_nobody_is_told_while_things_go_on(campaign: type[Campaign]) -> None:
    faults = [KillWorker(30, pool="sim")] if campaign is Starting else []
    run = simulate(
        campaign(),
        model={energy: Model(40.0), fit: Model(300.0)},
        start_s=25.0,
        settings=Settings(start_s=60.0),
        faults=faults,
        limits=Limits(wall_s=5_000),
    )
    assert of_kind(run.events, PoolStalled) == []
    assert set(run.ended) == {"succeeded"}
