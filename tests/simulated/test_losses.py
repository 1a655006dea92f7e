"""Workers, nodes and connections are lost: every task still ends, once, and within a bound."""

from __future__ import annotations

import asyncio

import pytest

from steerio import (
    Lost,
    NodeJoined,
    NodeLost,
    PoolFailed,
    Session,
    Succeeded,
    TaskRetried,
    WorkerJoined,
    WorkerLost,
)
from steerio.testing import (
    FailStarts,
    HangWorker,
    KillNode,
    KillWorker,
    Model,
    PartitionNode,
    SimulatedCluster,
    SlowNode,
)
from tests.simulated.virtual import AS_ASKED, of_kind, on_cluster, simulation

LEASE_S, BEAT_S = 15.0, 5.0


@on_cluster(1, faults=[KillWorker(5, pool="simulate")])
async def test_a_task_whose_worker_is_killed_is_tried_again(
    cluster: SimulatedCluster, session: Session
) -> None:
    result = await session.submit(simulation, 10.0).result()
    assert isinstance(result, Succeeded)
    assert (result.attempt, result.worker) == (2, "simulate-2")
    assert asyncio.get_running_loop().time() == 15
    (retried,) = of_kind(cluster.record.events, TaskRetried)
    assert (retried.at, retried.attempt) == (5, 1)
    (lost,) = of_kind(cluster.record.events, WorkerLost)
    assert "SIGKILL" in lost.reason
    assert lost.task_id == result.task_id


@on_cluster(1, faults=[KillWorker(5)])
async def test_a_task_that_may_not_be_tried_again_is_lost_with_its_worker(
    cluster: SimulatedCluster, session: Session
) -> None:
    result = await session.options(retries={"lost": 0}).submit(simulation, 10.0).result()
    assert isinstance(result, Lost)
    assert "SIGKILL" in result.reason
    assert await session.run(simulation, 1.0) == 1.0, "its worker was replaced"


@on_cluster(2, model={simulation: Model(1.0, crashes=lambda _, seconds: seconds > 5)})
async def test_a_task_that_takes_down_three_workers_is_not_tried_again(
    cluster: SimulatedCluster, session: Session
) -> None:
    bad = session.options(retries={"lost": 10}).submit(simulation, 10.0)
    good = session.map(simulation, [1.0, 2.0, 3.0, 4.0])
    result = await bad.result()
    assert isinstance(result, Lost)
    assert result.attempt == 3
    assert "3 workers" in result.reason
    assert await session.gather(*good) == [1.0, 2.0, 3.0, 4.0]


@on_cluster(2, nodes=2, faults=[KillNode(7, "node-1")])
async def test_a_node_that_dies_without_a_word_is_lost_when_its_lease_ends(
    cluster: SimulatedCluster, session: Session
) -> None:
    results = [await task.result() for task in session.map(simulation, [20.0, 20.0])]
    (lost,) = of_kind(cluster.record.events, NodeLost)
    assert lost.node == "node-1"
    assert 7 < lost.at <= 7 + LEASE_S + BEAT_S
    assert sorted(result.attempt for result in results) == [1, 2]
    assert all(isinstance(result, Succeeded) for result in results)


@on_cluster(2, nodes=2, faults=[KillNode(7, "node-1", back_after_s=100)])
async def test_a_node_that_comes_back_brings_new_workers(
    cluster: SimulatedCluster, session: Session
) -> None:
    await session.run(simulation, 200.0)
    joined = [event.node for event in of_kind(cluster.record.events, NodeJoined)]
    assert joined == ["node-1", "node-2", "node-1"]
    assert len(cluster.workers()) == 2


@on_cluster(1, faults=[PartitionNode(5, "node-1", for_s=LEASE_S - BEAT_S - 1)])
async def test_a_short_partition_delays_a_result_and_loses_nothing(
    cluster: SimulatedCluster, session: Session
) -> None:
    result = await session.submit(simulation, 6.0).result()
    assert isinstance(result, Succeeded)
    assert (result.attempt, result.timings.ended, result.timings.received) == (1, 6, 14.5), (
        "the connection broke, and is made again half a second after the cut"
    )
    assert of_kind(cluster.record.events, NodeLost) == []


@on_cluster(2, nodes=2, faults=[PartitionNode(5, "node-1", for_s=25)])
async def test_what_was_done_behind_a_long_partition_comes_too_late(
    cluster: SimulatedCluster, session: Session
) -> None:
    tasks = session.map(simulation, [10.0, 10.0])
    results = [await task.result() for task in tasks]
    assert sorted(result.attempt for result in results) == [1, 2]
    await session.run(simulation, 50.0)
    assert len(of_kind(cluster.record.events, NodeLost)) == 1
    ended = [event for event in cluster.record.tasks if event.task_id in {t.id for t in tasks}]
    assert len(ended) == 2, "every task ended once"


