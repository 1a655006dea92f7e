"""Several workers run one task together: all of them or none, and they end together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.core import fitting
from steerio.core.effects import AskToStop, SendTask, Signal, TellPort
from steerio.core.lifecycle import State
from steerio.core.records import Accounted, TaskRecord
from steerio.core.stories import why
from steerio.errors import UsageError
from steerio.model.events import PoolStalled, TaskEnded, TaskProgress, TaskRetried, TaskStarted
from steerio.model.messages import RemoteError
from steerio.model.objects import Inputs, StoredObject
from steerio.model.places import WorkerNeeds
from steerio.model.settings import Settings
from steerio.model.tasks import GangPlace, Retries, TaskOptions
from tests.core.scene import CLIENT, NODE, Scene

GPU = WorkerNeeds(gpus=1)
LONG = Settings(join_s=8.0)


def ranks(scene: Scene, task: TaskRecord) -> list[TaskRecord]:
    """Return the records in the hands of a gang's workers that are still at it."""
    return list(scene.core.cluster.gangs[task.task_id].ranks.values())


def sent_of(scene: Scene, task: TaskRecord) -> list[SendTask]:
    """Return how the task was sent since :meth:`Scene.forget`."""
    return [e for e in scene.effects(SendTask) if e.record.task_id == task.task_id]


# -- beginning -------------------------------------------------------------------------------------


def test_a_gang_begins_on_as_many_workers_at_once() -> None:
    scene = Scene({"simulate": 3})
    task = scene.submit(gang=2)
    first, second = sent_of(scene, task)
    assert first.place == GangPlace(0, 2, "127.0.0.1")
    assert second.place == GangPlace(1, 2, "127.0.0.1")
    assert task.state == State.RUNNING
    assert len(scene.pool().idle) == 1
    (started,) = scene.events(TaskStarted)
    assert (started.worker, started.others) == (first.worker.name, (second.worker.name,))
    assert scene.pool().load().running == 2


def test_workers_on_several_hosts_meet_at_the_host_of_the_first() -> None:
    scene = Scene({"simulate": 1})
    scene.core.node_joined(NODE + 1, "other", "far", {"simulate": 1}, 0.0)
    scene.join(scene.worker("simulate-2"))
    places = [e.place for e in sent_of(scene, scene.submit(gang=2))]
    host = scene.core.cluster.gangs[1].task.worker
    assert host is not None
    assert places == [GangPlace(0, 2, host.node.host), GangPlace(1, 2, host.node.host)]


def test_the_port_of_the_first_is_told_to_the_others_and_to_no_one_else() -> None:
    scene = Scene({"simulate": 3})
    task, single = scene.submit(gang=2), scene.submit()
    first, second = ranks(scene, task)
    assert scene.core.gang_opened(first, 4_000, b"them")
    assert not scene.core.gang_opened(second, 4_000, b"them")
    assert not scene.core.gang_opened(single, 4_000, b"them")
    scene.settle_down()
    told = TellPort(second.worker, second.run, 4_000, b"them")  # type: ignore[arg-type]
    assert scene.effects(TellPort) == [told]


def test_a_gang_waits_until_enough_workers_are_free_at_once() -> None:
    scene = Scene({"simulate": 2})
    before = scene.submit()
    task = scene.submit(gang=2)
    assert task.state == State.QUEUED
    assert len(scene.pool().idle) == 1
    scene.report(before)
    assert [task.state, len(ranks(scene, task))] == [State.RUNNING, 2]


def test_no_single_task_that_is_ranked_behind_overtakes_a_waiting_gang() -> None:
    scene = Scene({"simulate": 2})
    before = scene.submit()
    task, behind = scene.submit(gang=2), scene.submit()
    assert [task.state, behind.state] == [State.QUEUED, State.QUEUED]
    better = scene.submit(priority=1.0)
    assert better.state == State.RUNNING
    scene.report(before)
    assert [task.state, behind.state] == [State.QUEUED, State.QUEUED]
    scene.report(better)
    assert [task.state, behind.state] == [State.RUNNING, State.QUEUED]


