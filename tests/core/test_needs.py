"""Workers of different make in one pool, and tasks that say what they need."""

from __future__ import annotations

from math import inf

import pytest

from steerio.core.effects import RecallTask
from steerio.core.heads import Want
from steerio.core.idle import IdleWorkers
from steerio.core.lifecycle import State
from steerio.core.pool_queue import PoolQueue
from steerio.core.records import NodeRecord, TaskRecord, WorkerRecord
from steerio.launch.needs import Needs
from steerio.launch.workers import Workers
from steerio.model.places import WorkerNeeds
from steerio.model.settings import Settings
from tests.core.scene import CLIENT, NODE, Scene

LARGE = WorkerNeeds(cpus=4)
GPU = WorkerNeeds(gpus=1)
LARGEST = WorkerNeeds(cpus=8, gpus=1, tags=("bigmem",))
SETTINGS = Settings(join_s=8.0, hold_s=0.05, held_s=0.001, held=32, recall_s=0.1)


def mixed(plain: int = 1, large: int = 1, *, closed: bool = True) -> Scene:
    """One pool with workers of two makes, and one without."""
    scene = Scene(pools=("simulate", "learn"), settings=SETTINGS, closed=closed)
    scene.pool("learn").may_be_empty = True
    scene.pool().announced = plain + large
    if plain:
        scene.node({"simulate": plain})
    if large:
        scene.node({"simulate": large}, peer=NODE + 1, make=LARGE)
    return scene


def make_of(record: TaskRecord) -> WorkerNeeds:
    assert record.worker is not None
    return record.worker.make


@pytest.mark.parametrize(
    ("has", "needs", "fits"),
    [
        (WorkerNeeds(), WorkerNeeds(), True),
        (WorkerNeeds(cpus=4), WorkerNeeds(cpus=4), True),
        (WorkerNeeds(cpus=3), WorkerNeeds(cpus=4), False),
        (WorkerNeeds(gpus=2), WorkerNeeds(gpus=1), True),
        (WorkerNeeds(gpus=0.5), WorkerNeeds(gpus=1), False),
        (WorkerNeeds(gpus=1), WorkerNeeds(gpus=0.5), True),
        (WorkerNeeds(gpus=0.33), WorkerNeeds(gpus=1 / 3), True),
        (WorkerNeeds(gpus=0.25), WorkerNeeds(gpus=0.5), False),
        (WorkerNeeds(memory_bytes=2**30), WorkerNeeds(memory_bytes=2**31), False),
        (WorkerNeeds(memory_bytes=2**31), WorkerNeeds(memory_bytes=2**30), True),
        (WorkerNeeds(), WorkerNeeds(memory_bytes=2**40), True),
        (WorkerNeeds(tags=("a", "b")), WorkerNeeds(tags=("b",)), True),
        (WorkerNeeds(tags=("a",)), WorkerNeeds(tags=("a", "b")), False),
    ],
)
def test_a_worker_fits_a_task_if_it_has_at_least_what_that_needs(
    has: WorkerNeeds, needs: WorkerNeeds, fits: bool
) -> None:
    assert has.suffices_for(needs) == fits


def test_needs_are_written_as_workers_are() -> None:
    needs = Needs(cpus=4, gpus=1, memory="8G", tags="bigmem")
    assert needs.value == Workers(1, cpus=4, gpus=1, memory="8G", tags=["bigmem"]).needs
    assert repr(needs) == "Needs(cpus=4, gpus=1, memory=8589934592, tags=('bigmem',))"
    assert len({needs, Needs(cpus=4, gpus=1, memory=8 * 2**30, tags=["bigmem"])}) == 1
    assert needs != 4


def test_a_task_goes_only_to_a_worker_that_fits() -> None:
    scene = mixed(plain=3, large=1)
    first, second = scene.submit(needs=LARGE), scene.submit(needs=LARGE)
    assert make_of(first) == LARGE
    assert second.state == State.QUEUED
    assert len(scene.pool().idle) == 3
    scene.report(first)
    assert make_of(second) == LARGE


def test_a_task_goes_to_the_least_worker_that_fits() -> None:
    scene = Scene()
    for place, make in enumerate((LARGEST, WorkerNeeds(), GPU, LARGE)):
        scene.node({"simulate": 1}, peer=NODE + place, make=make)
    assert [make_of(scene.submit()) for _ in range(4)] == [WorkerNeeds(), LARGE, GPU, LARGEST]


def test_a_large_task_is_not_starved_by_small_ones() -> None:
    scene = mixed(plain=1, large=1)
    running = [scene.submit(), scene.submit()]
    large = scene.submit(needs=LARGE)
    small = [scene.submit() for _ in range(4)]
    scene.report(running[0])  # the small worker: small tasks pass the large one there
    assert (small[0].state, large.state) == (State.RUNNING, State.QUEUED)
    scene.report(running[1])
    assert make_of(large) == LARGE
    assert small[1].state == State.QUEUED


