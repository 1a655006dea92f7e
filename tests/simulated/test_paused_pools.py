"""Pools that a person or an agent pauses: nothing begins there, and nothing is lost."""

from __future__ import annotations

import asyncio
import errno
from typing import Any, ClassVar

import pytest

from steerio import (
    Board,
    Campaign,
    PauseFailed,
    PoolPaused,
    PoolResumed,
    UnknownPool,
    on_idle,
    on_success,
)
from steerio.campaign.conductor import Conductor
from steerio.campaign.progress import Progress
from steerio.errors import DeadlockError
from steerio.model.status import PoolLoad
from steerio.session.rules import demand
from steerio.testing import RestartBroker, simulate
from tests.simulated.virtual import (
    AS_ASKED,
    cluster_of,
    in_virtual_time,
    of_kind,
    on_cluster,
    simulation,
    training,
)


def now() -> float:
    return asyncio.get_running_loop().time()


@on_cluster(2)
async def test_what_runs_ends_and_what_is_queued_waits_for_the_end_of_a_pause(
    cluster: Any, session: Any
) -> None:
    running = session.map(simulation, [5.0] * 2)
    queued = session.map(simulation, [1.0] * 4)
    await asyncio.sleep(1)  # until they run
    await session.pools.pause("simulate", reason="to look")
    assert [await task for task in running] == [5.0] * 2
    await asyncio.sleep(100)
    assert [task.done for task in queued] == [False] * 4
    await session.pools.look()
    assert session.pools["simulate"].paused == "by test: to look"
    assert repr(session.pools).endswith("4 queued, paused by test: to look>")
    await session.pools.resume("simulate")
    assert [await task for task in queued] == [1.0] * 4
    assert now() == pytest.approx(107, abs=0.5)
    (paused,) = of_kind(cluster.record.events, PoolPaused)
    (resumed,) = of_kind(cluster.record.events, PoolResumed)
    assert (paused.reason, resumed.reason) == ("by test: to look", "by test")


@on_cluster(1, 1)
async def test_without_names_all_pools_are_meant_and_unknown_ones_are_told(
    cluster: Any, session: Any
) -> None:
    await session.pools.pause()
    tasks = [session.submit(simulation, 1.0), session.submit(training, 1)]
    await asyncio.sleep(50)
    assert not any(task.done for task in tasks)
    with pytest.raises(UnknownPool, match="nowhere"):
        await session.pools.resume("nowhere", "elsewhere", "simulate", "learn")
    assert [await task for task in tasks] == [1.0, 1.0]
    with pytest.raises(UnknownPool):
        await session.pools.pause("nowhere", "learn")
    assert list(cluster.broker.core.paused) == ["learn"]


@on_cluster(1, 1)
async def test_several_pools_are_paused_at_a_time(cluster: Any, session: Any) -> None:
    await asyncio.gather(*session.map(simulation, [0.001] * 50))  # so short that some are held
    rest = session.map(simulation, [0.001] * 50)
    await asyncio.sleep(0.01)
    pausing = asyncio.ensure_future(session.pools.pause("simulate", "learn"))
    await asyncio.sleep(0)
    await session.status()
    assert not pausing.done(), "else this test shows nothing"
    assert list(cluster.broker.core.paused) == ["simulate", "learn"]
    await pausing
    await session.pools.resume()
    assert [await task for task in rest] == [0.001] * 50


@on_cluster(1)
async def test_a_pause_that_another_ends_before_it_took_effect_is_told(
    cluster: Any, session: Any
) -> None:
    await asyncio.gather(*session.map(simulation, [0.001] * 50))  # so short that some are held
    rest = session.map(simulation, [0.001] * 50)
    await asyncio.sleep(0.01)
    pausing = asyncio.ensure_future(session.pools.pause("simulate"))
    await asyncio.sleep(0)
    await session.pools.resume("simulate", reason="no")
    with pytest.raises(PauseFailed, match="it was resumed: by test: no"):
        await pausing
    assert [await task for task in rest] == [0.001] * 50


