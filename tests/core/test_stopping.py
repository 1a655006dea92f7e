"""Cancelling and timeouts: asked first, then SIGTERM, then SIGKILL."""

from __future__ import annotations

import pytest

from steerio.core import attempts
from steerio.core.effects import AskToStop, Effect, RecallTask, SendTask, Settle, Signal
from steerio.core.lifecycle import State
from steerio.core.records import TaskRecord
from steerio.model.events import ClientLost, TaskEnded, TaskRetried
from steerio.model.tasks import ReportedAs
from tests.core.scene import CLIENT, Scene


def orders(scene: Scene, record: TaskRecord) -> list[str]:
    """Name what was ordered about a task since the scene forgot."""

    def name(effect: Effect) -> str:
        match effect:
            case RecallTask(_, record.run):
                return "recall"
            case AskToStop(_, record.run):
                return "ask"
            case Signal(_, record.run, signal):
                return signal
            case Settle(settled, ending) if settled is record:
                return ending.ended_as
            case SendTask(_, sent) if sent is record:
                return "send"
            case _:
                return ""

    return [order for effect in scene.performed if (order := name(effect))]


# -- cancelling ---------------------------------------------------------------------------


def test_a_queued_task_is_cancelled_at_once() -> None:
    scene = Scene({"simulate": 1})
    running, queued = scene.submit(), scene.submit()
    assert scene.cancel(queued, "changed my mind")
    ending = scene.ending(queued)
    assert (ending.ended_as, ending.reason) == ("cancelled", "changed my mind")
    event = scene.events(TaskEnded)[0]
    assert (event.attempt, event.worker, event.run_s) == (0, None, None)
    scene.report(running)
    assert scene.worker().phase == "idle"


def test_a_task_that_ended_or_never_was_cannot_be_cancelled() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    scene.report(record)
    scene.forget()
    assert not scene.cancel(record)
    assert not scene.core.cancel(4711, "?", scene.now)
    assert scene.performed == []


def test_cancelling_only_what_is_queued_leaves_all_else_alone() -> None:
    scene = Scene({"simulate": 1})
    running, held = scene.holding(2)
    queued = scene.submit()
    scene.forget()
    for record in (running, held, queued):
        assert scene.core.cancel(record.task_id, "enough", scene.now, queued_only=True)
    scene.settle_down()
    assert scene.ending(queued).ended_as == "cancelled"
    assert (running.state, held.state) == (State.RUNNING, State.HELD)
    assert len(scene.performed) == 1
    scene.cancel(running, "first")
    scene.core.cancel(running.task_id, "enough", scene.now, queued_only=True)
    scene.report(running)
    assert scene.ending(running).reason == "first"


@pytest.mark.parametrize("how", ["failed", "timed_out", "lost"])
def test_what_is_in_hand_as_the_queue_is_cancelled_ends_as_it_is_and_is_not_retried(
    how: str,
) -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(timeout_s=1.0, retries=scene.retries(5, 5, 5))
    assert scene.core.cancel(record.task_id, "enough", scene.now, queued_only=True)
    if how == "failed":
        scene.report(record, "failed")
    elif how == "timed_out":
        scene.tick(1.0)
        scene.report(record, "cancelled")
    else:
        scene.exit(scene.worker(), record.run)
    assert scene.ending(record).ended_as == how
    assert scene.events(TaskRetried) == []


def test_what_comes_back_unbegun_after_the_queue_was_cancelled_ends_as_cancelled() -> None:
    scene = Scene({"simulate": 1})
    running, held = scene.holding(2)
    for record in (running, held):
        assert scene.core.cancel(record.task_id, "enough", scene.now, queued_only=True)
    scene.give_back(held)
    assert (scene.ending(held).ended_as, scene.ending(held).reason) == ("cancelled", "enough")
    scene.report(running)
    assert scene.ending(running).ended_as == "succeeded"