def test_nothing_is_sent_ahead_while_a_gang_waits() -> None:
    scene = Scene({"simulate": 2})
    scene.measured(1e-5)
    before = scene.submit()
    task = scene.submit(gang=2)
    others = [scene.submit() for _ in range(8)]
    assert {each.state for each in others} == {State.QUEUED}
    scene.report(before, run_s=1e-5)
    assert task.state == State.RUNNING
    assert {each.state for each in others} == {State.QUEUED}, "and none behind a gang"


def test_two_gangs_that_need_the_same_workers_run_one_after_the_other() -> None:
    scene = Scene({"simulate": 3})
    before = scene.submit()
    one, other = scene.submit(gang=3), scene.submit(gang=2)
    assert [one.state, other.state] == [State.QUEUED, State.QUEUED], "none holds a part"
    scene.report(before)
    assert [one.state, other.state] == [State.RUNNING, State.QUEUED]
    for rank in ranks(scene, one):
        scene.report(rank)
    assert other.state == State.RUNNING


def test_a_gang_keeps_only_workers_that_fit_it() -> None:
    scene = Scene({"simulate": 2}, settings=LONG)
    scene.node({"simulate": 2}, peer=NODE + 1, make=GPU)
    first, second = scene.submit(needs=GPU), scene.submit()
    large = scene.submit(needs=GPU, gang=2)
    any_one, more = scene.submit(), scene.submit()
    assert [large.state, any_one.state, more.state] == [State.QUEUED, State.RUNNING, State.QUEUED]
    scene.report(second)
    assert [large.state, more.state] == [State.QUEUED, State.RUNNING]
    scene.report(first)
    assert {rank.worker.make for rank in ranks(scene, large) if rank.worker} == {GPU}


def test_the_cancelled_or_deferred_gang_lets_others_go_on() -> None:
    scene = Scene({"simulate": 2})
    scene.submit()
    one, behind = scene.submit(gang=2), scene.submit()
    scene.cancel(one)
    assert behind.state == State.RUNNING
    scene.report(behind)
    other, last = scene.submit(gang=2), scene.submit()
    assert [other.state, last.state] == [State.QUEUED, State.QUEUED]
    assert scene.core.reprioritise([(last.task_id, 1.0)], scene.now) == 1
    scene.settle_down()
    assert last.state == State.RUNNING


def test_a_gang_goes_to_another_pool_and_lets_those_behind_go_on() -> None:
    scene = Scene({"simulate": 2, "learn": 2})
    scene.submit()
    task, behind = scene.submit(gang=2), scene.submit()
    assert scene.core.reassign([task.task_id], "learn", scene.now) == 1
    scene.settle_down()
    assert [task.state, task.pool, behind.state] == [State.RUNNING, "learn", State.RUNNING]


def test_a_paused_pool_begins_no_gang() -> None:
    scene = Scene({"simulate": 2})
    scene.core.pause(CLIENT, 1, "simulate", "to look at it", scene.now)
    task = scene.submit(gang=2)
    assert task.state == State.QUEUED
    scene.core.resume("simulate", "it was looked at", scene.now)
    scene.settle_down()
    assert task.state == State.RUNNING


def test_a_story_tells_of_a_gang_and_why_others_wait_for_it() -> None:
    scene = Scene({"simulate": 3})
    task, before = scene.submit(gang=2), scene.submit()
    other = scene.submit(gang=3)
    scene.report(before)
    behind = scene.submit()
    of_it = scene.core.story(task.task_id)
    assert "attempt 1 started on workers simulate-3, simulate-2" in of_it[1]
    assert "a gang of 2, with worker simulate-3 on node node as its first, works on it" in of_it[2]
    assert "it takes 3 workers at once; 1 worker of it is free" in why(scene.core.cluster, other)
    assert "its 1 free worker may be kept for a task" in why(scene.core.cluster, behind)


