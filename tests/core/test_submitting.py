"""From submission to result, when nothing goes wrong."""

from __future__ import annotations

import math

import pytest

from steerio.core.effects import RecallTask, SendTask, Settle
from steerio.core.lifecycle import State
from steerio.model.events import PoolFailed, TaskEnded, TaskQueued, TaskStarted
from steerio.model.status import PoolLoad
from tests.core.scene import EPOCH, Scene


def test_a_task_goes_to_an_idle_worker_at_once() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    assert scene.sent() == [record]
    assert record.state == State.RUNNING
    assert record.attempt == 1
    assert scene.worker().in_hand[0] is record
    makes = [(scene.worker().make, 1)]
    assert scene.pool().load() == PoolLoad(
        1, idle=0, queued=0, running=1, at_home=1, nodes={"node": 1}, makes=makes
    )


def test_a_result_settles_its_task_and_frees_its_worker() -> None:
    scene = Scene({"simulate": 1}, now=5.0)
    record = scene.submit()
    scene.now = 7.0
    assert scene.report(record, run_s=1.5)
    ending = scene.ending(record)
    assert (ending.ended_as, ending.started, ending.ended) == ("succeeded", 5.5, 7.0)
    assert record.state == State.ENDED
    assert scene.core.tasks == {}
    assert scene.core.ended == {"succeeded": 1}
    assert scene.worker().phase == "idle"


def test_a_result_travels_untouched() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    frames = (b"one", b"two")
    scene.core.reported(record.run, "succeeded", 0.0, 1.0, 1.0, b"body", frames)
    scene.settle_down()
    ending = scene.ending(record)
    assert ending.body == b"body"
    assert ending.frames is frames


def test_events_tell_the_story_of_a_task_in_unix_time() -> None:
    scene = Scene({"simulate": 1}, now=5.0)
    before = len(scene.recorded)
    record = scene.submit()
    scene.now = 7.0
    scene.report(record, run_s=1.5)
    about = (record.task_id, "energy", "simulate")
    number = before + 1
    assert scene.recorded[before:] == [
        TaskQueued(number, EPOCH + 5.0, *about),
        TaskStarted(number + 1, EPOCH + 5.0, *about, 1, "simulate-1"),
        TaskEnded(number + 2, EPOCH + 7.0, *about, 1, "simulate-1", "succeeded", 1.5),
    ]


def test_tasks_wait_in_the_queue_while_all_workers_are_busy() -> None:
    scene = Scene({"simulate": 1})
    first, second = scene.submit(), scene.submit()
    assert second.state == State.QUEUED
    makes = [(scene.worker().make, 1)]
    assert scene.pool().load() == PoolLoad(
        1, idle=0, queued=1, running=1, at_home=1, nodes={"node": 1}, makes=makes
    )
    scene.forget()
    scene.report(first)
    assert [type(effect) for effect in scene.performed] == [Settle, SendTask]
    assert scene.sent() == [second]


def test_a_free_worker_takes_the_highest_priority() -> None:
    scene = Scene({"simulate": 1})
    first, low, high = scene.submit(), scene.submit(priority=-1), scene.submit(priority=1)
    scene.forget()
    scene.report(first)
    scene.report(high)
    scene.report(low)
    assert scene.sent() == [high, low]


def test_reprioritising_changes_who_goes_next() -> None:
    scene = Scene({"simulate": 1})
    first, second, third = scene.submit(), scene.submit(), scene.submit()
    assert scene.core.reprioritise([(third.task_id, 2.0), (second.task_id, 1.0)], scene.now) == 2
    scene.forget()
    scene.report(first)
    assert scene.sent() == [third]


def test_reprioritising_counts_only_tasks_that_are_still_there() -> None:
    scene = Scene({"simulate": 1})
    ended, running, queued = scene.submit(), scene.submit(), scene.submit()
    scene.report(ended)
    changes = [(ended.task_id, 1.0), (running.task_id, 1.0), (queued.task_id, 1.0), (99, 1.0)]
    assert scene.core.reprioritise(changes, scene.now) == 2
    assert running.priority == 1.0


def test_a_running_task_that_was_reranked_keeps_its_new_rank_when_it_comes_back() -> None:
    scene = Scene({"simulate": 1})
    running, queued = scene.submit(), scene.submit(priority=1.0)
    scene.core.reprioritise([(running.task_id, 2.0)], scene.now)
    scene.forget()
    scene.exit(scene.worker(), running.run)
    scene.join(scene.worker("simulate-2"))
    assert scene.sent() == [running]
    assert queued.state == State.QUEUED


@pytest.mark.parametrize("priority", [math.nan, math.inf, -math.inf])
def test_a_rank_that_is_no_finite_number_is_passed_over(priority: float) -> None:
    scene = Scene({"simulate": 1})
    first, second = scene.submit(), scene.submit()
    assert scene.core.reprioritise([(second.task_id, priority)], scene.now) == 0
    scene.settle_down()
    scene.forget()
    scene.report(first)
    assert scene.sent() == [second]


def test_a_task_that_is_here_already_is_not_taken_in_twice() -> None:
    scene = Scene({"simulate": 1})
    running, queued = scene.submit(), scene.submit()
    scene.forget()
    assert not scene.core.submit(running, 0.0)
    assert not scene.core.submit(queued, 0.0)
    scene.settle_down()
    assert scene.performed == []
    assert len(scene.events(TaskQueued)) == 2


