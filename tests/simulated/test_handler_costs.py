"""Handlers may cost virtual time: it keeps the campaign's loop busy, and nothing else."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio import Campaign, Result, agent, every, on_event, on_result, on_success, task
from steerio.errors import DeadlockError, UsageError
from steerio.testing import KillWorker, Model, RestartBroker, simulate
from steerio.view.run_reader import RunReader
from tests.simulated.test_idle_causes import Restless


@task(pool="simulate")
def measure(n: int) -> int:
    return n


def now() -> float:
    return asyncio.get_running_loop().time()


class Chains(Campaign):
    """Four chains of tasks; the next of each is submitted when the last has ended."""

    workers: ClassVar = {"simulate": 4}

    def __init__(self, steps: int = 5) -> None:
        self.left = 4 * steps - 4
        self.times: list[float] = []

    async def setup(self) -> None:
        for n in range(4):
            self.submit(measure, n)

    @on_success(measure)
    async def go_on(self, result: Result) -> None:
        self.times.append(now())
        if self.left > 0:
            self.left -= 1
            self.submit(measure, result.args[0])


def test_the_calls_of_a_handler_wait_for_each_other_and_workers_for_them() -> None:
    run = simulate(Chains(2), model=Model(10.0), handler_cost={"go_on": 1.0})
    # the second of four results that come at once is heard when the first was handled
    assert run.campaign.times == [10.0, 11.0, 12.0, 13.0, 21.0, 22.0, 23.0, 24.0]
    assert run.handler_s == {"Chains.go_on": 8.0}
    starts = sorted(record.started or 0.0 for record in run.records)
    assert starts == [0.0, 0.0, 0.0, 0.0, 11.0, 12.0, 13.0, 14.0]
    assert run.idle_s("simulate")["policy_busy"] == pytest.approx(1.0 + 2.0 + 3.0 + 4.0)


def test_the_report_of_a_simulated_run_tells_of_a_busy_policy(tmp_path: Path) -> None:
    quick = simulate(Chains(50), model=Model(10.0), handler_cost=0.0)
    assert quick.idle_s()["policy_busy"] == 0.0
    assert quick.utilisation("simulate") == 1.0
    slow = simulate(Chains(50), model=Model(10.0), handler_cost=2.0, run_dir=tmp_path / "slow")
    # each chain goes on 12 s after its last task began; at first they begin one after the other
    assert slow.handler_s == {"Chains.go_on": pytest.approx(200 * 2.0)}
    assert slow.duration_s == pytest.approx(50 * 12.0, abs=4 * 2.0)
    assert slow.utilisation("simulate") == pytest.approx(10 / 12, abs=0.02)
    idle = slow.idle_s()
    assert idle["policy_busy"] > 0.9 * sum(idle.values())
    reader = RunReader(tmp_path / "slow")
    reader.read_all()
    read = reader.snapshot().idle.by_cause
    assert read["policy_busy"] == pytest.approx(idle["policy_busy"])


def test_workers_that_a_slow_policy_never_reaches_are_idle_because_of_it() -> None:
    run = simulate(Chains(50), model=Model(10.0), handler_cost=5.0)
    # four chains of 10 s need 20 s of the policy: it alone decides how long the run takes
    assert run.handler_s["Chains.go_on"] == pytest.approx(200 * 5.0)
    assert run.duration_s == pytest.approx(10.0 + 200 * 5.0, abs=15.0)
    assert run.utilisation("simulate") == pytest.approx(0.5, abs=0.02)
    idle = run.idle_s()
    assert idle["policy_busy"] > 0.95 * sum(idle.values())


def test_without_costs_all_is_as_before() -> None:
    usual = simulate(Chains(), model=Model(10.0))
    assert usual.handler_s == {}
    free = simulate(Chains(), model=Model(10.0), handler_cost={})
    assert free.event_log == usual.event_log


def test_costs_may_be_drawn_and_follow_from_the_seed() -> None:
    def cost(rng: Any, result: Result) -> float:
        assert isinstance(result.args[0], int)
        drawn: float = rng.uniform(0.0, 2.0)
        return drawn

    logs = [
        simulate(Chains(), model=Model(10.0), handler_cost=cost, seed=seed).event_log
        for seed in (1, 1, 2)
    ]
    assert logs[0] == logs[1] != logs[2]
    with pytest.raises(ExceptionGroup) as failed:
        simulate(Chains(), model=Model(10.0), handler_cost=lambda rng, result: -1.0)
    (error,) = failed.value.exceptions
    assert str(error).startswith("a duration of the handler Chains.go_on must be 0 or more")


class Computing(Chains):
    """Computes for a while, in two ways."""

    @on_success(measure)
    async def go_on(self, result: Result) -> None:
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        await super().go_on(result)


def test_a_measured_cost_is_the_processor_time_of_the_handler() -> None:
    run = simulate(Computing(2), model=Model(1.0), handler_cost="measured")
    assert run.handler_s["Computing.go_on"] >= 8 * 0.02
    late = [b - a for a, b in zip(run.campaign.times, run.campaign.times[1:4], strict=False)]
    assert all(each >= 0.019 for each in late)  # the calls come when the one before has computed
    starts = sorted(record.started or 0.0 for record in run.records)[4:]
    assert all(start >= 1.0 + 0.02 for start in starts)
    assert simulate(Computing(2), model=Model(1.0), handler_cost={"go_on": 0.0}).duration_s == 2.0


class Busy(Campaign):
    """One handler that takes long, and others that only want to look at the clock."""

    workers: ClassVar = {"simulate": 1}

    def __init__(self) -> None:
        self.ticks: list[float] = []
        self.seen: list[tuple[str, float]] = []

    async def setup(self) -> None:
        self.submit(measure, 1)

    @on_result(measure)
    async def think(self, result: Result) -> None:
        self.seen.append(("thought", now()))
        await asyncio.sleep(0.5)
        self.seen.append(("slept", now()))

    @every(1.0)
    async def tick(self) -> None:
        self.ticks.append(now())
        if len(self.ticks) == 12:
            self.stop()

    @agent
    async def look(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.wait_and_see("asyncio", asyncio.sleep(5.2)))
        async with anyio.create_task_group() as scope:
            scope.start_soon(self.wait_and_see, "anyio", anyio.sleep(0.2))

    async def wait_and_see(self, name: str, waits: Awaitable[None]) -> None:
        await waits
        self.seen.append((name, now()))


def test_all_code_of_the_agents_waits_while_one_computes() -> None:
    run = simulate(Busy(), model=Model(5.0), handler_cost={"think": 4.0})
    # from 5 to 9 s the loop is busy
    assert run.campaign.ticks[:4] == [1.0, 2.0, 3.0, 4.0]
    assert run.campaign.ticks[4] == 9.0
    assert run.campaign.seen == [
        ("thought", 5.0),
        ("asyncio", 9.0),
        ("slept", 9.0),
        ("anyio", pytest.approx(9.2)),
    ]


def test_a_lasting_agent_costs_each_time_that_it_goes_on() -> None:
    run = simulate(Busy(), model=Model(5.0), handler_cost={"look": 0.1})
    assert run.handler_s["Busy.look"] == pytest.approx(3 * 0.1)


class Endless(Campaign):
    """Its agents wait for each other in vain, or the end of the campaign cuts them short."""

    workers: ClassVar = {"simulate": 1}

    def __init__(self, *, stops: bool) -> None:
        self.stops = stops
        self.cut = 0

    async def setup(self) -> None:
        self.submit(measure, 1)

    @agent
    async def wait_for_godot(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.cut += 1

    @on_result(measure)
    async def think(self, result: Result) -> None:
        for n in range(3):
            self.publish(n)
        if self.stops:
            self.stop()

    @on_event(int, concurrent=3)
    async def hear(self, event: int) -> None:
        await asyncio.sleep(0.0)


def test_a_deadlock_is_told() -> None:
    with pytest.raises(DeadlockError, match=r"Endless.wait_for_godot"):
        simulate(Endless(stops=False), model=Model(5.0), handler_cost=1.0)


def test_the_end_waits_for_no_turn() -> None:
    run = simulate(Endless(stops=True), model=Model(5.0), handler_cost=100.0)
    assert run.campaign.cut == 1
    assert run.duration_s <= 5.0 + 100.0 * 5 + 1.0


@pytest.mark.parametrize("faults", [[KillWorker(at_s=15)], [RestartBroker(at_s=15)]])
def test_a_busy_policy_bears_faults(faults: list[Any]) -> None:
    def run(cost: Any) -> Any:
        return simulate(
            Chains(10), model=Model(10.0), handler_cost=cost, faults=faults, latency_s=0.1
        )

    assert run(1.0).ended == {"succeeded": 40}
    assert run(1.0).event_log == run(1.0).event_log


@given(seed=st.integers(0, 1 << 30))
def test_whatever_agents_cost_each_run_ends_and_its_idle_time_has_causes(seed: int) -> None:
    chance = random.Random(seed)
    costs: list[Any] = [0.3, {"go_on": 2.0}, {"learn": 4.0}, lambda rng, *_: rng.expovariate(1.0)]
    cost, tasks = chance.choice(costs), chance.randint(5, 30)
    faults = [KillWorker(at_s=chance.uniform(1, 80)) for _ in range(chance.choice([0, 2]))]

    def run() -> Any:
        return simulate(
            Restless(seed, tasks, 2.0, 3),
            model=Model(lambda rng, *_: rng.uniform(0.0, 12.0), fails=0.1),
            handler_cost=cost,
            seed=seed,
            faults=faults,
        )

    first = run()
    assert run().event_log == first.event_log
    for pool in ("simulate", "learn"):
        assert min(first.idle_s(pool).values()) >= 0.0


@pytest.mark.parametrize(
    ("cost", "told"),
    [
        ({"go": 1.0}, r"handler_cost has 'go', which is no agent .*\(agents: go_on\)"),
        (-1.0, "handler_cost is 0 or more seconds"),
        ({"go_on": "real"}, "handler_cost of go_on is 0 or more seconds.*not 'real'"),
        (float("nan"), "handler_cost is 0 or more"),
    ],
)
def test_a_wrong_cost_is_refused(cost: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        simulate(Chains(), model=Model(10.0), handler_cost=cost)