def test_what_is_preempted_after_the_queue_was_cancelled_ends_as_cancelled() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    assert scene.core.cancel(record.task_id, "enough", scene.now, queued_only=True)
    attempts.preempt(scene.core.cluster, record, "preempted: its worker is moved", scene.now)
    scene.report(record, "cancelled")
    assert (scene.ending(record).ended_as, scene.ending(record).reason) == ("cancelled", "enough")


def test_a_running_task_is_recalled_asked_termed_and_killed() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(cancel_grace_s=0.5)
    scene.forget()
    scene.cancel(record)
    assert orders(scene, record) == ["recall", "ask"]
    assert record.state == State.STOPPING
    scene.tick(0.4)
    assert orders(scene, record) == ["recall", "ask"]
    scene.tick(0.1)
    assert orders(scene, record) == ["recall", "ask", "term"]
    scene.tick(0.5)
    assert orders(scene, record) == ["recall", "ask", "term", "kill"]
    scene.tick(scene.settings.beat_s)
    assert orders(scene, record) == ["recall", "ask", "term", "kill", "kill"], "one may be lost"
    scene.exit(scene.worker(), record.run, "signal 9")
    ending = scene.ending(record)
    assert (ending.ended_as, ending.reason) == ("cancelled", "no longer needed")
    assert record.kills == 0
    scene.join(scene.worker("simulate-2"))
    assert scene.pool().ready == 1


def test_no_grace_means_all_at_once() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(cancel_grace_s=0.0)
    scene.forget()
    scene.cancel(record)
    scene.tick(0.0)
    assert orders(scene, record) == ["recall", "ask", "term", "kill"]


def test_a_task_that_ends_after_its_signal_leaves_its_worker_alive_for_the_next() -> None:
    scene = Scene({"simulate": 1})
    record, following = scene.submit(), scene.submit()
    scene.cancel(record)
    scene.forget()
    scene.tick(0.2)
    scene.report(record, "cancelled")
    scene.tick(0.2)
    assert orders(scene, record) == ["term", "cancelled"]
    assert orders(scene, following) == ["send"]
    assert following.state == State.RUNNING


@pytest.mark.parametrize("ended_as", ["cancelled", "failed", "succeeded"])
def test_a_cancelled_task_is_cancelled_whatever_it_says_in_the_end(ended_as: ReportedAs) -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(retries=scene.retries(failed=1, timed_out=1))
    scene.cancel(record)
    scene.forget()
    scene.report(record, ended_as, run_s=0.3)
    assert orders(scene, record) == ["cancelled"]
    ended = scene.events(TaskEnded)[0]
    assert ended.run_s == pytest.approx(0.3)
    scene.tick(10.0)
    assert orders(scene, record) == ["cancelled"]


def test_cancelling_twice_asks_once_and_keeps_the_last_reason() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    scene.forget()
    scene.cancel(record, "first")
    assert scene.cancel(record, "second")
    assert orders(scene, record) == ["recall", "ask"]
    scene.report(record, "cancelled")
    assert scene.ending(record).reason == "second"


def test_a_cancelled_task_that_was_not_begun_comes_back_and_ends() -> None:
    scene = Scene({"simulate": 1})
    record, following = scene.submit(), scene.submit()
    scene.cancel(record)
    scene.forget()
    assert scene.give_back(record)
    assert scene.ending(record).ended_as == "cancelled"
    event = scene.events(TaskEnded)[0]
    assert (event.attempt, event.worker) == (0, None)
    assert scene.sent() == [following]


def test_a_held_task_that_is_cancelled_is_recalled_and_not_signalled() -> None:
    scene = Scene({"simulate": 1})
    running, held = scene.holding(2)
    scene.forget()
    scene.cancel(held)
    for _ in range(3):  # the order may be lost
        scene.tick(scene.settings.beat_s)
    assert orders(scene, held) == ["recall"] * 4
    scene.give_back(held)
    scene.tick(scene.settings.beat_s)
    assert orders(scene, held) == ["recall"] * 4 + ["cancelled"]
    assert running.state == State.RUNNING


