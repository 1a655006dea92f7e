"""Connections break at any moment, of nodes and of clients: nothing is lost, and nothing twice."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from typing import Any

import pytest

from steerio import ClientLost, Lost, NodeLost, Session, Succeeded, TaskEnded, TaskStarted
from steerio.model.settings import Settings
from steerio.testing import (
    HalfOpenConnections,
    KillWorker,
    Model,
    PartitionNode,
    ResetConnections,
    SimulatedCluster,
    run_virtual,
)
from tests.simulated.boxes import assert_bounded, assert_nothing_waits
from tests.simulated.many_runs import assert_all_end_well, play_all
from tests.simulated.virtual import (
    WALL_LIMIT_S,
    as_asked,
    cluster_of,
    counting,
    in_virtual_time,
    of_kind,
    on_cluster,
    simulation,
)

LEASE_S = 15.0
AWAY_S = 60.0
HOSTS = ("node-1", "node-2", "laptop")
TROUBLE_S = 60.0
"""After this no connection breaks any more."""
END_S = 1_000.0
"""By then, long after the last bound, all must have ended."""
ORDINARY, STRESS = 1_000, 100_000
SHARE = 100
"""Runs of one test of the ordinary tier."""
LOOK_S = 5.0
"""How often the bounds of queues are looked at."""


# -- one at a time ------------------------------------------------------------------------------


@on_cluster(1, faults=[ResetConnections(5, "node-1"), ResetConnections(7, "node-1")])
async def test_a_report_that_a_reset_took_away_is_sent_again(
    cluster: SimulatedCluster, session: Session
) -> None:
    tasks = session.map(simulation, [5.0, 2.0, 1.0])
    results = [await task.result() for task in tasks]
    assert [type(result) for result in results] == [Succeeded] * 3
    assert {result.attempt for result in results} == {1}
    assert asyncio.get_running_loop().time() < 15
    assert of_kind(cluster.record.events, NodeLost) == []


@on_cluster(1, latency_s=0.1, faults=[ResetConnections(2.05, "node-1")])
async def test_an_order_that_was_under_way_in_a_reset_is_given_again(
    cluster: SimulatedCluster, session: Session
) -> None:
    await asyncio.sleep(2)
    task = session.submit(simulation, 1.0)
    result = await task.result()
    assert isinstance(result, Succeeded)
    assert result.attempt == 1


@on_cluster(1, faults=[PartitionNode(5, "node-1", for_s=3)])
async def test_a_cancel_that_falls_into_a_cut_is_carried_out_after_it(
    cluster: SimulatedCluster, session: Session
) -> None:
    task = session.submit(simulation, 1_000.0)
    await asyncio.sleep(6)
    task.cancel("enough")
    assert (await task.result()).ended_as == "cancelled"
    assert asyncio.get_running_loop().time() < 12


@in_virtual_time
async def test_a_client_that_was_away_for_less_than_its_bound_goes_on_with_all_that_ended() -> None:
    cut = PartitionNode(2, "laptop", for_s=AWAY_S - 10)
    async with cluster_of(2, faults=[cut]) as cluster:
        async with cluster.session("far", host="laptop") as far:
            tasks = far.map(simulation, [0.5] * 100)
            values = [await task for task in tasks]
            assert values == [0.5] * 100
            assert asyncio.get_running_loop().time() > AWAY_S - 8, "it was away meanwhile"
            assert await far.run(simulation, 1.0) == 1.0
        ended = of_kind(cluster.record.events, TaskEnded)
        assert sum(event.at < 30 for event in ended) == 100, "and the workers went on"
        assert of_kind(cluster.record.events, ClientLost) == []


@in_virtual_time
async def test_a_client_that_is_away_for_longer_is_lost_and_knows_it() -> None:
    cut = PartitionNode(2, "laptop", for_s=2 * AWAY_S)
    settings = Settings(beat_s=5.0, away_s=AWAY_S)
    async with cluster_of(1, faults=[cut], settings=settings) as cluster:
        async with cluster.session("far", host="laptop") as far:
            result = await far.submit(simulation, 1_000.0).result()
            assert isinstance(result, Lost)
        (lost,) = of_kind(cluster.record.events, ClientLost)
        assert lost.at == pytest.approx(2 + AWAY_S, abs=6)
        assert not cluster.broker.core.tasks


@pytest.mark.parametrize("hears", [True, False])
@pytest.mark.parametrize("for_s", [3.0, 10.0])
def test_a_node_that_only_hears_or_is_only_heard_for_less_than_its_lease_loses_nothing(
    hears: bool, for_s: float
) -> None:
    async def play() -> None:
        half = HalfOpenConnections(5, "node-1", for_s, hears)
        async with cluster_of(1, faults=[half]) as cluster, cluster.session() as session:
            tasks = session.map(simulation, [1.0] * 20)
            stopped = session.submit(simulation, 1_000.0)
            asyncio.get_running_loop().call_at(6, stopped.cancel)
            results = [await task.result() for task in tasks]
            assert [(type(each), each.attempt) for each in results] == [(Succeeded, 1)] * 20
            assert (await stopped.result()).ended_as == "cancelled"
            assert of_kind(cluster.record.events, NodeLost) == []
            await asyncio.sleep(60)
            assert_nothing_waits(cluster)

    run_virtual(play(), wall_limit_s=WALL_LIMIT_S)


@in_virtual_time
async def test_a_node_that_is_not_heard_beyond_its_lease_is_lost_and_comes_back() -> None:
    half = HalfOpenConnections(5, "node-1", 3 * LEASE_S)
    async with cluster_of(2, nodes=2, faults=[half]) as cluster, cluster.session() as session:
        tasks = session.map(simulation, [4.0] * 40)
        results = [await task.result() for task in tasks]
        assert {type(each) for each in results} == {Succeeded}
        (lost,) = of_kind(cluster.record.events, NodeLost)
        assert lost.node == "node-1"
        await asyncio.sleep(60)
        assert len(cluster.broker.core.workers) == 2
        assert_nothing_waits(cluster)


# -- at random ----------------------------------------------------------------------------------


def faults_of(rng: random.Random) -> list[Any]:
    """Draw what breaks: cuts shorter and longer than leases, of one way or both, and resets."""
    faults: list[Any] = []
    for _ in range(rng.randint(1, 6)):
        host, at_s = rng.choice(HOSTS), rng.uniform(1, TROUBLE_S)
        draw = rng.random()
        if draw < 0.45:
            faults.append(ResetConnections(at_s, host))
        elif draw < 0.95:
            for_s = rng.choice([rng.uniform(0.01, 8), rng.uniform(5, 40), rng.uniform(40, 90)])
            half = HalfOpenConnections(at_s, host, for_s, rng.random() < 0.5)
            faults.append(PartitionNode(at_s, host, for_s) if draw < 0.75 else half)
        else:
            faults.append(KillWorker(at_s))
    return faults


async def scene(seed: int) -> None:
    """Play one run, and assert that all is well at its end."""
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    cluster = cluster_of(
        3,
        nodes=2,
        seed=seed,
        latency_s=rng.choice([0.0, 0.0, 0.02, 0.3]),
        faults=faults_of(rng),
        settings=Settings(
            beat_s=rng.choice([2.0, 5.0]), lease_s=LEASE_S, away_s=AWAY_S, join_s=200.0
        ),
        model={
            simulation: Model(as_asked, obeys=rng.choice(["asked", "term", "kill"])),
            counting: Model(1.0),
        },
    )

    def look() -> None:
        assert_bounded(cluster)
        if loop.time() < 2 * TROUBLE_S:
            loop.call_later(LOOK_S, look)

    async with cluster, cluster.session("near") as near:
        async with cluster.session("far", host="laptop") as far:
            look()
            ended: Counter[int] = Counter()
            tasks: list[Any] = []
            for session in (near, far):
                for _ in range(rng.randint(1, 6)):
                    await asyncio.sleep(rng.choice([0, 0, rng.uniform(0, 15)]))
                    if session.client.lost:
                        break
                    options = session.options(
                        retries={"lost": 20}, timeout_s=rng.choice([None, 40.0])
                    )
                    if rng.random() < 0.2:
                        task: Any = options.submit(counting, rng.randint(0, 30))
                    else:
                        task = options.submit(simulation, rng.uniform(0, 30))
                    task.add_done_callback(lambda done: ended.update([done.id]))
                    tasks.append(task)
                    if rng.random() < 0.2:
                        loop.call_later(rng.uniform(0, TROUBLE_S), task.cancel)
            results = [await task.result() for task in tasks]
            assert loop.time() < END_S
            for result, task in zip(results, tasks, strict=True):
                away = task.session is far and far.client.lost
                # three of the killed workers may have had the same task
                killer = result.ended_as == "lost" and result.reason.startswith("it took down 3")
                assert result.ended_as != "lost" or away or killer, result
        await asyncio.sleep(200)
        assert set(ended.values()) == {1}, "each handle was told once"
        events = cluster.record.events
        # a client that was given up and comes back submits its tasks again, which were cancelled
        finished = [e.task_id for e in of_kind(events, TaskEnded) if e.ended_as != "cancelled"]
        assert sorted(finished) == sorted({*finished}), "each task ended once"
        # one that was cancelled before its worker began it has 0
        last = {e.task_id: e.attempt or math.inf for e in of_kind(events, TaskEnded)}
        assert all(e.attempt <= last[e.task_id] for e in of_kind(events, TaskStarted))
        core = cluster.broker.core
        assert not core.tasks
        assert not core.runs
        core.check(loop.time())
        assert {w.name for w in cluster.workers()} == set(core.workers), "all came back"
        assert len(core.workers) == 3
        assert_nothing_waits(cluster)


@pytest.mark.parametrize("first", range(0, ORDINARY, SHARE))
def test_whatever_breaks_each_task_ends_once_and_all_come_back(first: int) -> None:
    play_all(scene, range(first, first + SHARE))


@pytest.mark.stress
def test_a_hundred_thousand_runs_with_broken_connections() -> None:
    assert_all_end_well(scene, range(ORDINARY, ORDINARY + STRESS))
