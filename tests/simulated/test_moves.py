"""Moving and lending workers, as users do it, in virtual time."""

from __future__ import annotations

import asyncio
import gc
import random
from contextlib import AsyncExitStack

import pytest

from steerio import (
    Board,
    Campaign,
    MoveDeadlock,
    MoveFailed,
    Result,
    Session,
    UnknownPool,
    WorkerMoved,
    on_success,
)
from steerio.testing import SimulatedCluster, run_virtual, simulate
from tests.simulated.virtual import AS_ASKED, on_cluster, simulation, training


@on_cluster(4, 0)
async def test_a_lease_gives_workers_and_takes_them_back(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with session.pools.lend("simulate", to="learn", workers=2) as lease:
        assert len(lease.workers) == 2
        assert await session.gather(*session.map(training, [3, 3])) == [3, 3]
        assert session.pools["learn"].workers == 2
    await lease.wait_returned()
    assert lease.state == "ended"
    await asyncio.sleep(0.2)
    assert (session.pools["simulate"].workers, session.pools["learn"].workers) == (4, 0)


@on_cluster(2, 0)
async def test_a_lease_ends_with_its_scope_however_that_ends(
    cluster: SimulatedCluster, session: Session
) -> None:
    lease = session.pools.lend("simulate", to="learn", workers=2)
    with pytest.raises(ZeroDivisionError):
        async with lease:
            raise ZeroDivisionError
    await lease.wait_returned()

    async def hold() -> None:
        async with session.pools.lend("simulate", to="learn", workers=2):
            await asyncio.sleep(1e9)

    holding = asyncio.create_task(hold())
    await asyncio.sleep(1.0)
    assert session.pools["learn"].workers == 2
    holding.cancel()
    await asyncio.sleep(1.0)
    assert session.pools["simulate"].workers == 2


@on_cluster(2, 0)
async def test_who_gives_up_waiting_for_a_lease_leaves_everybody_where_they_were(
    cluster: SimulatedCluster, session: Session
) -> None:
    busy = session.map(simulation, [100.0, 100.0])
    await asyncio.sleep(1.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5.0), session.pools.lend("simulate", to="learn"):
            raise AssertionError("nobody was free")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5.0):
            await session.pools.move("simulate", "learn", 1)
    await session.gather(*busy)
    await asyncio.sleep(1.0)
    load = session.pools["simulate"]
    assert (load.workers, load.idle, load.promised) == (2, 2, 0)


@on_cluster(3, 0)
async def test_a_lease_may_begin_with_some_and_get_the_others_later(
    cluster: SimulatedCluster, session: Session
) -> None:
    busy = session.map(simulation, [10.0, 10.0])
    await asyncio.sleep(1.0)
    async with session.pools.lend("simulate", to="learn", workers=3, at_least=1) as lease:
        assert (len(lease.workers), lease.state) == (1, "waiting")
        await session.gather(*busy)
        await asyncio.sleep(1.0)
        assert (len(lease.workers), lease.state) == (3, "granted")


@on_cluster(2, 1)
async def test_a_move_is_a_handle_with_progress_result_and_cancel(
    cluster: SimulatedCluster, session: Session
) -> None:
    busy = session.submit(simulation, 10.0)
    await asyncio.sleep(1.0)
    move = session.pools.move("simulate", "learn", 2)
    await asyncio.sleep(1.0)
    assert (move.state, len(move.workers)) == ("waiting", 1)
    assert "1 of 2, waiting" in repr(move)
    move.cancel()
    with pytest.raises(MoveFailed, match="it was cancelled"):
        await move
    await busy
    assert len(await session.pools.move("simulate", "learn", 2)) == 2
    assert await session.pools.move("learn", "simulate", 3)


@on_cluster(2, 1)
async def test_preempting_costs_the_task_an_attempt_and_no_failure(
    cluster: SimulatedCluster, session: Session
) -> None:
    long = session.options(retries={"lost": 0}).map(simulation, [50.0, 50.0])
    await asyncio.sleep(1.0)
    began = asyncio.get_running_loop().time()
    await session.pools.move("simulate", "learn", 1, how="preempt")
    assert asyncio.get_running_loop().time() < began + 3.0
    assert await session.gather(*long) == [50.0, 50.0]
    attempts = sorted([(await task.result()).attempt for task in long])
    assert attempts == [1, 2]