def test_a_pool_that_has_failed_has_no_gang_left() -> None:
    scene = Scene({"simulate": 2})
    scene.submit()
    tasks = [scene.submit(gang=2), scene.submit(), scene.submit(gang=2, priority=1.0)]
    assert scene.pool().backlog.peek() is tasks[2]
    scene.core.fail_pool("simulate", "it was given up", scene.now)
    scene.settle_down()
    assert [scene.ending(task).reason for task in tasks] == ["it was given up"] * 3
    assert scene.ending(scene.submit(gang=2)).ended_as == "lost"


def test_the_best_of_all_queued_tasks_may_be_a_single_one_or_one_with_needs() -> None:
    scene = Scene(closed=False)
    gang, single = scene.submit(gang=2), scene.submit(priority=1.0)
    assert scene.pool().backlog.peek() is single
    choosy = scene.submit(needs=GPU, priority=2.0)
    assert scene.pool().backlog.peek() is choosy
    assert scene.core.reprioritise([(gang.task_id, 3.0)], scene.now) == 1
    assert scene.pool().backlog.peek() is gang


def test_all_of_a_gang_take_the_same_version_of_an_object() -> None:
    scene = Scene({"simulate": 2})
    first, second = StoredObject(b"first", 10), StoredObject(b"second", 10)
    scene.core.publish_version("model", first, "trainer", scene.now)
    task = scene.submit(gang=2, inputs=Inputs(latest=("model",)))
    scene.core.publish_version("model", second, "trainer", scene.now, 2)
    both = ranks(scene, task)
    assert {rank.versions["model"].stored for rank in both if rank.versions} == {first}
    for rank in both:
        scene.report(rank)
    assert scene.ending(task).ended_as == "succeeded"


def test_progress_is_that_of_the_first() -> None:
    scene = Scene({"simulate": 2})
    first, second = ranks(scene, scene.submit(gang=2))
    scene.core.progressed(first, 0.5, "half", scene.now)
    scene.core.progressed(second, 0.9, "more", scene.now)
    scene.settle_down()
    assert [event.fraction for event in scene.events(TaskProgress)] == [0.5]


# -- too few workers -------------------------------------------------------------------------------


def test_a_gang_that_is_larger_than_its_pool_is_lost_at_once() -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=3)
    reason = scene.ending(task).reason
    assert "pool 'simulate' has too few workers for it: it needs 3 workers at once" in reason
    assert "there are 2 with cpus=1" in reason


def test_a_gang_waits_for_workers_that_were_moved_away_but_not_for_ever() -> None:
    scene = Scene({"simulate": 2, "learn": 1}, settings=LONG)
    scene.core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now)
    scene.settle_down()
    first, second = scene.submit(gang=2), scene.submit(gang=3)
    assert [first.state, second.state] == [State.QUEUED, State.QUEUED]
    scene.tick(4.0)
    scene.core.ask_move(CLIENT, 2, "learn", "simulate", 1, scene.now)
    scene.settle_down()
    assert first.state == State.RUNNING
    for _ in range(8):
        scene.tick(2.0)
    assert "too few workers for it: it needs 3 workers" in scene.ending(second).reason


def test_a_gang_waits_for_workers_that_may_join_and_others_pass_it_until_then() -> None:
    scene = Scene({"simulate": 2}, closed=False, settings=LONG)
    task, single = scene.submit(gang=3), scene.submit()
    assert [task.state, single.state] == [State.QUEUED, State.RUNNING]
    assert "it takes 3 workers at once, of which only 2 could take it" in why(
        scene.core.cluster, task
    )
    scene.report(single)
    scene.node({"simulate": 1}, peer=NODE + 1)
    assert task.state == State.RUNNING


def test_a_gang_for_which_no_workers_come_is_lost_after_a_while() -> None:
    scene = Scene({"simulate": 2}, closed=False, settings=LONG)
    task = scene.submit(gang=3)
    for _ in range(12):
        scene.tick(1.0)
    assert "too few workers" in scene.ending(task).reason
    (stalled,) = scene.events(PoolStalled)
    assert "(3 workers at once)" in stalled.reason


