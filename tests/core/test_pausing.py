"""Paused pools: nothing begins there, what runs ends, and it is told when that is so."""

from __future__ import annotations

import pytest

from steerio.core.effects import RecallTask, SendTask, TellPause
from steerio.core.lifecycle import State
from steerio.model.events import PoolPaused, PoolResumed, PoolStalled
from steerio.model.settings import Settings
from tests.core.scene import CLIENT, LONG_S, Scene

SETTINGS = Settings(hold_s=0.05, held_s=0.001, held=32, recall_s=0.1)


def pause(scene: Scene, pool: str = "simulate", request: int = 1, why: str = "by hand") -> str:
    refusal = scene.core.pause(CLIENT, request, pool, why, scene.now)
    scene.settle_down()
    return refusal


def resume(scene: Scene, pool: str = "simulate") -> str:
    refusal = scene.core.resume(pool, "by hand", scene.now)
    scene.settle_down()
    return refusal


def told(scene: Scene) -> list[tuple[int, str]]:
    return [(order.request, order.reason) for order in scene.effects(TellPause)]


def test_no_task_of_a_paused_pool_begins_until_it_is_resumed() -> None:
    scene = Scene({"simulate": 2})
    scene.measured(LONG_S)
    running, _ = scene.submit(), scene.submit()
    queued = scene.submit()
    assert pause(scene) == ""
    assert told(scene) == [(1, "")], "nothing is held, so it is in effect"
    scene.report(running)
    late = scene.submit()
    assert [record.state for record in (queued, late)] == [State.QUEUED] * 2
    assert len(scene.pool().idle) == 1
    assert scene.pool().load().paused == "by hand"
    assert scene.core.story(queued.task_id)[-1].endswith("it is paused by hand")
    assert resume(scene) == ""
    assert queued.state == State.RUNNING
    assert scene.pool().load().paused == ""
    kinds = [type(event) for event in scene.recorded]
    assert (kinds.count(PoolPaused), kinds.count(PoolResumed)) == (1, 1)


def test_a_pause_takes_effect_once_the_tasks_that_workers_hold_are_back() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    scene.measured(0.0)
    first, held = scene.submit(), scene.submit()
    assert held.state == State.HELD
    pause(scene)
    assert told(scene) == []
    recalls = scene.effects(RecallTask)
    assert [recall.run for recall in recalls] == [held.run]
    scene.core.returned(held.run, scene.now)
    scene.now += 1
    scene.core.tick(scene.now)
    scene.settle_down()
    assert held.state == State.QUEUED
    assert told(scene) == [(1, "")]
    scene.report(first)
    assert held.state == State.QUEUED


def test_a_recall_that_is_not_answered_is_repeated() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    scene.measured(0.0)
    scene.submit()
    scene.submit()
    pause(scene)
    before = len(scene.effects(RecallTask))
    scene.now += 1
    scene.core.tick(scene.now)
    scene.settle_down()
    assert len(scene.effects(RecallTask)) > before
    assert told(scene) == []


def test_a_pause_that_is_undone_before_it_took_effect_says_so() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    scene.measured(0.0)
    scene.submit()
    scene.submit()
    pause(scene)
    pause(scene, request=2, why="by another")
    resume(scene)
    assert told(scene) == [(number, "it was resumed: by hand") for number in (1, 2)]
    assert resume(scene) == "", "once more is no error"


def test_a_pause_that_is_asked_for_again_pauses_no_pool_that_was_resumed_meanwhile() -> None:
    scene = Scene({"simulate": 1})
    refusal = scene.core.pause(CLIENT, 1, "simulate", "by hand", scene.now, again=True)
    assert refusal.startswith("it was resumed meanwhile")
    assert dict(scene.core.paused) == {}
    pause(scene)
    assert scene.core.pause(CLIENT, 2, "simulate", "by hand", scene.now, again=True) == ""
    scene.settle_down()
    assert told(scene) == [(1, ""), (2, "")]


def test_only_pools_that_are_there_are_paused() -> None:
    scene = Scene({"simulate": 1})
    assert pause(scene, "nowhere") == "there is no such pool; there are: simulate"
    assert resume(scene, "nowhere") == "there is no such pool; there are: simulate"
    assert told(scene) == []


def test_the_workers_of_a_paused_pool_move_and_those_of_others_go_on() -> None:
    scene = Scene({"simulate": 1, "learn": 1})
    pause(scene)
    waits = scene.submit()
    other = scene.submit(scene.task_type("fit", "learn"))
    assert other.state == State.RUNNING
    scene.core.ask_move(CLIENT, 9, "simulate", "learn", 1, scene.now)
    scene.settle_down()
    assert waits.state == State.QUEUED
    assert scene.pool("learn").workers == 2


def test_a_paused_pool_does_not_count_as_stalled() -> None:
    scene = Scene({"simulate": 1})
    pause(scene)
    scene.submit()
    for _ in range(5):
        scene.now += 10
        scene.core.tick(scene.now)
        scene.settle_down()
    assert not [event for event in scene.recorded if isinstance(event, PoolStalled)]


def test_tasks_of_a_paused_pool_are_lost_when_it_is_given_up() -> None:
    scene = Scene({"simulate": 1})
    pause(scene)
    record = scene.submit()
    scene.core.fail_pool("simulate", "nothing starts", scene.now)
    scene.settle_down()
    assert record.state == State.ENDED


@pytest.mark.parametrize("known", [True, False])
def test_the_next_broker_knows_the_pauses(known: bool) -> None:
    scene = Scene({"simulate": 1} if known else None)
    name = "simulate" if known else "nowhere"
    scene.core.returned_as(2, {}, {name: "by hand"}, scene.now)
    scene.settle_down()
    assert dict(scene.core.paused) == ({name: "by hand"} if known else {})
    assert scene.core.pauses == known
    if known:
        scene.submit()
        assert scene.effects(SendTask) == []