@on_cluster(1, nodes=1, faults=[PartitionNode(5, "node-1", for_s=60)])
async def test_a_node_that_comes_back_when_its_workers_must_be_over_ends_them_and_joins_anew(
    cluster: SimulatedCluster, session: Session
) -> None:
    result = await session.submit(simulation, 100.0).result()
    assert isinstance(result, Succeeded)
    assert result.attempt == 2
    assert len(of_kind(cluster.record.events, NodeLost)) == 1
    assert [event.node for event in of_kind(cluster.record.events, NodeJoined)] == ["node-1"] * 2
    (worker,) = cluster.workers()
    assert worker.name == result.worker != "simulate-1"


@on_cluster(1, faults=[HangWorker(1, pool="simulate")])
async def test_a_hung_worker_is_killed_when_its_task_is_out_of_time(
    cluster: SimulatedCluster, session: Session
) -> None:
    task = session.options(timeout_s=10, retries={"timed_out": 1}).submit(simulation, 5.0)
    result = await task.result()
    assert isinstance(result, Succeeded)
    assert result.attempt == 2
    assert result.worker == "simulate-2"


@on_cluster(1, faults=[HangWorker(1, pool="simulate")])
async def test_a_worker_that_hangs_before_it_begins_its_task_is_killed_too(
    cluster: SimulatedCluster, session: Session
) -> None:
    await asyncio.sleep(2)
    task = session.options(timeout_s=10, retries={"timed_out": 1}).submit(simulation, 5.0)
    assert await task == 5.0
    assert asyncio.get_running_loop().time() < 20


@on_cluster(2, nodes=2, faults=[SlowNode(0, "node-2", factor=10, for_s=15)])
async def test_a_slow_node_takes_longer_for_what_it_begins_meanwhile(
    cluster: SimulatedCluster, session: Session
) -> None:
    await asyncio.sleep(1)
    first = [await task.result() for task in session.map(simulation, [2.0, 2.0])]
    assert sorted(result.timings.run_s or 0 for result in first) == [2, 20]
    second = [await task.result() for task in session.map(simulation, [2.0, 2.0])]
    assert [result.timings.run_s for result in second] == [2, 2]


@on_cluster(1, 1, faults=[FailStarts("learn", "No module named 'sklearn'")])
async def test_a_pool_whose_workers_die_while_starting_fails_its_tasks_with_their_last_words(
    cluster: SimulatedCluster, session: Session
) -> None:
    from tests.simulated.virtual import training

    result = await session.submit(training, 1).result()
    assert isinstance(result, Lost)
    assert "sklearn" in result.reason
    assert len(of_kind(cluster.record.events, PoolFailed)) == 1
    assert await session.run(simulation, 1.0) == 1.0, "the other pool goes on"


@on_cluster(1, faults=[FailStarts("simulate", for_s=10, at_s=1), KillWorker(2)], start_s=6)
async def test_a_pool_that_can_start_workers_again_goes_on(
    cluster: SimulatedCluster, session: Session
) -> None:
    assert await session.run(simulation, 1.0) == 1.0
    assert of_kind(cluster.record.events, PoolFailed) == []


@on_cluster(3, nodes=3, latency_s=0.5, start_s=2.0)
async def test_messages_and_starts_take_their_time(
    cluster: SimulatedCluster, session: Session
) -> None:
    result = await session.submit(simulation, 10.0).result()
    timings = result.timings
    # to the broker and back, then the start, and the worker's own way to the broker
    assert timings.sent == 0.5 + 0.5 + 2.0 + 0.5
    assert timings.started == 1.5 + 2.0 + 0.5
    assert timings.received == 4.0 + 10 + 0.5


@pytest.mark.parametrize("kills", [1, 5])
def test_as_many_workers_live_after_kills_as_before(kills: int) -> None:
    faults = [KillWorker(at_s=1.5 * n + 0.5) for n in range(kills)]

    @on_cluster(4, faults=faults)
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        assert await session.gather(*session.map(simulation, [3.0] * 12)) == [3.0] * 12
        joined = len(of_kind(cluster.record.events, WorkerJoined))
        lost = len(of_kind(cluster.record.events, WorkerLost))
        assert joined - lost == len(cluster.workers()) == 4

    scene()


def test_models_must_be_there_for_all_that_runs() -> None:
    from steerio.errors import UsageError

    @on_cluster(1, model={})
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        await session.run(simulation, 1.0)

    assert simulation in AS_ASKED
    with pytest.raises(UsageError, match=r"simulation has no model"):
        scene()