def test_a_gang_that_waits_for_lent_workers_keeps_none() -> None:
    scene = Scene({"simulate": 2, "learn": 1})
    scene.core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now, lease=True)
    scene.settle_down()
    task, single = scene.submit(gang=2), scene.submit()
    assert [task.state, single.state] == [State.QUEUED, State.RUNNING]
    scene.report(single)
    scene.core.end_move(CLIENT, 1, "drain", scene.now)
    scene.settle_down()
    assert task.state == State.RUNNING


def test_workers_that_leave_together_let_those_be_used_that_were_kept() -> None:
    scene = Scene({"simulate": 2, "learn": 1}, settings=LONG)
    scene.core.ask_move(CLIENT, 1, "learn", "simulate", 1, scene.now, lease=True)
    scene.settle_down()
    singles = [scene.submit() for _ in range(3)]
    scene.core.ask_move(CLIENT, 2, "simulate", "learn", 2, scene.now, together=True)
    scene.settle_down()
    task, behind = scene.submit(gang=3), scene.submit()
    singles.sort(key=lambda record: record.worker is not scene.worker("learn-1"))
    for record in singles:
        assert [task.state, behind.state] == [State.QUEUED, State.QUEUED]
        scene.report(record)
    assert [task.state, behind.state] == [State.QUEUED, State.RUNNING]


def test_a_gang_on_workers_of_which_a_node_ends_too_soon_waits_for_others() -> None:
    scene = Scene({"simulate": 1}, settings=LONG)
    scene.node({"simulate": 1}, peer=NODE + 1, walltime_s=100.0)
    kind = scene.task_type()
    scene.measured(1_000.0, kind)
    task, short = scene.submit(gang=2), scene.submit(scene.task_type("short"))
    assert [task.state, short.state] == [State.QUEUED, State.RUNNING]


def test_workers_that_are_started_again_later_are_waited_for() -> None:
    scene = Scene(settings=Settings(start_failures=1, join_s=8.0))
    scene.pool().announced = 2
    scene.node({"simulate": 2}, ready=False)
    one, other = list(scene.roster.workers.values())
    scene.join(one)
    scene.exit(other)
    task = scene.submit(gang=2)
    assert task.state == State.QUEUED
    assert scene.pool().put_off == 1
    assert fitting.look(scene.core.cluster, scene.now) == []
    assert not scene.pool().unfit_since, "it does not count as time without enough workers"
    scene.tick(2.5)
    assert task.state == State.QUEUED


def test_workers_on_a_node_that_is_drained_do_not_count_for_a_gang() -> None:
    scene = Scene({"simulate": 1}, settings=LONG)
    scene.node({"simulate": 1}, peer=NODE + 1)
    one, other = scene.submit(), scene.submit()
    task, behind = scene.submit(gang=2), scene.submit()
    scene.core.drain(CLIENT, 1, "node", scene.now)
    scene.settle_down()
    staying = one if one.worker and one.worker.node.name != "node" else other
    scene.report(staying)
    assert [task.state, behind.state] == [State.QUEUED, State.RUNNING]


# -- ending ----------------------------------------------------------------------------------------


def test_the_value_is_that_of_the_first_once_all_have_ended() -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=2)
    first, second = ranks(scene, task)
    value, other = StoredObject(b"value", 10), StoredObject(b"other", 10)
    scene.report(first, stored=value)
    assert task.state == State.RUNNING
    assert len(scene.pool().idle) == 1
    scene.report(second, stored=other)
    assert scene.ending(task).stored == value
    (ended,) = scene.events(TaskEnded)
    assert ended.worker == "simulate-2" == task.worker.name if task.worker else ""
    assert task.others is not None
    assert [(rank.worker, rank.started, rank.ended) for rank in task.others] == [
        ("simulate-1", -1.0, 0.0)
    ]


