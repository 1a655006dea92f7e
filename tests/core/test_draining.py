"""Nodes are left: drained, retired, or at the end of their walltime."""

from __future__ import annotations

from math import inf

import pytest

from steerio.core.effects import Dismiss, Expel, RecallTask, Retire, Start, TellMove, TellNode
from steerio.core.heads import MARGIN, Want
from steerio.core.lifecycle import State
from steerio.core.pool_queue import LIMIT_TYPES
from steerio.errors import UsageError
from steerio.model.events import (
    NodeDrained,
    NodeDraining,
    NodeEnding,
    NodeJoined,
    NodeLost,
    NodeUndrained,
    PoolChanged,
    TaskEnded,
    TaskRetried,
    WorkerLost,
    WorkerRetired,
)
from steerio.model.places import WorkerNeeds
from steerio.model.settings import Settings
from tests.core.scene import CLIENT, EPOCH, NODE, Scene

SETTINGS = Settings(ending_s=300.0, leave_s=10.0, join_s=60.0)
OTHER = NODE + 1


def drain(scene: Scene, node: str = "node", within_s: float | None = None, **how: bool) -> str:
    """Let the client ask for a node to be drained."""
    number = len(scene.performed) + 1
    refusal = scene.core.drain(
        CLIENT, number, node, scene.now, within_s=within_s, retire=how.get("retire", False)
    )
    scene.settle_down()
    return refusal


def undrain(scene: Scene, node: str = "node") -> str:
    """Let the client ask for it to stay."""
    refusal = scene.core.undrain(node, scene.now)
    scene.settle_down()
    return refusal


def told(scene: Scene) -> list[tuple[str, str]]:
    """Return what the client was told of nodes."""
    return [(order.state, order.reason) for order in scene.effects(TellNode)]


def retire(scene: Scene) -> None:
    """Let the workers end that were told to."""
    for order in scene.effects(Retire):
        if order.worker.phase == "retiring":
            scene.exit(order.worker, reason="it was asked to")


def ending(walltime_s: float, workers: int = 1, **more: int) -> Scene:
    """Return a scene whose one node has a walltime."""
    scene = Scene(pools=("simulate", "learn"), settings=SETTINGS)
    scene.node({"simulate": workers, **more}, walltime_s=walltime_s)
    return scene


# -- draining -----------------------------------------------------------------------------------


def test_idle_workers_of_a_drained_node_end_at_once_and_nobody_takes_their_place() -> None:
    scene = Scene({"simulate": 2})
    assert drain(scene) == ""
    assert len(scene.effects(Retire)) == 2
    assert scene.pool().load().draining == 2
    assert told(scene) == []
    scene.forget()
    for worker in list(scene.roster.workers.values()):
        scene.exit(worker)
    assert scene.effects(Start) == []
    assert told(scene) == [("drained", "")]
    assert (scene.pool().workers, scene.pool().leaving) == (0, 0)
    assert scene.events(WorkerLost) == []
    assert [event.workers for event in scene.events(PoolChanged)][-2:] == [1, 0]
    (begun,) = scene.events(NodeDraining)
    assert (begun.node, begun.reason) == ("node", "it was asked for")
    assert [event.node for event in scene.events(NodeDrained)] == ["node"]
    retired = scene.events(WorkerRetired)
    assert [(event.pool, event.node, event.reason) for event in retired] == [
        ("simulate", "node", "its node is drained")
    ] * 2
    assert list(scene.roster.nodes) == ["node"], "it stays"


def test_what_runs_on_a_drained_node_ends_and_what_is_queued_goes_elsewhere() -> None:
    scene = Scene({"simulate": 1})
    running, queued = scene.submit(), scene.submit()
    drain(scene)
    scene.report(running)
    assert scene.ending(running).ended_as == "succeeded"
    assert queued.state == State.QUEUED
    scene.node({"simulate": 1}, peer=OTHER)
    assert queued.state == State.RUNNING
    assert queued.worker is not None
    assert queued.worker.node.peer == OTHER


def test_what_a_worker_of_a_drained_node_holds_ahead_is_recalled() -> None:
    scene = Scene({"simulate": 1})
    running, *held = scene.holding(3)
    drain(scene)
    assert [order.run for order in scene.effects(RecallTask)] == [task.run for task in held]
    for task in held:
        scene.give_back(task)
    assert {task.state for task in held} == {State.QUEUED}
    scene.report(running)
    assert scene.worker().phase == "retiring"