def test_a_held_task_that_is_cancelled_ends_as_soon_as_its_node_says_it_will_not_begin() -> None:
    scene = Scene({"simulate": 1})
    running, held = scene.holding(2)
    scene.cancel(held)
    assert scene.core.not_begun(held.run, scene.now)
    scene.settle_down()
    assert scene.ending(held).ended_as == "cancelled"
    assert running.state == State.RUNNING
    assert not scene.core.not_begun(held.run, scene.now)


def test_a_worker_that_does_not_begin_the_task_whose_turn_it_is_may_hang_and_is_killed() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    scene.cancel(record)
    scene.forget()
    assert scene.core.not_begun(record.run, scene.now)
    scene.tick(0.2)
    scene.tick(0.2)
    assert orders(scene, record) == ["term", "kill"]


def test_a_held_task_that_is_begun_in_spite_of_its_cancellation_is_stopped() -> None:
    scene = Scene({"simulate": 1})
    running, held = scene.holding(2)
    scene.cancel(held)
    scene.forget()
    scene.report(running)
    assert orders(scene, held) == ["ask"]
    scene.tick(0.2)
    scene.tick(0.2)
    assert orders(scene, held) == ["ask", "term", "kill"]


def test_a_held_task_is_stopped_also_where_the_one_before_it_came_back() -> None:
    scene = Scene({"simulate": 1})
    first, held = scene.holding(2)
    scene.cancel(held)
    scene.cancel(first)
    scene.forget()
    scene.give_back(first)
    assert orders(scene, held) == ["ask"]
    scene.tick(0.2)
    assert orders(scene, held) == ["ask", "term"]


def test_a_cancelled_held_task_ends_with_its_worker_as_if_it_had_not_been_sent() -> None:
    scene = Scene({"simulate": 1})
    running, held = scene.holding(2)
    scene.cancel(held)
    scene.exit(scene.worker(), running.run)
    assert scene.ending(held).ended_as == "cancelled"
    event = scene.events(TaskEnded)[-1]
    assert (event.task_id, event.attempt, event.worker) == (held.task_id, 0, None)


def test_nothing_is_sent_ahead_behind_a_task_that_is_stopping() -> None:
    scene = Scene({"simulate": 1})
    first, second, *_ = [scene.submit() for _ in range(8)]
    scene.measured(1e-5)
    scene.core.cancel(second.task_id, "queued, so it ends at once", scene.now)
    scene.cancel(first)
    scene.forget()
    scene.report(first, "cancelled", run_s=1e-5)
    assert len(scene.sent()) > 1
    (head, held, *_) = scene.worker().in_hand
    scene.cancel(held)
    scene.forget()
    for _ in range(100):
        scene.submit()
    scene.report(head, run_s=1e-5)
    assert held.state == State.STOPPING
    assert scene.sent() == []


# -- timeouts -----------------------------------------------------------------------------


def test_a_task_that_runs_too_long_is_stopped_and_timed_out() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(timeout_s=2.0, cancel_grace_s=0.5)
    scene.forget()
    scene.tick(1.9)
    assert orders(scene, record) == []
    scene.tick(0.1)
    assert orders(scene, record) == ["recall", "ask"]
    scene.tick(0.5)
    scene.tick(0.5)
    assert orders(scene, record) == ["recall", "ask", "term", "kill"]
    scene.exit(scene.worker(), record.run, "signal 9")
    ending = scene.ending(record)
    assert (ending.ended_as, ending.reason) == ("timed_out", "")
    assert record.kills == 0


def test_the_clock_of_a_timeout_starts_when_the_attempt_does() -> None:
    scene = Scene({"simulate": 1})
    first, second = scene.submit(), scene.submit(timeout_s=2.0)
    scene.tick(100.0)
    scene.report(first)
    scene.tick(1.9)
    assert second.state == State.RUNNING
    scene.tick(0.2)
    assert second.state == State.STOPPING


def test_a_timeout_is_retried_as_often_as_asked_for() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(timeout_s=1.0, retries=scene.retries(timed_out=1))
    scene.tick(1.0)
    scene.report(record, "cancelled")
    assert record.attempt == 2
    assert record.state == State.RUNNING
    assert scene.events(TaskRetried)[0].reason == "timed out"
    scene.tick(0.5)
    assert record.state == State.RUNNING
    scene.tick(0.5)
    scene.report(record, "failed", run_s=1.0)
    ending = scene.ending(record)
    assert ending.ended_as == "timed_out"
    assert ending.ended == scene.now


