"""Attempts that end badly: failures, lost workers, and who is to blame."""

from __future__ import annotations

import pytest

from steerio.core.effects import SendTask
from steerio.core.lifecycle import State
from steerio.model.events import TaskEnded, TaskRetried, WorkerLost
from steerio.model.messages import RemoteError
from steerio.model.tasks import ReportedAs
from tests.core.scene import NODE, Scene


def test_an_exception_is_not_retried_unless_asked_for() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    error = RemoteError("ValueError", "no such molecule", "Traceback")
    scene.core.reported(record.run, "failed", 0.0, 1.0, 1.0, error=error)
    scene.settle_down()
    ending = scene.ending(record)
    assert (ending.ended_as, ending.error) == ("failed", error)
    assert scene.events(TaskRetried) == []


def test_an_exception_is_retried_as_often_as_asked_for() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(retries=scene.retries(failed=2))
    error = RemoteError("ValueError", "no such molecule", "Traceback")
    for attempt in (1, 2, 3):
        assert record.attempt == attempt
        scene.core.reported(record.run, "failed", 0.0, 1.0, 1.0, error=error)
        scene.settle_down()
    assert scene.ending(record).ended_as == "failed"
    retried = scene.events(TaskRetried)
    assert [(e.attempt, e.reason) for e in retried] == [
        (1, "failed: ValueError"),
        (2, "failed: ValueError"),
    ]
    assert scene.events(TaskEnded)[0].attempt == 3


def test_a_retried_task_goes_to_a_worker_that_waits() -> None:
    scene = Scene({"simulate": 2})
    record = scene.submit(retries=scene.retries(failed=1))
    first = record.worker
    scene.report(record, "failed")
    assert record.state == State.RUNNING
    assert record.worker is not first


def test_a_retried_task_goes_before_what_was_submitted_after_it() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(retries=scene.retries(failed=1))
    scene.submit()
    scene.forget()
    scene.report(record, "failed")
    assert scene.sent() == [record]


def test_a_task_that_ends_as_cancelled_unasked_has_failed() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    scene.report(record, "cancelled")
    ending = scene.ending(record)
    assert ending.ended_as == "failed"
    assert ending.error is not None
    assert ending.error.type == "CancelledError"


def test_a_retry_after_an_unasked_cancellation_says_so() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(retries=scene.retries(failed=1))
    scene.report(record, "cancelled")
    assert scene.events(TaskRetried)[0].reason == "failed: cancelled"


def test_a_lost_worker_is_replaced_and_its_task_tried_again() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    lost = scene.worker()
    scene.exit(lost, record.run, "signal 9")
    assert record.state == State.QUEUED
    assert not lost.in_hand
    assert scene.events(TaskRetried)[0].reason == "lost: signal 9"
    scene.join(scene.worker("simulate-2"))
    assert record.state == State.RUNNING
    assert record.attempt == 2
    scene.report(record)
    assert scene.ending(record).ended_as == "succeeded"


def test_a_task_of_a_lost_worker_goes_to_an_idle_one_at_once() -> None:
    scene = Scene({"simulate": 2})
    record = scene.submit()
    lost = record.worker
    assert lost is not None
    scene.exit(lost, record.run)
    assert record.state == State.RUNNING
    assert record.worker is not lost


def test_a_task_that_may_not_be_retried_is_lost_with_its_worker() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(retries=scene.retries(lost=0))
    scene.exit(scene.worker(), record.run, "signal 11")
    ending = scene.ending(record)
    assert (ending.ended_as, ending.reason) == ("lost", "signal 11")
    event = scene.events(TaskEnded)[0]
    assert (event.worker, event.attempt, event.run_s) == ("simulate-1", 1, None)


def test_a_task_that_kills_three_workers_is_not_tried_again() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(retries=scene.retries(lost=100))
    for number in (1, 2, 3):
        assert record.worker is scene.worker(f"simulate-{number}")
        scene.exit(scene.worker(f"simulate-{number}"), record.run, "signal 11")
        scene.join(scene.worker(f"simulate-{number + 1}"))
    ending = scene.ending(record)
    assert ending.ended_as == "lost"
    assert ending.reason == "it took down 3 workers, the last: signal 11"
    assert scene.worker("simulate-4").phase == "idle"