def test_nothing_is_sent_ahead_to_a_drained_node() -> None:
    scene = Scene({"simulate": 1})
    first, second, *rest = scene.holding(6)
    drain(scene)
    scene.report(first)  # the second was begun before it could be recalled
    assert second.state == State.RUNNING
    scene.submit()
    scene.report(second)
    assert len(scene.worker().in_hand) == len(rest)


def test_a_drained_node_without_workers_is_drained_at_once() -> None:
    scene = Scene()
    scene.node({})
    drain(scene)
    drain(scene)
    assert told(scene) == [("drained", "")] * 2
    assert len(scene.events(NodeDrained)) == 1


def test_who_asks_for_a_node_that_is_not_there_is_told_which_there_are() -> None:
    scene = Scene({"simulate": 1})
    assert drain(scene, "nowhere") == "there is none of that name (there are: node)"
    assert undrain(scene, "nowhere") == "there is none of that name (there are: node)"
    assert undrain(scene) == "it is not being drained"
    assert drain(Scene()) == "there is none of that name (there are: none)"


@pytest.mark.parametrize("within_s", [-1.0, float("nan"), inf])
def test_a_time_that_cannot_be_is_refused(within_s: float) -> None:
    scene = Scene({"simulate": 1})
    assert "is a number of seconds" in drain(scene, within_s=within_s)
    assert scene.events(NodeDraining) == []


def test_a_worker_that_still_starts_on_a_drained_node_ends_as_soon_as_it_is_up() -> None:
    scene = Scene()
    scene.node({"simulate": 1}, ready=False)
    task = scene.submit()
    drain(scene, within_s=1.0)
    scene.tick(1.0)
    assert told(scene) == []
    scene.join(scene.worker())
    assert task.state == State.QUEUED
    retire(scene)
    assert told(scene) == [("drained", "")]


def test_a_worker_that_dies_on_a_drained_node_is_not_replaced_and_its_task_is_retried() -> None:
    scene = Scene({"simulate": 1})
    task = scene.submit()
    drain(scene)
    scene.exit(scene.worker(), run=task.run)
    assert task.state == State.QUEUED
    assert told(scene) == [("drained", "")]
    assert len(scene.events(WorkerLost)) == 1


def test_starts_that_were_put_off_wait_until_a_node_is_undrained() -> None:
    scene = Scene(settings=Settings(start_failures=1))
    scene.node({"simulate": 1}, ready=False)
    scene.exit(scene.worker())
    drain(scene)
    scene.forget()
    scene.tick(60.0)
    assert scene.effects(Start) == []
    undrain(scene)
    assert [order.worker.name for order in scene.effects(Start)] == ["simulate-2"]


# -- a deadline ---------------------------------------------------------------------------------


def test_what_runs_after_the_deadline_is_stopped_and_queued_again_free_of_charge() -> None:
    scene = Scene({"simulate": 1})
    task = scene.submit(retries=scene.retries(lost=0))
    drain(scene, within_s=5.0)
    scene.tick(4.9)
    assert task.state == State.RUNNING
    scene.tick(0.1)
    assert task.state == State.STOPPING
    scene.exit(scene.worker(), run=task.run)
    (retried,) = scene.events(TaskRetried)
    assert retried.reason == "preempted: its node is drained"
    assert task.state == State.QUEUED
    assert told(scene) == [("drained", "")]


def test_a_held_task_that_was_begun_after_the_deadline_is_stopped_too() -> None:
    scene = Scene({"simulate": 1})
    running, held = scene.holding(2)
    drain(scene, within_s=0.0)
    scene.tick(0.0)
    assert (running.state, held.state) == (State.STOPPING, State.HELD)
    scene.report(running)
    assert held.state == State.STOPPING
    scene.give_back(held)
    assert held.state == State.QUEUED


def test_the_earliest_of_several_deadlines_counts() -> None:
    scene = Scene({"simulate": 1})
    task = scene.submit()
    for within_s in (50.0, 5.0, None, 20.0):
        drain(scene, within_s=within_s)
    scene.tick(5.0)
    assert task.state == State.STOPPING
    assert len(scene.events(NodeDraining)) == 1


