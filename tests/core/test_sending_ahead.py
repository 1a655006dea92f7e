"""Short tasks are sent ahead of time, and called back when they wait for nothing."""

from __future__ import annotations

import math

import pytest

from steerio.core.effects import RecallTask
from steerio.core.lifecycle import State
from steerio.core.records import TaskRecord
from steerio.model.events import TaskStarted
from steerio.model.settings import Settings
from tests.core.scene import CLIENT, LONG_S, NODE, Scene

SETTINGS = Settings(hold_s=0.05, held_s=0.001, held=32, recall_s=0.1)


def in_hand(scene: Scene, name: str = "simulate-1") -> int:
    return len(scene.worker(name).in_hand)


def after_one_of(scene: Scene, run_s: float, queued: int) -> int:
    """Return how much a worker has in hand after it ran one task of this length."""
    first, *_ = [scene.submit() for _ in range(queued + 1)]
    scene.report(first, run_s=run_s)
    return in_hand(scene)


def test_nothing_is_sent_ahead_before_anything_was_measured() -> None:
    scene = Scene({"simulate": 1})
    for _ in range(10):
        scene.submit()
    assert in_hand(scene) == 1


def test_long_tasks_are_not_sent_ahead() -> None:
    assert after_one_of(Scene({"simulate": 1}), 0.06, queued=100) == 1


def test_one_short_task_is_sent_ahead() -> None:
    assert after_one_of(Scene({"simulate": 1}), 0.04, queued=100) == 2


def test_more_tiny_tasks_are_sent_ahead_while_they_add_up_to_little() -> None:
    assert after_one_of(Scene({"simulate": 1}), 7e-5, queued=100) == 1 + 10


@pytest.mark.parametrize(
    ("link_s", "run_s", "held"), [(0.1, 0.01, 1 + 15), (0.005, 0.01, 1), (10.0, 0.0, 32 + 1_000)]
)
def test_what_a_worker_runs_while_a_message_crosses_a_long_link_is_sent_ahead_too(
    link_s: float, run_s: float, held: int
) -> None:
    scene = Scene({"simulate": 1})
    scene.core.heard(NODE, scene.now, 0.0, link_s)
    assert after_one_of(scene, run_s, queued=2_000) == 1 + held


def test_no_more_than_the_bound_is_sent_ahead() -> None:
    assert after_one_of(Scene({"simulate": 1}), 0.0, queued=100) == 1 + 32


