"""Of a short queue each task goes to the worker that will be free first, or is called back."""

from __future__ import annotations

import pytest

from steerio.core.ahead import SHARE_S, SLACK
from steerio.core.effects import RecallTask
from steerio.core.lifecycle import State
from steerio.core.records import TRIP_S, TaskRecord
from steerio.model.objects import Inputs, StoredObject
from steerio.model.places import WorkerNeeds
from steerio.model.settings import Settings
from tests.core.scene import CLIENT, LONG_S, NODE, Scene

SETTINGS = Settings(hold_s=0.05, held_s=0.001, held=32, recall_s=0.1)
PARENT = 2
SHORT_S = 0.01
LARGE = WorkerNeeds(cpus=4)


def at_work(workers: int = 2) -> tuple[Scene, list[TaskRecord]]:
    """Let workers run a task of 10 ms each, begun 4 ms after each other; there is a pool beside."""
    scene = Scene({"simulate": workers, "learn": 0}, settings=SETTINGS)
    scene.measured(SHORT_S)
    running = []
    for _ in range(workers):
        running.append(scene.submit())
        scene.tick(0.004)
    scene.forget()
    return scene, running


def recalled(scene: Scene) -> list[int]:
    """Return the tasks that were called back since the scene was to forget, by their ids."""
    runs = scene.core.cluster.runs
    return [runs[effect.run].task_id for effect in scene.effects(RecallTask)]


def behind(scene: Scene, record: TaskRecord) -> list[TaskRecord]:
    """Return the tasks that are held behind one that runs."""
    assert record.worker is not None
    assert record.worker.in_hand[0] is record
    return list(record.worker.in_hand)[1:]


# -- sending --------------------------------------------------------------------------------------


def test_a_task_is_sent_to_the_worker_that_will_be_free_first() -> None:
    scene, (first, second) = at_work()
    tasks = [scene.submit() for _ in range(3)]
    assert (behind(scene, first), behind(scene, second)) == ([tasks[0]], [tasks[1]])
    assert tasks[2].state == State.QUEUED


def test_two_outstanding_a_worker_leave_none_without_its_next_task() -> None:
    scene, running = at_work()
    running += [scene.submit() for _ in range(2)]
    for _ in range(10):
        scene.tick(0.004)
        worker = running[0].worker
        assert worker is not None
        scene.report(running.pop(0), run_s=SHORT_S)
        assert worker.in_hand[0].state == State.RUNNING
        running.append(scene.submit())
        assert worker.in_hand[1] is running[-1]


def test_it_counts_when_a_task_began_and_how_long_its_type_takes() -> None:
    scene = Scene({"simulate": 2}, settings=SETTINGS)
    quick, slow = scene.task_type("quick"), scene.task_type("slow")
    scene.measured(0.01, quick)
    scene.measured(0.04, slow)
    scene.submit(slow)
    scene.tick(0.01)
    later = scene.submit(quick)
    held = scene.submit(slow)
    assert behind(scene, later) == [held]


def test_a_worker_that_took_over_a_short_queue_shares_it_with_the_others() -> None:
    scene = Scene({"simulate": 3}, settings=SETTINGS)
    running = [scene.submit() for _ in range(3)]
    queued = [scene.submit() for _ in range(4)]
    scene.tick(0.01)
    assert {record.state for record in queued} == {State.QUEUED}
    scene.report(running[0], run_s=SHORT_S)  # the first of its type: its mean is known from here
    assert queued[0].state == State.RUNNING
    assert (behind(scene, running[1]), behind(scene, running[2])) == ([queued[1]], [queued[2]])
    assert behind(scene, queued[0]) == [queued[3]]


def test_workers_that_ended_or_went_on_are_not_counted_on_when_a_type_is_measured() -> None:
    scene = Scene({"simulate": 2}, settings=SETTINGS)
    kind, other = scene.task_type(), scene.task_type("other")
    lost, running = scene.submit(kind), scene.submit(other)
    assert lost.worker is not None
    scene.exit(lost.worker)
    assert len(kind.begun) == 1
    scene.report(running, run_s=SHORT_S)
    assert lost.state == State.RUNNING
    scene.report(lost, run_s=SHORT_S)
    assert kind.begun == other.begun == {}


