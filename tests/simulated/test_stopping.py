"""Tasks are cancelled, time out, and go with the client that submitted them."""

from __future__ import annotations

import asyncio

import pytest

from steerio import (
    Cancelled,
    ClientLost,
    Session,
    Succeeded,
    TaskCancelled,
    TaskEnded,
    TimedOut,
    UsageError,
    WorkerLost,
)
from steerio.client.client_tasks import CANCELLED_IN_MESSAGE
from steerio.testing import Model, PartitionNode, SimulatedCluster
from tests.simulated.virtual import (
    as_asked,
    cluster_of,
    in_virtual_time,
    of_kind,
    on_cluster,
    simulation,
)

GRACE_S = 0.2


def obeying(obeys: str) -> dict[object, Model]:
    return {simulation: Model(as_asked, obeys=obeys)}  # type: ignore[arg-type]


@on_cluster(1)
async def test_a_queued_task_leaves_at_once(cluster: SimulatedCluster, session: Session) -> None:
    running, queued = session.map(simulation, [10.0, 10.0])
    await asyncio.sleep(1)
    queued.cancel("changed my mind")
    result = await queued.result()
    assert isinstance(result, Cancelled)
    assert result.reason == "changed my mind"
    assert (result.attempt, result.worker) == (0, None)
    assert asyncio.get_running_loop().time() == 1
    assert await running == 10.0


@on_cluster(2)
async def test_many_tasks_are_cancelled_at_once_wherever_they_are(
    cluster: SimulatedCluster, session: Session
) -> None:
    ended = session.submit(simulation, 0.5)
    await asyncio.sleep(1)
    tasks = session.map(simulation, [10.0] * (2 * CANCELLED_IN_MESSAGE + 5))
    await asyncio.sleep(1)
    kept = tasks.pop()
    session.cancel([ended, *tasks, tasks[0], tasks[-1]], "a better idea")  # some of them twice
    results = [await task.result() for task in tasks]
    assert {type(result) for result in results} == {Cancelled}
    assert {result.reason for result in results if isinstance(result, Cancelled)} == {
        "a better idea"
    }
    assert [result.attempt for result in results[:3]] == [1, 1, 0]
    assert (ended.state, ended.awaited) == ("succeeded", False), "it is left alone"
    told = [event.task_id for event in of_kind(cluster.record.events, TaskEnded)]
    assert sorted(told) == [ended.id, *(task.id for task in tasks)]
    assert await kept == 10.0


@on_cluster(1)
async def test_tasks_to_cancel_are_chosen_by_id_or_by_a_function(
    cluster: SimulatedCluster, session: Session
) -> None:
    running = session.submit(simulation, 10.0)
    by_id = session.submit(simulation, 10.0)
    red = [session.options(tags={"of": "red"}).submit(simulation, 10.0) for _ in range(3)]
    blue = session.options(tags={"of": "blue"}).submit(simulation, 10.0)
    session.cancel([by_id.id, 2**62])
    session.cancel(lambda task: task.tags.get("of") == "red")
    assert [(await task.result()).ended_as for task in [by_id, *red]] == ["cancelled"] * 4
    assert [running.done, blue.done] == [False, False]
    session.cancel(session.pending)
    assert [(await task.result()).ended_as for task in [running, blue]] == ["cancelled"] * 2
    session.cancel(session.pending)  # nothing is left, and nothing happens


@on_cluster(1)
async def test_what_is_no_task_is_refused_and_then_nothing_is_cancelled(
    cluster: SimulatedCluster, session: Session
) -> None:
    task = session.submit(simulation, 10.0)
    async with cluster.session("other") as other:
        with pytest.raises(UsageError, match=r"is of another session"):
            other.cancel([task])
    refused: list[tuple[object, str]] = [
        (task, r"takes a list of tasks or a function.*its own cancel\(\)"),
        (7, r"takes a list of tasks or a function"),
        ([task, "all"], r"'all' is neither a task nor the id of one"),
        ([task, None], r"None is neither a task"),
        ([task, -1], r"-1 is not the id of any task"),
        ([task, 2**63], r"is not the id of any task"),
    ]
    for wrong, message in refused:
        with pytest.raises(UsageError, match=message):
            session.cancel(wrong)  # type: ignore[arg-type]
    assert await task == 10.0


@pytest.mark.parametrize(
    ("obeys", "after_s", "lost"),
    [("asked", 0, 0), ("term", GRACE_S, 0), ("kill", 2 * GRACE_S, 1)],
)
def test_a_running_task_stops_at_the_first_signal_that_it_obeys(
    obeys: str, after_s: float, lost: int
) -> None:
    @on_cluster(1, model=obeying(obeys))
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        task = session.submit(simulation, 10.0)
        await asyncio.sleep(1)
        task.cancel("enough")
        result = await task.result()
        assert isinstance(result, Cancelled)
        assert asyncio.get_running_loop().time() == pytest.approx(1 + after_s)
        assert len(of_kind(cluster.record.events, WorkerLost)) == lost
        assert await session.run(simulation, 1.0) == 1.0, "its worker is back"

    scene()


