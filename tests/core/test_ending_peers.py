"""A peer that is not understood is ended, and so is whatever depends on it; orders may be lost."""

from __future__ import annotations

import pytest

from steerio.core.effects import Expel, Signal, Start, SweepObjects
from steerio.core.orphans import ENDING_S
from steerio.core.worker_life import UNSEEN
from steerio.model.events import ClientLost, NodeLost, PoolFailed, WorkerLost
from steerio.model.tasks import Retries
from tests.core.scene import CLIENT, NODE, Scene

pytestmark = pytest.mark.borders

WHY = "a message of it cannot be read"


def pass_time(scene: Scene, seconds: float) -> None:
    """Let time pass in steps that are short enough for nodes to be heard in."""
    step_s = scene.settings.beat_s
    for _ in range(round(seconds / step_s)):
        scene.tick(step_s)


def test_a_client_is_told_and_what_it_submitted_is_cancelled() -> None:
    scene = Scene({"simulate": 1})
    running, queued = scene.submit(), scene.submit()
    scene.core.unreadable(CLIENT, WHY, scene.now)
    scene.settle_down()
    assert scene.effects(Expel) == [Expel(CLIENT, WHY)]
    (lost,) = scene.events(ClientLost)
    assert lost.reason == WHY
    assert scene.ending(queued).ended_as == "cancelled"
    assert running.stop_reason == f"its client left: {WHY}"


def test_a_node_is_lost_and_its_tasks_are_tried_elsewhere() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    scene.core.unreadable(NODE, WHY, scene.now)
    scene.settle_down()
    assert scene.effects(Expel)[-1] == Expel(NODE, WHY)
    assert scene.events(NodeLost)[0].reason == WHY
    scene.node({"simulate": 1}, peer=NODE + 1)
    assert record.attempt == 2


def test_a_worker_that_says_more_of_that_kind_is_killed_all_the_same() -> None:
    scene = Scene({"simulate": 1})
    scene.submit()
    worker = scene.worker()
    scene.core.unreadable(worker.peer, WHY, scene.now)
    scene.core.unreadable(worker.peer, "another reason", scene.now)
    scene.settle_down()
    assert scene.effects(Signal) == [Signal(worker, 0, "kill")]
    assert scene.events(WorkerLost) == [], "its node has not seen it end yet"
    scene.exit(worker)
    assert [lost.reason for lost in scene.events(WorkerLost)] == [WHY]
    assert len(scene.roster.workers) == 1


def test_a_worker_is_killed_and_its_end_is_told_with_that_reason() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(retries=Retries(lost=0))
    worker = scene.worker()
    scene.core.unreadable(worker.peer, WHY, scene.now)
    scene.settle_down()
    assert scene.effects(Expel) == [Expel(worker.peer, WHY)]
    assert scene.effects(Signal) == [Signal(worker, 0, "kill")]
    scene.exit(worker, record.run, "exited with status 0")
    assert scene.events(WorkerLost)[0].reason == WHY
    assert (scene.ending(record).ended_as, scene.ending(record).reason) == ("lost", WHY)
    assert [order.worker.name for order in scene.effects(Start)][-1:] == ["simulate-2"]


def test_who_is_gone_already_is_not_ended_again() -> None:
    scene = Scene({"simulate": 1})
    scene.core.unreadable(12345, WHY, scene.now)
    scene.settle_down()
    assert scene.effects(Expel) == []


def test_a_broken_worker_is_over_though_its_node_never_says_so() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(retries=Retries(lost=0))
    scene.core.unreadable(scene.worker().peer, WHY, scene.now)
    scene.settle_down()
    pass_time(scene, scene.settings.lease_s + ENDING_S)
    assert scene.ending(record).reason == WHY
    assert "simulate-1" not in scene.roster.workers
    scene.forget()
    pass_time(scene, 2 * scene.settings.lease_s + ENDING_S)
    assert scene.effects(SweepObjects) == [SweepObjects(["simulate-1"])], "it may have put more"


def test_a_broken_worker_that_has_ended_is_not_looked_for_and_its_successor_is_left_alone() -> None:
    scene = Scene({"simulate": 1})
    scene.core.unreadable(scene.worker().peer, WHY, scene.now)
    scene.exit(scene.worker())
    scene.join(scene.worker("simulate-2"))
    record = scene.submit()
    scene.forget()
    pass_time(scene, 2 * (scene.settings.lease_s + ENDING_S))
    assert scene.effects(Signal) == []
    assert len(scene.events(WorkerLost)) == 1
    assert record.worker is scene.worker("simulate-2")


def test_a_broken_worker_is_waited_for_though_the_time_for_its_start_is_over() -> None:
    scene = Scene({"simulate": 1})
    scene.submit()
    pass_time(scene, scene.settings.start_s - scene.settings.lease_s)
    scene.core.unreadable(scene.worker().peer, WHY, scene.now)
    pass_time(scene, scene.settings.lease_s + ENDING_S / 2)
    orders = scene.effects(Signal)
    assert orders == [Signal(scene.worker(), 0, "kill")] * len(orders)
    assert len(orders) > 10, "it is repeated, for one may be lost"
    assert scene.events(WorkerLost) == []


def test_a_worker_whose_start_was_lost_is_over_and_another_is_started() -> None:
    scene = Scene(pools=("simulate",))
    scene.node({"simulate": 1}, ready=False)
    record = scene.submit()
    pass_time(scene, scene.settings.start_s)
    assert scene.effects(Signal) == [Signal(scene.worker(), 0, "kill")]
    pass_time(scene, scene.settings.lease_s + ENDING_S)
    assert scene.events(WorkerLost)[0].reason == UNSEEN
    assert [order.worker.name for order in scene.effects(Start)] == ["simulate-1", "simulate-2"]
    scene.join(scene.worker("simulate-2"))
    assert record.attempt == 1


def test_a_pool_whose_starts_are_all_lost_fails() -> None:
    scene = Scene(pools=("simulate",))
    scene.node({"simulate": 1}, ready=False)
    record = scene.submit()
    each_s = scene.settings.start_s + scene.settings.lease_s + ENDING_S
    for _ in range(scene.settings.start_failures):
        pass_time(scene, each_s)
    assert UNSEEN in scene.events(PoolFailed)[0].reason
    assert scene.ending(record).ended_as == "lost"


def test_a_worker_that_was_slow_to_start_has_as_long_to_make_room_as_any() -> None:
    scene = Scene(pools=("simulate",))
    scene.node({"simulate": 1}, ready=False)
    pass_time(scene, scene.settings.start_s)
    worker = scene.worker()
    scene.join(worker)
    pass_time(scene, scene.settings.lease_s + ENDING_S)
    assert scene.worker() is worker, "it came before it was killed"
