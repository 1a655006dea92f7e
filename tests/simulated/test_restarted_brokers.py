"""A standing broker dies and another takes its place: nothing is lost, and nothing told twice."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy
import pytest

from steerio import (
    BrokerReturned,
    Cancelled,
    ClientLost,
    ItemsRestarted,
    Lost,
    Session,
    Settings,
    StoreSetting,
    Succeeded,
    TaskEnded,
    TaskStarted,
    UsageError,
)
from steerio.client import client_tasks
from steerio.edge.record.entries import Call
from steerio.edge.wire.endpoint import LinkEndpoint
from steerio.errors import JournalFull
from steerio.model import messages
from steerio.session.recorder import ResultRecorder
from steerio.session.replay import Replay
from steerio.testing import (
    HalfOpenConnections,
    KillWorker,
    Model,
    PartitionNode,
    ResetConnections,
    RestartBroker,
    SimulatedCluster,
)
from tests.simulated.boxes import assert_bounded, assert_nothing_waits
from tests.simulated.many_runs import assert_all_end_well, play_all
from tests.simulated.virtual import (
    as_asked,
    cluster_of,
    counting,
    in_virtual_time,
    of_kind,
    on_cluster,
    simulation,
    training,
)

AWAY_S = 60.0
TROUBLE_S = 120.0
"""After this nothing breaks any more."""
BACK_S = 10.0
"""A broker that dies again so soon may not have been found by its clients."""
END_S = 1_000.0
ORDINARY, STRESS = 500, 50_000
SHARE = 50
"""Runs of one test of the ordinary tier."""


def now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_the_tasks_of_a_client_end_though_their_broker_died() -> None:
    async with (
        cluster_of(2, faults=[RestartBroker(5, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        tasks = far.map(simulation, [2.0] * 10)
        assert [await task for task in tasks] == [2.0] * 10
        assert {task.attempt for task in [await t.result() for t in tasks]} == {1}
        (back,) = of_kind(cluster.record.events, BrokerReturned)
        assert back.incarnation == 2
        assert back.at == 15.0
        numbers = [event.number for event in cluster.record.events]
        assert numbers == list(range(1, len(numbers) + 1))
        assert await far.run(simulation, 1.0) == 1.0, "and it goes on"


@in_virtual_time
async def test_all_that_a_client_says_while_no_broker_is_there_counts() -> None:
    async with (
        cluster_of(1, faults=[RestartBroker(5, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        running = far.submit(simulation, 100.0)
        first = far.submit(simulation, 1.0)
        last = far.submit(simulation, 2.0)
        await asyncio.sleep(6)
        running.cancel("not needed")
        late = far.submit(simulation, 3.0)
        far.reprioritise({last: 5.0, late: 10.0})
        order: list[int] = []
        for task in (first, last, late):
            task.add_done_callback(lambda done: order.append(done.id))
        result = await running.result()
        assert isinstance(result, Cancelled)
        assert result.reason == "not needed"
        assert [await task for task in (first, last, late)] == [1.0, 2.0, 3.0]
        assert order == [late.id, last.id, first.id]
        assert cluster.broker.core.ended == {"succeeded": 3}, "the cancelled one was not told again"


@in_virtual_time
async def test_subscriptions_pools_and_questions_go_on() -> None:
    async with (
        cluster_of(1, faults=[RestartBroker(5, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
        far.events(TaskEnded, BrokerReturned) as events,
    ):
        await far.run(simulation, 1.0)
        await asyncio.sleep(6)
        status = await far.status()
        assert now() >= 15
        assert status.clients == ["far"]
        assert await far.run(simulation, 1.0) == 1.0
        seen = [type(await anext(events)) for _ in range(3)]
        assert seen == [TaskEnded, BrokerReturned, TaskEnded]
        assert far.pools["simulate"].workers == 1


@in_virtual_time
async def test_values_and_versions_outlive_their_broker() -> None:
    async with (
        cluster_of(1, faults=[RestartBroker(5, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        reference = await far.put([1, 2, 3])
        async with cluster.session("other", host="desk") as other:
            await other.versions("model").publish("first")
            assert await other.versions("model").publish("second") == 2
        await asyncio.sleep(20)
        assert await reference == [1, 2, 3]
        assert cluster.broker.core.held
        version = await far.versions("model").current()
        assert (version.version, await version) == (2, "second")
        del reference
        await asyncio.sleep(20)
        assert await far.versions("model").publish("third") == 3


@in_virtual_time
async def test_items_of_an_attempt_that_the_broker_took_along_are_not_mixed_with_the_next() -> None:
    async with (
        cluster_of(1, faults=[RestartBroker(4.5, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        del cluster
        task = far.submit(counting, 8)
        first = task.items()
        assert await anext(first) == 0
        with pytest.raises(ItemsRestarted):
            _ = [item async for item in first]
        again = [item async for item in task.items()]
        assert again == list(range(8))


@in_virtual_time
async def test_moves_and_leases_are_asked_for_again() -> None:
    cluster = SimulatedCluster(
        {"simulate": 4, "other": 0},
        model=Model(as_asked),
        faults=[RestartBroker(10, for_s=10)],
    )
    async with cluster, cluster.session("far", host="laptop") as far:
        await far.pools.move("simulate", "other", 1)
        async with far.pools.lend("simulate", to="other", workers=2) as lease:
            assert len(lease.workers) == 2
            await asyncio.sleep(60)
            assert cluster.broker.core.pools["other"].ready == 3
            assert len(lease.workers) == 2
        await lease.wait_returned()
        assert cluster.broker.core.pools["other"].ready == 1, "the other has moved for good"


@in_virtual_time
async def test_a_broker_that_does_not_come_back_is_given_up_in_time() -> None:
    settings = Settings(beat_s=2.0, away_s=AWAY_S)
    async with (
        cluster_of(1, faults=[RestartBroker(5, for_s=10_000)], settings=settings) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        del cluster
        result = await far.submit(simulation, 20.0).result()
        assert isinstance(result, Lost)
        assert now() == pytest.approx(5 + AWAY_S, abs=5)


@in_virtual_time
async def test_a_cancellation_counts_while_many_tasks_are_submitted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_tasks, "AGAIN_AT_ONCE", 1)
    async with (
        cluster_of(1, faults=[RestartBroker(5, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        tasks = [far.submit(simulation, 20.0) for _ in range(3)]
        resume = far.client._line.resume

        def resume_and_cancel(link: LinkEndpoint) -> None:
            resume(link)
            asyncio.get_running_loop().call_soon(tasks[2].cancel, "not needed")

        monkeypatch.setattr(far.client._line, "resume", resume_and_cancel)
        result = await tasks[2].result()
        assert isinstance(result, Cancelled)
        assert result.reason == "not needed"


@in_virtual_time
async def test_whatever_goes_wrong_in_the_search_ends_the_waits() -> None:
    async def fail() -> None:
        raise OSError("too many open files")

    async with (
        cluster_of(1, faults=[RestartBroker(5, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        del cluster
        finder: Any = far.client._coming_back._finder  # type: ignore[union-attr]
        finder.find = fail
        result = await far.submit(simulation, 50.0).result()
        assert isinstance(result, Lost)
        assert "too many open files" in result.reason


@in_virtual_time
async def test_a_client_that_is_told_of_the_end_while_it_comes_back_looks_no_further() -> None:
    async with (
        cluster_of(1, faults=[RestartBroker(5, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        del cluster
        client = far.client
        task = far.submit(simulation, 50.0)
        await asyncio.sleep(10)
        client._line._part("its process has ended")
        await asyncio.sleep(0)  # the search begins
        client._deal(messages.Closing("steerio stop"), ())
        assert isinstance(await task.result(), Lost)
        await asyncio.sleep(20)
        assert repr(client._coming_back) == "<ComingBack: not needed>"
        assert client._line.away, "it has not joined the next"


@in_virtual_time
async def test_a_client_whose_answer_was_lost_on_its_way_asks_again_and_goes_on() -> None:
    deaf = HalfOpenConnections(15.65, "laptop", for_s=10, hears=False)
    async with (
        cluster_of(1, latency_s=0.1, faults=[RestartBroker(5, for_s=10), deaf]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        task = far.submit(simulation, 20.0)
        assert await task == 20.0
        assert now() < 60
        assert of_kind(cluster.record.events, ClientLost), "it had been let in, and did not know"


@in_virtual_time
async def test_no_other_gets_the_number_of_a_client_that_has_come_back() -> None:
    async with (
        cluster_of(1, faults=[RestartBroker(5, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        task = far.submit(simulation, 30.0)
        await asyncio.sleep(7)
        cluster._brokers.succession._clients = (
            itertools.count()
        )  # as if broker.json had been removed
        await asyncio.sleep(13)
        async with cluster.session("late", host="desk") as late:
            assert await late.run(simulation, 1.5) == 1.5
            assert await task == 30.0


@in_virtual_time
async def test_an_object_is_not_removed_before_all_that_hold_it_have_come_back() -> None:
    cut = PartitionNode(14, "desk", for_s=4)
    async with (
        cluster_of(1, faults=[RestartBroker(5, for_s=10), cut]) as cluster,
        cluster.session("far", host="laptop") as far,
        cluster.session("other", host="desk") as other,
    ):
        await far.versions("model").publish("first")
        first = await other.versions("model").current()
        await asyncio.sleep(7)
        assert await far.versions("model").publish("second") == 2
        assert now() < 18, "the other is not back"
        await asyncio.sleep(30)
        assert await first == "first"
        del first
        await asyncio.sleep(30)
        assert len(cluster.store.objects) == 1, "and then it is"


@in_virtual_time
async def test_a_version_whose_publisher_was_not_answered_is_published_once() -> None:
    async with (
        cluster_of(1, latency_s=0.3, faults=[RestartBroker(5.35, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        await asyncio.sleep(5 - now())
        assert await far.versions("model").publish("first") == 1
        assert now() > 15
        assert await far.versions("model").publish("second") == 2
        del cluster


@in_virtual_time
async def test_a_client_that_its_own_broker_gave_up_sees_each_event_once() -> None:
    cut = PartitionNode(10.3, "laptop", for_s=67)
    settings = Settings(beat_s=5.0, away_s=AWAY_S)
    async with (
        cluster_of(1, faults=[cut], settings=settings) as cluster,
        cluster.session("far", host="laptop") as far,
        far.events(TaskEnded) as events,
    ):
        for _ in range(3):
            await far.run(simulation, 1.0)
        await asyncio.sleep(100)
        assert of_kind(cluster.record.events, ClientLost)
        await far.run(simulation, 1.0)
        numbers = [(await anext(events)).number for _ in range(4)]
        assert numbers == sorted({*numbers})


class FullJournal:
    """A journal that has no room until it is told."""

    has_room = False

    def append(self, entries: Sequence[tuple[int, bytes]]) -> int:
        if not self.has_room:
            raise JournalFull("its folder", len(entries), "the disk is full")
        return 1


@in_virtual_time
async def test_results_that_wait_for_room_in_the_journal_are_held_at_the_next_broker() -> None:
    cluster = cluster_of(
        1,
        1,
        faults=[RestartBroker(5, for_s=10)],
        store=StoreSetting(threshold_bytes=100),
        model={simulation: Model(1.0), training: Model(2.0, value=lambda _: numpy.ones(1_000))},
    )
    async with cluster, cluster.session("far", host="laptop") as far:
        journal, failures = FullJournal(), list[Exception]()
        client = far.client
        recorder = ResultRecorder(client, journal, Replay(client), failures.append)
        first, large = far.submit(simulation, 1.0), far.submit(training, 1)
        first.call = Call(b"", "first", b"")
        await asyncio.sleep(4)
        assert recorder.full
        assert not large.done()
        (name,) = cluster.store.objects
        await asyncio.sleep(16)
        assert name in cluster.broker.core.held
        await asyncio.sleep(20)
        journal.has_room = True
        value: Any = await large
        assert value.sum() == 1_000
        assert not failures
        del large, value
        await asyncio.sleep(30)
        assert not cluster.broker.core.held, "not even the second result"
        assert not cluster.store.objects


@on_cluster(1)
async def test_a_broker_with_a_client_in_its_process_cannot_be_killed(
    cluster: SimulatedCluster, session: Session
) -> None:
    del session
    with pytest.raises(UsageError, match="host='another'"):
        cluster.kill_broker()


# -- tasks that go on meanwhile -----------------------------------------------------------------


@in_virtual_time
async def test_a_task_that_runs_goes_on_and_ends_as_if_the_broker_had_lived() -> None:
    async with (
        cluster_of(2, faults=[RestartBroker(5, for_s=10)]) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        tasks = far.map(simulation, [40.0, 8.0, 2.0])
        results = [await task.result() for task in tasks]
        assert [result.attempt for result in results] == [1, 1, 1]
        assert [result.timings.run_s for result in results] == [40.0, 8.0, 2.0]
        assert now() == pytest.approx(40, abs=1), "the first has run all the time"
        started = [event.worker for event in of_kind(cluster.record.events, TaskStarted)]
        assert len(started) == 4, "the one that goes on is told of again"
        assert cluster.broker.core.kept == {}


@in_virtual_time
async def test_tasks_that_take_longer_than_any_broker_lives_end() -> None:
    faults = [RestartBroker(at_s, for_s=2) for at_s in range(5, 100, 10)]
    async with (
        cluster_of(2, faults=faults) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        results = [await task.result() for task in far.map(simulation, [45.0] * 4)]
        assert {type(result) for result in results} == {Succeeded}
        assert now() < 110
        assert cluster.broker.core.kept == {}


@in_virtual_time
async def test_a_success_waits_for_its_client_and_no_longer_than_that_may_be_away() -> None:
    settings = Settings(beat_s=2.0, away_s=AWAY_S)
    async with (
        cluster_of(2, faults=[RestartBroker(5, for_s=10)], settings=settings) as cluster,
        cluster.session("far", host="laptop") as far,
    ):
        tasks = far.map(simulation, [20.0, 1_000.0])
        await asyncio.sleep(4)
        cluster.cut_off("laptop")
        await asyncio.sleep(30)
        assert [kept.worker is None for kept in cluster.broker.core.kept.values()] == [True, False]
        cluster.heal("laptop")
        result = await tasks[0].result()
        assert (result.attempt, result.timings.run_s) == (1, 20.0)
        cluster.cut_off("laptop")
        cluster.kill_broker()
        cluster.start_broker()
        await asyncio.sleep(10)
        assert len(cluster.broker.core.kept) == 1, "the other one waits for its client"
        await asyncio.sleep(2 * AWAY_S)
        assert cluster.broker.core.kept == {}, "and not for ever"
        assert len(cluster.broker.core.workers) == 2
        assert not any(worker.run for worker in cluster.workers()), "it was stopped"
        cluster.broker.core.check(now())
        cluster.heal("laptop")


@in_virtual_time
async def test_of_a_task_that_runs_elsewhere_by_then_the_kept_attempt_is_stopped() -> None:
    async with (
        cluster_of(2, nodes=2, faults=[PartitionNode(5, "node-1", for_s=40)]) as cluster,
        cluster.session() as session,
    ):
        tasks = session.map(simulation, [60.0, 10.0])
        await asyncio.sleep(80)
        assert len([worker for worker in cluster.workers() if worker.run]) == 0
        results = [await task.result() for task in tasks]
        assert {result.attempt for result in results} <= {1, 2}
        assert len(cluster.broker.core.workers) == 2
        assert cluster.broker.core.kept == {}
        cluster.broker.core.check(now())


# -- at random ----------------------------------------------------------------------------------


def longest_absence_s(faults: list[Any]) -> float:
    """Return for how long at most no broker is there that clients could come back to."""
    longest = began = ended = 0.0
    for fault in sorted(faults, key=lambda fault: fault.at_s):
        if fault.at_s > ended + BACK_S:
            began = fault.at_s
        ended = max(ended, fault.at_s + fault.for_s)
        longest = max(longest, ended - began)
    return longest


def faults_of(rng: random.Random) -> list[Any]:
    """Draw when brokers die, and what breaks beside."""
    faults: list[Any] = []
    for _ in range(rng.randint(1, 5)):
        for_s = rng.choice([0.0, rng.uniform(0, 5), rng.uniform(5, 30)])
        faults.append(RestartBroker(rng.uniform(2, TROUBLE_S - 30), for_s))
    while longest_absence_s(faults) > AWAY_S - 2 * BACK_S:  # clients may give up then
        faults.pop()
    for _ in range(rng.randint(0, 3)):
        host, at_s = rng.choice(("node-1", "node-2", "laptop")), rng.uniform(2, TROUBLE_S - 30)
        draw = rng.random()
        if draw < 0.4:
            faults.append(ResetConnections(at_s, host))
        elif draw < 0.8:
            faults.append(PartitionNode(at_s, host, rng.uniform(0.1, 20)))
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
        settings=Settings(beat_s=rng.choice([2.0, 5.0]), lease_s=15.0, away_s=AWAY_S, join_s=200.0),
        model={
            simulation: Model(as_asked, obeys=rng.choice(["asked", "term", "kill"])),
            counting: Model(1.0),
        },
    )

    def look() -> None:
        assert_bounded(cluster)
        if loop.time() < 2 * TROUBLE_S:
            loop.call_later(5.0, look)

    async with (
        cluster,
        cluster.session("one", host="laptop") as one,
        cluster.session("other", host="desk") as other,
    ):
        look()
        ended: Counter[int] = Counter()
        tasks: list[Any] = []
        for _ in range(rng.randint(2, 12)):
            await asyncio.sleep(rng.choice([0, 0, rng.uniform(0, 15)]))
            session = rng.choice([one, other])
            options = session.options(retries={"lost": 20}, timeout_s=rng.choice([None, 40.0]))
            if rng.random() < 0.2:
                task: Any = options.submit(counting, rng.randint(0, 30))
            else:
                task = options.submit(simulation, rng.uniform(0, 30))
            task.add_done_callback(lambda done: ended.update([done.id]))
            tasks.append(task)
            if rng.random() < 0.2:
                loop.call_later(rng.uniform(0, TROUBLE_S), task.cancel)
            if rng.random() < 0.2:
                session.reprioritise({task: rng.uniform(-5, 5)})
        results = [await task.result() for task in tasks]
        assert loop.time() < END_S
        for result in results:
            killer = result.ended_as == "lost" and result.reason.startswith("it took down 3")
            assert result.ended_as != "lost" or killer, result
        await asyncio.sleep(200)
        assert set(ended.values()) == {1}, "each handle was told once"
        core = cluster.broker.core
        assert not core.tasks
        assert not core.runs
        core.check(loop.time())
        assert {w.name for w in cluster.workers()} == set(core.workers), "all came back"
        assert len(core.workers) == 3
        assert set(core.nodes) == {p.number for p in cluster.broker._peers if p.relay is not None}
        assert_nothing_waits(cluster)


@pytest.mark.parametrize("first", range(0, ORDINARY, SHARE))
def test_however_often_brokers_die_each_task_ends_once(first: int) -> None:
    play_all(scene, range(first, first + SHARE))


@pytest.mark.stress
def test_fifty_thousand_runs_with_dying_brokers() -> None:
    assert_all_end_well(scene, range(ORDINARY, ORDINARY + STRESS))
