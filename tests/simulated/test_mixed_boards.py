"""Boards whose entries need what only some workers of their pool have."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from steerio import Board, Campaign, Lost, Needs, Result, Workers, agent, on_failure, on_idle, task
from steerio.campaign.conductor import drive
from steerio.testing import Model, SimulatedCluster, run_virtual

WORKERS = {"simulate": Workers(4)}
LARGE = {"simulate": Workers(1, cpus=8)}
TAGGED = {"simulate": Workers(2, cpus=2, tags="bigmem")}


def seconds(rng: random.Random, *_: object) -> float:
    return rng.choice([1.0, 3.0, 10.0])


@task(pool="simulate")
def small(number: int) -> int:
    return number


@task(pool="simulate", needs=Needs(cpus=1))
def small_as_well(number: int) -> int:
    return number


@task(pool="simulate", needs=Needs(cpus=8))
def large(number: int) -> int:
    return number


@task(pool="simulate", needs=Needs(tags="bigmem"))
def hungry(number: int) -> int:
    return number


@task(pool="simulate", needs=Needs(gpus=1))
def impossible(number: int) -> int:
    return number


class Boards(Campaign):
    """Works off some boards."""

    workers: ClassVar = WORKERS

    def __init__(self, *boards: Board[Any]) -> None:
        self.boards = list(boards)
        self.lost: list[Lost] = []

    @on_failure(impossible)
    async def give_up(self, result: Result) -> None:
        assert isinstance(result, Lost)
        self.lost.append(result)


def play(
    campaign: Campaign,
    watch: Callable[[SimulatedCluster], None] = lambda cluster: None,
    *,
    seed: int = 0,
    every_s: float = 1.0,
) -> SimulatedCluster:
    """Run it on workers of three makes, and look at them now and then."""

    async def run() -> SimulatedCluster:
        models = Model(seconds)
        async with SimulatedCluster(WORKERS, model=models, seed=seed) as cluster:
            cluster.add_node("large", LARGE)
            cluster.add_node("tagged", TAGGED)
            async with cluster.session() as session:
                await session.run(small, 0)  # by now all have joined
                running = asyncio.create_task(drive(campaign, session))
                while not running.done():
                    await asyncio.wait([running], timeout=every_s)
                    watch(cluster)
                await running
            return cluster

    return run_virtual(run())


@pytest.mark.parametrize("seed", range(6))
def test_no_worker_idles_beside_an_entry_that_it_fits(seed: int) -> None:
    chance = random.Random(seed)
    boards = [
        Board(kind, range(chance.randint(1, 60)))
        for kind in chance.sample([small, small_as_well, large, hungry], chance.randint(2, 4))
    ]

    def watch(cluster: SimulatedCluster) -> None:
        pool = cluster.broker.core.pools["simulate"]
        for board in boards:
            assert not len(board) or not pool.idle.fits(board.task_type.options.needs, 0.0, 0.0)

    cluster = play(Boards(*boards), watch, seed=seed, every_s=0.5)
    assert cluster.broker.core.ended == {"succeeded": sum(len(b.ended) for b in boards) + 1}


def test_as_many_are_out_as_there_are_workers_that_fit() -> None:
    boards = [Board(kind, range(40)) for kind in (large, small, hungry, small_as_well)]
    most: Counter[str] = Counter()

    def watch(cluster: SimulatedCluster) -> None:
        out = {board.task_type.name.partition(":")[2]: len(board.running) for board in boards}
        out["either"] = out.pop("small") + out.pop("small_as_well")
        for name, count in out.items():
            most[name] = max(most[name], count)

    play(Boards(*boards), watch)
    assert most == {"large": 1, "hungry": 2, "either": 7}


def test_what_fits_nobody_is_lost_one_by_one_and_keeps_no_other_from_going_out() -> None:
    boards = [Board(impossible, range(3)), Board(small, range(70)), Board(large, range(3))]
    campaign = Boards(*boards)
    cluster = play(campaign)
    assert [len(board.ended) for board in boards] == [3, 70, 3]
    assert len(campaign.lost) == 3
    assert "needs cpus=1:gpus=1" in campaign.lost[0].reason
    ended = {entry.task_type for entry in cluster.record.tasks if entry.ended_as == "succeeded"}
    assert ended == {small.name, large.name}


def test_tasks_that_agents_submit_count_with_what_they_need() -> None:
    class Both(Boards):
        @agent
        async def submit_large_ones(self) -> None:
            for number in range(20):
                self.options(needs=Needs(cpus=8)).submit(small, 100 + number)

    board = Board(small, range(60))

    def watch(cluster: SimulatedCluster) -> None:
        pool = cluster.broker.core.pools["simulate"]
        assert not len(board) or not pool.idle.fits(None, 0.0, 0.0)

    play(Both(board), watch, every_s=0.5)
    assert len(board.ended) == 60


def test_workers_are_idle_though_what_they_do_not_fit_is_queued() -> None:
    class Filling(Campaign):
        workers: ClassVar = WORKERS

        def __init__(self) -> None:
            self.queued: list[int] = []

        async def setup(self) -> None:
            for number in range(30):
                self.submit(large, number)

        @on_idle("simulate")
        async def fill(self, idle: int) -> None:
            if len(self.queued) < 12:
                self.queued.append(self.pools["simulate"].queued)
                self.submit(small, idle)

    campaign = Filling()
    play(campaign)
    assert len(campaign.queued) == 12
    assert min(campaign.queued) > 0
