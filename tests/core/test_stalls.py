"""Tasks that wait in vain are found, and nothing is said while anything may still come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from steerio.core import stalls
from steerio.core.records import TaskRecord
from steerio.core.stalls import STALLED_S
from steerio.model.events import PoolStalled
from tests.core.scene import CLIENT, NODE
from tests.core.test_moves import MovingScene
from tests.core.test_needs import LARGE, mixed

pytestmark = pytest.mark.borders

PARENT, SECOND = 2, 3
"""Clients that are tasks."""


def reasons(scene: MovingScene, seconds: float = 4 * STALLED_S) -> list[tuple[str, int, str]]:
    """Let time pass, and return what was said of stalled pools."""
    for _ in range(round(seconds)):
        scene.tick(1.0)
    return [(event.pool, event.queued, event.reason) for event in scene.events(PoolStalled)]


def lent(simulate: int = 1, **options: Any) -> MovingScene:
    """All workers of ``simulate`` are lent, and a task waits for one."""
    scene = MovingScene(simulate, **options)
    scene.ask(simulate, lease=True)
    scene.submit()
    return scene


def test_a_task_for_workers_that_are_lent_and_idle_waits_in_vain_which_is_said_once() -> None:
    scene = lent(2)
    ((pool, queued, reason),) = reasons(scene)
    assert (pool, queued) == ("simulate", 1)
    assert "2 lent to 'learn'" in reason
    assert scene.pool().load().stalled == reason
    assert scene.core.take_stalls() == [reason]
    assert scene.core.take_stalls() == []
    scene.end()
    assert not scene.pool().load().stalled


def test_it_is_said_again_when_it_comes_to_that_again() -> None:
    scene = lent()
    assert len(reasons(scene)) == 1
    scene.end()
    (running,) = scene.core.runs.values()
    scene.report(running)
    scene.ask(1, lease=True)
    scene.submit()
    assert len(reasons(scene)) == 2


def test_who_waits_for_the_lease_first_is_named() -> None:
    scene = MovingScene(1)
    running = scene.submit()
    scene.ask(1, lease=True)
    scene.core.await_move(CLIENT, 1, 1, (), "Search.relearn", scene.now)
    scene.report(running)
    scene.submit()
    ((_, _, reason),) = reasons(scene)
    assert "by Search.relearn" in reason


def goes_on_in_target(scene: MovingScene) -> None:
    scene.train()


def goes_on_elsewhere(scene: MovingScene) -> None:
    scene.node({"more": 1}, peer=NODE + 1)
    scene.submit(scene.task_type("other", "more"))


def more_are_moved_there(scene: MovingScene) -> None:
    scene.node({"more": 1}, peer=NODE + 1)
    busy = scene.submit(scene.task_type("other", "more"), client=7)
    scene.ask(1, source="more", target="simulate")
    assert busy.worker is not None


def a_worker_starts_in_the_target(scene: MovingScene) -> None:
    scene.node({"learn": 1}, peer=NODE + 1, ready=False)


def a_worker_starts(scene: MovingScene) -> None:
    scene.node({"simulate": 1}, peer=NODE + 1, ready=False)


@pytest.mark.parametrize(
    "goes_on",
    [
        goes_on_in_target,
        goes_on_elsewhere,
        more_are_moved_there,
        a_worker_starts_in_the_target,
        a_worker_starts,
    ],
)
def test_nothing_is_said_while_something_may_come(goes_on: Callable[[MovingScene], None]) -> None:
    scene = MovingScene(1)
    scene.roster.closed = False
    scene.ask(1, lease=True)
    goes_on(scene)
    scene.submit()
    assert reasons(scene) == []


def test_nothing_is_said_while_a_lease_is_being_given_back() -> None:
    scene = MovingScene(1)
    scene.ask(1, lease=True)
    training = scene.submit(scene.task_type("train", "learn"), client=7)
    scene.submit()
    scene.end()
    assert reasons(scene) == []
    assert training.worker is not None


def test_a_pool_without_workers_is_stalled_and_no_longer_when_one_comes() -> None:
    scene = MovingScene(0, closed=False)
    scene.submit()
    ((_, _, reason),) = reasons(scene)
    assert "it has no workers" in reason
    scene.node({"simulate": 1}, peer=NODE + 1)
    assert not scene.pool().load().stalled
    assert len(scene.core.runs) == 1


def test_a_node_that_was_announced_is_waited_for() -> None:
    scene = MovingScene(0)
    scene.core.expect_workers({"simulate": 1}, scene.now)
    scene.submit()
    assert reasons(scene) == []


def test_a_pool_that_loses_its_last_worker_is_stalled_too() -> None:
    scene = MovingScene(1, closed=False)
    running = scene.submit()
    scene.submit()
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.settle_down()
    ((_, queued, _),) = reasons(scene)
    assert queued == 2
    assert running.worker is None


def test_so_is_one_whose_worker_had_a_task_in_hand_that_was_cancelled() -> None:
    scene = MovingScene(1, closed=False)
    running, held = scene.holding(2)
    scene.cancel(held)
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.settle_down()
    ((_, queued, _),) = reasons(scene)
    assert queued == 1
    assert running.worker is None
    assert scene.ending(held).ended_as == "cancelled"


def test_a_worker_that_is_started_again_later_is_waited_for() -> None:
    scene = MovingScene(1, closed=False)
    scene.submit()
    scene.submit()
    for _ in range(scene.settings.start_failures + 1):
        for worker in list(scene.roster.workers.values()):
            if worker.pool == "simulate":
                scene.exit(worker)
    assert stalls.find(scene.core.cluster) == {}


def test_tasks_that_no_worker_there_fits_wait_in_vain() -> None:
    scene = mixed(plain=1, large=1)
    small = scene.submit(client=7)
    scene.core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now, lease=True)
    scene.report(small)
    scene.submit(needs=LARGE)
    scene.tick(STALLED_S)
    scene.tick(STALLED_S)
    (event,) = scene.events(PoolStalled)
    assert "none of its idle workers (1) satisfies the needs of its tasks" in event.reason


def test_tasks_that_a_busy_worker_fits_do_not() -> None:
    scene = mixed(plain=1, large=1)
    busy = scene.submit(needs=LARGE, client=7)
    scene.submit(needs=LARGE)
    scene.tick(STALLED_S)
    scene.tick(STALLED_S)
    assert scene.events(PoolStalled) == []
    assert busy.worker is not None


# -- tasks that wait for tasks of their own ---------------------------------------------------


def parents(scene: MovingScene, *clients: int) -> list[TaskRecord]:
    """Let a task run for each of these clients, which is inside it."""
    tasks = [scene.submit() for _ in clients]
    for client, task in zip(clients, tasks, strict=True):
        worker = task.worker
        assert worker is not None
        inside = f"{worker.name}:{worker.pid}"
        scene.core.client_joined(client, "task", True, scene.now, inside=inside)
    return tasks


def heard(scene: MovingScene, *clients: int) -> list[tuple[str, int, str]]:
    """Let time pass, in which these clients beat; return what was said of stalled pools."""
    found: list[tuple[str, int, str]] = []
    for _ in range(round(4 * STALLED_S)):
        for client in clients:
            scene.core.heard(client, scene.now)
        found = reasons(scene, 1.0)
    return found


def test_workers_whose_tasks_all_wait_for_tasks_of_their_own_pool_are_held() -> None:
    scene = MovingScene(2)
    parents(scene, PARENT, SECOND)
    scene.submit(client=PARENT)
    scene.submit(client=SECOND)
    ((pool, queued, reason),) = heard(scene, PARENT, SECOND)
    assert (pool, queued) == ("simulate", 2)
    assert "all its workers (2) run tasks that have submitted these" in reason


def test_a_gang_waits_in_vain_for_the_worker_whose_task_waits_for_it() -> None:
    scene = MovingScene(2)
    parents(scene, PARENT)
    gang = scene.submit(client=PARENT, gang=2)
    ((pool, queued, reason),) = heard(scene, PARENT)
    assert (pool, queued) == ("simulate", 1)
    assert "all its workers that are at work (1) run tasks that have submitted these" in reason
    assert "those that idle (1) do not fit them, or are too few" in reason
    assert gang.worker is None


def test_a_task_with_needs_waits_in_vain_for_the_worker_whose_task_waits_for_it() -> None:
    scene = MovingScene(1)
    scene.node({"simulate": 1}, peer=NODE + 1, make=LARGE)
    task = scene.submit(needs=LARGE)
    assert task.worker is not None
    inside = f"{task.worker.name}:{task.worker.pid}"
    scene.core.client_joined(PARENT, "task", True, scene.now, inside=inside)
    scene.submit(needs=LARGE, client=PARENT)
    ((pool, _, reason),) = heard(scene, PARENT)
    assert pool == "simulate"
    assert "those that idle (1)" in reason


def test_one_whose_task_waits_for_nothing_is_enough() -> None:
    scene = MovingScene(3)
    parents(scene, PARENT, SECOND)
    for client in (7, 7, PARENT, SECOND):
        scene.submit(client=client)
    assert heard(scene, PARENT, SECOND) == []


def test_a_worker_that_starts_is_waited_for_by_tasks_that_wait_for_their_own() -> None:
    scene = MovingScene(1)
    parents(scene, PARENT)
    scene.submit(client=PARENT)
    scene.node({"simulate": 1}, peer=NODE + 1, ready=False)
    scene.tick(STALLED_S)
    scene.tick(STALLED_S)
    assert scene.events(PoolStalled) == []


def test_who_has_another_task_under_way_does_not_wait_in_vain() -> None:
    scene = MovingScene(1, learn=1)
    parents(scene, PARENT)
    scene.submit(scene.task_type("train", "learn"), client=PARENT)
    scene.submit(client=PARENT)
    assert heard(scene, PARENT) == []


def test_a_circle_may_lead_over_several_pools() -> None:
    scene = MovingScene(1, learn=1)
    parents(scene, PARENT)
    there = scene.train()
    assert there.worker is not None
    inside = f"{there.worker.name}:{there.worker.pid}"
    scene.core.client_joined(SECOND, "task", True, scene.now, inside=inside)
    scene.submit(scene.task_type("train", "learn"), client=PARENT)
    assert heard(scene, PARENT, SECOND) == []  # the other task may still end
    scene.submit(client=SECOND)
    assert {pool for pool, _, _ in heard(scene, PARENT, SECOND)} == {"simulate", "learn"}


def test_a_client_that_has_left_holds_nobody() -> None:
    scene = MovingScene(1)
    parents(scene, PARENT)
    scene.submit(client=PARENT)
    scene.core.client_left(PARENT, "it left", scene.now)
    scene.settle_down()
    assert scene.core.cluster.inside == {}
    assert reasons(scene) == []


@pytest.mark.parametrize("inside", ["", "simulate-1", "simulate-1:12", "other-1:4711"])
def test_who_is_in_no_worker_of_this_broker_is_not_taken_for_one(inside: str) -> None:
    scene = MovingScene(1)
    scene.core.client_joined(PARENT, "task", True, scene.now, inside=inside)
    assert scene.core.cluster.inside == {}