def test_a_pool_that_a_closed_broker_does_not_have_loses_its_tasks_at_once() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(scene.task_type("stray", "nowhere"))
    ending = scene.ending(record)
    assert (ending.ended_as, ending.reason) == ("lost", "no pool is named 'nowhere'")
    (event,) = scene.events(TaskEnded)
    assert (event.attempt, event.worker, event.run_s) == (0, None, None)


def test_an_open_broker_makes_a_pool_on_first_mention() -> None:
    scene = Scene({"simulate": 1}, closed=False)
    record = scene.submit(scene.task_type("later", "elsewhere"))
    assert record.state == State.QUEUED
    scene.node({"elsewhere": 1}, peer=101)
    assert record.state == State.RUNNING


def test_a_pool_is_fed_only_by_its_own_tasks() -> None:
    scene = Scene({"simulate": 1, "learn": 1})
    first, waits = scene.submit(), scene.submit()
    train = scene.submit(scene.task_type("train", "learn"))
    assert scene.sent() == [first, train]
    scene.report(train)
    assert waits.state == State.QUEUED
    assert scene.worker("learn-1").phase == "idle"


def test_a_report_of_an_unknown_run_is_late() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    run = record.run
    assert scene.report(record)
    scene.forget()
    assert not scene.report(record)
    assert not scene.core.reported(run + 1, "succeeded", 0.0, 0.0, 0.0)
    assert not scene.core.returned(run, 0.0)
    scene.settle_down()
    assert scene.performed == []


def test_a_repeated_report_does_not_disturb_the_next_task() -> None:
    scene = Scene({"simulate": 1})
    first, second = scene.submit(), scene.submit()
    run = first.run
    scene.report(first)
    assert not scene.core.reported(run, "failed", 0.0, 0.0, 0.0)
    scene.settle_down()
    assert second.state == State.RUNNING


def test_what_a_failed_pool_had_queued_and_gets_later_is_lost() -> None:
    scene = Scene({"simulate": 1})
    running, queued = scene.submit(), scene.submit()
    scene.core.fail_pool("simulate", "the disk is full", scene.now)
    scene.settle_down()
    assert scene.ending(queued).reason == "the disk is full"
    assert scene.events(PoolFailed)[0].reason == "the disk is full"
    later = scene.submit()
    assert scene.ending(later).reason == "the disk is full"
    assert running.state == State.RUNNING
    scene.report(running)
    assert scene.ending(running).ended_as == "succeeded"
    idle = scene.submit()
    assert scene.ending(idle).ended_as == "lost"


def test_a_pool_that_fails_for_no_given_reason_has_failed_nonetheless() -> None:
    scene = Scene(pools=("simulate",))
    queued = scene.submit()
    scene.core.fail_pool("simulate", "", scene.now)
    scene.settle_down()
    assert scene.ending(queued).reason
    assert scene.ending(scene.submit()).reason


def test_what_cannot_be_tried_again_because_its_pool_failed_is_lost() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(retries=scene.retries(failed=1))
    scene.core.fail_pool("simulate", "the disk is full", scene.now)
    scene.report(record, "failed")
    assert scene.ending(record).reason == "the disk is full"


def test_a_million_tasks_in_the_queue_do_not_change_what_a_decision_touches() -> None:
    """Counted, not timed: entries of the queue that one report looks at."""
    scene = Scene({"simulate": 1})
    first = scene.submit()
    for _ in range(2000):
        assert scene.core.submit(scene.task(), scene.now)
    scene.core.take_effects()
    before = len(scene.pool().backlog._plain._heap)
    scene.core.reported(first.run, "succeeded", 0.0, 1.0, 1.0)
    assert len(scene.pool().backlog._plain._heap) == before - 1
    assert len(scene.core.take_effects()) == 2


def test_recalls_are_not_asked_for_while_nobody_holds_anything() -> None:
    scene = Scene({"simulate": 2})
    scene.submit()
    scene.tick(10.0)
    assert scene.effects(RecallTask) == []


def test_a_queued_task_can_be_reassigned_to_another_pool_and_back() -> None:
    scene = Scene({"simulate": 1, "learn": 1})
    running, queued, other = scene.submit(), scene.submit(), scene.submit()
    learn, simulate = scene.pool("learn"), scene.pool("simulate")
    assert scene.core.reassign([running.task_id, queued.task_id, 99], learn.name, scene.now) == 1
    scene.settle_down()
    assert (queued.state, queued.worker) == (State.RUNNING, scene.worker("learn-1"))
    assert [event.pool for event in scene.events(TaskQueued)][-1] == "learn"
    assert scene.core.reassign([other.task_id], learn.name, scene.now) == 1
    assert scene.core.reassign([other.task_id], simulate.name, scene.now) == 1
    assert scene.core.reassign([other.task_id], simulate.name, scene.now) == 1
    scene.settle_down()
    scene.report(queued)
    assert other.state == State.QUEUED
    scene.report(running)
    assert (other.state, other.worker) == (State.RUNNING, scene.worker("simulate-1"))


def test_what_is_reassigned_to_a_pool_that_has_failed_is_lost() -> None:
    scene = Scene({"simulate": 1, "learn": 0})
    scene.core.fail_pool("learn", "no torch", scene.now)
    _, queued = scene.submit(), scene.submit()
    assert scene.core.reassign([queued.task_id], scene.pool("learn").name, scene.now) == 1
    scene.settle_down()
    assert scene.ending(queued).reason == "no torch"