def test_a_task_that_kills_workers_before_they_can_name_it_is_not_tried_for_ever() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(retries=scene.retries(lost=100))
    for number in (1, 2, 3):
        scene.exit(scene.worker(f"simulate-{number}"), 0, "signal 11")
        scene.join(scene.worker(f"simulate-{number + 1}"))
    assert scene.ending(record).reason.startswith("it took down 3 workers")


def test_losing_nodes_is_no_fault_of_the_task() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(retries=scene.retries(lost=10))
    for number in range(5):
        scene.core.node_lost(NODE + number, "silent", scene.now)
        scene.settle_down()
        scene.node({"simulate": 1}, peer=NODE + number + 1)
    assert record.attempt == 6
    assert record.kills == 0
    assert record.state == State.RUNNING


def test_one_lost_node_costs_a_task_one_retry_however_many_workers_it_had() -> None:
    scene = Scene({"simulate": 4})
    tasks = [scene.submit() for _ in range(4)]
    (record,) = scene.worker("simulate-1").in_hand
    for other in tasks:
        if other is not record:
            scene.report(other)
    scene.forget()
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.settle_down()
    assert record.state == State.QUEUED
    assert len(scene.events(TaskRetried)) == 1
    assert scene.sent() == []


def test_what_a_lost_worker_held_is_queued_again_free_of_charge() -> None:
    scene = Scene({"simulate": 1})
    scene.measured(1e-5)
    running, *held = [scene.submit(retries=scene.retries(lost=0)) for _ in range(3)]
    first = running
    scene.report(first, run_s=1e-5)
    running, held_one = held
    assert held_one.state == State.HELD
    scene.exit(scene.worker(), running.run)
    assert scene.ending(running).ended_as == "lost"
    assert held_one.state == State.QUEUED
    assert held_one.attempt == 0
    assert held_one.worker is None
    assert scene.events(TaskRetried) == []


def test_what_a_lost_worker_held_goes_to_an_idle_one_at_once() -> None:
    scene = Scene({"simulate": 2})
    running, held, other = scene.holding_beside(retries=scene.retries(lost=0))
    scene.report(other)
    assert running.worker is not None
    scene.exit(running.worker, running.run)
    assert scene.ending(running).ended_as == "lost"
    assert held.state == State.RUNNING


def test_what_a_lost_worker_had_done_but_not_reported_counts_as_lost() -> None:
    """It ran once already: whoever allows no retry must not see it run again."""
    scene = Scene({"simulate": 1})
    done, running, held = scene.holding(3, retries=scene.retries(lost=0))
    scene.exit(scene.worker(), running.run, "signal 9")
    assert scene.ending(done).ended_as == "lost"
    assert scene.ending(running).ended_as == "lost"
    assert done.kills == 0
    assert running.kills == 1
    assert held.state == State.QUEUED


def test_a_lost_worker_that_had_begun_nothing_new_has_its_first_task_retried() -> None:
    scene = Scene({"simulate": 1})
    first, second = scene.submit(), scene.submit()
    old = first.run
    scene.report(first)
    scene.exit(scene.worker(), old)
    assert second.state == State.QUEUED
    assert second.losses == 1
    assert scene.events(WorkerLost)[0].task_id is None


def test_a_task_of_another_worker_is_not_blamed_for_the_loss() -> None:
    scene = Scene({"simulate": 2})
    one, other = scene.submit(), scene.submit()
    assert one.worker is not None
    scene.exit(one.worker, other.run)
    assert scene.events(WorkerLost)[0].task_id is None
    assert other.state == State.RUNNING
    assert other.kills == 0


def test_the_loss_of_a_worker_names_what_it_worked_on() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    scene.exit(scene.worker(), record.run, "out of memory")
    (event,) = scene.events(WorkerLost)
    assert (event.worker, event.pool, event.node) == ("simulate-1", "simulate", "node")
    assert (event.reason, event.task_id) == ("out of memory", record.task_id)