def test_a_type_that_was_measured_to_be_long_is_not_held_behind() -> None:
    scene = Scene({"simulate": 2}, settings=SETTINGS)
    kind, quick = scene.task_type(), scene.task_type("quick")
    scene.measured(SHORT_S, quick)
    first, _ = scene.submit(kind), scene.submit(kind)
    scene.report(first, run_s=LONG_S)
    assert kind.begun == {}
    ran, task, waits = [scene.submit(quick) for _ in range(3)]
    assert [ran.state, task.state, waits.state] == [State.RUNNING, State.HELD, State.QUEUED]


@pytest.mark.parametrize("mean_s", [LONG_S, -1.0])
def test_a_long_or_unmeasured_task_waits_and_whatever_is_ranked_after_it(mean_s: float) -> None:
    scene, (first, second) = at_work()
    odd = scene.task_type("odd")
    scene.measured(mean_s, odd)
    waits, after = scene.submit(odd), scene.submit()
    assert (waits.state, after.state) == (State.QUEUED, State.QUEUED)
    scene.report(first, run_s=SHORT_S)
    assert waits.state == State.RUNNING
    assert behind(scene, second) == [after]


def test_a_worker_that_is_overdue_is_sent_nothing() -> None:
    scene, (first, second) = at_work()
    scene.tick(0.002 + TRIP_S + 0.001)
    assert scene.submit() in behind(scene, second)
    late = scene.submit()
    assert late.state == State.QUEUED
    scene.report(first, run_s=SHORT_S)
    assert late.state == State.RUNNING


def test_a_worker_that_is_to_go_home_to_end_or_to_stop_is_sent_nothing() -> None:
    scene, (first, *_) = at_work(1)
    scene.cancel(first)
    assert scene.submit().state == State.QUEUED
    scene, (first, *_) = at_work(1)
    worker = scene.worker()
    scene.core.unreadable(worker.peer, "it cannot be read", scene.now)
    assert scene.submit().state == State.QUEUED
    scene, (first, *_) = at_work(1)
    assert not scene.core.drain(CLIENT, 1, "node", scene.now)
    assert scene.submit().state == State.QUEUED


def test_a_worker_on_loan_that_is_to_go_home_is_sent_nothing() -> None:
    scene = Scene({"simulate": 0, "learn": 2}, settings=SETTINGS)
    scene.pool().may_be_empty = True
    assert not scene.core.ask_move(CLIENT, 1, "learn", "simulate", 1, scene.now, lease=True)
    scene.measured(SHORT_S)
    running = scene.submit()
    scene.core.end_move(CLIENT, 1, "drain", scene.now)
    held = scene.submit()
    assert held.state == State.QUEUED
    assert behind(scene, running) == []


def test_nothing_is_sent_ahead_while_a_move_waits_for_workers_and_is_when_it_is_undone() -> None:
    scene, (first, _) = at_work()
    assert not scene.core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now)
    waits = scene.submit()
    assert waits.state == State.QUEUED
    scene.core.end_move(CLIENT, 1, "drain", scene.now)
    scene.settle_down()
    assert behind(scene, first) == [waits]


def test_nothing_is_held_behind_a_task_that_is_a_client_itself() -> None:
    scene, (parent, _) = at_work()
    before = scene.submit()
    assert behind(scene, parent) == [before]
    worker = parent.worker
    assert worker is not None
    inside = f"{worker.name}:{worker.pid}"
    scene.core.client_joined(PARENT, "task", True, scene.now, inside=inside)
    scene.settle_down()
    assert recalled(scene) == [before.task_id]
    scene.give_back(before)
    assert before.worker is not worker
    assert scene.submit(client=PARENT).state == State.QUEUED
    scene.core.client_left(PARENT, "it left", scene.now)
    scene.settle_down()
    assert worker.clients == 0


