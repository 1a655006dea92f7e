"""Nodes are drained, retire and reach their walltime, as a campaign or session sees it."""

from __future__ import annotations

import asyncio

import pytest

from steerio import (
    Campaign,
    DrainFailed,
    Needs,
    NodeDrained,
    NodeEnding,
    NodeLost,
    NodeUndrained,
    PoolChanged,
    Session,
    Succeeded,
    TaskRetried,
    UsageError,
    agent,
)
from steerio.testing import DrainNode, KillNode, RandomKills, SimulatedCluster, simulate
from tests.simulated.virtual import AS_ASKED, of_kind, on_cluster, simulation


def now() -> float:
    """Return the virtual time."""
    return asyncio.get_running_loop().time()


@on_cluster(4, nodes=2)
async def test_draining_a_node_waits_for_what_it_runs_and_others_take_what_is_queued(
    cluster: SimulatedCluster, session: Session
) -> None:
    tasks = session.map(simulation, [10.0] * 6)
    await asyncio.sleep(1)
    draining = asyncio.create_task(session.nodes.drain("node-1"))
    await asyncio.sleep(1)
    await session.pools.look()
    assert "2 draining" in repr(session.pools)
    assert (await session.nodes.look())["node-1"].state == "draining"
    await draining
    assert now() == 10
    status = (await session.nodes.look())["node-1"]
    assert (status.state, status.workers, status.busy) == ("drained", 0, 0)
    await session.gather(*tasks)
    assert now() == 20
    await session.nodes.undrain("node-1")
    assert await session.gather(*session.map(simulation, [5.0] * 4)) == [5.0] * 4
    assert now() == 25, "all four workers are there again"


@on_cluster(2, nodes=2)
async def test_what_runs_on_at_the_deadline_begins_again_elsewhere(
    cluster: SimulatedCluster, session: Session
) -> None:
    tasks = session.options(retries={"lost": 0}).map(simulation, [10.0, 10.0])
    await asyncio.sleep(1)
    await session.nodes.retire("node-1", within_s=4)
    assert 5 <= now() < 6
    results = [await task.result() for task in tasks]
    assert all(isinstance(result, Succeeded) for result in results)
    assert sorted(result.attempt for result in results) == [1, 2]
    assert list(await session.nodes.look()) == ["node-2"]
    assert not cluster.nodes["node-1"].alive


@on_cluster(2, nodes=2, faults=[KillNode(5, "node-1")])
async def test_a_node_that_dies_while_it_is_drained_ends_the_wait(
    cluster: SimulatedCluster, session: Session
) -> None:
    tasks = session.map(simulation, [20.0, 20.0])
    await asyncio.sleep(1)
    await session.nodes.drain("node-1")
    assert len(of_kind(cluster.record.events, NodeLost)) == 1
    assert await session.gather(*tasks) == [20.0, 20.0]