@pytest.mark.parametrize(
    ("obeys", "after_s"), [("asked", 0), ("term", GRACE_S), ("kill", 2 * GRACE_S)]
)
def test_a_task_out_of_time_is_stopped_in_the_same_way(obeys: str, after_s: float) -> None:
    @on_cluster(1, model=obeying(obeys))
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        result = await session.options(timeout_s=3).submit(simulation, 10.0).result()
        assert isinstance(result, TimedOut)
        assert result.timeout_s == 3
        assert asyncio.get_running_loop().time() == pytest.approx(3 + after_s)

    scene()


@on_cluster(1)
async def test_time_in_the_queue_does_not_count(
    cluster: SimulatedCluster, session: Session
) -> None:
    tasks = [session.options(timeout_s=3).submit(simulation, 2.0) for _ in range(5)]
    assert [type(await task.result()) for task in tasks] == [Succeeded] * 5


@on_cluster(1)
async def test_cancelling_an_await_cancels_its_task(
    cluster: SimulatedCluster, session: Session
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await session.run(simulation, 10.0)
    await asyncio.sleep(1)
    (record,) = cluster.record.tasks
    assert record.ended_as == "cancelled"


@on_cluster(1)
async def test_cancelling_a_task_that_has_ended_changes_nothing(
    cluster: SimulatedCluster, session: Session
) -> None:
    task = session.submit(simulation, 1.0)
    assert await task == 1.0
    task.cancel("too late")
    assert await task == 1.0


@on_cluster(1)
async def test_a_held_task_that_is_cancelled_does_not_begin(
    cluster: SimulatedCluster, session: Session
) -> None:
    for _ in range(3):  # short ones, so that more are sent ahead
        await session.run(simulation, 0.0001)
    tasks = session.map(simulation, [0.0001, 5.0, 5.0, 5.0])
    await asyncio.sleep(1)
    for task in tasks[2:]:
        task.cancel("not these")
    results = [await task.result() for task in tasks]
    assert [result.ended_as for result in results] == ["succeeded"] * 2 + ["cancelled"] * 2
    assert asyncio.get_running_loop().time() == pytest.approx(5, abs=0.1)


@on_cluster(2)
async def test_what_is_held_behind_a_long_task_is_recalled_for_an_idle_worker(
    cluster: SimulatedCluster, session: Session
) -> None:
    short, long = 0.001, 1000.0
    await session.gather(*session.map(simulation, [short] * 20))
    tasks = session.map(simulation, [*[short] * 20, long, *[short] * 200])
    done_at: dict[float, float] = {}
    async for task in session.as_completed(tasks):
        done_at[task.args[0]] = asyncio.get_running_loop().time()
    assert done_at[short] < 5, "no short one waited for the long one"
    assert done_at[long] > long


@in_virtual_time
async def test_a_client_that_leaves_takes_its_tasks_with_it() -> None:
    async with cluster_of(1) as cluster, cluster.session("stays") as stays:
        async with cluster.session("leaves") as leaves:
            gone = leaves.map(simulation, [100.0] * 3)
            await asyncio.sleep(1)
        kept = stays.submit(simulation, 1.0)
        assert await kept == 1.0
        assert asyncio.get_running_loop().time() < 3
        ended = {record.task_id: record.ended_as for record in cluster.record.tasks}
        assert [ended[task.id] for task in gone] == ["cancelled"] * 3
        (left,) = of_kind(cluster.record.events, ClientLost)
        assert left.client == "leaves"


@in_virtual_time
async def test_a_client_that_cannot_be_reached_is_lost_and_its_tasks_with_it() -> None:
    async with cluster_of(1) as cluster, cluster.session("stays") as stays:
        async with cluster.session("far", host="laptop") as far:
            task = far.submit(simulation, 1000.0)
            await asyncio.sleep(1)
            cluster.cut_off("laptop")
            result = await task.result()
            assert result.ended_as == "lost"
            assert "silent" in far.client.lost
            assert asyncio.get_running_loop().time() < 140
        assert await stays.run(simulation, 1.0) == 1.0
        assert asyncio.get_running_loop().time() < 160
        assert len(of_kind(cluster.record.events, ClientLost)) == 1


@on_cluster(1, latency_s=0.3, model=obeying("term"))
async def test_a_signal_that_comes_late_does_not_strike_the_next_task(
    cluster: SimulatedCluster, session: Session
) -> None:
    """The first ends, and the worker begins the next, while the signal is on its way."""
    for _ in range(3):  # short ones, so that more are sent ahead
        await session.run(simulation, 0.001)
    _, first, second = session.map(simulation, [0.001, 5.0, 5.0])
    await asyncio.sleep(0.3 + 0.001 + 5.0 - 0.1)  # it ends 0.1 s from now
    first.cancel("in its last moment")
    assert (await first.result()).ended_as == "cancelled"
    result = await second.result()
    assert isinstance(result, Succeeded)
    assert (result.attempt, result.worker) == (1, "simulate-1")


@on_cluster(1, faults=[PartitionNode(5, "node-1", for_s=8)])
async def test_a_cancelled_task_that_cannot_be_reached_ends_once_it_can(
    cluster: SimulatedCluster, session: Session
) -> None:
    task = session.submit(simulation, 100.0)
    await asyncio.sleep(6)
    task.cancel("enough")
    with pytest.raises(TaskCancelled):
        await task
    assert 13 <= asyncio.get_running_loop().time() < 14