def test_a_task_that_takes_the_latest_version_gets_the_one_that_is_newest_when_it_starts() -> None:
    scene, (first, _) = at_work()
    scene.core.publish_version("model", StoredObject(b"one", 10), "client", scene.now)
    scene.settle_down()
    waits = scene.submit(inputs=Inputs(None, (), ("model",)))
    assert waits.state == State.QUEUED
    held = scene.submit(inputs=Inputs(None, (StoredObject(b"mesh", 10),)), priority=1.0)
    assert held.state == State.HELD
    scene.core.publish_version("model", StoredObject(b"two", 10), "client", scene.now)
    scene.report(first, run_s=SHORT_S)
    assert held.state == State.RUNNING
    assert waits.state == State.QUEUED
    scene.report(held, run_s=SHORT_S)
    assert waits.versions is not None
    assert waits.versions["model"].number == 2


def test_a_task_with_needs_is_held_by_a_worker_that_fits_it() -> None:
    scene, (first,) = at_work(1)
    scene.node({"simulate": 1}, peer=NODE + 1, make=LARGE)
    large = scene.submit(needs=LARGE)
    held, plain = scene.submit(needs=LARGE), scene.submit()
    assert behind(scene, large) == [held]
    assert behind(scene, first) == [plain]


def test_a_better_ranked_task_is_sent_before_one_that_came_earlier() -> None:
    scene, (first, _) = at_work()
    for _ in range(2):
        scene.submit()
    scene.submit()
    urgent = scene.submit(priority=1.0)
    scene.report(first, run_s=SHORT_S)
    assert urgent.state == State.HELD


def test_the_book_on_workers_that_may_hold_a_task_does_not_grow() -> None:
    scene, running = at_work()
    for _ in range(4 * SLACK):
        scene.tick(0.005)
        scene.report(running.pop(0), run_s=SHORT_S)
        running.append(scene.submit())
        assert len(scene.pool().open) <= 2 * 2 + SLACK
    assert behind(scene, running[0]) == []
    held = scene.submit()
    assert behind(scene, running[0]) == [held]


def test_what_is_held_is_shown_as_queued() -> None:
    scene, _ = at_work()
    for _ in range(3):
        scene.submit()
    load = scene.pool().load()
    assert (load.running, load.queued, load.idle) == (2, 3, 0)


# -- recalling ------------------------------------------------------------------------------------


def idle_beside() -> tuple[Scene, list[TaskRecord], TaskRecord]:
    """Let two workers hold a task each behind tasks of 40 ms, and one run a task never measured.

    Returns the held tasks and that last one.
    """
    scene = Scene({"simulate": 3}, settings=SETTINGS)
    slow = scene.task_type("slow")
    scene.measured(0.04, slow)
    for _ in range(2):
        scene.submit(slow)
    last = scene.submit()
    held = [scene.submit(slow) for _ in range(2)]
    scene.forget()
    return scene, held, last


def test_a_held_task_is_recalled_for_a_worker_that_is_idle_first() -> None:
    scene, (first, second), last = idle_beside()
    assert (first.state, second.state) == (State.HELD, State.HELD)
    scene.tick(0.005)
    scene.report(last, run_s=0.005)
    assert recalled(scene) == []  # its client may submit another task at once
    scene.tick(SHARE_S)
    assert recalled(scene) == [first.task_id]
    scene.tick(SHARE_S)
    assert recalled(scene) == [first.task_id]  # there is but one idle worker
    scene.give_back(first)
    assert first.state == State.RUNNING
    assert first.worker is last.worker


def test_the_best_ranked_held_task_is_recalled() -> None:
    scene, (_, second), last = idle_beside()
    scene.core.reprioritise([(second.task_id, 1.0)], scene.now)
    scene.tick(0.005)
    scene.report(last, run_s=0.005)
    scene.tick(SHARE_S)
    assert recalled(scene) == [second.task_id]