def test_the_deadline_of_a_drain_that_was_undone_stops_nothing() -> None:
    scene = Scene({"simulate": 1})
    task = scene.submit()
    drain(scene, within_s=5.0)
    undrain(scene)
    drain(scene, within_s=8.0)
    scene.tick(5.0)
    assert task.state == State.RUNNING
    undrain(scene)
    scene.tick(10.0)
    assert task.state == State.RUNNING


# -- undoing ------------------------------------------------------------------------------------


def test_an_undrained_node_starts_as_many_workers_as_have_left() -> None:
    scene = Scene({"simulate": 2, "learn": 1})
    running = scene.submit()
    drain(scene)
    retire(scene)
    scene.forget()
    assert undrain(scene) == ""
    assert told(scene) == [("undrained", "it was undrained")]
    started = [order.worker for order in scene.effects(Start)]
    assert [worker.pool for worker in started] == ["simulate", "learn"]
    for worker in started:
        scene.join(worker)
    assert [scene.pool(name).ready for name in ("simulate", "learn")] == [2, 1]
    assert running.state == State.RUNNING
    assert [event.node for event in scene.events(NodeUndrained)] == ["node"]
    assert scene.pool().leaving == 0


def test_workers_that_are_about_to_end_when_that_is_undone_are_replaced() -> None:
    scene = Scene({"simulate": 1})
    drain(scene)
    undrain(scene)
    scene.forget()
    scene.exit(scene.worker())
    assert [order.worker.name for order in scene.effects(Start)] == ["simulate-2"]


# -- retiring -----------------------------------------------------------------------------------


def test_a_node_that_retires_is_told_to_end_when_its_last_worker_is_gone() -> None:
    scene = Scene({"simulate": 1})
    task = scene.submit()
    drain(scene, retire=True)
    assert scene.effects(Dismiss) == []
    scene.report(task)
    scene.forget()
    scene.exit(scene.worker())
    (dismissed,) = scene.effects(Dismiss)
    assert (dismissed.peer, dismissed.reason) == (NODE, "it was retired")
    assert told(scene) == [("drained", "")]
    assert [event.reason for event in scene.events(NodeLost)] == ["it was retired"]
    assert scene.roster.nodes == {}


def test_a_drained_node_can_be_retired_later() -> None:
    scene = Scene({"simulate": 1})
    drain(scene)
    retire(scene)
    assert scene.effects(Dismiss) == []
    drain(scene, retire=True)
    assert len(scene.effects(Dismiss)) == 1


def test_who_waits_for_a_node_that_is_lost_while_it_is_drained_hears_of_it() -> None:
    scene = Scene({"simulate": 1})
    task = scene.submit()
    drain(scene, within_s=1.0)
    scene.core.node_lost(NODE, "silent for 15 s", scene.now)
    scene.settle_down()
    assert told(scene) == [("left", "silent for 15 s")]
    assert task.state == State.QUEUED
    assert scene.pool().leaving == 0
    scene.tick(1.0)
    assert scene.effects(Expel) != []


# -- moves and leases -----------------------------------------------------------------------------


def test_a_move_that_waits_for_workers_of_a_drained_node_gets_others_or_ends() -> None:
    scene = Scene({"simulate": 1, "learn": 0}, settings=SETTINGS)
    task = scene.submit()
    core = scene.core
    assert core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now) == ""
    drain(scene)
    scene.report(task)
    retire(scene)
    assert core.moves[CLIENT, 1].state == "waiting"
    scene.tick(SETTINGS.join_s)
    (last,) = scene.effects(TellMove)[-1:]
    assert (last.state, last.reason) == (
        "ended",
        "'simulate' has only 0 workers, and was asked for 1",
    )


def test_a_worker_that_waits_for_others_to_move_together_leaves_with_its_node() -> None:
    scene = Scene({"simulate": 1, "learn": 0}, settings=SETTINGS)
    scene.node({"simulate": 1}, peer=OTHER)
    task = scene.submit()
    core = scene.core
    core.ask_move(CLIENT, 1, "simulate", "learn", 2, scene.now, together=True)
    scene.settle_down()
    (reserved,) = core.moves[CLIENT, 1].reserved
    drain(scene, reserved.node.name)
    assert not core.moves[CLIENT, 1].reserved
    retire(scene)
    scene.report(task)
    assert len(core.moves[CLIENT, 1].reserved) == 1