@on_cluster(2, 1)
async def test_what_can_never_be_granted_is_refused_at_once(
    cluster: SimulatedCluster, session: Session
) -> None:
    with pytest.raises(MoveFailed, match="'learn' has 1 worker of its own, and was asked for 2"):
        await session.pools.move("learn", "simulate", 2)
    with pytest.raises(MoveFailed, match="no pool 'lern'"):
        async with session.pools.lend("simulate", to="lern"):
            pass


@on_cluster(4, 4, seed=3)
async def test_nobody_is_lost_to_a_pool_when_workers_and_nodes_die_while_they_move(
    cluster: SimulatedCluster, session: Session
) -> None:
    work = session.map(simulation, [1.0] * 200) + session.map(training, [1] * 100)

    async def lends(source: str, to: str) -> None:
        for _ in range(20):
            async with session.pools.lend(source, to=to, workers=2, at_least=1):
                await asyncio.sleep(0.7)

    async def kills() -> None:
        for turn in range(15):
            await asyncio.sleep(1.3)
            living = cluster.workers()
            living[turn * 5 % len(living)].die("killed by a test")

    await asyncio.gather(lends("simulate", "learn"), lends("learn", "simulate"), kills())
    await session.gather(*work)
    await asyncio.sleep(5.0)
    assert {name: load.at_home for name, load in session.pools.items()} == {
        "simulate": 4,
        "learn": 4,
    }
    assert {name: load.workers for name, load in session.pools.items()} == {
        "simulate": 4,
        "learn": 4,
    }


class Relearning(Campaign):
    """The policy of the first page: learning borrows a worker each time."""

    def __init__(self, seconds: list[float]) -> None:
        self.todo = Board(simulation, seconds)
        self.learned = 0

    @on_success(simulation, every=8)
    async def relearn(self, results: list[Result]) -> None:
        async with self.pools.lend("simulate", to="learn", workers=1):
            self.learned += await self.run(training, len(results))


def test_a_campaign_whose_learning_borrows_workers_runs_to_its_end() -> None:
    campaign = Relearning([1.0 + n / 100 for n in range(80)])
    run = simulate(campaign, workers={"simulate": 4, "learn": 0}, model=AS_ASKED)
    assert campaign.learned == 80
    moves = [event for event in run.events if isinstance(event, WorkerMoved)]
    assert len(moves) == 20
    assert moves[-1].pool == "simulate"


@on_cluster(1, 1)
async def test_leases_that_wait_for_each_other_do_not_wait_for_ever(
    cluster: SimulatedCluster, session: Session
) -> None:
    both = asyncio.Barrier(2)
    got: list[str] = []

    async def takes(first: str, second: str) -> None:
        async with session.pools.lend(first, to=second):
            await both.wait()
            async with session.pools.lend(second, to=first):
                got.append(first)

    results = await asyncio.gather(
        takes("simulate", "learn"), takes("learn", "simulate"), return_exceptions=True
    )
    (error,) = [result for result in results if result is not None]
    assert isinstance(error, MoveDeadlock)
    assert "deadlock: test holds 1 of" in str(error)
    assert len(got) == 1, "the other went on"
    await asyncio.sleep(1.0)
    assert all(load.at_home == load.workers == 1 for load in session.pools.values())


