"""Rules that move a thousand simulated workers as load changes, and do not flap."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from steerio import (
    Board,
    Campaign,
    FirstThen,
    KeepIdle,
    PoolLoad,
    Priority,
    Proportional,
    Rule,
    Session,
    Succeeded,
    UsageError,
    WorkerMoved,
    agent,
    at_least,
    on_success,
    task,
)
from steerio.testing import (
    KillNode,
    Model,
    RandomKills,
    SimulatedCluster,
    SimulatedRun,
    lognormal,
    simulate,
)
from tests.simulated.virtual import AS_ASKED, in_virtual_time, of_kind, simulation, training

WORKERS = 1_000


@task(pool="simulate")
def energy(molecule: int) -> int:
    return molecule


@task(pool="infer")
def infer(molecule: int) -> int:
    return molecule


MODEL = {energy: Model(lognormal(60.0)), infer: Model(lognormal(20.0))}


class Screening(Campaign):
    """Infer ten times for each simulation, under a rule that shares the workers out."""

    workers: ClassVar = {"simulate": WORKERS, "infer": 0}

    def __init__(self, rule: Rule | None, molecules: int, **options: Any) -> None:
        self.rule = rule
        self.molecules = molecules
        self.left = 10 * molecules
        self.following = options

    async def setup(self) -> None:
        self.map(energy, range(self.molecules))

    @agent
    async def allocate(self) -> None:
        if self.rule is not None:
            await self.pools.follow(self.rule, **self.following)

    @on_success(energy)
    async def infer_neighbours(self, result: Succeeded) -> None:
        self.map(infer, range(10))

    @on_success(infer)
    async def count(self, result: Succeeded) -> None:
        self.left -= 1
        if not self.left:
            self.stop()


def moved(run: SimulatedRun[Any]) -> int:
    return len(of_kind(run.events, WorkerMoved))


def test_a_thousand_workers_go_where_the_tasks_are() -> None:
    rule = Proportional("simulate", "infer", weights={"simulate": 3})
    run = simulate(Screening(rule, 3_000), model=MODEL)
    assert run.ended == {"succeeded": 33_000}
    busy_s = sum((record.ended or 0) - (record.started or 0) for record in run.records)
    assert busy_s > 0.85 * WORKERS * run.duration_s, "the rest waited for the last to end"
    assert moved(run) < 2 * WORKERS


def test_a_steady_load_moves_nobody_after_the_beginning() -> None:
    """Arrivals and durations are random, so the rule's wish changes all the time."""

    class Steady(Campaign):
        workers: ClassVar = {"simulate": WORKERS // 2, "infer": WORKERS // 2}

        @agent
        async def allocate(self) -> None:
            await self.pools.follow(Proportional("simulate", "infer"))

        @agent
        async def arrive(self) -> None:
            chance = random.Random(7)
            self.map(energy, range(700))
            self.map(infer, range(700))
            for _ in range(1_000):
                await asyncio.sleep(1.0)
                for kind, mean_s in ((energy, 60.0), (infer, 20.0)):
                    for _ in range(round(chance.gauss(400 / mean_s, (400 / mean_s) ** 0.5))):
                        self.submit(kind, 1)
            self.stop()

    run = simulate(Steady(), model=MODEL, seed=2)
    later = [event for event in of_kind(run.events, WorkerMoved) if event.at > 300.0]
    tasks = len(run.records)
    assert tasks > 20_000
    assert len(later) < 0.005 * tasks, f"{len(later)} moves for {tasks} tasks"


def alternating(settle_s: float) -> int:
    """Return how often workers move where load comes to either pool for two seconds in turn."""

    class Alternating(Campaign):
        workers: ClassVar = {"simulate": 10, "infer": 10}

        @agent
        async def allocate(self) -> None:
            await self.pools.follow(Priority("simulate", "infer"), settle_s=settle_s)

        @agent
        async def alternate(self) -> None:
            for _ in range(100):
                await self.gather(*self.map(energy, range(20)))
                await asyncio.sleep(2.0)
            self.stop()

    return moved(simulate(Alternating(), model=Model(1.0)))


def test_what_settles_longer_than_load_lasts_does_not_flap() -> None:
    assert alternating(settle_s=0.1) > 500
    assert alternating(settle_s=5.0) <= 20


class OnBoards(Campaign):
    """Molecules that wait on boards, which rules share workers out by."""

    workers: ClassVar = {"simulate": 8, "infer": 0}

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules
        self.energies = Board(energy, range(100))
        self.inferred = Board(infer)

    @agent
    async def allocate(self) -> None:
        await self.pools.follow(*self.rules)

    @on_success(energy)
    async def infer_it(self, result: Succeeded) -> None:
        self.inferred.add(result.value)

    @agent
    async def end(self) -> None:
        await self.until(lambda: len(self.inferred.ended) == 100)
        self.stop()


def test_a_rule_sees_the_entries_that_wait_on_boards() -> None:
    run = simulate(OnBoards(Proportional("simulate", "infer")), model=MODEL)
    assert run.ended == {"succeeded": 200}
    assert run.utilisation() > 0.8


def test_a_rule_sees_an_entry_that_comes_when_nothing_else_happens() -> None:
    class Late(OnBoards):
        async def setup(self) -> None:
            self.energies.replace([])
            self.inferred.ended.update(range(1, 100))

        @agent
        async def arrive(self) -> None:
            await asyncio.sleep(1_000.0)
            self.inferred.add(0)

    run = simulate(Late(Proportional("simulate", "infer")), model={**MODEL, infer: Model(1.0)})
    assert run.ended == {"succeeded": 1}
    assert run.duration_s == pytest.approx(1_002.0, abs=1.0)


def test_each_rule_moves_workers_among_its_own_pools() -> None:
    class Apart(OnBoards):
        workers: ClassVar = {"simulate": 8, "infer": 0, "learn": 6, "spare": 0}

        def __init__(self, *rules: Rule) -> None:
            super().__init__(*rules)
            self.trained = Board(training, [30, 31, 32])

    rules = Proportional("simulate", "infer"), Proportional("spare", "learn")
    run = simulate(Apart(*rules), model={**MODEL, **AS_ASKED})
    moves = {(event.source, event.pool) for event in of_kind(run.events, WorkerMoved)}
    assert moves == {("simulate", "infer"), ("infer", "simulate")}


@in_virtual_time
async def test_two_rules_for_one_pool_are_refused() -> None:
    workers = {"simulate": 2, "infer": 2, "learn": 2}
    rules = Proportional("simulate", "infer"), Proportional("infer", "learn")
    async with SimulatedCluster(workers, model=MODEL) as cluster, cluster.session() as session:
        with pytest.raises(UsageError, match="two rules wish for workers of pool 'infer'"):
            await session.pools.follow(*rules)


@in_virtual_time
async def test_when_training_ends_its_workers_infer_and_come_back() -> None:
    workers = {"learn": 400, "simulate": 600}
    async with (
        SimulatedCluster(workers, model=AS_ASKED) as cluster,
        cluster.session() as session,
    ):
        rule = FirstThen("learn", "simulate", workers=400)
        async with asyncio.TaskGroup() as group:
            following = group.create_task(session.pools.follow(rule, settle_s=0.5))
            first = session.map(training, [60] * 400)
            behind = session.map(simulation, [10.0] * 20_000)
            await asyncio.sleep(59.0)
            assert session.pools["learn"].workers == 400
            await session.gather(*first)
            await asyncio.sleep(2.0)
            assert session.pools["simulate"].busy == 1_000
            again = session.submit(training, 30)
            await again
            assert session.pools["learn"].at_home == 400
            following.cancel()
            for each in behind:
                each.cancel()


@in_virtual_time
async def test_what_is_urgent_finds_a_worker_idle() -> None:
    workers = {"simulate": 100, "learn": 0}
    async with (
        SimulatedCluster(workers, model=AS_ASKED) as cluster,
        cluster.session() as session,
    ):
        rule = KeepIdle("learn", 2, source="simulate")
        following = asyncio.create_task(session.pools.follow(rule, settle_s=0.2))
        behind = session.map(simulation, [5.0] * 3_000)
        loop = asyncio.get_running_loop()
        await asyncio.sleep(10.0)
        for _ in range(5):
            began = loop.time()
            await session.run(training, 3)
            assert loop.time() - began == pytest.approx(3.0), "it waited for no simulation"
            await asyncio.sleep(1.0)
        following.cancel()
        for each in behind:
            each.cancel()
        await asyncio.wait([following])


async def stop(session: Session, following: asyncio.Task[None]) -> None:
    """Cancel a rule, and see that it has left nothing behind."""
    following.cancel()
    await asyncio.wait([following])
    assert following.cancelled()
    assert not session.client.watch._awaiting_pools


@in_virtual_time
async def test_moves_under_way_are_undone_when_a_rule_ends() -> None:
    workers = {"simulate": 10, "learn": 0}
    async with (
        SimulatedCluster(workers, model=AS_ASKED) as cluster,
        cluster.session() as session,
    ):
        busy = session.map(simulation, [100.0] * 10)
        session.submit(training, 1).cancel()

        def half(pools: Mapping[str, PoolLoad]) -> dict[str, int]:
            return {"simulate": 5, "learn": 5}

        following = asyncio.create_task(session.pools.follow(half))
        await asyncio.sleep(10.0)
        assert session.pools["simulate"].promised == 5
        await stop(session, following)
        await session.pools.look()
        assert session.pools["simulate"].promised == 0
        await session.gather(*busy)
        await session.pools.look()
        assert session.pools["simulate"].idle == 10


@in_virtual_time
async def test_a_move_is_undone_when_it_is_no_longer_wished() -> None:
    workers = {"simulate": 10, "learn": 0}
    wish = {"simulate": 5, "learn": 5}
    async with (
        SimulatedCluster(workers, model=AS_ASKED) as cluster,
        cluster.session() as session,
    ):
        session.map(simulation, [100.0] * 10)
        following = asyncio.create_task(session.pools.follow(lambda _: dict(wish)))
        await asyncio.sleep(10.0)
        wish.update(simulate=10, learn=0)
        await asyncio.sleep(20.0)
        assert session.pools["simulate"].promised == 0
        await stop(session, following)


@in_virtual_time
async def test_a_wish_for_a_pool_that_is_not_there_says_which_are() -> None:
    async with (
        SimulatedCluster({"simulate": 2}, model=AS_ASKED) as cluster,
        cluster.session() as session,
    ):
        with pytest.raises(UsageError, match=r"'nowhere'.*: simulate"):
            await session.pools.follow(lambda _: {"nowhere": 1})
        for wrong in ({"settle_s": -1.0}, {"slack": 1.0}, {"step": 0}):
            with pytest.raises(UsageError):
                await session.pools.follow(lambda _: {}, **wrong)  # type: ignore[arg-type]


def test_workers_and_nodes_that_are_lost_do_not_keep_a_rule_from_going_on() -> None:
    rule = at_least({"simulate": 10}, Proportional("simulate", "infer"))
    faults = [RandomKills(rate_per_s=0.05, until_s=300.0), KillNode(100.0, "node-3")]
    run = simulate(
        Screening(rule, 2_000, step=50), model=MODEL, workers_per_node=250, faults=faults, seed=4
    )
    assert run.campaign.left == 0
    assert moved(run) > 100