def test_nobody_is_sent_more_than_every_worker_could_have() -> None:
    scene = Scene({"simulate": 3})
    scene.measured(0.0)
    records = [scene.submit() for _ in range(3 + 3 + 7)]
    assert [in_hand(scene, f"simulate-{n}") for n in (1, 2, 3)] == [2, 2, 2]
    scene.report(records[0], run_s=0.0)
    assert sorted(in_hand(scene, f"simulate-{n}") for n in (1, 2, 3)) == [2, 2, 1 + 7 // 3]


def mixed(scene: Scene, *run_s: float) -> list[TaskRecord]:
    """Queue a task of each of these measured means behind a short one that ends."""
    first = scene.submit()
    kinds = {mean_s: scene.task_type(f"of {mean_s}") for mean_s in run_s}
    for mean_s, kind in kinds.items():
        scene.measured(mean_s, kind)
    records = [scene.submit(kinds[mean_s]) for mean_s in run_s]
    scene.report(first, run_s=1e-5)
    return records


@pytest.mark.parametrize("mean_s", [0.5, -1.0])
def test_what_is_long_or_was_never_measured_is_not_held_behind_a_short_task(mean_s: float) -> None:
    scene = Scene({"simulate": 1})
    short, held, other, after = mixed(scene, 1e-5, 1e-5, mean_s, 1e-5)
    assert [short.state, held.state] == [State.RUNNING, State.HELD]
    assert [other.state, after.state] == [State.QUEUED, State.QUEUED]
    urgent = scene.submit(priority=100.0)
    scene.report(short, run_s=1e-5)
    scene.report(held, run_s=1e-5)
    assert urgent.state == State.RUNNING
    assert other.state == State.QUEUED


def test_nothing_is_held_behind_a_task_that_only_one_place_is_for() -> None:
    scene = Scene({"simulate": 1})
    first, middling, third, fourth = mixed(scene, 1e-5, 0.04, 1e-5, 1e-5)
    assert (middling.state, third.state) == (State.HELD, State.QUEUED)
    scene.report(first, run_s=1e-5)
    assert (third.state, fourth.state) == (State.HELD, State.QUEUED)


def test_what_is_held_adds_up_to_little_however_types_are_mixed() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    tiny, little = 0.0, 17e-5
    records = mixed(scene, *[tiny] * 3, *[little] * 30, *[tiny] * 30)
    for record in records:
        held = list(scene.worker().in_hand)[1:]
        assert len([each for each in held if each.type.mean_s > 1e-4]) <= 5
        scene.report(record, run_s=record.type.mean_s)


def test_the_measured_mean_follows_bad_news_faster_than_good() -> None:
    scene = Scene({"simulate": 1})
    kind = scene.task_type()
    scene.report(scene.submit(), run_s=1.0)
    assert kind.mean_s == 1.0
    scene.report(scene.submit(), run_s=0.0)
    assert kind.mean_s == pytest.approx(0.9)
    scene.report(scene.submit(), run_s=1.9)
    assert kind.mean_s == pytest.approx(1.4)


@pytest.mark.parametrize("run_s", [math.nan, -1.0, math.inf])
def test_a_nonsensical_duration_is_not_measured(run_s: float) -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    scene.core.reported(record.run, "succeeded", 0.0, run_s, 0.0)
    assert scene.task_type().mean_s < 0
    scene.measured(0.01)
    record = scene.submit()
    scene.core.reported(record.run, "succeeded", 0.0, run_s, 0.0)
    assert scene.task_type().mean_s == 0.01


def test_held_tasks_start_when_the_one_before_them_ended() -> None:
    scene = Scene({"simulate": 1})
    first, second = scene.holding(2)
    assert [event.task_id for event in scene.events(TaskStarted)][-1] == first.task_id
    scene.now = 3.0
    scene.report(first, run_s=1e-5)
    assert second.state == State.RUNNING
    assert second.reached == 3.0
    assert [event.task_id for event in scene.events(TaskStarted)][-1] == second.task_id


def test_a_task_behind_a_long_one_is_called_back_for_whoever_is_free_next() -> None:
    scene = Scene({"simulate": 2}, settings=SETTINGS)
    blocked, held, other = scene.holding_beside()
    scene.forget()
    scene.tick(0.09)
    assert scene.effects(RecallTask) == []
    scene.tick(0.02)
    assert [effect.run for effect in scene.effects(RecallTask)] == [held.run]
    scene.give_back(held)
    assert held.state == State.QUEUED
    scene.report(other, run_s=1e-5)
    assert held.state == State.RUNNING
    assert held.worker is not blocked.worker
    assert held.attempt == 1


def test_nothing_is_called_back_from_the_only_worker() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    scene.holding(2)
    scene.forget()
    scene.tick(1.0)
    assert scene.effects(RecallTask) == []


def test_what_does_not_come_back_is_called_again_in_a_while() -> None:
    scene = Scene({"simulate": 2}, settings=SETTINGS)
    _, held, _ = scene.holding_beside()
    scene.forget()
    for _ in range(4):
        scene.tick(0.1)
    assert [effect.run for effect in scene.effects(RecallTask)] == [held.run] * 4


def test_what_is_held_is_looked_at_while_a_worker_of_a_move_waits_for_others() -> None:
    scene = Scene({"simulate": 2, "learn": 2}, settings=SETTINGS)
    scene.submit(scene.task_type("train", "learn"))
    assert not scene.core.ask_move(CLIENT, 1, "learn", "simulate", 2, scene.now, together=True)
    _, held, other = scene.holding_beside()
    scene.tick(0.1)
    scene.forget()
    scene.report(other, run_s=1e-5)
    scene.tick(0.1)
    assert [effect.run for effect in scene.effects(RecallTask)] == [held.run]


def test_a_stopping_task_that_is_held_is_not_called_back_twice() -> None:
    scene = Scene({"simulate": 2}, settings=SETTINGS)
    _, held, other = scene.holding_beside()
    scene.cancel(held)
    scene.forget()
    scene.report(other, run_s=1e-5)
    scene.tick(0.1)
    assert scene.effects(RecallTask) == []


def test_what_was_only_just_begun_is_given_its_time() -> None:
    scene = Scene({"simulate": 2}, settings=SETTINGS)
    first, second, third, _ = scene.holding_beside(held=2)
    scene.tick(0.09)
    scene.report(first, run_s=1e-5)
    assert second.reached == 0.09
    scene.forget()
    scene.tick(0.05)
    assert scene.effects(RecallTask) == []
    scene.tick(0.11)
    assert [effect.run for effect in scene.effects(RecallTask)] == [third.run]


def test_a_task_that_comes_back_while_nobody_is_idle_waits_in_the_queue() -> None:
    scene = Scene({"simulate": 1})
    first, second = scene.holding(2)
    scene.measured(LONG_S)
    assert scene.give_back(second)
    assert second.state == State.QUEUED
    assert second.attempt == 0
    assert first.state == State.RUNNING
    assert not scene.give_back(second)


def test_a_running_task_may_come_back_and_the_next_one_takes_its_place() -> None:
    scene = Scene({"simulate": 1})
    first, second = scene.holding(2)
    scene.measured(1.0)
    scene.give_back(first)
    assert second.state == State.RUNNING
    assert first.state == State.QUEUED
    scene.report(second)
    assert first.state == State.RUNNING


def test_a_worker_whose_only_task_came_back_takes_the_best_one_that_waits() -> None:
    scene = Scene({"simulate": 1})
    first, better = scene.submit(), scene.submit(priority=1.0)
    scene.forget()
    scene.give_back(first)
    assert scene.sent() == [better]