@pytest.mark.parametrize("which", [0, 1])
def test_a_failure_of_any_stops_the_others_and_is_that_of_the_task(which: int) -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=2)
    failing, other = ranks(scene, task)[which], ranks(scene, task)[1 - which]
    error = RemoteError("ValueError", "no", "a traceback")
    scene.core.reported(failing.run, "failed", 0.0, 1.0, 1.0, error=error)
    scene.settle_down()
    assert task.state == State.STOPPING
    assert scene.effects(AskToStop) == [AskToStop(other.worker, other.run)]  # type: ignore[arg-type]
    scene.report(other, "cancelled")
    ending = scene.ending(task)
    assert (ending.ended_as, ending.error and ending.error.type) == ("failed", "ValueError")
    assert ending.error is not None
    assert f"rank {which} of 2" in ending.error.traceback
    assert len(scene.pool().idle) == 2


def test_the_error_that_came_first_counts_whichever_is_heard_first() -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=2)
    first, second = ranks(scene, task)
    late, early = RemoteError("Late", "", ""), RemoteError("Early", "", "")
    scene.core.reported(first.run, "failed", 0.0, 2.0, 2.0, error=late)
    scene.core.reported(second.run, "failed", 0.0, 1.0, 2.0, error=early)
    scene.settle_down()
    error = scene.ending(task).error
    assert error is not None
    assert error.type == "Early"


def test_a_worker_that_died_counts_before_the_errors_that_this_made() -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=2, retries=Retries(lost=1))
    first, second = ranks(scene, task)
    error = RemoteError("ConnectionError", "", "")
    scene.core.reported(first.run, "failed", 0.0, 1.0, 1.0, error=error)
    assert second.worker is not None
    scene.exit(second.worker, second.run)
    (retried,) = scene.events(TaskRetried)
    assert retried.reason == "lost: rank 1 of 2: signal 9"
    assert task.kills == 1
    assert task.state == State.QUEUED
    assert task.earlier is not None
    assert [rank.worker for rank in task.earlier[0].others or ()] == [second.worker.name]


@pytest.mark.parametrize("signal", ["term", "kill"])
def test_a_worker_that_ends_by_the_signals_to_stop_it_is_no_loss(signal: str) -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=2)
    first, second = ranks(scene, task)
    error = RemoteError("ValueError", "", "")
    scene.core.reported(first.run, "failed", 0.0, 0.0, 0.0, error=error)
    scene.tick(0.3)
    if signal == "kill":
        scene.tick(0.3)
    assert scene.effects(Signal)[-1].signal == signal
    assert second.worker is not None
    scene.exit(second.worker, second.run)
    assert scene.ending(task).ended_as == "failed"


def test_a_gang_whose_node_is_lost_is_tried_again_as_a_whole() -> None:
    scene = Scene({"simulate": 2})
    scene.node({"simulate": 2}, peer=NODE + 1)
    task = scene.submit(gang=4)
    scene.core.node_lost(NODE + 1, "silent", scene.now)
    scene.settle_down()
    assert task.state == State.STOPPING
    for rank in ranks(scene, task):
        scene.report(rank, "cancelled")
    (retried,) = scene.events(TaskRetried)
    assert retried.reason.startswith("lost: rank")


def test_a_gang_that_is_cancelled_is_stopped_whole() -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=2)
    first, second = ranks(scene, task)
    scene.cancel(task)
    assert len(scene.effects(AskToStop)) == 2
    scene.report(first)
    scene.report(second, "cancelled")
    assert scene.ending(task).ended_as == "cancelled"


