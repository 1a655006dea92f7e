"""The causes of idle time add up to all of it, by the times of the simulated workers themselves."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio import Campaign, Result, on_result, on_success, task
from steerio.campaign.conductor import drive
from steerio.edge.record.record_files import stamped
from steerio.model.events import LoopStalled, WorkerJoined, WorkerMoved, WorkerRetired
from steerio.testing import DrainNode, Fault, KillWorker, Model, SimulatedCluster, run_virtual
from steerio.testing.record import MemoryRecord
from steerio.view.run_view import RunView, take_all
from steerio.view.seen_lines import events_decoder, tasks_decoder
from steerio.view.shown_view import RunFacts, snapshot_of
from steerio.view.snapshot import IDLE_CAUSES, RunSnapshot

POOLS = ("simulate", "learn")


@task(pool="simulate", retries={"failed": 2, "lost": 3})
def measure(n: int) -> int:
    return n


@task(pool="learn", retries={"failed": 1, "lost": 3})
def fit(n: int) -> int:
    return n


class Restless(Campaign):
    """Reacts to its results after a while, and moves and lends workers at random times."""

    workers: ClassVar = {"simulate": 4, "learn": 2}

    def __init__(self, seed: int, tasks: int, think_s: float, moves: int) -> None:
        self.random = Random(seed)
        self.left, self.think_s, self.moves = tasks, think_s, moves

    async def setup(self) -> None:
        for n in range(6):
            self.submit(measure, n)

    @on_result(measure, concurrent=4)
    async def go_on(self, result: Result) -> None:
        await asyncio.sleep(self.think_s * self.random.random())
        for _ in range(self.random.randint(1, 2)):
            if self.left > 0:
                self.left -= 1
                kind = fit if self.random.random() < 0.3 else measure
                self.submit(kind, self.left)
        if self.moves > 0 and self.random.random() < 0.3:
            self.moves -= 1
            await self.move_some()

    @on_result(fit)
    async def learn(self, result: Result) -> None:
        if self.left > 0:
            self.left -= 1
            self.submit(measure, self.left)

    async def move_some(self) -> None:
        together = self.random.random() < 0.5
        if self.random.random() < 0.5:
            async with self.pools.lend("simulate", to="learn", workers=2, together=together):
                await asyncio.sleep(20.0 * self.random.random())
        elif self.pools["learn"].workers < 4:
            await self.pools.move("simulate", "learn", 1, together=together)


def view_of(record: MemoryRecord) -> RunView:
    """Return the view of a record, by way of its lines."""
    encoder = msgspec.json.Encoder()
    tasks = tasks_decoder.decode_lines(encoder.encode_lines(record.tasks))
    events = events_decoder.decode_lines(stamped(encoder.encode_lines(record.events), 1))
    view = RunView(0.0)
    take_all(view, tasks, events)
    return view


def run(
    campaign: Campaign, **options: Any
) -> tuple[RunSnapshot, dict[str, tuple[float, float]], MemoryRecord]:
    """Run a campaign; return its snapshot, and the true busy and present seconds by pool."""
    record = MemoryRecord()

    async def simulated() -> tuple[float, dict[str, tuple[float, float]]]:
        cluster = SimulatedCluster(type(campaign).workers, record=record, **options)
        async with cluster, cluster.session() as session:
            await drive(campaign, session, None)
            truth = {pool: cluster.worker_seconds(pool) for pool in type(campaign).workers}
            return asyncio.get_running_loop().time(), truth

    now, truth = run_virtual(simulated())
    snapshot = snapshot_of(view_of(record), RunFacts(live=True), now)
    return snapshot, truth, record


def ready_idle_s(snapshot: RunSnapshot, pool: str) -> float:
    """Return the idle seconds of workers that were there."""
    causes = dict(snapshot.idle.by_pool[pool])
    return (
        sum(causes[name] for name in ("no_work", "policy_busy", "in_transit", "dispatch"))
        + (causes["moving"])
    )


def check_sums(snapshot: RunSnapshot) -> None:
    """Check that the causes of each pool, of all, and of each bin add up."""
    idle = snapshot.idle
    assert set(idle.by_cause) == set(IDLE_CAUSES)
    for cause, seconds in idle.by_cause.items():
        assert seconds >= 0
        assert seconds == pytest.approx(sum(one[cause] for one in idle.by_pool.values()))
    assert idle.total_s == pytest.approx(sum(idle.by_cause.values()))
    width = snapshot.axis.width_s
    for cause, bins in idle.bins.items():
        whole, last = (
            sum(bins[:-1]) * width,
            snapshot.header.until - (snapshot.axis.began + (snapshot.axis.count - 1) * width),
        )
        in_all = whole + bins[-1] * max(last, width / 100)
        assert in_all == pytest.approx(idle.by_cause[cause], rel=2e-3, abs=0.05)


@given(seed=st.integers(0, 1 << 30))
def test_the_causes_add_up_to_the_idle_time_of_all_workers(seed: int) -> None:
    random = Random(seed)
    campaign = Restless(seed, random.randint(5, 60), random.choice([0.0, 8.0]), 3)
    faults: list[Fault] = [
        KillWorker(at_s=random.uniform(1, 80)) for _ in range(random.choice([0, 0, 2]))
    ]
    if random.random() < 0.3:
        faults.append(DrainNode(at_s=random.uniform(5, 60), node="node-2", undrain_after_s=30.0))
    snapshot, truth, record = run(
        campaign,
        model=Model(lambda rng, *_: rng.uniform(0.0, 12.0), fails=random.choice([0.0, 0.2])),
        seed=seed,
        nodes=2,
        start_s=random.choice([0.0, 3.0]),
        faults=faults,
    )
    check_sums(snapshot)
    busy_s = sum(busy for busy, _ in truth.values())
    present_s = sum(present for _, present in truth.values())
    assert snapshot.idle.busy_s == pytest.approx(busy_s, abs=1e-6)
    there_s = sum(ready_idle_s(snapshot, pool) for pool in POOLS)
    restarted = any(isinstance(event, WorkerRetired) for event in record.events)
    if not restarted:
        assert there_s == pytest.approx(present_s - busy_s, abs=1e-6)


@given(seed=st.integers(0, 1 << 30))
def test_while_the_loop_is_held_no_work_is_the_policy_s(seed: int) -> None:
    random = Random(seed)
    campaign = Restless(seed, random.randint(5, 60), random.choice([0.0, 8.0]), 3)
    before, _, record = run(
        campaign, model=Model(lambda rng, *_: rng.uniform(0.0, 12.0)), seed=seed, nodes=2
    )
    events = list(record.events)
    for place in sorted(random.choices(range(len(events)), k=random.randint(1, 5)), reverse=True):
        at = events[place].at
        held = LoopStalled(0, at, "Restless.go_on", random.uniform(1, 20), "go_on")
        events.insert(place, held)
    record.events = events
    after = snapshot_of(view_of(record), RunFacts(live=True), before.header.until)
    check_sums(after)
    assert after.idle.total_s == pytest.approx(before.idle.total_s)
    for cause, seconds in after.idle.by_cause.items():
        if cause not in ("no_work", "policy_busy"):
            assert seconds == pytest.approx(before.idle.by_cause[cause])
    assert after.idle.by_cause["policy_busy"] >= before.idle.by_cause["policy_busy"] - 1e-9


@given(seed=st.integers(0, 1 << 30), latency_s=st.sampled_from([0.01, 0.5]))
def test_on_a_slow_network_transit_is_idle_time_too(seed: int, latency_s: float) -> None:
    random = Random(seed)
    snapshot, truth, record = run(
        Restless(seed, random.randint(5, 60), random.choice([0.0, 8.0]), 3),
        model=Model(lambda rng, *_: rng.uniform(0.0, 3.0), fails=random.choice([0.0, 0.2])),
        seed=seed,
        latency_s=latency_s,
    )
    check_sums(snapshot)
    busy_s = sum(busy for busy, _ in truth.values())
    present_s = sum(present for _, present in truth.values())
    # of a task that was taken back while it ran, the record has no times of its worker
    unknown = sum(task.started is None and task.sent is not None for task in record.tasks)
    unknown += sum(
        attempt.started is None for task in record.tasks for attempt in task.earlier or ()
    )
    # a worker that has moved may begin a task before the broker hears that it has
    moves = sum(isinstance(event, WorkerMoved) for event in record.events)
    on_the_way = latency_s * (2 * unknown + moves) + 1e-6
    assert snapshot.idle.busy_s == pytest.approx(busy_s, abs=on_the_way)
    assert snapshot.idle.by_cause["in_transit"] > 0
    there_s = sum(ready_idle_s(snapshot, pool) for pool in POOLS)
    joins = sum(isinstance(event, WorkerJoined) for event in record.events)
    known_late = joins * latency_s + on_the_way
    assert there_s == pytest.approx(present_s - busy_s, abs=known_late)


class Chain(Campaign):
    """Thinks for three seconds about each result, then submits the next task."""

    workers: ClassVar = {"simulate": 1}

    async def setup(self) -> None:
        self.submit(measure, 0)

    @on_success(measure)
    async def think(self, result: Result) -> None:
        await asyncio.sleep(3.0)
        if result.args[0] < 4:
            self.submit(measure, result.args[0] + 1)


def test_each_second_of_a_chain_has_its_cause() -> None:
    snapshot, _, _ = run(Chain(), model=Model(5.0), latency_s=0.5, start_s=2.0)
    causes = snapshot.idle.by_cause
    assert snapshot.idle.busy_s == pytest.approx(5 * 5.0)
    assert causes["policy_busy"] == pytest.approx(4 * 3.0)
    assert causes["in_transit"] == pytest.approx(5 * 2 * 0.5)
    assert causes["no_work"] == pytest.approx(3.0)  # the last result had no task after it
    assert causes["starting"] == pytest.approx(2.0 + 2 * 0.5)  # the order to start, and the word
    assert causes["moving"] == causes["dispatch"] == 0.0
    assert snapshot.reaction.count == 4
    assert snapshot.reaction.p50 == pytest.approx(3.0, rel=0.01)


class Together(Campaign):
    """Wants both workers at once, of which one is busy for long, while a task waits."""

    workers: ClassVar = {"simulate": 2, "learn": 0}

    async def setup(self) -> None:
        for n in (2, 10):
            self.submit(measure, n)
        await asyncio.sleep(1.0)
        self.submit(measure, 1)
        await self.pools.move("simulate", "learn", 2, together=True)
        await self.run(fit, 3)
        await self.pools.move("learn", "simulate", 1)


def test_workers_that_wait_for_others_of_their_move_are_idle_because_of_it() -> None:
    snapshot, truth, _ = run(Together(), model=Model(lambda _, seconds: float(seconds)))
    assert snapshot.idle.by_pool["simulate"]["moving"] == pytest.approx(8.0)
    pools = {pool.name: pool for pool in snapshot.pools}
    assert (pools["simulate"].workers, pools["learn"].workers) == (1, 1)
    assert [(mark.kind, mark.source, mark.count) for mark in snapshot.marks if mark.pool] == [
        ("moved", "simulate", 2),
        ("moved", "learn", 1),
    ]
    assert sum(present for _, present in truth.values()) == pytest.approx(
        snapshot.idle.busy_s + snapshot.idle.total_s
    )


class Paused(Campaign):
    """Pauses its pool while a task runs, for longer than that takes."""

    workers: ClassVar = {"simulate": 1}

    async def setup(self) -> None:
        self.submit(measure, 5)
        self.submit(measure, 2)
        await asyncio.sleep(1.0)
        await self.pools.pause("simulate", reason="to look")
        await asyncio.sleep(19.0)
        await self.pools.resume("simulate")


def test_workers_of_a_paused_pool_are_idle_because_of_that() -> None:
    snapshot, _, _ = run(Paused(), model=Model(lambda _, seconds: float(seconds)))
    causes = snapshot.idle.by_cause
    assert causes["paused"] == pytest.approx(15.0)
    assert causes["dispatch"] == 0.0
    assert causes["no_work"] == pytest.approx(0.0, abs=1e-6)
    assert sum(sum(bins) for bins in snapshot.idle.bins.values()) > 0
    assert [mark.kind for mark in snapshot.marks if mark.pool] == ["pool_paused", "pool_resumed"]
    assert snapshot.pools[0].paused == ""


def test_another_process_that_is_started_for_a_move_is_counted_with_it() -> None:
    """The model of a move to a pool that needs other modules is in ``tests/core``."""
    events = [
        b'{"type":"NodeJoined","number":1,"at":0.0,"node":"n","host":"h","workers":{"a":1}}',
        b'{"type":"WorkerJoined","number":2,"at":1.0,"worker":"a-1","pool":"a","node":"n","pid":1}',
        b'{"type":"PoolChanged","number":3,"at":1.0,"pool":"a","workers":1}',
        b'{"type":"WorkerMoved","number":4,"at":3.0,"worker":"a-1","pool":"b","source":"a","node":"n","lent":true}',
        b'{"type":"WorkerRetired","number":5,"at":3.0,"worker":"a-1","pool":"b","node":"n","reason":""}',
        b'{"type":"PoolChanged","number":6,"at":3.0,"pool":"a","workers":0}',
        b'{"type":"WorkerJoined","number":7,"at":7.0,"worker":"b-1","pool":"b","node":"n","pid":2}',
        b'{"type":"PoolChanged","number":8,"at":7.0,"pool":"b","workers":1}',
        b'{"type":"PoolChanged","number":9,"at":9.0,"pool":"b","workers":1}',
    ]
    view = RunView(0.0)
    take_all(view, [], map(events_decoder.decode, events))
    snapshot = snapshot_of(view, RunFacts(), 9.0)
    assert snapshot.idle.by_pool["a"]["no_work"] == pytest.approx(2.0)
    assert snapshot.idle.by_pool["a"]["starting"] == pytest.approx(1.0)
    assert snapshot.idle.by_pool["b"]["moving"] == pytest.approx(4.0)
    assert snapshot.idle.by_pool["b"]["no_work"] == pytest.approx(2.0)
    lent, borrower = snapshot.pools
    assert (lent.lent, borrower.borrowed, borrower.workers) == (1, 1, 1)
