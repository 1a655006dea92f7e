"""Workers that die, pools that fail, and pools that nobody joins."""

from __future__ import annotations

import pytest

from steerio.core.effects import Signal, Start
from steerio.core.lifecycle import State
from steerio.model.events import PoolFailed
from steerio.model.settings import Settings
from tests.core.scene import CLIENT, NODE, Scene

SETTINGS = Settings(beat_s=1.0, lease_s=15.0, start_s=120.0, join_s=60.0)

AWKWARD = [0.0, 0.1, 1.4, 4.1, 1 / 3, 12345.678]
"""Times at which adding seconds and taking them away again is not exact."""


def starting(scene: Scene) -> list[str]:
    return [worker.name for worker in scene.roster.workers.values() if worker.phase == "starting"]


# -- workers that die -------------------------------------------------------------------------


def test_an_idle_worker_that_dies_is_replaced_on_its_node() -> None:
    scene = Scene({"simulate": 1})
    scene.forget()
    scene.exit(scene.worker())
    (order,) = scene.effects(Start)
    assert order.worker.name == "simulate-2"
    assert order.node.peer == NODE
    assert (scene.pool().workers, scene.pool().ready) == (1, 0)


def test_the_death_of_a_worker_nobody_knows_changes_nothing() -> None:
    scene = Scene({"simulate": 1})
    before = list(scene.recorded)
    scene.core.worker_exited("nobody", 0, "signal 9", scene.now)
    scene.settle_down()
    assert scene.recorded == before


def test_a_pool_whose_workers_die_three_times_while_starting_has_failed() -> None:
    scene = Scene(pools=("simulate",))
    queued = scene.submit()
    scene.node({"simulate": 1}, ready=False)
    for number in (1, 2, 3):
        assert starting(scene) == [f"simulate-{number}"]
        scene.exit(scene.worker(f"simulate-{number}"), 0, f"No module named 'tblite' ({number})")
    assert starting(scene) == []
    (failed,) = scene.events(PoolFailed)
    assert (failed.pool, failed.reason) == ("simulate", "No module named 'tblite' (3)")
    assert scene.ending(queued).reason == "No module named 'tblite' (3)"
    assert scene.ending(scene.submit()).ended_as == "lost"


@pytest.mark.borders
def test_workers_that_were_asked_for_count_from_the_start_but_not_for_ever() -> None:
    scene = Scene(pools=("simulate", "learn"))
    scene.core.expect_workers({"simulate": 3, "learn": 0}, scene.now)
    shown = scene.pool().load()
    assert (shown.workers, shown.starting, shown.at_home, shown.idle) == (3, 3, 3, 0)
    assert scene.pool("learn").load().workers == 0
    scene.node({"simulate": 2})
    shown = scene.pool().load()
    assert (shown.workers, shown.starting, shown.at_home, shown.idle) == (3, 1, 3, 2)
    assert shown.busy == 0
    scene.node({"simulate": 2}, peer=NODE + 1, ready=False)
    shown = scene.pool().load()
    assert (shown.workers, shown.starting, shown.at_home) == (4, 2, 4), "more came than that"


@pytest.mark.borders
def test_workers_that_never_came_are_not_counted_after_a_while() -> None:
    scene = Scene(pools=("simulate", "learn"), settings=Settings(join_s=20))
    scene.core.expect_workers({"simulate": 3, "learn": 1}, scene.now)
    scene.node({"simulate": 2})
    scene.tick(19.0)
    assert scene.pool().load().workers == 3
    scene.tick(1.0)
    assert (scene.pool().load().workers, scene.pool().load().at_home) == (2, 2)
    assert scene.pool("learn").load().failure == "no worker joined it within 20 s"
    assert scene.pool("learn").load().workers == 0


def test_a_pool_fails_only_with_its_last_worker() -> None:
    scene = Scene({"simulate": 1})
    scene.node({"simulate": 1}, peer=NODE + 1, ready=False)
    for number in (2, 3, 4):
        scene.exit(scene.worker(f"simulate-{number}"))
    assert starting(scene) == []
    assert scene.events(PoolFailed) == []
    record = scene.submit()
    scene.report(record)
    assert scene.ending(record).ended_as == "succeeded"