def test_the_times_of_a_gang_that_is_stopped_are_those_of_its_first_worker() -> None:
    scene = Scene({"simulate": 2})
    cancelled, failed = scene.submit(gang=2), scene.submit(gang=2)
    first, second = ranks(scene, cancelled)
    scene.cancel(cancelled)
    scene.core.reported(first.run, "cancelled", 1.0, 3.0, 3.0)
    scene.core.reported(second.run, "cancelled", 2.0, 4.0, 4.0)
    scene.settle_down()
    ending = scene.ending(cancelled)
    assert (ending.ended_as, ending.started, ending.ended) == ("cancelled", 1.0, 3.0)
    first, second = ranks(scene, failed)
    error = RemoteError("ValueError", "no", "a traceback")
    scene.core.reported(second.run, "failed", 6.0, 7.0, 7.0, error=error)
    scene.core.reported(first.run, "cancelled", 5.0, 8.0, 8.0)
    scene.settle_down()
    ending = scene.ending(failed)
    assert (ending.ended_as, ending.started, ending.ended) == ("failed", 5.0, 8.0)


def test_a_cancelled_gang_is_cancelled_whether_its_workers_die_or_give_their_parts_back() -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=2, retries=Retries(lost=3))
    first, second = ranks(scene, task)
    scene.cancel(task)
    assert first.worker is not None
    scene.exit(first.worker, first.run)
    assert task.state == State.STOPPING
    scene.give_back(second)
    assert scene.ending(task).ended_as == "cancelled"
    assert task.kills == 0


def test_a_gang_that_is_cancelled_while_it_is_stopped_for_a_failure_is_cancelled() -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=2, retries=Retries(failed=3))
    first, second = ranks(scene, task)
    scene.report(first, "failed")
    scene.cancel(task)
    scene.report(second, "cancelled")
    assert scene.ending(task).ended_as == "cancelled"


def test_a_gang_that_is_out_of_time_is_stopped_whole() -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=2, timeout_s=1.0)
    first, second = ranks(scene, task)
    scene.tick(0.5)
    scene.report(first)
    scene.tick(0.6)
    assert task.state == State.STOPPING
    scene.report(second, "cancelled")
    assert scene.ending(task).ended_as == "timed_out"


def test_a_gang_that_ends_well_although_it_was_out_of_time_has_succeeded() -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=2, timeout_s=1.0)
    both = ranks(scene, task)
    scene.tick(1.1)
    for rank in both:
        scene.report(rank)
    assert scene.ending(task).ended_as == "succeeded"


def test_a_part_that_was_not_begun_has_the_gang_begin_again_at_no_cost() -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=2)
    first, second = ranks(scene, task)
    scene.give_back(second)
    assert task.state == State.STOPPING
    scene.report(first, "cancelled")
    assert [task.state, task.losses, task.failures] == [State.RUNNING, 0, 0]
    assert len(ranks(scene, task)) == 2


def test_a_move_that_does_not_wait_has_a_gang_queued_again_as_a_whole() -> None:
    scene = Scene({"simulate": 2, "learn": 1})
    task = scene.submit(gang=2)
    both = ranks(scene, task)
    scene.core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now, lease=True, how="preempt")
    scene.settle_down()
    assert {rank.state for rank in both} == {State.STOPPING}
    for rank in both:
        scene.report(rank, "cancelled")
    assert [task.state, len(scene.pool().idle)] == [State.QUEUED, 1]
    scene.core.end_move(CLIENT, 1, "drain", scene.now)
    scene.settle_down()
    assert task.state == State.RUNNING


def test_a_failed_gang_is_tried_again_as_often_as_it_may() -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=2, retries=Retries(failed=1))
    for attempt in (1, 2):
        first, second = ranks(scene, task)
        assert first.attempt == second.attempt == attempt
        scene.report(second, "failed")
        scene.report(first, "cancelled")
    assert scene.ending(task).ended_as == "failed"
    assert len(scene.events(TaskRetried)) == 1


def test_the_value_of_the_first_is_not_kept_if_another_fails() -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=2)
    first, second = ranks(scene, task)
    scene.report(first, stored=StoredObject(b"value", 10))
    scene.report(second, "failed")
    assert scene.ending(task).ended_as == "failed"
    assert not scene.core.held