@on_cluster(1, 1)
async def test_a_move_awaited_in_the_scope_of_a_lease_is_a_wait_as_well(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with session.pools.lend("simulate", to="learn"):
        move = session.pools.move("simulate", "learn", 1)
        with pytest.raises(MoveDeadlock, match="waits for 1 of 'simulate'"):
            await move
        assert move.state == "ended"
    await session.pools.move("simulate", "learn", 1)
    assert session.pools["learn"].workers == 2


POOLS = ("a", "b", "c")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("in_order", [False, True])
def test_agents_that_take_leases_in_any_order_all_come_to_their_end(
    seed: int, in_order: bool
) -> None:
    sizes = {"a": 2, "b": 2, "c": 3, "t": 0}
    chance = random.Random(seed)
    deadlocks = 0

    async def agent(session: Session) -> None:
        nonlocal deadlocks
        for _ in range(15):
            pools = chance.sample(POOLS, chance.randint(1, 3))
            try:
                async with AsyncExitStack() as leases:
                    for pool in sorted(pools) if in_order else [*pools, chance.choice(pools)]:
                        count = chance.randint(1, 2)
                        lease = session.pools.lend(
                            pool,
                            to="t",
                            workers=count,
                            at_least=count if in_order else chance.randint(0, count),
                            together=chance.random() < 0.3,
                        )
                        await leases.enter_async_context(lease)
                        await asyncio.sleep(chance.choice([0.0, 0.1, 1.0]))
            except MoveDeadlock:
                deadlocks += 1
            await asyncio.sleep(chance.choice([0.0, 0.1, 1.0]))

    async def run() -> None:
        async with SimulatedCluster(sizes, model=AS_ASKED) as cluster:
            async with cluster.session("one") as one, cluster.session("two") as two:
                await asyncio.gather(*(agent(session) for session in [one, two] * 3))
                await asyncio.sleep(2.0)
                assert {name: load.workers for name, load in one.pools.items()} == sizes
                assert not cluster.broker.core.moves

    run_virtual(run())
    assert (deadlocks == 0) == in_order


@on_cluster(2, 1)
async def test_workers_count_for_the_pool_that_they_are_in(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with session.pools.lend("simulate", to="learn", workers=2):
        await session.gather(*session.map(training, [10, 10, 10]))
    assert cluster.utilisation("learn") == 1.0
    assert cluster.utilisation("simulate") == 0.0
    await session.pools.move("learn", "simulate", 1)
    await session.gather(*session.map(simulation, [5.0, 5.0]))
    await session.gather(*session.map(simulation, [15.0, 15.0]))
    now = asyncio.get_running_loop().time()
    assert cluster.utilisation("learn") == 1.0, "nobody has been there since"
    assert cluster.utilisation("simulate") == pytest.approx(40.0 / (3 * (now - 10.0)))


@on_cluster(1, 1)
async def test_queued_tasks_can_be_ranked_by_their_tags_and_sent_to_another_pool(
    cluster: SimulatedCluster, session: Session
) -> None:
    running = session.submit(simulation, 2.0)
    await asyncio.sleep(1.0)
    tasks = [
        session.options(tags={"of": name}).submit(simulation, 5.0 + place)
        for place, name in enumerate("abc")
    ]
    session.reprioritise(lambda task: 9.0 if task.tags.get("of") == "c" else None)
    session.reassign([tasks[1], running], "learn")
    assert session.pending == [running, *tasks]
    ended = [task.args[0] async for task in session.as_completed([running, *tasks])]
    assert ended == [2.0, 6.0, 7.0, 5.0]
    assert [(await task.result()).worker for task in tasks] == [
        "simulate-1",
        "learn-1",
        "simulate-1",
    ]
    with pytest.raises(UnknownPool, match="lern"):
        session.reassign(tasks, "lern")


@on_cluster(2, 0)
async def test_a_move_that_was_granted_stays_so_when_its_session_is_closed(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with cluster.session() as other:
        unheard = other.pools.move("simulate", "learn", 1)
        moves = [other.pools.move("simulate", "learn", 1), unheard]
        await moves[0]
        lease = other.pools.lend("learn", to="simulate", workers=1)
        async with lease:
            assert lease.state == "granted"
            other.close()
            assert lease.state == "ended", "its workers go home when their borrower leaves"
    for move in moves:
        assert move.state == "granted"
        assert len(await move) == 1


@on_cluster(2, 0)
async def test_session_and_broker_need_no_more_memory_after_ten_thousand_granted_moves(
    cluster: SimulatedCluster, session: Session
) -> None:
    async def move_to_and_fro(times: int) -> None:
        for _ in range(times // 2):
            await session.pools.move("simulate", "learn", 1)
            await session.pools.move("learn", "simulate", 1)

    def objects() -> int:
        gc.collect()
        modules = [str(type(each).__module__) for each in gc.get_objects()]
        return sum(name.startswith("steerio.") for name in modules)

    await move_to_and_fro(100)
    before = objects()
    await move_to_and_fro(10_000)
    assert objects() == before
    assert repr(session.client.requests) == "<ClientRequests: 0 to be answered, 0 moves>"