def fails_to_start(scene: Scene, times: int) -> None:
    """Let the one worker of a pool that is starting die of it, and each that takes its place."""
    for _ in range(times):
        (name,) = starting(scene)
        scene.exit(scene.worker(name), 0, "no space left on device")


def test_a_pool_gets_a_worker_back_once_what_kept_it_from_starting_is_over() -> None:
    scene = Scene({"simulate": 2})
    scene.exit(scene.worker())
    fails_to_start(scene, 3)
    for waited_s in (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        scene.tick(waited_s - 0.5)
        assert starting(scene) == []
        scene.tick(0.5)
        fails_to_start(scene, 1)
    assert scene.events(PoolFailed) == []
    scene.tick(30.0)
    (name,) = starting(scene)
    scene.join(scene.worker(name))
    assert (scene.pool().ready, scene.pool().start_failures) == (2, 0)
    scene.exit(scene.worker(name))
    fails_to_start(scene, 3)
    scene.tick(1.0)
    fails_to_start(scene, 1)


@pytest.mark.parametrize("what", ["node", "pool"])
def test_nobody_is_started_late_on_a_node_or_for_a_pool_that_is_gone(what: str) -> None:
    scene = Scene({"simulate": 1})
    scene.node({"simulate": 1}, peer=NODE + 1)
    lost = scene.worker("simulate-2")
    scene.exit(lost)
    fails_to_start(scene, 3)
    if what == "node":
        scene.core.node_lost(NODE + 1, "it left", scene.now)
    else:
        scene.core.node_lost(NODE, "it left", scene.now)
        scene.core.fail_pool("simulate", "no node is left", scene.now)
    scene.settle_down()
    scene.tick(100.0)
    assert starting(scene) == []


def test_a_pool_that_gets_a_worker_back_in_a_while_has_not_failed() -> None:
    pools = {"simulate": 2, "learn": 1}
    scene = Scene(pools, settings=Settings(join_s=0.6))
    scene.exit(scene.worker())
    fails_to_start(scene, 3)
    assert scene.core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now) == ""
    record = scene.submit()
    scene.tick(0.7)
    assert scene.events(PoolFailed) == []
    scene.tick(0.3)
    (name,) = starting(scene)
    scene.join(scene.worker(name))
    assert record.state == State.RUNNING


def test_a_failed_pool_tells_why_it_failed() -> None:
    scene = Scene({"simulate": 1})
    assert scene.pool().load().failure == ""
    scene.core.fail_pool("simulate", "no node is left", scene.now)
    assert scene.pool().load().failure == "no node is left"


def test_a_worker_that_was_ready_is_replaced_whatever_befell_others() -> None:
    """A task that kills the one good worker of a pool must not end the pool."""
    scene = Scene({"simulate": 1})
    scene.node({"simulate": 1}, peer=NODE + 1, ready=False)
    for number in (2, 3, 4):
        scene.exit(scene.worker(f"simulate-{number}"))
    record = scene.submit()
    scene.exit(scene.worker(), record.run, "signal 11")
    assert starting(scene) == ["simulate-5"]
    assert record.state == State.QUEUED
    scene.exit(scene.worker("simulate-5"), 0, "it does not start any more")
    assert scene.ending(record).reason == "it does not start any more"


def test_a_failed_pool_starts_no_more_workers() -> None:
    scene = Scene({"simulate": 1})
    scene.core.fail_pool("simulate", "no node is left", scene.now)
    scene.forget()
    scene.exit(scene.worker())
    assert scene.effects(Start) == []
    assert len(scene.events(PoolFailed)) == 1


def test_a_worker_that_joins_proves_a_failed_pool_wrong() -> None:
    scene = Scene(pools=("simulate",))
    scene.core.fail_pool("simulate", "no worker joined it", scene.now)
    assert scene.ending(scene.submit()).ended_as == "lost"
    scene.node({"simulate": 1})
    record = scene.submit()
    assert record.state == State.RUNNING


def test_what_a_worker_had_when_its_pool_failed_with_it_is_lost() -> None:
    scene = Scene({"simulate": 1}, settings=Settings(start_failures=1))
    record = scene.submit()
    scene.exit(scene.worker(), record.run)
    scene.exit(scene.worker("simulate-2"), 0, "it does not start any more")
    assert scene.ending(record).reason == "it does not start any more"


