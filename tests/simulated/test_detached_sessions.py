"""Detached sessions leave, die and come back: their tasks have one result each, until forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy
import pytest

from steerio import (
    BrokerLost,
    Cancelled,
    ClientLost,
    JoinRefused,
    Lost,
    Settings,
    StoreSetting,
    Succeeded,
    UsageError,
    task,
)
from steerio.broker.ledger import Ledger
from steerio.testing import (
    KillWorker,
    Model,
    PartitionNode,
    ResetConnections,
    RestartBroker,
    SimulatedCluster,
    run_virtual,
)
from tests.simulated.boxes import assert_bounded
from tests.simulated.virtual import (
    WALL_LIMIT_S,
    as_asked,
    cluster_of,
    counting,
    in_virtual_time,
    of_kind,
    simulation,
    training,
)

AWAY_S = 60.0
TROUBLE_S = 150.0
ORDINARY, STRESS = 200, 20_000
SHARE = 50


@task(pool="learn")
def filling(value: float) -> Any:
    """Return a value that goes into the store."""
    return numpy.full(100, value)


@task(pool="learn")
def measuring(values: Any) -> float:
    return float(values.sum())


def now() -> float:
    return asyncio.get_running_loop().time()


def with_values(workers: int = 1, **options: Any) -> SimulatedCluster:
    """Return a cluster whose pool ``learn`` makes values that go into the store."""
    model = {
        simulation: Model(as_asked),
        counting: Model(1.0),
        measuring: Model(2.0),
        filling: Model(2.0, value=lambda value: numpy.full(100, value)),
    }
    store = StoreSetting(threshold_bytes=100)
    return cluster_of(workers, 1, model=model, store=store, **options)


@in_virtual_time
async def test_the_next_session_of_a_name_finds_the_tasks_of_the_last_by_order_and_key() -> None:
    async with cluster_of(1) as cluster:
        async with cluster.session("nb", host="laptop", detach=True) as first:
            assert len(first.earlier) == 0
            task = first.options(key="a").submit(simulation, 5.0)
            for seconds in (7.0, 1.0):
                first.submit(simulation, seconds)
        result = await task.result()
        assert isinstance(result, Lost)
        assert result.reason == "this session was closed, and its tasks go on"
        await asyncio.sleep(6)
        async with (
            cluster.session("watch") as watch,
            cluster.session("nb", host="desk", detach=True) as second,
        ):
            assert sorted((await watch.status()).clients) == ["nb", "watch"]
            assert [task.args for task in second.earlier] == [(5.0,), (7.0,), (1.0,)]
            assert repr(second.earlier) == "<EarlierTasks: 3 tasks, 1 ended>"
            assert second.earlier.get("b") is None
            assert "a" in second.earlier
            assert await second.earlier["a"] == 5.0
            assert [await task for task in second.earlier] == [5.0, 7.0, 1.0]
            fresh = second.submit(simulation, 1.0)
            assert fresh.id > max(task.id for task in second.earlier)
            assert await fresh == 1.0
            second.forget(*second.earlier, fresh)
            assert len(second.earlier) == 0
        await asyncio.sleep(1)
        assert cluster._brokers.ledgers.names() == []
        async with cluster.session("nb", host="desk", detach=True) as third:
            assert len(third.earlier) == 0


@in_virtual_time
async def test_status_says_that_a_detached_client_is_away() -> None:
    async with cluster_of(1) as cluster, cluster.session("watch") as watch:
        async with cluster.session("nb", host="laptop", detach=True) as first:
            first.submit(simulation, 5.0)
        await asyncio.sleep(1)
        assert sorted((await watch.status()).clients) == ["nb (away)", "watch"]
        cluster.broker.core.check(now())


@in_virtual_time
async def test_values_in_the_store_are_kept_until_they_are_forgotten() -> None:
    async with with_values() as cluster:
        async with cluster.session("nb", host="laptop", detach=True) as first:
            first.options(key="early").submit(filling, 1.0)
            await asyncio.sleep(5)
            first.options(key="late").submit(filling, 2.0)
        await asyncio.sleep(100)
        assert len(cluster.store.objects) == 2
        for _ in range(2):
            async with cluster.session("nb", host="laptop", detach=True) as again:
                value: Any = await again.earlier["early"]
                assert value.sum() == 100
            cluster.broker.core.check(now())
        async with cluster.session("nb", host="laptop", detach=True) as last:
            value = await last.earlier["late"]
            assert value.sum() == 200
            last.forget(last.earlier["early"])
            assert [task.tags["key"] for task in last.earlier] == ["late"]
            await asyncio.sleep(100)
            assert len(cluster.store.objects) == 1
            last.forget(last.earlier["late"])
            del value
        await asyncio.sleep(200)
        assert not cluster.store.objects
        assert not cluster.broker.core.held


@in_virtual_time
async def test_a_value_put_soon_after_the_last_session_ended_is_not_swept_with_its_own() -> None:
    async with with_values() as cluster:
        async with cluster.session("nb", host="laptop", detach=True) as first:
            first.submit(simulation, 1.0)
        async with cluster.session("nb", host="laptop", detach=True) as second:
            settings = cluster.settings
            cluster.cut_off("laptop")
            reference = asyncio.ensure_future(second.put(numpy.ones(1_000)))
            await asyncio.sleep(2 * settings.lease_s + 15)
            cluster.heal("laptop")
            assert (await (await reference)).sum() == 1_000


@in_virtual_time
async def test_wrong_use_of_a_detached_session_is_refused() -> None:
    async with cluster_of(1) as cluster:
        async with cluster.session("nb", host="laptop", detach=True) as session:
            with pytest.raises(UsageError, match="is a generator"):
                session.submit(counting, 3)
            task = session.submit(simulation, 5.0)
            with pytest.raises(UsageError, match="has not ended"):
                session.forget(task)
            with pytest.raises(KeyError):
                session.earlier["no such"]
            with pytest.raises(UsageError, match="the key of a task"):
                session.options(key="")
        async with cluster.session("other") as other:
            with pytest.raises(UsageError, match="only a detached session"):
                other.forget()
            assert await other.client.requests.ledger(lambda tasks: None) is None
            other.client.requests.forget([1])
            assert await other.run(simulation, 1.0) == 1.0
        with pytest.raises(JoinRefused, match="too long for a file"):
            async with cluster.session("é" * 60, host="laptop", detach=True):
                raise AssertionError


@in_virtual_time
async def test_a_second_session_of_a_name_takes_the_place_of_the_first() -> None:
    async with cluster_of(1) as cluster, contextlib.AsyncExitStack() as opened:
        first = await opened.enter_async_context(cluster.session("nb", host="laptop", detach=True))
        task = first.options(key="a").submit(simulation, 5.0)
        await asyncio.sleep(1)
        async with cluster.session("nb", host="desk", detach=True) as second:
            result = await task.result()
            assert isinstance(result, Lost)
            assert "another session has taken the name 'nb'" in result.reason
            with pytest.raises(BrokerLost, match="another session has taken"):
                first.submit(simulation, 1.0)
            assert await second.earlier["a"] == 5.0


@in_virtual_time
async def test_a_session_whose_name_was_taken_meanwhile_gets_no_result_of_the_other() -> None:
    async with cluster_of(2) as cluster, contextlib.AsyncExitStack() as opened:
        first = await opened.enter_async_context(cluster.session("nb", host="laptop", detach=True))
        first.options(key="a").submit(simulation, 50.0)
        await asyncio.sleep(1)
        cluster.reset("laptop")
        cluster.cut_off("laptop")
        mine = first.submit(simulation, 2.0)
        async with cluster.session("nb", host="desk", detach=True) as second:
            theirs = second.submit(simulation, 3.0)
            assert theirs.id == mine.id, "else this test shows nothing"
            assert await theirs == 3.0
        cluster.heal("laptop")
        result = await mine.result()
        assert isinstance(result, Lost)
        assert "another session has taken" in result.reason


@in_virtual_time
async def test_a_session_comes_back_to_its_tasks_though_its_old_link_is_thought_alive() -> None:
    async with (
        cluster_of(1) as cluster,
        cluster.session("nb", host="laptop", detach=True) as session,
    ):
        task = session.submit(simulation, 20.0)
        await asyncio.sleep(1)
        cluster.reset("laptop")
        assert await task == 20.0
        assert now() == pytest.approx(20.0, abs=2)


@in_virtual_time
async def test_a_lease_that_is_still_given_back_for_one_session_is_not_that_of_the_next() -> None:
    async with cluster_of(1, 1) as cluster:
        async with cluster.session("nb", host="laptop", detach=True) as first:
            async with first.pools.lend("simulate", to="learn", workers=1):
                first.map(training, [20, 30])
                await asyncio.sleep(1)
        await asyncio.sleep(1)
        async with cluster.session("nb", host="desk", detach=True) as second:
            async with second.pools.lend("learn", to="simulate", workers=1) as lease:
                await asyncio.sleep(100)
                assert len(lease.workers) == 1
        await asyncio.sleep(1)
        assert cluster.broker.core.moves == {}


@in_virtual_time
async def test_a_session_that_comes_back_has_its_leases_again() -> None:
    async with (
        cluster_of(1, 1) as cluster,
        cluster.session("nb", host="laptop", detach=True) as session,
    ):
        async with session.pools.lend("simulate", to="learn", workers=1) as lease:
            tasks = session.map(training, [20, 30])
            await asyncio.sleep(1)
            (peer,) = cluster.broker.core.clients
            cluster.broker.core.unreadable(peer, "a message of it was spoilt", now())
            assert [await task for task in tasks] == [20, 30]
            await asyncio.sleep(10)
            assert len(lease.workers) == 1
            assert session.pools["learn"].workers == 2
        await asyncio.sleep(1)
        assert session.pools["learn"].workers == 1


@in_virtual_time
async def test_tasks_of_a_client_that_is_away_as_the_broker_dies_go_on() -> None:
    async with with_values(faults=[RestartBroker(5, for_s=10)]) as cluster:
        async with cluster.session("nb", host="laptop", detach=True) as first:
            first.options(key="ended").submit(simulation, 1.0)
            first.options(key="stored").submit(filling, 1.0)
            first.options(key="running").submit(simulation, 30.0)
            queued = first.options(key="queued").submit(simulation, 1.0)
            last = first.options(key="last").submit(simulation, 2.0)
            away = first.options(key="away").submit(simulation, 3.0)
            await asyncio.sleep(3.5)
            first.reprioritise({last: 5.0})
            away.cancel("not needed")
            first.reassign([queued], "learn")
            await first.status()
        await asyncio.sleep(120)
        cluster.broker.core.check(now())
        async with cluster.session("nb", host="laptop", detach=True) as second:
            results = {task.tags["key"]: await task.result() for task in second.earlier}
            cancelled = results.pop("away")
            assert isinstance(cancelled, Cancelled)
            assert cancelled.reason == "not needed"
            assert {type(result) for result in results.values()} == {Succeeded}
            assert results["running"].attempt == 1, "its worker went on with it"
            ended: Any = results["last"], results["queued"]
            assert ended[1].worker.startswith("learn")
            stored: Any = results["stored"]
            assert stored.value.sum() == 100


@in_virtual_time
async def test_a_ledger_that_cannot_be_read_to_its_end_keeps_no_broker_from_beginning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    async with cluster_of(1) as cluster, cluster.session("watch", host="laptop") as watch:
        async with cluster.session("nb", host="laptop", detach=True) as first:
            for _ in range(2):
                first.submit(simulation, 5.0)
            await first.status()
        await asyncio.sleep(1)
        cluster.kill_broker()
        with monkeypatch.context() as patched:
            patched.setattr(Ledger, "outstanding", failing)
            cluster.start_broker()
        assert "not all tasks of the detached client 'nb' are taken up: [Errno 5]" in caplog.text
        await asyncio.sleep(60)
        assert sorted((await watch.status()).clients) == ["nb (away)", "watch"]
        assert [lost.client for lost in of_kind(cluster.record.events, ClientLost)] == ["nb"], (
            "it left the first broker, and was not at the second"
        )


@in_virtual_time
async def test_the_empty_ledger_of_a_session_that_was_lost_is_removed() -> None:
    async with cluster_of(1) as cluster, contextlib.AsyncExitStack() as opened:
        session = await opened.enter_async_context(
            cluster.session("nb", host="laptop", detach=True)
        )
        task = session.submit(simulation, 1.0)
        assert await task == 1.0
        session.forget(task)
        await session.status()
        assert cluster._brokers.ledgers.names() == ["nb"]
        cluster.cut_off("laptop")
        await asyncio.sleep(300)
        assert cluster._brokers.ledgers.names() == []
        assert not cluster.broker.core.clients
        cluster.broker.core.check(now())


@in_virtual_time
async def test_what_is_said_of_earlier_tasks_while_no_broker_is_there_counts() -> None:
    async with cluster_of(1, faults=[RestartBroker(10, for_s=10)]) as cluster:
        async with cluster.session("nb", host="laptop", detach=True) as first:
            first.options(key="ended").submit(simulation, 1.0)
            first.options(key="running").submit(simulation, 100.0)
            for key in ("next", "last"):
                first.options(key=key).submit(simulation, 1.0)
        await asyncio.sleep(5)
        async with cluster.session("nb", host="laptop", detach=True) as second:
            mine = second.submit(simulation, 1.0)
            await second.earlier["ended"]
            await asyncio.sleep(12 - now())
            second.earlier["running"].cancel("not needed")
            mine.cancel("neither")
            second.reprioritise({second.earlier["last"]: 5.0})
            second.forget(second.earlier["ended"])
            result = await second.earlier["running"].result()
            assert isinstance(result, Cancelled)
            assert 20 <= now() < 30
            last: Any = await second.earlier["last"].result()
            following: Any = await second.earlier["next"].result()
            assert last.timings.ended < following.timings.ended
            assert isinstance(await mine.result(), Cancelled)
        async with cluster.session("nb", host="laptop", detach=True) as third:
            assert "ended" not in third.earlier
            assert len(third.earlier) == 4


@in_virtual_time
async def test_a_broker_that_was_stopped_takes_the_values_along_and_the_next_says_so() -> None:
    async with with_values() as cluster:
        async with cluster.session("nb", host="laptop", detach=True) as first:
            first.options(key="short").submit(simulation, 1.0)
            first.options(key="stored").submit(filling, 1.0)
            await asyncio.sleep(10)
            first.options(key="takes").submit(measuring, numpy.ones(1_000))
            first.options(key="runs").submit(simulation, 50.0)
            await first.status()
        cluster.kill_broker()
        cluster.start_broker()
        cluster.kill_broker()
        cluster._brokers.succession.returns = False
        ledger = cluster._brokers.new()._ledgers.open("nb", lambda: 99)
        ended = {result.task_id: result.ended_as for result in ledger.results()}
        assert [ended.get(task.task_id, "") for task in ledger.page(0)] == [
            "succeeded",
            "lost",
            "lost",
            "",
        ]
        reasons = [result.reason for result in ledger.results() if result.ended_as == "lost"]
        assert sorted(reasons) == [
            "arguments of it were in the store of a broker that was stopped",
            "its value was in the store of a broker that was stopped",
        ]
        cluster.broker.core.check(now())


@in_virtual_time
async def test_a_session_that_leaves_says_which_of_its_tasks_stay_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "steerio.session")
    async with cluster_of(1, faults=[RestartBroker(20, for_s=30)]) as cluster:
        async with cluster.session("nb", host="laptop", detach=True) as first:
            running: Any = first.submit(simulation, 5.0)
            first.submit(simulation, running)
        assert "1 task waited for other tasks, and was never sent" in caplog.text
        async with cluster.session("nb", host="laptop", detach=True) as second:
            assert len(second.earlier) == 1
            await asyncio.sleep(22 - now())
            second.options(key="late").submit(simulation, 1.0)
        assert now() == pytest.approx(32), "it has waited for the broker"
        assert "the broker does not answer as this detached session ends" in caplog.text


# -- at random ----------------------------------------------------------------------------------


def faults_of(rng: random.Random) -> list[Any]:
    """Draw when brokers die, and what breaks beside."""
    faults: list[Any] = []
    for _ in range(rng.randint(0, 4)):
        for_s = rng.choice([0.0, rng.uniform(0, 5), rng.uniform(5, 20)])
        faults.append(RestartBroker(rng.uniform(2, TROUBLE_S - 30), for_s))
    for _ in range(rng.randint(0, 3)):
        host, at_s = rng.choice(("node-1", "node-2")), rng.uniform(2, TROUBLE_S - 30)
        draw = rng.random()
        if draw < 0.3:
            faults.append(ResetConnections(at_s, host))
        elif draw < 0.6:
            faults.append(PartitionNode(at_s, host, rng.uniform(0.1, 20)))
        else:
            faults.append(KillWorker(at_s))
    return faults


@contextlib.contextmanager
def beginning_again() -> Iterator[None]:
    """Pass over that a broker died just as a session began."""
    try:
        yield
    except JoinRefused as error:
        if not error.again:
            raise


class Incarnations:
    """The sessions of one name, one after the other; each may die as it likes."""

    def __init__(self, cluster: SimulatedCluster, rng: random.Random) -> None:
        self.cluster, self.rng = cluster, rng
        self.sure: set[str] = set()
        """The keys of the tasks that a broker has surely heard of."""
        self.asked: dict[str, float] = {}
        self.forgotten: set[str] = set()
        self.cut: list[str] = []
        self.count = 0

    async def live(self) -> None:
        """Open a session, submit, perhaps read and forget, and leave or die."""
        self.count += 1
        host, rng = f"laptop-{self.count}", self.rng
        with contextlib.suppress(BrokerLost), beginning_again():
            async with self.cluster.session("nb", host=host, detach=True) as session:
                self.check(session)
                submitted = self.submit(session)
                await asyncio.sleep(rng.choice([0, rng.uniform(0, 20)]))
                if rng.random() < 0.3:
                    self.cluster.reset(host)
                if rng.random() < 0.5:
                    await session.status()
                    self.sure |= submitted
                    done = [task for task in session.earlier if task.done]
                    if done and rng.random() < 0.5:
                        some = rng.sample(done, rng.randint(1, len(done)))
                        for task in some:
                            self.compare(task.tags["key"], await task.result())
                        self.forgotten |= {task.tags["key"] for task in some}
                        session.forget(*some)
                if rng.random() < 0.5:
                    self.cluster.cut_off(host)
                    self.cut.append(host)

    def submit(self, session: Any) -> set[str]:
        submitted: set[str] = set()
        for _ in range(self.rng.randint(0, 4)):
            key, seconds = f"task-{len(self.asked)}", round(self.rng.uniform(0, 20), 3)
            options = session.options(key=key, retries={"lost": 20})
            kind = self.rng.choice([simulation, simulation, filling])
            task = options.submit(kind, seconds)
            self.asked[key] = seconds
            submitted.add(key)
            if self.rng.random() < 0.2:
                session.reprioritise({task: self.rng.uniform(-5, 5)})
        return submitted

    def check(self, session: Any) -> list[str]:
        """Compare the tasks that a session found with those that there must be."""
        keys = [task.tags["key"] for task in session.earlier]
        assert len(keys) == len(set(keys)), "none is there twice"
        assert set(keys) <= set(self.asked)
        assert self.sure - self.forgotten <= set(keys), "none is lost"
        self.sure |= set(keys)
        return keys

    def compare(self, key: str, result: Any) -> None:
        """Compare a result with what its own task was asked for."""
        killer = result.ended_as == "lost" and result.reason.startswith("it took down 3")
        if not killer:
            assert isinstance(result, Succeeded), result
            value = result.value
            assert (value if isinstance(value, float) else value[0]) == self.asked[key]


async def scene(seed: int) -> None:
    """Play one run, and assert that all is well at its end."""
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    settings = Settings(beat_s=rng.choice([2.0, 5.0]), lease_s=15.0, away_s=AWAY_S, join_s=200.0)
    cluster = with_values(
        2,
        nodes=2,
        seed=seed,
        latency_s=rng.choice([0.0, 0.02, 0.3]),
        faults=faults_of(rng),
        settings=settings,
    )
    async with cluster:
        names = Incarnations(cluster, rng)
        while loop.time() < TROUBLE_S:
            if cluster._brokers.is_there:
                await names.live()
                if names.cut and rng.random() < 0.3:
                    cluster.heal(names.cut.pop())
            await asyncio.sleep(rng.choice([0.1, rng.uniform(0, 20)]))
            assert_bounded(cluster)
        for host in names.cut:
            cluster.heal(host)
        await asyncio.sleep(2 * AWAY_S)
        async with cluster.session("nb", host="last", detach=True) as session:
            names.check(session)
            for task in session.earlier:
                names.compare(task.tags["key"], await task.result())
            cluster.broker.core.check(loop.time())
            session.forget(*session.earlier)
        await asyncio.sleep(200)
        core = cluster.broker.core
        core.check(loop.time())
        assert not core.tasks
        assert not core.runs
        assert not core.clients
        assert not core.held
        if cluster.broker._succession.incarnation == 1:  # else only one that died may know of some
            assert not cluster.store.objects
        assert cluster._brokers.ledgers.names() == []


def play(seed: int) -> None:
    """Play one run; its seed is told with whatever goes wrong."""
    try:
        run_virtual(scene(seed), wall_limit_s=WALL_LIMIT_S)
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise


@pytest.mark.parametrize("first", range(0, ORDINARY, SHARE))
def test_whoever_dies_each_task_of_a_name_has_one_result(first: int) -> None:
    for seed in range(first, first + SHARE):
        play(seed)


def failure(seed: int) -> str:
    """Play one run; return how it failed, or an empty text."""
    try:
        play(seed)
    except Exception as error:  # noqa: BLE001 - the other seeds are played all the same
        return f"seed {seed}: {type(error).__name__}: {error}"
    return ""


@pytest.mark.stress
def test_twenty_thousand_runs_of_detached_sessions() -> None:
    seeds = range(ORDINARY, ORDINARY + STRESS)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        failed = [text for text in pool.map(failure, seeds, chunksize=SHARE) if text]
    sys.stdout.write(f"seeds {seeds[0]} to {seeds[-1]}: {len(failed)} failed\n")
    assert not failed, "\n".join(failed)
