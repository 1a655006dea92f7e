"""Campaigns end: by themselves, with an error that says what to do, or as a deadlock."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from steerio import (
    Campaign,
    Limits,
    Succeeded,
    TaskEnded,
    TaskFailed,
    WorkerLost,
    Workers,
    agent,
    every,
    on_event,
    on_failure,
    on_success,
    task,
)
from steerio.errors import DeadlockError, UnhandledFailure, UsageError
from steerio.testing import FailStarts, HangWorker, KillWorker, Model, RandomKills, simulate
from tests.simulated.virtual import of_kind


@task(pool="simulate")
def energy(molecule: int) -> float:
    if molecule < 0:
        raise ValueError(f"no molecule {molecule}")
    return molecule / 2


@task(pool="simulate")
async def patient(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "waited"


MODEL = Model(10.0)


class Simple(Campaign):
    workers: ClassVar = {"simulate": 2}


class Waiting(Simple):
    """Waits for what nobody will say."""

    @agent
    async def listen(self) -> None:
        await self.run(energy, 1)
        await asyncio.Event().wait()


def test_a_campaign_that_waits_for_ever_is_a_deadlock_with_a_date() -> None:
    with pytest.raises(DeadlockError) as raised:
        simulate(Waiting(), model=MODEL)
    assert raised.value.at_s == 10
    assert any("Waiting.listen" in line for line in raised.value.waiting)


@pytest.mark.parametrize("latency_s", [0.0, 0.01])
def test_a_task_on_a_worker_that_hangs_is_a_deadlock_too(latency_s: float) -> None:
    class Hanging(Simple):
        @agent
        async def go(self) -> None:
            await self.run(energy, 1)

    faults = [HangWorker(5, pool="simulate")]
    with pytest.raises(DeadlockError) as raised:
        simulate(Hanging(), model=MODEL, faults=faults, latency_s=latency_s)
    assert raised.value.at_s < 1


def test_a_hung_worker_that_a_fault_will_kill_is_none() -> None:
    class Hanging(Simple):
        @agent
        async def go(self) -> None:
            self.value = await self.run(energy, 1)

    faults = [HangWorker(5, pool="simulate"), KillWorker(5_000, worker="simulate-2")]
    run = simulate(Hanging(), model=MODEL, faults=faults)
    assert (run.campaign.value, run.duration_s) == (0.5, 5_010)
    faults = [HangWorker(5, pool="simulate"), RandomKills(1 / 3_000)]
    assert simulate(Hanging(), model=MODEL, faults=faults).campaign.value == 0.5


def test_what_an_agent_raises_ends_the_campaign() -> None:
    class Faulty(Simple):
        @on_success(energy)
        async def look(self, result: Succeeded) -> None:
            raise KeyError(result.args[0])

        async def setup(self) -> None:
            self.map(energy, range(5))

    with pytest.raises(ExceptionGroup) as raised:
        simulate(Faulty(), model=MODEL)
    assert raised.group_contains(KeyError)


def test_a_failure_that_nobody_handles_is_an_error() -> None:
    class Careless(Simple):
        async def setup(self) -> None:
            self.submit(energy, -1)

    with pytest.raises(ExceptionGroup) as raised:
        simulate(Careless(), model=MODEL)
    assert raised.group_contains(UnhandledFailure, match="no molecule -1")


def test_a_failure_is_handled_by_an_agent_or_by_who_awaits_it() -> None:
    class Careful(Simple):
        def __init__(self) -> None:
            self.seen: list[str] = []

        async def setup(self) -> None:
            with pytest.raises(TaskFailed, match="no molecule -1"):
                await self.run(energy, -1)
            self.submit(energy, -2)

        @on_failure(energy)
        async def take_in(self, result: Succeeded) -> None:
            self.seen.append(result.ended_as)

    assert simulate(Careful(), model=MODEL).campaign.seen == ["failed", "failed"]


def test_a_pool_that_cannot_start_fails_the_campaign_with_the_reason() -> None:
    class Doomed(Simple):
        async def setup(self) -> None:
            await self.run(energy, 1)

    with pytest.raises(ExceptionGroup) as raised:
        simulate(Doomed(), model=MODEL, faults=[FailStarts("simulate", "libxtb is missing")])
    assert raised.group_contains(Exception, match="libxtb is missing")


def test_a_period_beats_in_virtual_time() -> None:
    class Ticking(Simple):
        def __init__(self) -> None:
            self.ticks: list[float] = []

        @every(60.0)
        async def tick(self) -> None:
            self.ticks.append(asyncio.get_running_loop().time())
            if len(self.ticks) == 3:
                self.stop()

    run = simulate(Ticking(), model=MODEL)
    assert run.campaign.ticks == [60.0, 120.0, 180.0]


def test_agents_talk_by_events_and_follow_those_of_the_broker() -> None:
    class Found:
        def __init__(self, molecule: int) -> None:
            self.molecule = molecule

    class Talking(Simple):
        def __init__(self) -> None:
            self.found: list[int] = []
            self.ended = 0

        async def setup(self) -> None:
            self.map(energy, range(10))

        @on_success(energy)
        async def look(self, result: Succeeded) -> None:
            if result.value >= 4:
                self.publish(Found(result.args[0]))

        @on_event(Found)
        async def take_in(self, found: Found) -> None:
            self.found.append(found.molecule)

        @agent
        async def follow(self) -> None:
            async with self.events(TaskEnded, since=0) as events:
                async for _ in events:
                    self.ended += 1
                    if self.ended == 10:
                        return

    run = simulate(Talking(), model=MODEL)
    assert run.campaign.found == [8, 9]
    assert run.campaign.ended == 10


def test_async_tasks_run_on_the_virtual_clock_and_stop_when_cancelled() -> None:
    class Asynchronous(Simple):
        @agent
        async def go(self) -> None:
            assert await self.run(patient, 100.0) == "waited"
            task = self.submit(patient, 1e6)
            await asyncio.sleep(1)
            task.cancel()
            assert (await task.result()).ended_as == "cancelled"

    run = simulate(Asynchronous(), model={patient: Model(5.0)})
    assert run.duration_s == 5 + 100 + 1
    assert of_kind(run.events, WorkerLost) == []


@pytest.mark.parametrize(
    ("limits", "ended"),
    [
        (Limits(tasks=7), 7),
        (Limits(successes=5), 5),
        (Limits(worker_s=95), 10),
        (Limits(wall_s=45, drain=False), 8),
    ],
)
def test_limits_end_a_campaign(limits: Limits, ended: int) -> None:
    class Endless(Simple):
        def __init__(self) -> None:
            self.count = 0

        async def setup(self) -> None:
            self.map(energy, range(2))

        @on_success(energy)
        async def another(self, result: Succeeded) -> None:
            self.count += 1
            self.submit(energy, result.args[0])

    run = simulate(Endless(), model=MODEL, limits=limits)
    assert ended <= run.ended["succeeded"] <= ended + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": {}, "workers": {"simulate": -1}}, "whole number"),
        ({"model": {energy: 3.0}}, r"not a Model"),
        ({"model": Model(1.0), "nodes": 5}, "cannot be dealt"),
        ({"model": Model(1.0), "faults": [KillWorker(-1)]}, "0 or more seconds"),
    ],
)
def test_what_cannot_be_is_refused_with_the_mend(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        simulate(Simple(), **arguments)  # type: ignore[arg-type]


def test_workers_must_be_given_somewhere() -> None:
    with pytest.raises(UsageError, match="workers="):
        simulate(Campaign(), model=MODEL)


class Placed(Campaign):
    workers: ClassVar = {"simulate": Workers(2, cpus=4, gpus=1)}

    @agent
    async def ask(self) -> None:
        self.value = await self.run(energy, 3)


def test_what_workers_would_need_is_left_aside_in_simulation() -> None:
    assert simulate(Placed(), model=MODEL).campaign.value == 1.5


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 0, -1])
def test_a_limit_is_a_finite_number_above_0(seconds: float) -> None:
    with pytest.raises(UsageError, match=r"Limits\.wall_s must be"):
        Limits(wall_s=seconds)


def test_events_of_the_broker_are_followed_and_not_waited_for_by_on_event() -> None:
    with pytest.raises(UsageError, match=r"async with self\.events\(TaskEnded\)"):
        on_event(TaskEnded)


@pytest.mark.borders
@pytest.mark.parametrize("period_s", [1.0, 2.0, 5.0, 10.0])
def test_an_agent_that_sleeps_in_step_with_the_watch_for_deadlocks_is_none(period_s: float) -> None:
    class Sleeping(Simple):
        @agent
        async def sleep(self) -> None:
            for _ in range(round(2_000 / period_s)):
                await asyncio.sleep(period_s)

        @agent
        async def go(self) -> None:
            await self.run(energy, 1)

    assert simulate(Sleeping(), model=MODEL).duration_s == 2_000