def test_a_move_that_preempts_stops_another_task_when_the_first_is_on_a_drained_node() -> None:
    scene = Scene({"simulate": 1, "learn": 0}, settings=SETTINGS)
    scene.node({"simulate": 1}, peer=OTHER)
    tasks = [scene.submit(), scene.submit()]
    scene.core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now, how="preempt")
    scene.settle_down()
    (stopped,) = [task for task in tasks if task.state == State.STOPPING]
    assert stopped.worker is not None
    drain(scene, stopped.worker.node.name)
    assert {task.state for task in tasks} == {State.STOPPING}


def test_a_lent_worker_of_a_drained_node_is_gone_and_its_lease_ends_all_the_same() -> None:
    scene = Scene({"simulate": 1, "learn": 0}, settings=SETTINGS)
    core = scene.core
    core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now, lease=True)
    scene.settle_down()
    task = scene.submit(scene.task_type("fit", "learn"))
    drain(scene)
    core.end_move(CLIENT, 1, "drain", scene.now)
    scene.settle_down()
    scene.report(task)
    retire(scene)
    assert scene.effects(TellMove)[-1].state == "ended"
    assert told(scene) == [("drained", "")]
    undrain(scene)
    assert scene.effects(Start)[-1].worker.pool == "simulate", "it is at home again"


# -- walltime -----------------------------------------------------------------------------------


def test_a_node_says_when_it_ends_and_that_it_soon_will() -> None:
    scene = ending(1_000.7)
    (joined,) = scene.events(NodeJoined)
    assert joined.ends == 1_000 + EPOCH, "whole seconds"
    scene.tick(699.0)
    assert scene.events(NodeEnding) == []
    scene.tick(2.0)
    (soon,) = scene.events(NodeEnding)
    assert (soon.node, soon.left_s, soon.ends) == ("node", 299.0, 1_000 + EPOCH)


def test_who_joins_with_little_time_left_says_so_at_once() -> None:
    scene = ending(60.0)
    scene.tick(0.0)
    assert scene.events(NodeEnding)[0].left_s == 60.0


def test_at_the_end_of_its_walltime_a_node_is_left_and_what_runs_is_queued_again() -> None:
    scene = ending(60.0)
    task = scene.submit(retries=scene.retries(lost=0))
    scene.tick(49.0)
    assert task.state == State.RUNNING
    scene.tick(1.0)
    assert task.state == State.STOPPING
    assert [event.reason for event in scene.events(NodeDraining)] == ["its walltime ends"]
    assert undrain(scene) == "its walltime ends"
    scene.exit(scene.worker(), run=task.run)
    assert task.state == State.QUEUED
    assert [order.reason for order in scene.effects(Dismiss)] == ["its walltime ends"]
    assert scene.events(TaskEnded) == []


def test_the_walltime_of_a_node_that_was_lost_before_concerns_nobody() -> None:
    scene = ending(1_000.0)
    scene.node({"simulate": 1}, peer=OTHER)
    scene.core.node_lost(NODE, "power", scene.now)
    task = scene.submit()
    scene.tick(1_000.0 - SETTINGS.ending_s)
    scene.tick(SETTINGS.ending_s)
    assert scene.events(NodeEnding) == []
    assert scene.events(NodeDraining) == []
    assert task.state == State.RUNNING


def test_a_task_that_would_not_be_done_in_time_waits_for_another_node() -> None:
    scene = ending(100.0)
    kind = scene.task_type()
    scene.measured(91.0 / MARGIN, kind)
    task = scene.submit(kind)
    assert task.state == State.QUEUED
    assert scene.pool().load().idle == 1
    short = scene.submit(scene.task_type("short"))
    assert short.state == State.RUNNING, "of an unmeasured type: it may go"
    scene.node({"simulate": 1}, peer=OTHER)
    assert task.state == State.RUNNING
    assert task.worker is not None
    assert task.worker.node.until == inf


def test_a_worker_that_becomes_free_passes_over_what_would_not_be_done_in_time() -> None:
    scene = ending(100.0)
    first = scene.submit(scene.task_type("short"))
    long = scene.submit(scene.task_type("long"), priority=9.0)
    second = scene.submit(scene.task_type("short"))
    scene.measured(80.0, scene.task_type("long"))
    scene.report(first, run_s=1.0)
    assert (long.state, second.state) == (State.QUEUED, State.RUNNING)
    scene.report(second, run_s=1.0)
    assert scene.worker().phase == "idle"


