"""The figures of a simulated run: busy shares, by pool and over all, and moves."""

from __future__ import annotations

from typing import ClassVar

import pytest

from steerio import Campaign, agent, task
from steerio.errors import UsageError
from steerio.testing import Model, SimulatedRun, simulate


@task(pool="simulate")
def measure(n: int) -> int:
    return n


@task(pool="learn")
def learn(n: int) -> int:
    return n


class Borrowing(Campaign):
    """One task, and another on a worker that is lent for it."""

    workers: ClassVar = {"simulate": 2, "learn": 0}

    @agent
    async def steer(self) -> None:
        await self.run(measure, 1)
        async with self.pools.lend("simulate", to="learn"):
            await self.run(learn, 1)


@pytest.fixture(scope="module")
def run() -> SimulatedRun[Borrowing]:
    return simulate(Borrowing(), model=Model(10.0))


def test_worker_seconds_add_up_over_pools(run: SimulatedRun[Borrowing]) -> None:
    assert run.worker_seconds("simulate") == (10.0, 30.0)
    assert run.worker_seconds("learn") == (10.0, 10.0)
    assert run.worker_seconds() == (20.0, 40.0)
    assert run.utilisation("simulate") == pytest.approx(1 / 3)
    assert run.utilisation() == 0.5


def test_going_and_coming_home_are_two_moves(run: SimulatedRun[Borrowing]) -> None:
    assert run.moves == 2


def test_a_pool_that_is_not_there_is_refused(run: SimulatedRun[Borrowing]) -> None:
    with pytest.raises(
        UsageError, match=r"no pool is named 'infer' \(pools here: simulate, learn\)"
    ):
        run.worker_seconds("infer")