@in_virtual_time
async def test_a_pause_outlives_its_broker() -> None:
    async with (
        cluster_of(1, faults=[RestartBroker(5, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        await far.pools.pause("simulate")
        task = far.submit(simulation, 1.0)
        await asyncio.sleep(100)
        assert cluster.broker.core.paused == {"simulate": "by far"}
        assert not task.done
        await far.pools.resume("simulate")
        assert await task == 1.0


@in_virtual_time
async def test_a_pause_that_could_not_be_kept_is_kept_later_and_told_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    async with (
        cluster_of(1, faults=[RestartBroker(50, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(type(cluster._brokers.succession), "keep", full)
            await far.pools.pause("simulate")
            await asyncio.sleep(20)
        told = [line for line in caplog.messages if "pauses cannot be kept" in line]
        assert len(told) == 1
        await asyncio.sleep(100)
        assert cluster.broker.core.paused == {"simulate": "by far"}


@in_virtual_time
async def test_a_pause_that_a_broker_did_not_answer_is_not_made_anew_at_the_next() -> None:
    async with (
        cluster_of(1, latency_s=1.0, faults=[RestartBroker(5, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        await asyncio.sleep(4.5 - now())
        with pytest.raises(PauseFailed, match="it was resumed meanwhile, or its broker ended"):
            await far.pools.pause("simulate")
        assert now() > 15
        assert dict(cluster.broker.core.paused) == {}


@in_virtual_time
async def test_a_pause_that_is_asked_for_while_no_broker_is_there_is_made_at_the_next() -> None:
    async with (
        cluster_of(1, faults=[RestartBroker(5, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        await asyncio.sleep(6 - now())
        far.client._part("its connection closed")
        assert far.client.waits_s > 0, "it knows that the broker is gone"
        await far.pools.pause("simulate")
        assert now() > 15
        assert dict(cluster.broker.core.paused) == {"simulate": "by far"}


class Paused(Campaign):
    """Pauses its pool after ten results, for a hundred seconds."""

    def __init__(self) -> None:
        self.todo = Board(simulation, [1.0 + number / 1e6 for number in range(20)])
        self.offered = 0
        self.paused_at = 0.0
        self.ran_while_paused = 0

    @on_success(simulation)
    async def count(self, result: Any) -> None:
        if len(self.todo.ended) == 10:
            await self.pools.pause("simulate")
            self.paused_at = now()
            await asyncio.sleep(100)
            self.ran_while_paused = len(self.todo.ended) - 10
            await self.pools.resume("simulate")

    @on_idle("learn")
    async def offer(self, free: int) -> None:
        """Be asked as often as workers are free, though not while their pool is paused."""
        if self.offered < 3:
            self.offered += 1
            self.submit(training, 1)


def test_a_campaign_goes_on_after_a_pause_and_its_boards_hand_out_no_more_meanwhile() -> None:
    run = simulate(Paused(), model=AS_ASKED, workers={"simulate": 2, "learn": 1})
    assert len(run.campaign.todo.ended) == 20
    assert run.campaign.ran_while_paused <= 2, "those that ran"
    assert run.duration_s == pytest.approx(110, abs=2)


def test_a_rule_takes_the_queue_of_a_paused_pool_for_empty() -> None:
    load = PoolLoad(workers=2, idle=0, queued=7, running=2)
    assert demand(load) == 9
    assert demand(PoolLoad(workers=2, idle=0, queued=7, running=2, paused="by hand")) == 2


class Waiting(Campaign):
    """Pauses its only pool, and awaits a task of it."""

    workers: ClassVar = {"simulate": 1}

    async def setup(self) -> None:
        await self.pools.pause("simulate", reason="to \x1b[2Jlook")
        await self.submit(simulation, 1.0)


def test_a_deadlock_in_a_simulation_says_which_pools_are_paused() -> None:
    with pytest.raises(DeadlockError) as raised:
        simulate(Waiting(), model=AS_ASKED)
    assert raised.value.waiting[-1] == "pool simulate: paused by Waiting: to \\x1b[2Jlook"


@on_cluster(1)
async def test_the_progress_line_says_which_pools_are_paused_and_by_whom(
    cluster: Any, session: Any
) -> None:
    progress = Progress(Conductor(Waiting(), session), "off")
    assert "paused" not in progress.line()
    await session.pools.pause("simulate", reason="to \x1b[2Jlook")
    await session.pools.look()
    line = progress.line()
    assert "pool simulate is paused by test: to " in line
    assert line.isprintable(), "no escape sequence of a user's own reaches the terminal"