def test_nothing_is_recalled_if_the_client_submits_the_next_task() -> None:
    scene, _, last = idle_beside()
    scene.tick(0.005)
    scene.report(last, run_s=0.005)
    assert scene.submit().state == State.RUNNING
    scene.tick(SHARE_S)
    assert recalled(scene) == []


def test_a_task_that_is_about_to_begin_is_left_to_its_worker_unless_that_is_late() -> None:
    scene, (first, second), last = idle_beside()
    scene.tick(0.04 - TRIP_S / 2)
    scene.report(last, run_s=0.005)
    scene.tick(SHARE_S)
    assert recalled(scene) == []
    scene.tick(TRIP_S)
    assert recalled(scene) == []
    scene.tick(TRIP_S)
    assert recalled(scene) == [first.task_id]
    assert second.state == State.HELD


def test_one_look_recalls_as_many_as_workers_are_idle() -> None:
    scene, (first, second), last = idle_beside()
    scene.node({"simulate": 3}, peer=NODE + 1)
    scene.tick(0.005)
    assert recalled(scene) == [first.task_id, second.task_id]
    scene.report(last, run_s=0.005)
    scene.tick(SHARE_S)
    assert len(recalled(scene)) == 2


def test_no_task_is_recalled_for_a_worker_that_does_not_fit_it() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    scene.node({"simulate": 1}, peer=NODE + 1, make=LARGE)
    slow = scene.task_type("slow")
    scene.measured(0.04, slow)
    running, held = scene.submit(slow, needs=LARGE), scene.submit(slow, needs=LARGE)
    plain = scene.submit(slow)
    assert behind(scene, running) == [held]
    scene.forget()
    scene.report(plain, run_s=0.0)
    for _ in range(40):
        scene.tick(0.01)
    assert recalled(scene) == []


def test_a_task_that_is_cancelled_while_it_is_held_is_not_recalled_for_another() -> None:
    scene, (first, second), last = idle_beside()
    scene.cancel(first)
    scene.forget()
    scene.tick(0.005)
    scene.report(last, run_s=0.005)
    scene.tick(SHARE_S)
    assert recalled(scene) == [second.task_id]


def test_the_time_that_a_recall_takes_is_measured() -> None:
    scene, (first, _), last = idle_beside()
    scene.tick(0.005)
    scene.report(last, run_s=0.005)
    scene.tick(SHARE_S)
    scene.now += 0.011
    scene.give_back(first)
    node = scene.worker().node
    assert node.trip_s == pytest.approx(TRIP_S + 0.25 * (0.011 - TRIP_S))


def test_a_worker_whose_held_task_came_back_is_sent_another() -> None:
    scene, (first, second), last = idle_beside()
    scene.tick(0.005)
    scene.report(last, run_s=0.005)
    scene.tick(SHARE_S)
    scene.give_back(first)
    for _ in range(2):
        scene.submit(scene.task_type("slow"))
    counts = [len(worker.in_hand) for worker in scene.roster.workers.values()]
    assert counts == [2, 2, 2]
    assert second.state == State.HELD


def test_a_held_task_that_was_begun_before_it_could_be_recalled_runs_where_it_is() -> None:
    scene, (first, second), last = idle_beside()
    scene.tick(0.005)
    scene.report(last, run_s=0.005)
    scene.tick(SHARE_S)
    assert recalled(scene) == [first.task_id]
    assert first.worker is not None
    scene.report(first.worker.in_hand[0], run_s=0.005)
    assert first.state == State.RUNNING
    scene.tick(0.1)
    assert recalled(scene) == [first.task_id, second.task_id]


def test_a_held_task_that_is_being_stopped_is_not_recalled_for_its_node_that_is_left() -> None:
    scene, (first,) = at_work(1)
    held = scene.submit()
    scene.cancel(held)
    scene.forget()
    assert not scene.core.drain(CLIENT, 1, "node", scene.now)
    scene.settle_down()
    assert recalled(scene) == []
    assert behind(scene, first) == [held]