def test_a_killed_worker_of_a_timed_out_task_is_retried_where_that_is_allowed() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(timeout_s=1.0, retries=scene.retries(timed_out=1))
    scene.tick(1.0)
    scene.exit(scene.worker(), record.run)
    assert record.state == State.QUEUED
    assert not record.out_of_time
    assert record.losses == 0
    scene.join(scene.worker("simulate-2"))
    assert record.attempt == 2


def test_a_task_that_succeeds_while_it_is_timed_out_has_succeeded() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(timeout_s=1.0)
    scene.tick(1.0)
    scene.report(record, "succeeded")
    assert scene.ending(record).ended_as == "succeeded"


def test_cancelling_a_timed_out_task_makes_it_a_cancelled_one() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(timeout_s=1.0, retries=scene.retries(timed_out=1))
    scene.tick(1.0)
    scene.cancel(record, "enough")
    scene.report(record, "succeeded")
    ending = scene.ending(record)
    assert (ending.ended_as, ending.reason) == ("cancelled", "enough")


def test_a_timeout_that_comes_up_after_its_attempt_ended_does_nothing() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(timeout_s=1.0, retries=scene.retries(failed=1))
    scene.tick(0.9)
    scene.report(record, "failed")
    scene.forget()
    scene.tick(0.2)
    assert record.state == State.RUNNING
    assert orders(scene, record) == []


def test_a_timeout_does_not_stop_again_what_is_stopping() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(timeout_s=1.0)
    scene.tick(0.9)
    scene.cancel(record)
    scene.forget()
    scene.tick(0.1)
    assert orders(scene, record) == []
    assert not record.out_of_time


def test_long_timeouts_of_short_tasks_do_not_pile_up() -> None:
    scene = Scene({"simulate": 1})
    for _ in range(5000):
        record = scene.task(timeout_s=86400.0)
        scene.core.submit(record, scene.now)
        scene.core.reported(record.run, "succeeded", 0.0, 1.0, scene.now)
    scene.settle_down()
    assert len(scene.core.cluster.deadlines) < 3000
    assert {due for _, due, _ in scene.core.cluster.deadlines} >= {"node", "start"}
    last = scene.submit(timeout_s=1.0)
    scene.tick(1.0)
    assert last.state == State.STOPPING


@pytest.mark.borders
def test_long_graces_of_cancelled_tasks_do_not_pile_up() -> None:
    scene = Scene({"simulate": 1})
    for _ in range(5000):
        record = scene.task(cancel_grace_s=86400.0)
        scene.core.submit(record, scene.now)
        scene.core.cancel(record.task_id, "no longer needed", scene.now)
        scene.core.reported(record.run, "failed", 0.0, 1.0, scene.now)
    scene.settle_down()
    assert len(scene.core.cluster.deadlines) < 3000


# -- clients that leave -------------------------------------------------------------------


def test_what_a_client_that_left_had_submitted_is_cancelled() -> None:
    scene = Scene({"simulate": 1})
    scene.core.client_joined(2, "other", watched=False, now=0.0)
    scene.core.define(2, 1, scene.task_type().spec)
    running, queued, others = scene.submit(), scene.submit(), scene.submit(client=2)
    scene.core.client_left(CLIENT, "it left", scene.now)
    scene.settle_down()
    assert running.state == State.STOPPING
    assert scene.ending(queued).reason == "its client left: it left"
    assert others.state == State.QUEUED
    assert [event.client for event in scene.events(ClientLost)] == ["client"]


def test_a_client_leaves_once() -> None:
    scene = Scene()
    scene.core.client_left(CLIENT, "it left", scene.now)
    scene.core.client_left(CLIENT, "it left", scene.now)
    scene.settle_down()
    assert len(scene.events(ClientLost)) == 1
