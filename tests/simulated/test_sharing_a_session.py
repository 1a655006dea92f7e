"""A campaign on a session that others use, too: before it, beside it, and after it."""

# A task's handle stands for its value among another's arguments.
# pyright: reportArgumentType=false

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

import steerio
from steerio import (
    Board,
    Campaign,
    Limits,
    Result,
    Session,
    Succeeded,
    Task,
    UsageError,
    agent,
    on_success,
    task,
)
from steerio.campaign.conductor import Conductor
from steerio.testing import Model, SimulatedCluster
from tests.simulated.virtual import AS_ASKED, on_cluster, simulation

pytestmark = pytest.mark.borders


@task(pool="simulate")
def broken(x: float) -> float:
    raise ValueError(f"no {x}")


class Boarded(Campaign):
    """Simulates what is on its board, and notes who came, and how many were out at once."""

    def __init__(self, *seconds: float) -> None:
        self.board = Board(simulation, seconds)
        self.heard: list[float] = []
        self.most = 0

    @on_success(simulation)
    async def hear(self, result: Succeeded) -> None:
        self.heard.append(result.value)
        self.most = max(self.most, len(self.board.running))


class Failing(Campaign):
    """Submits tasks that take long, and fails."""

    @agent
    async def fail(self) -> None:
        self.map(simulation, [100.0] * 5)
        raise ZeroDivisionError


class Mistaken(Campaign):
    """Goes on, and makes a mistake at the end."""

    @agent
    async def go_on(self) -> None:
        while True:
            await self.run(simulation, 1.0)

    async def finish(self) -> None:
        raise ZeroDivisionError("in finish")


on_two = on_cluster(2, model=AS_ASKED | {broken: Model(1.0)})


@on_two
async def test_tasks_of_others_are_no_part_of_a_campaign(
    cluster: SimulatedCluster, session: Session
) -> None:
    others = session.map(simulation, [7.0] * 6)
    waiting = session.submit(simulation, session.submit(simulation, 8.0))
    session.submit(broken, 1.0)  # of which nobody asks
    campaign = Boarded(*map(float, range(20)))
    limits = Limits(tasks=20)
    await steerio.conduct(campaign, session=session, limits=limits)
    assert sorted(campaign.heard) == [float(number) for number in range(20)]
    assert campaign.most <= 2, "one for each worker is out, whatever of others ended"
    assert await session.gather(*others) == [7.0] * 6
    assert await waiting == 8.0


@on_two
async def test_a_campaign_that_failed_leaves_nothing_on_its_session(
    cluster: SimulatedCluster, session: Session
) -> None:
    left: list[weakref.ref[Any]] = []
    for _ in range(3):
        campaign: Campaign = Failing()
        left.append(weakref.ref(campaign))
        with pytest.raises(ExceptionGroup):
            await steerio.conduct(campaign, session=session)
        begun = asyncio.get_running_loop().time()
        assert await session.run(simulation, 1.0) == 1.0
        assert asyncio.get_running_loop().time() - begun < 10, "its tasks are cancelled"
        campaign = await steerio.conduct(Boarded(1.0), session=session)
        left.append(weakref.ref(campaign))
        await session.run(simulation, 2.0)  # whatever is said of pools reaches none of them
        del campaign
    gc.collect()
    assert [ref() for ref in left] == [None] * 6


@on_two
async def test_a_campaign_runs_once_at_a_time(cluster: SimulatedCluster, session: Session) -> None:
    campaign = Boarded(1.0, 2.0)
    conducting = asyncio.ensure_future(steerio.conduct(campaign, session=session))
    async with cluster.session("other") as other:
        at_once = asyncio.ensure_future(steerio.conduct(campaign, session=other))
        await asyncio.wait([at_once])
        assert isinstance(at_once.exception(), UsageError), "neither had begun"
        with pytest.raises(UsageError, match="this Boarded runs already: make another"):
            await steerio.conduct(campaign, session=other)
        await conducting
        assert sorted(campaign.heard) == [1.0, 2.0]
        campaign.board.add(3.0)
        await steerio.conduct(campaign, session=other)
        assert sorted(campaign.heard) == [1.0, 2.0, 3.0]


class FailingListener:
    """Fails over each task that has ended."""

    def task_submitted(self, task: Task[Any]) -> None:
        pass

    def task_waits(self, task: Task[Any], *, waits: bool) -> None:
        pass

    def task_ended(self, task: Task[Any], result: Result) -> None:
        raise ZeroDivisionError

    def never_awaited(self, result: Result) -> bool:
        return False


@on_two
async def test_who_fails_over_the_news_of_a_task_keeps_them_from_no_other(
    cluster: SimulatedCluster, session: Session
) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    tasks = session.map(simulation, [5.0] * 3)
    session.listen(FailingListener())
    session.close()
    assert [(await each.result()).ended_as for each in tasks] == ["cancelled"] * 3
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError] * 3


def test_what_fails_as_a_cancelled_campaign_ends_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @on_two
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        conducting = asyncio.ensure_future(steerio.conduct(Mistaken(), session=session))
        await asyncio.sleep(2)
        conducting.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await conducting
        assert isinstance(raised.value.__cause__, ExceptionGroup)

    scene()
    assert "ZeroDivisionError: in finish" in caplog.text


@on_two
async def test_of_what_was_said_of_a_waiting_task_the_last_is_kept(
    cluster: SimulatedCluster, session: Session
) -> None:
    first = session.submit(simulation, 5.0)
    low, high = session.map(simulation, [first, first])
    await asyncio.sleep(1)
    for number in range(100):
        session.reprioritise({low: -float(number), high: float(number)})
        session.reassign([low, high], "simulate")
    assert {len(said) for said in session.client._reserved.values()} == {2}
    session.map(simulation, [50.0] * 4)
    assert await first == 5.0
    await high
    assert not low.done


@on_two
async def test_a_waiting_task_that_is_named_twice_is_cancelled_once(
    cluster: SimulatedCluster, session: Session
) -> None:
    first = session.submit(simulation, 5.0)
    waiting = session.submit(simulation, first)
    session.cancel([waiting, waiting, first, first], "twice")
    for each in (first, waiting):
        assert (await each.result()).ended_as == "cancelled"


@on_two
async def test_a_campaign_that_has_ended_does_not_begin_to_end_again(
    cluster: SimulatedCluster, session: Session
) -> None:

    conductor = Conductor(Boarded(1.0), session)
    await conductor.run()
    conductor.interrupt()
    assert not conductor.ending.must