def test_what_is_ranked_higher_goes_first_whatever_it_needs() -> None:
    scene = mixed(plain=0, large=1)
    running = scene.submit()
    low, large, high = scene.submit(), scene.submit(needs=LARGE), scene.submit(priority=1)
    scene.report(running)
    assert high.state == State.RUNNING
    scene.core.reprioritise([(low.task_id, 5.0), (large.task_id, 7.0)], scene.now)
    scene.report(high)
    assert (large.state, low.state) == (State.RUNNING, State.QUEUED)


def test_what_is_sent_ahead_fits_its_worker() -> None:
    scene = mixed(plain=1, large=1)
    scene.measured(1e-5)
    running = [scene.submit(), scene.submit()]
    large = [scene.submit(needs=LARGE) for _ in range(6)]
    small = [scene.submit() for _ in range(6)]
    scene.report(running[0], run_s=1e-5)
    scene.report(running[1], run_s=1e-5)
    held = [record for record in [*large, *small] if record.state == State.HELD]
    assert held
    assert all(make_of(record) == LARGE for record in large if record.worker)
    assert all(make_of(record) == WorkerNeeds() for record in small if record.worker)


def test_what_waits_behind_a_long_task_is_recalled_only_for_a_worker_that_fits() -> None:
    scene = mixed(plain=0, large=1)
    scene.measured(1e-5)
    running = scene.submit()
    tasks = [scene.submit(needs=LARGE) for _ in range(3)]
    scene.report(running, run_s=1e-5)
    assert [record.state for record in tasks] == [State.RUNNING, State.HELD, State.HELD]
    scene.node({"simulate": 1}, peer=NODE + 5)
    scene.forget()
    scene.tick(1.0)
    assert not scene.performed
    scene.node({"simulate": 1}, peer=NODE + 6, make=LARGE)
    scene.tick(1.0)
    assert len(scene.effects(RecallTask)) == 2
    assert scene.give_back(tasks[1])
    assert tasks[1].worker is not tasks[0].worker


def test_that_no_worker_could_ever_take_a_task_is_said_at_once() -> None:
    scene = mixed(plain=2, large=1)
    ending = scene.ending(scene.submit(needs=GPU))
    assert ending.ended_as == "lost"
    assert ending.reason == (
        "no worker of pool 'simulate' could take it: it needs cpus=1:gpus=1; "
        "there are 2 with cpus=1, 1 with cpus=4"
    )


@pytest.mark.parametrize("closed", [True, False])
def test_a_task_waits_for_a_worker_that_was_moved_away_but_not_for_ever(closed: bool) -> None:
    scene = mixed(plain=1, large=1, closed=closed)
    holds = scene.submit(needs=WorkerNeeds())
    scene.core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now)
    scene.settle_down()
    assert make_of(holds) == WorkerNeeds()
    waits, never = scene.submit(needs=LARGE), scene.submit(needs=GPU)
    assert [waits.state, never.state] == [State.QUEUED, State.QUEUED]
    scene.core.ask_move(CLIENT, 2, "learn", "simulate", 1, scene.now)
    scene.settle_down()
    assert make_of(waits) == LARGE
    for _ in range(10):
        scene.tick(2.0)
    assert "no worker of pool 'simulate' could take it" in scene.ending(never).reason


def test_an_open_broker_says_so_where_a_pool_has_workers() -> None:
    scene = mixed(plain=0, large=0, closed=False)
    early = scene.submit(needs=LARGE)
    scene.tick(100)
    assert early.state == State.QUEUED
    scene.node({"simulate": 1})
    assert scene.ending(scene.submit(needs=LARGE)).ended_as == "lost"
    for _ in range(10):
        scene.tick(2.0)
    assert scene.ending(early).ended_as == "lost"


def test_a_task_waits_for_workers_that_were_announced_but_not_for_ever() -> None:
    scene = mixed(plain=1, large=0)
    scene.pool().announced = 2
    first = scene.submit(needs=LARGE)
    second = scene.submit(needs=GPU, priority=1)
    scene.tick(4.0)
    scene.node({"simulate": 1}, peer=NODE + 1, make=LARGE)
    assert first.state == State.RUNNING
    for _ in range(3):
        scene.tick(2.0)
        assert second.state == State.QUEUED
    for _ in range(2):
        scene.tick(2.0)
    assert scene.ending(second).ended_as == "lost"