def test_a_task_goes_to_the_node_that_ends_first_of_those_where_it_is_done() -> None:
    scene = Scene(settings=SETTINGS)
    for number, walltime_s in enumerate((None, 400.0, 100.0)):
        scene.node({"simulate": 1}, peer=NODE + number, walltime_s=walltime_s)
    scene.measured(100.0)
    task = scene.submit()
    assert task.worker is not None
    assert task.worker.node.ends == 400.0


def test_a_timeout_bounds_how_long_a_task_takes() -> None:
    scene = ending(100.0)
    scene.measured(500.0)
    assert scene.submit(timeout_s=65.0).state == State.QUEUED, "up to a power of two"
    assert scene.submit(timeout_s=60.0).state == State.RUNNING


def test_a_type_that_turns_out_shorter_is_done_in_time_after_all() -> None:
    scene = ending(100.0, workers=1)
    scene.node({"simulate": 1}, peer=OTHER)
    kind = scene.task_type()
    scene.measured(62.0, kind)
    running, waiting = scene.submit(kind), scene.submit(kind)
    also = scene.submit(kind, priority=-1.0)
    assert [task.state for task in (running, waiting, also)] == [State.RUNNING, *[State.QUEUED] * 2]
    scene.report(running, run_s=30.0)
    assert {waiting.state, also.state} == {State.RUNNING}


def test_tasks_that_wait_when_the_first_node_with_a_walltime_comes_are_told_apart() -> None:
    scene = Scene(settings=SETTINGS)
    scene.measured(500.0)
    plain, other = scene.submit(), scene.submit(scene.task_type("other"), priority=-1.0)
    scene.node({"simulate": 1}, walltime_s=100.0)
    assert (plain.state, other.state) == (State.QUEUED, State.RUNNING)
    scene.cancel(plain)
    assert len(scene.pool().backlog) == 0


def test_pools_that_are_made_later_tell_tasks_apart_too() -> None:
    scene = Scene(closed=False, settings=SETTINGS)
    scene.node({"simulate": 1}, walltime_s=100.0)
    kind = scene.task_type("late", "late")
    scene.measured(500.0, kind)
    task = scene.submit(kind)
    scene.node({"late": 1}, peer=OTHER, walltime_s=100.0)
    assert task.state == State.QUEUED


def test_of_more_task_types_than_are_told_apart_any_task_goes() -> None:
    scene = ending(100.0, workers=LIMIT_TYPES + 1)
    tasks = []
    for number in range(LIMIT_TYPES + 1):
        kind = scene.task_type(f"type-{number}")
        scene.measured(500.0, kind)
        tasks.append(scene.submit(kind))
    assert [task.state for task in tasks] == [State.QUEUED] * LIMIT_TYPES + [State.RUNNING]
    scene.cancel(tasks[0])
    assert len(scene.pool().backlog) == LIMIT_TYPES - 1
    others = [scene.submit(tasks[-1].type) for _ in range(LIMIT_TYPES + 1)]
    assert [task.state for task in others] == [State.RUNNING] * LIMIT_TYPES + [State.QUEUED]
    scene.cancel(others[-1])
    assert len(scene.pool().backlog) == LIMIT_TYPES - 1


def test_needs_and_time_are_minded_together() -> None:
    large = WorkerNeeds(cpus=4)
    scene = Scene(settings=SETTINGS)
    scene.node({"simulate": 1}, walltime_s=100.0, make=large)
    scene.measured(500.0)
    long, short = scene.submit(needs=large), scene.submit(scene.task_type("short"), needs=large)
    assert (long.state, short.state) == (State.QUEUED, State.RUNNING)
    assert scene.pool().backlog.wants == [Want(large, 1)]
    scene.node({"simulate": 1}, peer=OTHER)
    assert long.state == State.QUEUED, "the other has time, but not the cores"


@pytest.mark.parametrize(("ending_s", "leave_s"), [(0.0, 1.0), (1.0, 0.0)])
def test_settings_that_leave_no_time_are_refused(ending_s: float, leave_s: float) -> None:
    with pytest.raises(UsageError, match="must be above 0"):
        Settings(ending_s=ending_s, leave_s=leave_s)