@on_cluster(1)
async def test_who_gives_up_waiting_has_not_undone_it_and_undraining_ends_the_wait(
    cluster: SimulatedCluster, session: Session
) -> None:
    task = session.submit(simulation, 10.0)
    await asyncio.sleep(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await session.nodes.drain("node-1")
    waiting = asyncio.create_task(session.nodes.drain("node-1"))
    await asyncio.sleep(1)
    assert not waiting.done()
    await session.nodes.undrain("node-1")
    with pytest.raises(DrainFailed, match="it was undrained"):
        await waiting
    assert await task == 10.0
    assert await session.run(simulation, 1.0) == 1.0
    assert cluster.broker.dropped == {}


@on_cluster(1)
async def test_what_cannot_be_drained_is_refused_with_the_reason(
    cluster: SimulatedCluster, session: Session
) -> None:
    with pytest.raises(
        DrainFailed, match=r"node 'node-7': there is none of that name \(there are: node-1\)"
    ):
        await session.nodes.drain("node-7")
    with pytest.raises(DrainFailed, match="is not being drained"):
        await session.nodes.undrain("node-1")
    with pytest.raises(UsageError, match="within_s"):
        await session.nodes.retire("node-1", within_s=-1)


@on_cluster(2, 1, nodes=3)
async def test_leases_of_workers_whose_node_is_drained_end_as_others_do(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with session.pools.lend("simulate", to="learn", workers=2) as lease:
        for name in ("node-1", "node-2"):
            await session.nodes.drain(name)
    await lease.wait_returned()
    assert session.pools["simulate"].workers == 0
    for name in ("node-1", "node-2"):
        await session.nodes.undrain(name)
    assert await session.gather(*session.map(simulation, [1.0, 1.0])) == [1.0, 1.0]
    assert {name: load.workers for name, load in session.pools.items()} == {
        "simulate": 2,
        "learn": 1,
    }


@on_cluster(1, walltime_s=100.0)
async def test_tasks_that_would_not_be_done_before_the_end_wait_for_another_node(
    cluster: SimulatedCluster, session: Session
) -> None:
    await session.run(simulation, 30.0)
    tasks = session.map(simulation, [30.0] * 3)
    await asyncio.sleep(40)
    assert "1 idle" in repr(session.pools), "60 s of 90 s are over, and 45 s are to be left"
    assert sum(task.done for task in tasks) == 1
    cluster.add_node("fresh", {"simulate": 1})
    results = [await task.result() for task in tasks]
    assert [result.attempt for result in results] == [1, 1, 1], "nothing was lost"
    assert now() == 130
    lost = of_kind(cluster.record.events, NodeLost)
    assert [(event.at, event.reason) for event in lost] == [(90, "its walltime ends")]


@on_cluster(1, walltime_s=60.0)
async def test_what_runs_at_the_end_of_a_walltime_is_queued_again_before_the_node_is_killed(
    cluster: SimulatedCluster, session: Session
) -> None:
    cluster.add_node("other", {"simulate": 1})
    tasks = session.options(retries={"lost": 0}).map(simulation, [100.0, 200.0])
    assert await session.gather(*tasks) == [100.0, 200.0]
    (retried,) = of_kind(cluster.record.events, TaskRetried)
    assert (retried.reason, 50 <= retried.at < 51) == ("preempted: its node is drained", True)


def test_an_agent_reacts_to_a_walltime_that_ends() -> None:
    class Saving(Campaign):
        def __init__(self) -> None:
            self.told: list[tuple[str, float]] = []

        async def setup(self) -> None:
            self.map(simulation, [100.0] * 50)

        @agent
        async def mind_the_end(self) -> None:
            async with self.events(NodeEnding) as events:
                async for event in events:
                    self.told.append((event.node, event.left_s))
                    self.stop(reason="the job ends")
                    return

    run = simulate(Saving(), workers={"simulate": 4}, walltime_s=1_000.0, model=AS_ASKED)
    assert run.campaign.told == [("node-1", 300.0)]
    assert run.ended == {"succeeded": 32, "cancelled": 18}, "700 s, then what ran ended"


def test_scripted_drains_are_the_same_to_the_byte_from_the_same_seed() -> None:
    class Steady(Campaign):
        async def setup(self) -> None:
            self.map(simulation, [3.0] * 100)

    faults = [
        DrainNode(5.0, "node-1", within_s=1.0, undrain_after_s=20.0),
        DrainNode(8.0, "node-2", retire=True),
        DrainNode(30.0, "node-3"),
        RandomKills(0.1),
    ]

    def log() -> bytes:
        run = simulate(
            Steady(), workers={"simulate": 8}, nodes=4, model=AS_ASKED, faults=faults, latency_s=0.1
        )
        assert run.ended == {"succeeded": 100}
        assert len(of_kind(run.events, NodeUndrained)) == 1
        assert {event.node for event in of_kind(run.events, NodeDrained)} == {
            "node-1",
            "node-2",
            "node-3",
        }
        assert of_kind(run.events, PoolChanged)[-1].workers == 4
        return run.event_log

    assert log() == log()


@on_cluster(2, nodes=2)
async def test_only_a_node_that_is_not_drained_takes_tasks_with_needs(
    cluster: SimulatedCluster, session: Session
) -> None:
    await session.nodes.drain("node-1")
    task = session.options(needs=Needs(cpus=1)).submit(simulation, 1.0)
    assert (await task.result()).worker == "simulate-2"