def test_a_worker_that_takes_too_long_to_start_is_killed() -> None:
    scene = Scene(pools=("simulate",), settings=SETTINGS)
    scene.node({"simulate": 1}, ready=False)
    scene.tick(119.0)
    assert scene.effects(Signal) == []
    scene.tick(1.0)
    (order,) = scene.effects(Signal)
    assert (order.worker.name, order.run, order.signal) == ("simulate-1", 0, "kill")


@pytest.mark.parametrize("what", ["joined", "died"])
def test_a_worker_that_started_or_died_in_time_is_left_alone(what: str) -> None:
    scene = Scene(pools=("simulate",), settings=SETTINGS)
    scene.node({"simulate": 1}, ready=False)
    if what == "joined":
        scene.join(scene.worker())
    else:
        scene.tick(10.0)
        scene.exit(scene.worker())
    scene.tick(110.0)
    assert scene.effects(Signal) == []


# -- pools without workers ----------------------------------------------------------------------


@pytest.mark.parametrize("begin", AWKWARD)
def test_a_pool_waits_for_workers_only_so_long_at_whatever_time(begin: float) -> None:
    scene = Scene(pools=("simulate",), settings=SETTINGS, now=begin)
    record = scene.submit()
    assert scene.due("empty") == [begin + 60.0]
    scene.now = begin + 60.0
    scene.tick(0.0)
    assert scene.ending(record).reason == "no worker joined it within 60 s"
    assert len(scene.events(PoolFailed)) == 1
    assert scene.ending(scene.submit()).reason == "no worker joined it within 60 s"


def test_an_open_broker_waits_for_workers_as_long_as_it_takes() -> None:
    scene = Scene(pools=("simulate",), settings=SETTINGS, closed=False)
    record = scene.submit()
    scene.tick(1e6)
    assert record.state == State.QUEUED


def test_tasks_that_keep_coming_do_not_make_the_first_one_wait_longer() -> None:
    scene = Scene(pools=("simulate",), settings=SETTINGS)
    first = scene.submit()
    for _ in range(6):
        scene.submit()
        scene.tick(9.0)
    assert len(scene.due("empty")) == 1
    scene.tick(6.0)
    assert scene.ending(first).ended_as == "lost"


def test_a_worker_that_joins_in_time_ends_the_wait() -> None:
    scene = Scene(pools=("simulate",), settings=SETTINGS)
    first, second = scene.submit(), scene.submit()
    scene.tick(59.0)
    scene.node({"simulate": 1})
    scene.tick(100.0)
    assert first.state == State.RUNNING
    assert second.state == State.QUEUED


def test_a_worker_that_is_still_starting_ends_the_wait_too() -> None:
    scene = Scene(pools=("simulate",), settings=SETTINGS)
    record = scene.submit()
    scene.tick(59.0)
    scene.node({"simulate": 1}, ready=False)
    scene.tick(100.0)
    assert record.state == State.QUEUED


@pytest.mark.parametrize("ready", [True, False])
def test_the_wait_begins_anew_when_a_pool_loses_the_worker_it_got(ready: bool) -> None:
    scene = Scene(pools=("simulate",), settings=SETTINGS)
    record = scene.submit()
    scene.tick(30.0)
    scene.node({"simulate": 1}, ready=ready)
    scene.tick(10.0)
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.tick(59.0)
    assert record.state == State.QUEUED
    scene.tick(1.0)
    assert scene.ending(record).ended_as == "lost"


def test_a_pool_whose_only_worker_is_replaced_does_not_wait() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    scene.exit(scene.worker())
    scene.tick(100.0)
    assert scene.pool().failure == ""


def test_each_empty_pool_is_given_up_once() -> None:
    scene = Scene({"simulate": 1}, pools=("simulate", "learn"), settings=SETTINGS)
    scene.tick(10.0)
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.tick(50.0)
    assert [event.pool for event in scene.events(PoolFailed)] == ["learn"]
    scene.tick(10.0)
    assert [event.pool for event in scene.events(PoolFailed)] == ["learn", "simulate"]
    scene.tick(1000.0)
    assert len(scene.events(PoolFailed)) == 2