def test_a_report_that_comes_after_its_worker_was_lost_is_late() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    run = record.run
    scene.exit(scene.worker(), run)
    assert not scene.core.reported(run, "succeeded", 0.0, 1.0, 1.0)
    scene.settle_down()
    assert record.state == State.QUEUED


def test_an_attempt_is_not_sent_to_a_worker_that_was_lost_in_the_same_step() -> None:
    scene = Scene({"simulate": 2})
    scene.forget()
    record = scene.task()
    scene.core.submit(record, scene.now)
    lost = record.worker
    assert lost is not None
    scene.exit(lost, 0)
    sent = scene.effects(SendTask)
    assert [effect.worker for effect in sent] == [record.worker]
    assert record.worker is not lost


@pytest.mark.parametrize("ended_as", ["succeeded", "failed"])
def test_a_worker_that_runs_out_of_order_does_not_confuse_the_rest(ended_as: ReportedAs) -> None:
    scene = Scene({"simulate": 1})
    first, second, third = scene.holding(3)
    assert scene.report(second, ended_as)
    assert scene.ending(second).ended_as == ended_as
    assert first.state == State.RUNNING
    assert third.state == State.HELD
    scene.report(first)
    assert third.state == State.RUNNING


def test_a_held_task_that_failed_out_of_order_is_retried() -> None:
    scene = Scene({"simulate": 1})
    first, second = scene.holding(2, retries=scene.retries(failed=1))
    scene.measured(1.0)
    scene.report(second, "failed")
    assert second.state == State.QUEUED
    scene.report(first)
    assert second.attempt == 2
    assert second.state == State.RUNNING


@pytest.mark.borders
def test_attempts_before_the_last_are_kept_with_their_times() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(retries=scene.retries(failed=1, lost=1, timed_out=1), timeout_s=5.0)
    assert record.earlier is None
    scene.now = 2.0
    scene.report(record, "failed", run_s=1.5)
    scene.now = 4.0
    scene.exit(scene.worker(), record.run, "signal 9")
    scene.join(scene.worker("simulate-2"))
    scene.now = 6.0
    scene.tick(5.0)
    scene.report(record, "failed", run_s=1.0)
    scene.report(record)
    assert scene.ending(record).ended_as == "succeeded"
    assert record.earlier is not None
    first, second, third = list(record.earlier)
    assert (first.number, first.worker, first.node, first.sent) == (1, "simulate-1", "node", 0.0)
    assert (first.started, first.ended, first.over) == (0.5, 2.0, 2.0)
    assert first.reason.startswith("failed: ")
    assert (second.number, second.sent, second.started, second.over) == (2, 2.0, None, 4.0)
    assert (second.reason, third.reason) == ("lost: signal 9", "timed out")
    assert third.worker == "simulate-2"
    assert third.ended == 11.0


@pytest.mark.borders
def test_what_was_taken_back_unbegun_was_no_attempt() -> None:
    scene = Scene({"simulate": 1})
    running, held = scene.holding(2)
    scene.exit(scene.worker(), running.run, "signal 9")
    assert (running.earlier is None, held.earlier) == (False, None)


def test_of_the_tasks_of_a_lost_worker_the_best_goes_first_to_an_idle_one() -> None:
    scene = Scene({"simulate": 2})
    running, held, other = scene.holding_beside()
    scene.core.reprioritise([(held.task_id, 5.0)], scene.now)
    scene.report(other, run_s=1e-5)
    assert running.worker is not None
    scene.exit(running.worker, running.run)
    assert (held.state, running.state) == (State.RUNNING, State.HELD)


@pytest.mark.parametrize("best", [0, 1])
def test_of_the_tasks_of_a_lost_node_the_best_goes_first_to_an_idle_worker(best: int) -> None:
    scene = Scene({"simulate": 2})
    tasks = [scene.submit(), scene.submit()]
    scene.node({"simulate": 1}, peer=NODE + 1)
    scene.core.reprioritise([(tasks[best].task_id, 5.0)], scene.now)
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.settle_down()
    assert (tasks[best].state, tasks[1 - best].state) == (State.RUNNING, State.QUEUED)