def test_a_task_is_given_up_some_time_after_the_last_worker_that_fits_is_gone() -> None:
    scene = mixed(plain=1, large=1)
    running, waits = scene.submit(needs=LARGE), scene.submit(needs=LARGE)
    scene.core.node_lost(NODE + 1, "power", scene.now)
    scene.settle_down()
    assert (running.state, waits.state) == (State.QUEUED, State.QUEUED)
    for _ in range(7):
        scene.tick(2.0)
    assert scene.ending(running).ended_as == scene.ending(waits).ended_as == "lost"


def test_a_move_to_the_pool_may_bring_a_worker_that_fits() -> None:
    scene = Scene({"learn": 1}, settings=SETTINGS)
    scene.node({"simulate": 1}, peer=NODE + 1, make=LARGE)
    scene.node({"learn": 1}, peer=NODE + 2)
    busy = scene.submit()
    core = scene.core
    assert not core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now)
    kind = scene.task_type("train", "learn")
    waits = scene.submit(kind, needs=LARGE)
    for _ in range(10):
        scene.tick(2.0)
        assert waits.state == State.QUEUED
    scene.report(busy)
    assert make_of(waits) == LARGE


def test_a_worker_that_is_lent_away_counts_for_its_own_pool() -> None:
    scene = mixed(plain=1, large=1)
    keep = scene.submit()
    core = scene.core
    assert not core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now, lease=True)
    scene.settle_down()
    assert scene.pool("learn").makes == {LARGE: 1}
    waits = scene.submit(needs=LARGE)
    for _ in range(10):
        scene.tick(2.0)
    assert waits.state == State.QUEUED
    core.end_move(CLIENT, 1, "drain", scene.now)
    scene.settle_down()
    assert make_of(waits) == LARGE
    assert make_of(keep) == WorkerNeeds()


def test_a_worker_that_is_started_anew_for_another_pool_has_what_that_gives() -> None:
    scene = Scene(pools=("simulate", "learn"))
    node = scene.core.node_joined(
        NODE,
        "node",
        "host",
        {"simulate": 1, "learn": 0},
        scene.now,
        {"learn": ["gpus=1"]},
        {"learn": GPU},
    )
    assert node is not None
    (worker,) = node.workers.values()
    scene.join(worker)
    assert not scene.core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now)
    scene.settle_down()
    assert (worker.phase, worker.make) == ("retiring", GPU)
    waits = scene.submit(scene.task_type("train", "learn"), needs=GPU)
    scene.exit(worker)
    (fresh,) = node.workers.values()
    scene.join(fresh)
    assert (waits.state, make_of(waits)) == (State.RUNNING, GPU)


def test_tasks_with_needs_can_be_cancelled_and_go_to_another_pool() -> None:
    scene = mixed(plain=1, large=1)
    scene.node({"learn": 1}, peer=NODE + 2, make=LARGEST)
    running = [scene.submit(needs=LARGE) for _ in range(3)]
    assert scene.cancel(running[1])
    assert scene.core.reassign([running[2].task_id], scene.pool("learn").name, scene.now) == 1
    scene.settle_down()
    assert make_of(running[2]) == LARGEST
    assert not scene.pool().backlog


def test_time_is_reckoned_in_one_way_for_free_and_for_idle_workers() -> None:
    """Else a task does not fit a worker that becomes free, and by the last bit does as it idles."""
    now, until, takes_s = 1.05, 1.5, 0.45000000000000007
    assert takes_s > until - now
    assert now + takes_s <= until
    idle, node = IdleWorkers(), NodeRecord("n", "host", 1, 0.0, until=until)
    idle.add(WorkerRecord("w", "simulate", node))
    assert not idle.fits(None, takes_s, now)
    assert idle.take(None, takes_s, now) is None


def test_a_queue_and_idle_workers_say_what_they_hold() -> None:
    scene = mixed(plain=0, large=1)
    scene.submit(needs=LARGE)
    scene.submit(needs=LARGE)
    assert repr(scene.pool().backlog) == "<PoolQueue 1 queued, 1 different sorts>"
    queue = PoolQueue("simulate")
    assert (queue.peek(), queue.pop(), queue.take_all([Want(LARGE, 1)])) == (None, None, [])
    idle = IdleWorkers()
    node = NodeRecord("n", "host", 1, 0.0)
    workers = [WorkerRecord(f"w{i}", "simulate", node, make=make) for i, make in enumerate([LARGE])]
    assert idle.take_of(LARGE, inf) is None
    idle.add(workers[0])
    assert repr(idle) == "<IdleWorkers w0>"
    assert idle.fits(LARGE, 1e9, 0.0)
    assert not idle.fits(GPU, 0.0, 0.0)
    del idle[workers[0]]
    assert idle.take(None, 0.0, 0.0) is None