def test_the_value_of_the_first_is_held_until_the_others_have_ended() -> None:
    """Else it would be swept away with all that a worker left which was lost meanwhile."""
    scene = Scene({"simulate": 1})
    scene.node({"simulate": 1}, peer=NODE + 1)
    task = scene.submit(gang=2)
    first, second = ranks(scene, task)
    value = StoredObject(b"value", 10)
    scene.report(first, stored=value)
    assert scene.core.held == {value.name}
    assert first.worker is not None
    scene.core.node_lost(first.worker.node.peer, "silent", scene.now)
    scene.settle_down()
    scene.report(second)
    assert scene.ending(task).stored == value
    assert scene.core.held == {value.name}, "for its client"
    assert scene.core.let_go(value.name, CLIENT)
    assert not scene.core.held


@pytest.mark.parametrize("words_lost", [False, True])
def test_a_part_of_which_words_were_lost_is_given_up_or_begun_again(words_lost: bool) -> None:
    scene = Scene({"simulate": 2})
    task = scene.submit(gang=2)
    first, second = ranks(scene, task)
    assert first.worker is not None
    assert second.worker is not None
    scene.tick(1.0)
    accounts = {
        first.worker.name: Accounted(frozenset({first.run}), 0, False),
        second.worker.name: Accounted(frozenset(), second.run if words_lost else 0, words_lost),
    }
    scene.core.accounted(NODE, scene.now, accounts, scene.now, orders_lost=not words_lost)
    scene.settle_down()
    assert task.state == State.STOPPING
    if words_lost:
        scene.report(first, "cancelled")
        assert scene.events(TaskRetried)[0].reason.startswith("lost: rank 1 of 2")
    else:  # whether the first was told of the port is not known either
        assert scene.effects(Signal)[-1] == Signal(first.worker, 0, "kill")
        scene.exit(first.worker, first.run)
        assert scene.events(TaskRetried)[0].reason.startswith("preempted")


@pytest.mark.parametrize("size", [0, -1, 100_000])
def test_a_gang_has_at_least_one_worker(size: int) -> None:
    with pytest.raises(UsageError, match="gang must be 1 or more"):
        TaskOptions(gang=size)


# -- whatever happens ------------------------------------------------------------------------------


@given(
    workers=st.integers(1, 5),
    tasks=st.lists(st.tuples(st.integers(1, 5), st.integers(-1, 1)), min_size=1, max_size=12),
    script=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40),
)
def test_gangs_run_whole_in_order_of_rank_and_all_workers_come_back(
    workers: int, tasks: list[tuple[int, int]], script: list[tuple[int, int]]
) -> None:
    """Whichever end first, fail or lose their workers; the scene checks that no part runs alone."""
    scene = Scene({"simulate": workers})
    records = [
        scene.submit(gang=size, priority=float(p), retries=Retries(lost=9)) for size, p in tasks
    ]
    at_most = 40 * len(tasks) + len(script)
    steps = [*script, *[(0, 0)] * at_most]
    for which, what in steps:
        runs = list(scene.core.runs.values())
        if not runs:
            break
        queued = [r for r in records if r.state == State.QUEUED]
        record = runs[which % len(runs)]
        if what == 9 and record.worker is not None:
            name = record.worker.name
            scene.exit(record.worker, record.run)
            assert name not in scene.roster.workers
            for each in list(scene.roster.workers.values()):
                if not each.peer:
                    scene.join(each)
        else:
            ended_as = "failed" if what == 8 else "succeeded"
            scene.report(record, "cancelled" if record.state == State.STOPPING else ended_as)
        begun = [r for r in queued if r.state == State.RUNNING]
        still = [r for r in queued if r.state == State.QUEUED]
        for one in begun:
            ahead = [r for r in still if (-r.priority, r.order) < (-one.priority, one.order)]
            assert not ahead, "it overtook one that is ranked before it"
    assert all(record.state == State.ENDED for record in records), "one was starved"
    assert len(scene.pool().idle) == workers
    assert not scene.core.cluster.gangs
