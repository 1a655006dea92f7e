"""Several workers run one task together, in simulated clusters."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import ClassVar

import pytest

import steerio
from steerio import (
    Board,
    Campaign,
    Failed,
    Limits,
    Lost,
    Result,
    Session,
    Succeeded,
    TaskEnded,
    TaskRetried,
    TaskStarted,
    UsageError,
    on_result,
    task,
)
from steerio.campaign.conductor import Conductor, drive
from steerio.core.lifecycle import State
from steerio.edge.record.record_files import TASKS_FILE
from steerio.edge.record.task_past import past_of
from steerio.testing import (
    DrainNode,
    HangWorker,
    KillNode,
    KillWorker,
    Model,
    PartitionNode,
    RestartBroker,
    SimulatedCluster,
    run_virtual,
    simulate,
)
from steerio.testing.record import MemoryRecord
from steerio.view.shown_view import RunFacts, snapshot_of
from steerio.view.told_story import story_lines
from tests.simulated.test_idle_causes import view_of
from tests.simulated.virtual import (
    cluster_of,
    counting,
    in_virtual_time,
    of_kind,
    on_cluster,
    simulation,
    training,
)


@task(pool="simulate", gang=2)
def train(rounds: int) -> tuple[int, int, int]:
    """Take a second for each round, and return the place of the worker."""
    gang = steerio.gang()
    return rounds, gang.rank, gang.size


TOGETHER = {train: Model(lambda _, rounds: float(rounds)), simulation: Model(lambda _, s: s)}


def now() -> float:
    return asyncio.get_running_loop().time()


@on_cluster(3, model=TOGETHER)
async def test_two_workers_run_one_task_and_the_first_gives_its_value(
    cluster: SimulatedCluster, session: Session
) -> None:
    assert await session.run(train, 10) == (10, 0, 2)
    assert sum(worker.busy_until(now()) for worker in cluster.workers()) == pytest.approx(20, abs=1)
    (started,) = of_kind(cluster.record.events, TaskStarted)
    assert len({started.worker, *started.others}) == 2
    (entry,) = cluster.record.tasks
    assert [(rank.worker, rank.node) for rank in entry.others or ()] == [
        (started.others[0], "node-1")
    ]


@on_cluster(4, model=TOGETHER)
async def test_gangs_and_single_tasks_go_in_the_order_of_their_ranks(
    cluster: SimulatedCluster, session: Session
) -> None:
    singles = session.map(simulation, [4.0] * 3)
    gangs = session.map(train, [4, 4, 4])
    more = session.map(simulation, [1.0] * 8)
    ends = [(await each.result()).timings.ended for each in [*singles, *gangs, *more]]
    first, second, third = ends[3:6]
    assert first is not None
    assert second is not None
    assert third is not None
    assert [round(first), round(second), round(third)] == [8, 8, 12]
    begun = [event.at for event in of_kind(cluster.record.events, TaskStarted)]
    assert begun == sorted(begun)
    assert [event.task_id for event in of_kind(cluster.record.events, TaskStarted)] == [
        each.id for each in [*singles, *gangs, *more]
    ], "none overtook another"


@on_cluster(2, model=TOGETHER, faults=[KillWorker(5, pool="simulate")])
async def test_a_gang_that_loses_a_worker_is_tried_again_as_a_whole(
    cluster: SimulatedCluster, session: Session
) -> None:
    result = await session.submit(train, 10).result()
    assert isinstance(result, Succeeded)
    assert result.attempt == 2
    (retried,) = of_kind(cluster.record.events, TaskRetried)
    assert retried.reason.startswith("lost: rank ")
    assert 14 < now() < 17
    (entry,) = cluster.record.tasks
    assert entry.earlier is not None
    assert [len(each.others or ()) for each in entry.earlier] == [1]


@on_cluster(2, model={train: Model(1.0, fails=1.0)})
async def test_a_gang_fails_as_the_first_of_its_workers(
    cluster: SimulatedCluster, session: Session
) -> None:
    result = await session.submit(train, 1).result()
    assert isinstance(result, Failed)
    assert "of 2" in result.error.traceback
    await asyncio.sleep(1)
    assert not any(worker.run for worker in cluster.workers())


@on_cluster(2, model={train: Model(100.0, obeys="kill"), simulation: Model(1.0)})
async def test_a_gang_that_is_out_of_time_or_cancelled_is_stopped_on_all_its_workers(
    cluster: SimulatedCluster, session: Session
) -> None:
    late = await session.options(timeout_s=5.0).submit(train, 1).result()
    assert late.ended_as == "timed_out"
    handle = session.submit(train, 1)
    await asyncio.sleep(5)
    handle.cancel()
    assert (await handle.result()).ended_as == "cancelled"
    assert await session.run(simulation, 1.0) == 1.0, "all workers are back"


@on_cluster(2, nodes=2, model=TOGETHER, faults=[PartitionNode(5, "node-2", 20)])
async def test_a_gang_over_two_nodes_ends_with_either_of_them(
    cluster: SimulatedCluster, session: Session
) -> None:
    result = await session.submit(train, 20).result()
    assert isinstance(result, Succeeded)
    assert result.attempt == 2
    await asyncio.sleep(200)
    cluster.broker.core.check(now())


@on_cluster(2, nodes=2, model=TOGETHER, faults=[KillNode(5, "node-2")])
async def test_a_gang_for_which_too_few_workers_are_left_is_lost(
    cluster: SimulatedCluster, session: Session
) -> None:
    result = await session.submit(train, 20).result()
    assert isinstance(result, Lost)
    assert "too few workers for it: it needs 2 workers at once" in result.reason


@on_cluster(2)
async def test_a_generator_cannot_run_as_a_gang(
    cluster: SimulatedCluster, session: Session
) -> None:
    del cluster
    with pytest.raises(UsageError, match="is a generator, which a gang cannot run"):
        session.options(gang=2).submit(counting, 3)
    with pytest.raises(UsageError, match="is a generator, which a gang cannot run"):
        task(gang=2)(counting.function)
    with pytest.raises(UsageError, match="is a generator, which a gang cannot run"):
        Board(counting, [3], gang=2)
    with pytest.raises(UsageError, match="is a generator, which a gang cannot run"):
        Board(counting).add(3, gang=2)
    with pytest.raises(UsageError, match="is a generator, which a gang cannot run"):
        Board(train).add(3, task_type=counting, gang=2)
    with pytest.raises(UsageError, match="gang"):
        session.options(gang=0)


@in_virtual_time
async def test_a_gang_whose_broker_is_replaced_runs_again_whole() -> None:
    async with (
        cluster_of(2, faults=[RestartBroker(5, for_s=10)], model=TOGETHER) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        results = [await each.result() for each in far.map(train, [40, 5])]
        assert {type(result) for result in results} == {Succeeded}
        await asyncio.sleep(100)
        assert cluster.broker.core.kept == {}
        assert len(cluster.workers()) == 2
        cluster.broker.core.check(now())


@on_cluster(2, learn=2, model={training: Model(10.0), simulation: Model(10.0)})
async def test_lending_does_not_tear_a_gang_apart(
    cluster: SimulatedCluster, session: Session
) -> None:
    handle = session.options(gang=2).submit(training, 1)
    await asyncio.sleep(1)
    async with session.pools.lend("learn", to="simulate"):
        assert round(now()) == 10, "it comes when the gang has ended"
        assert handle.done()
    other = session.options(gang=2).submit(training, 1)
    await asyncio.sleep(5)
    async with asyncio.timeout(1), session.pools.lend("learn", to="simulate", how="preempt"):
        (queued,) = cluster.broker.core.tasks.values()
        assert queued.state == State.QUEUED, "as a whole"
    result = await other.result()
    assert (result.ended_as, result.attempt) == ("succeeded", 2)
    assert cluster.utilisation("learn") > 0


@on_cluster(2, nodes=2, model=TOGETHER, faults=[DrainNode(5, "node-2", undrain_after_s=40)])
async def test_a_gang_on_a_node_that_is_drained_ends_and_the_next_waits_for_others(
    cluster: SimulatedCluster, session: Session
) -> None:
    first, second = session.map(train, [10, 10])
    alone = session.submit(simulation, 1.0)
    assert (await first.result()).attempt == 1
    await alone
    assert now() < 20, "one worker is too few for the gang, so others pass it"
    assert (await second.result()).ended_as == "succeeded"
    assert now() >= 55, "once the node is there again"
    assert [event.reason for event in of_kind(cluster.record.events, TaskRetried)] == []


@on_cluster(2, nodes=2, model=TOGETHER, faults=[DrainNode(5, "node-2", 3.0, undrain_after_s=9)])
async def test_a_gang_that_is_not_done_in_time_is_taken_off_a_drained_node_whole(
    cluster: SimulatedCluster, session: Session
) -> None:
    result = await session.submit(train, 20).result()
    assert (result.ended_as, result.attempt) == ("succeeded", 2)
    (retried,) = of_kind(cluster.record.events, TaskRetried)
    assert retried.reason == "preempted: its node is drained"
    assert 33 < now() < 37


@on_cluster(3, model=TOGETHER)
async def test_a_paused_pool_begins_no_gang_and_goes_on_with_those_that_run(
    cluster: SimulatedCluster, session: Session
) -> None:
    del cluster
    first = session.submit(train, 10)
    await asyncio.sleep(1)
    second, single = session.submit(train, 10), session.submit(simulation, 1.0)
    await session.pools.pause("simulate", reason="to look")
    assert (await first.result()).ended_as == "succeeded"
    await asyncio.sleep(20)
    assert not second.done()
    assert not single.done()
    await session.pools.resume("simulate", reason="looked at")
    assert (await second.result()).ended_as == "succeeded"
    assert (await single.result()).ended_as == "succeeded"


@on_cluster(4, model=TOGETHER)
async def test_of_gangs_that_want_more_than_there_is_none_holds_a_part(
    cluster: SimulatedCluster, session: Session
) -> None:
    gangs = [session.options(gang=3).submit(train, 5) for _ in range(4)]
    for _ in range(19):
        await asyncio.sleep(1)
        working = sum(bool(worker.run) for worker in cluster.workers())
        assert working in (0, 3)
    assert [(await gang.result()).ended_as for gang in gangs] == ["succeeded"] * 4
    assert now() < 23


@on_cluster(3, model=TOGETHER)
async def test_a_cancelled_gang_that_waits_lets_those_behind_it_go_on(
    cluster: SimulatedCluster, session: Session
) -> None:
    del cluster
    long = session.submit(simulation, 50.0)
    await asyncio.sleep(1)
    gang = session.options(gang=3).submit(train, 5)
    behind = session.map(simulation, [1.0, 1.0])
    await asyncio.sleep(5)
    assert not any(each.done() for each in behind)
    gang.cancel()
    assert await session.gather(*behind) == [1.0, 1.0]
    assert now() < 10
    assert not long.done()
    assert (await gang.result()).ended_as == "cancelled"


@on_cluster(2, model=TOGETHER, faults=[HangWorker(3, pool="simulate")])
async def test_a_gang_of_which_one_hangs_ends_by_its_time_and_is_tried_again(
    cluster: SimulatedCluster, session: Session
) -> None:
    options = session.options(timeout_s=15.0, retries={"timed_out": 1}, cancel_grace_s=1.0)
    result = await options.submit(train, 10).result()
    assert (result.ended_as, result.attempt) == ("succeeded", 2)
    assert len(cluster.workers()) == 2


class Rounds(Campaign):
    """Trains on pairs of workers, from a board."""

    workers: ClassVar = {"simulate": 5}

    def __init__(self) -> None:
        self.board = Board(train, [7, 8, 9, 10])
        self.most = 0

    @on_result(train)
    async def count(self, result: Result) -> None:
        del result
        self.most = max(self.most, len(self.board.running))


def test_a_board_hands_out_as_many_gangs_as_there_are_workers_for_and_a_view_counts_them() -> None:
    record, campaign = MemoryRecord(), Rounds()

    async def simulated() -> float:
        cluster = SimulatedCluster(Rounds.workers, record=record, model=TOGETHER)
        async with cluster, cluster.session() as session:
            await drive(campaign, session, None)
            return now()

    took = run_virtual(simulated())
    assert 17 <= took < 19
    assert campaign.most <= 2
    ended = of_kind(record.events, TaskEnded)
    assert len(ended) == 4
    view = view_of(record)
    assert round(view.tasks.run_s) == 2 * (7 + 8 + 9 + 10)
    snapshot = snapshot_of(view, RunFacts(live=True), took)
    rows = view.gantt._rows_of_workers
    assert round(sum(sum(row.busy) for row in rows)) == 2 * (7 + 8 + 9 + 10)
    assert sum(any(row.busy) for row in rows) >= 4
    (pool,) = [each for each in snapshot.pools if each.name == "simulate"]
    assert pool.busy == 0


@in_virtual_time
async def test_the_workers_of_a_gang_count_each_for_limits_and_for_the_share_that_is_busy() -> None:
    cluster = SimulatedCluster({"simulate": 2}, model=TOGETHER)
    async with cluster, cluster.session() as session:
        conductor = Conductor(Rounds(), session, Limits(worker_s=25))
        await conductor.run()
    assert conductor.spent.tasks == 2, "7 and 8 seconds of two workers"
    assert conductor.spent.worker_s == pytest.approx(30, abs=0.1)
    assert conductor.pools.used.busy()["simulate"] > 0.9


@task(pool="simulate", gang=4)
def large(number: int) -> int:
    return number


@task(pool="simulate")
def small(number: int) -> int:
    return number


class Mixed(Campaign):
    """Entries for single workers occupy a pool when others come, which take all of it at once."""

    workers: ClassVar = {"simulate": 4}

    def __init__(self, one_board: bool, weight: float | None) -> None:
        self.order: list[int] = []
        self.large = Board(large, weight=weight)
        self.small = Board(small, range(100), weight=weight)
        self.at = self.small if one_board else self.large

    @on_result(small)
    async def count(self, result: Result) -> None:
        self.order.append(1)
        if len(self.order) == 10:
            for number in range(1_000, 1_003):
                self.at.add(number, score=1.0, task_type=large)

    @on_result(large)
    async def see(self, result: Result) -> None:
        self.order.append(4)


@pytest.mark.parametrize(
    ("one_board", "weight"), [(False, None), (True, None), (False, 1.0), (True, 2.0)]
)
def test_entries_for_single_workers_do_not_starve_those_of_gangs(
    one_board: bool, weight: float | None
) -> None:
    model = {small: Model(lambda _, number: 1 + number % 7 / 10), large: Model(1.0)}
    order = simulate(Mixed(one_board, weight), model=model).campaign.order
    assert order.count(1) == 100
    assert order.index(4) < 10 + 2 * 4
    assert order.count(4) == 3
    assert 4 not in order[10 + 4 * 4 :]


@in_virtual_time
async def test_a_view_keeps_apart_what_a_worker_does_before_the_rest_of_its_gang_has_ended() -> (
    None
):
    record = MemoryRecord()
    model = {large: Model(lambda rng, _: rng.uniform(1, 10)), small: Model(1.0)}
    cluster = SimulatedCluster({"simulate": 4}, record=record, model=model)
    async with cluster, cluster.session() as session:
        tasks = [session.submit(large if n % 4 == 0 else small, n) for n in range(40)]
        await session.gather(*tasks)
    view = view_of(record)
    assert all(worker.idle for worker in view.cluster.workers.values())
    assert len(view.cluster.pool("simulate", 0.0).idle_since) == 4


def test_a_limit_of_worker_seconds_counts_each_worker_of_a_gang() -> None:
    run = simulate(Rounds(), model=TOGETHER, limits=Limits(worker_s=13))
    ended = [event for event in run.events if isinstance(event, TaskEnded)]
    succeeded = [event for event in ended if event.ended_as == "succeeded"]
    assert [round(event.run_s or 0) for event in succeeded] == [7, 8], "those that ran then"


def test_the_story_of_a_gang_names_all_its_workers(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    simulate(Rounds(), model=TOGETHER, faults=[KillWorker(3, pool="simulate")], run_dir=folder)
    lines = [json.loads(line) for line in (folder / TASKS_FILE).read_text().splitlines()]
    again = next(line for line in lines if line["earlier"])
    told = "\n".join(story_lines(past_of(folder, again["task_id"], 1), "", "", 0))
    for attempt in (again, *again["earlier"]):
        (other,) = attempt["others"]
        assert f"worker {attempt['worker']} on node node-1, with {other['worker']}, at " in told
    (folder / TASKS_FILE).write_text("")
    under_way = "\n".join(story_lines(past_of(folder, again["task_id"], 1), "", "", 0))
    assert f"attempt 2 on worker {again['worker']}, with " in under_way
