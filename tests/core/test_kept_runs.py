"""Attempts with which workers went on while their node had no broker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from steerio.core.core import RUNS
from steerio.core.deadlines import Due
from steerio.core.effects import (
    AskToStop,
    DefineType,
    Discard,
    Expel,
    Settle,
    Signal,
    Start,
    SweepObjects,
)
from steerio.core.lifecycle import State
from steerio.core.orphans import ENDING_S
from steerio.core.records import Accounted, KeptByNode, NodeRecord, TaskRecord, WorkerRecord
from steerio.model.events import (
    NodeDrained,
    TaskEnded,
    TaskRetried,
    TaskStarted,
    WorkerJoined,
    WorkerLost,
)
from steerio.model.objects import Inputs, StoredObject
from steerio.model.settings import Settings
from steerio.model.tasks import ReportedAs, TaskSpec
from tests.core.scene import CLIENT, NODE, Scene

SETTINGS = Settings(beat_s=1.0, away_s=20.0, lease_s=5.0, start_failures=2)
RUN = RUNS + 7
"""An attempt of the broker before."""
FIRST = "simulate-1"
"""The worker that is at it."""
STORED = StoredObject(b"value", 10)


def scene_of(*pools: str) -> Scene:
    """Return a scene whose broker has the place of an earlier one."""
    scene = Scene(pools=("simulate", *pools), settings=SETTINGS)
    scene.core.begin_as(2)
    return scene


def keeping(task_id: int = 1, run: int = RUN, worker: str = FIRST) -> KeptByNode:
    return KeptByNode(worker, "simulate", task_id, run)


def comes(
    scene: Scene,
    *keeps: KeptByNode,
    offers: Mapping[str, int] | None = None,
    peer: int = NODE,
    name: str = "node",
    **joins: Any,
) -> NodeRecord:
    """Let a node come that has kept these workers."""
    offered = dict(offers or {"simulate": max(1, len(keeps))})
    node = scene.core.node_joined(
        peer, name, "host", offered, scene.now, keeps=keeps or [keeping()], **joins
    )
    assert node is not None
    scene.settle_down()
    return node


def ends(
    scene: Scene,
    ended_as: ReportedAs = "succeeded",
    stored: StoredObject | None = None,
    run: int = RUN,
    worker: str = FIRST,
) -> bool:
    """Let a worker say how the attempt ended with which it went on."""
    known = scene.core.kept_run_ended(
        scene.worker(worker), run, ended_as, 1.0, 3.0, scene.now, b"4", (), stored
    )
    scene.settle_down()
    return known


def submits(scene: Scene, record: TaskRecord) -> TaskRecord:
    """Let the client submit a task again."""
    assert scene.core.submit(record, scene.now)
    scene.settle_down()
    return record


def goes_on(scene: Scene, record: TaskRecord, worker: str = FIRST) -> bool:
    """Say whether a task runs where it did, without having been sent."""
    there = record.state == State.RUNNING and record.worker is scene.worker(worker)
    return there and record.run == RUN and not scene.sent()


def killed(scene: Scene) -> list[WorkerRecord]:
    """Return the workers that are to be killed, once for each order."""
    orders = scene.effects(Signal)
    assert {order.signal for order in orders} <= {"kill"}
    return [order.worker for order in orders]


def has(scene: Scene, record: TaskRecord) -> None:
    """Assert that a task goes on where it is, and ends as any other."""
    assert goes_on(scene, record)
    assert scene.core.kept == {}
    assert record.attempt == 1
    (joined,) = scene.events(WorkerJoined)
    (started,) = scene.events(TaskStarted)
    assert (joined.worker, joined.pid) == (FIRST, 4711)
    assert (started.task_id, started.attempt, started.worker) == (record.task_id, 1, FIRST)
    assert scene.pool().ready == 1
    assert scene.effects(DefineType) == []
    assert scene.report(record)
    assert scene.ending(record).ended_as == "succeeded"
    assert scene.worker().phase == "idle"
    after = scene.submit()
    assert after.run == 2 * RUNS + 1
    assert len(scene.effects(DefineType)) == 1, "nothing is known of what it was told before"


# -- who comes first --------------------------------------------------


def test_a_task_goes_on_where_it_is_if_the_node_comes_before_its_client() -> None:
    scene = scene_of()
    comes(scene)
    assert scene.effects(Start) == [], "the worker is there"
    scene.join(scene.worker())
    assert scene.worker().phase == "starting", "it is not known what it works on"
    assert [kept.task_id for kept in scene.core.kept.values()] == [1]
    has(scene, scene.submit())


def test_a_task_goes_on_where_it_is_if_its_client_comes_before_the_node() -> None:
    scene = scene_of()
    record = scene.submit()
    comes(scene)
    assert record.state == State.QUEUED
    scene.join(scene.worker())
    has(scene, record)


def test_a_task_goes_on_where_it_is_if_its_client_comes_before_the_word_of_its_worker() -> None:
    scene = scene_of()
    comes(scene)
    record = scene.submit()
    assert record.state == State.QUEUED
    scene.join(scene.worker())
    has(scene, record)


def test_a_worker_that_says_twice_that_it_is_there_is_let_in_once() -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    peer = scene.worker().peer
    assert scene.core.worker_joined(9, FIRST, 4711, scene.now) is None
    scene.settle_down()
    assert scene.worker().peer == peer
    assert scene.core.kept[1].worker is scene.worker()


def test_beside_a_worker_that_was_kept_the_others_are_started() -> None:
    scene = scene_of("learn")
    scene.core.expect_workers({"simulate": 2, "learn": 1}, scene.now)
    comes(scene, keeping(), offers={"simulate": 3, "learn": 1})
    started = [order.worker.name for order in scene.effects(Start)]
    assert started == ["simulate-2.1", "simulate-2.2", "learn-2.1"]
    assert scene.pool().workers == 3
    assert scene.pool().to_come == scene.pool("learn").to_come == 0


def test_a_worker_is_not_named_as_one_that_was_kept() -> None:
    scene = Scene(pools=("simulate",), settings=SETTINGS)
    scene.core.begin_as(2)
    comes(scene, keeping(worker="simulate-2.1"), offers={"simulate": 1})
    scene.node({"simulate": 1}, peer=NODE + 1)
    assert list(scene.core.workers) == ["simulate-2.1", "simulate-2.2"]


# -- what is not kept --------------------------------------------------


def discarded(scene: Scene) -> list[str]:
    return [order.worker for order in scene.effects(Discard)]


@pytest.mark.parametrize(
    "other",
    [
        keeping(2, RUN + 1),
        keeping(1, RUN + 1, "simulate-9"),
        keeping(2, RUN, "simulate-9"),
    ],
    ids=["name", "task", "attempt"],
)
@pytest.mark.parametrize("together", [True, False])
def test_of_two_that_cannot_both_be_the_first_is_kept(other: KeptByNode, together: bool) -> None:
    scene = scene_of()
    if together:
        comes(scene, keeping(), other)
    else:
        comes(scene)
        comes(scene, other, peer=NODE + 1, name="other")
    assert discarded(scene) == [other.worker]
    assert [order.node.peer for order in scene.effects(Discard)] == [NODE + (not together)]
    assert scene.core.kept[1].run == RUN
    assert len(scene.effects(Start)) == 1, "another takes its place"


@pytest.mark.parametrize("run", [0, -1, 2 * RUNS + 1], ids=["none", "negative", "to come"])
def test_an_attempt_that_no_broker_can_have_numbered_is_not_kept(run: int) -> None:
    scene = scene_of()
    comes(scene, keeping(run=run))
    assert discarded(scene) == [FIRST]
    assert scene.core.kept == {}
    assert len(scene.effects(Start)) == 1


def test_an_attempt_that_is_at_another_worker_is_not_kept() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    record = scene.submit()
    scene.forget()
    comes(scene, keeping(2, record.run, "simulate-9"), peer=NODE + 1)
    assert discarded(scene) == ["simulate-9"]
    assert record.worker is scene.worker()


def test_no_more_are_kept_than_the_node_offers() -> None:
    scene = scene_of("learn")
    more = [keeping(i, RUN + i, f"simulate-{i}") for i in (1, 2, 3)]
    elsewhere = KeptByNode("learn-1", "learn", 4, RUN + 4)
    comes(scene, *more, elsewhere, offers={"simulate": 2})
    assert discarded(scene) == ["simulate-3", "learn-1"]
    assert list(scene.core.workers) == ["simulate-1", "simulate-2"]
    assert scene.effects(Start) == []


# -- what may not go on --------------------------------------------------


def generator(scene: Scene) -> TaskRecord:
    scene.core.define(CLIENT, 99, TaskSpec("steps", "simulate", "generator"))
    return scene.task(scene.core.clients[CLIENT].types[99])


def with_latest(scene: Scene) -> TaskRecord:
    scene.core.publish_version("model", StoredObject(b"model", 10), "trainer", scene.now)
    return scene.task(inputs=Inputs(latest=("model",)))


def for_another_pool(scene: Scene) -> TaskRecord:
    return scene.task(scene.task_type("train", "learn"))


MAY_NOT_GO_ON = pytest.mark.parametrize("make", [generator, with_latest, for_another_pool])


@MAY_NOT_GO_ON
@pytest.mark.parametrize("client_first", [True, False])
def test_a_task_that_may_not_go_on_begins_again_and_its_worker_with_it(
    make: Any, client_first: bool
) -> None:
    scene = scene_of("learn")
    record = make(scene)
    if client_first:
        submits(scene, record)
    comes(scene)
    scene.join(scene.worker())
    if not client_first:
        submits(scene, record)
    assert record.state == State.QUEUED
    assert killed(scene) == [scene.worker()]
    assert scene.core.kept == {}
    assert not ends(scene), "too late"
    scene.exit(scene.worker())
    assert scene.pool().start_failures == 0
    assert [order.worker.name for order in scene.effects(Start)] == ["simulate-2.1"]
    if record.pool == "simulate":
        scene.join(scene.worker("simulate-2.1"))
        assert scene.sent() == [record]
        assert (record.attempt, record.losses) == (1, 0)


@pytest.mark.parametrize("make", [generator, with_latest])
def test_the_success_of_a_task_that_may_not_go_on_is_of_no_use(make: Any) -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    assert ends(scene, stored=STORED)
    record = submits(scene, make(scene))
    assert scene.sent() == [record], "its worker is free"
    assert STORED.name not in scene.core.held
    assert scene.core.kept == {}
    assert killed(scene) == []


# -- the end comes before the client --------------------------------------------------


@pytest.mark.parametrize("stored", [None, STORED], ids=["inline", "stored"])
def test_a_success_waits_for_its_client_while_the_worker_does_others(
    stored: StoredObject | None,
) -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    assert ends(scene, stored=stored)
    assert scene.worker().phase == "idle"
    assert scene.core.kept[1].worker is None
    first = scene.task()
    other = scene.submit()
    assert other.worker is scene.worker()
    scene.exit(scene.worker(), other.run)
    assert list(scene.core.held) == ([] if stored is None else [STORED.name])
    submits(scene, first)
    ending = scene.ending(first)
    assert (ending.ended_as, ending.body, ending.stored) == ("succeeded", b"4", stored)
    assert (ending.started, ending.ended, first.attempt) == (1.0, 3.0, 1)
    assert [e.ended_as for e in scene.events(TaskEnded)] == ["succeeded"]
    assert scene.core.kept == {}
    if stored is not None:
        assert scene.core.let_go(STORED.name, CLIENT), "its client has it now"
    scene.settle_down()
    assert list(scene.core.held) == []


def test_the_success_of_a_task_in_any_pool_is_one() -> None:
    scene = scene_of("learn")
    comes(scene)
    scene.join(scene.worker())
    ends(scene)
    record = submits(scene, for_another_pool(scene))
    assert scene.ending(record).ended_as == "succeeded"


@pytest.mark.parametrize("ended_as", ["failed", "cancelled"])
def test_an_attempt_that_failed_before_its_client_is_back_is_made_again(
    ended_as: ReportedAs,
) -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    assert not ends(scene, ended_as)
    assert scene.core.kept == {}
    assert scene.worker().phase == "idle"
    record = scene.submit()
    assert scene.sent() == [record]
    assert (record.attempt, record.failures) == (1, 0)


def test_the_end_of_another_attempt_of_a_kept_worker_is_none() -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    assert not ends(scene, run=RUN - 1)
    assert scene.core.kept[1].worker is scene.worker()
    scene.node({"simulate": 1}, peer=NODE + 1)
    assert not ends(scene, worker="simulate-2.1"), "that one was not kept"
    assert goes_on(scene, scene.submit())


def test_a_worker_that_is_free_before_its_client_is_back_is_given_what_waits() -> None:
    scene = scene_of()
    scene._tasks = 1
    comes(scene)
    scene.join(scene.worker())
    waiting = scene.submit()
    assert waiting.state == State.QUEUED
    ends(scene)
    assert waiting.worker is scene.worker()


# -- the client does not come, or wants it no more ------------------------------------------------


def test_an_attempt_whose_client_does_not_come_is_given_up() -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    scene.tick(SETTINGS.away_s - 0.1)
    assert killed(scene) == []
    scene.tick(0.1)
    assert killed(scene) == [scene.worker()]
    assert scene.core.kept == {}
    record = scene.submit()
    assert record.state == State.QUEUED
    scene.exit(scene.worker())
    scene.join(scene.worker("simulate-2.1"))
    assert scene.sent() == [record]


def test_an_attempt_whose_worker_says_nothing_is_given_up() -> None:
    scene = scene_of()
    comes(scene)
    record = scene.submit()
    scene.tick(SETTINGS.away_s)
    assert killed(scene) == [scene.worker()]
    assert record.state == State.QUEUED
    assert scene.core.kept == {}


@pytest.mark.parametrize("stored", [None, STORED], ids=["inline", "stored"])
def test_a_success_whose_client_does_not_come_is_dropped(stored: StoredObject | None) -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    ends(scene, stored=stored)
    scene.tick(SETTINGS.away_s)
    assert scene.core.kept == {}
    assert list(scene.core.held) == []
    assert killed(scene) == []
    assert scene.worker().phase == "idle"


def test_an_attempt_that_goes_on_is_not_given_up_later() -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    record = scene.submit()
    scene.tick(SETTINGS.away_s)
    assert goes_on(scene, record)


def test_a_client_has_as_long_to_come_back_each_time_that_the_node_does() -> None:
    scene = scene_of()
    comes(scene)
    scene.tick(SETTINGS.away_s / 2)
    scene.core.node_lost(NODE, "silent", scene.now)
    comes(scene, peer=NODE + 1)
    scene.join(scene.worker())
    scene.tick(SETTINGS.away_s / 2)
    assert killed(scene) == []
    scene.tick(SETTINGS.away_s / 2)
    assert killed(scene) == [scene.worker()]


@pytest.mark.parametrize("joined", [True, False])
def test_the_attempt_of_a_task_that_is_cancelled_before_it_is_submitted_is_given_up(
    joined: bool,
) -> None:
    scene = scene_of()
    comes(scene)
    if joined:
        scene.join(scene.worker())
    assert not scene.core.cancel(1, "not needed", scene.now)
    assert not scene.core.cancel(2, "not needed", scene.now)
    scene.settle_down()
    assert scene.core.kept == {}
    assert killed(scene) == [scene.worker()]
    assert scene.core.worker_joined(9, FIRST, 4711, scene.now) is None, "it is to end"
    scene.settle_down()
    scene.tick(SETTINGS.beat_s)
    assert len(killed(scene)) == 2, "orders may be lost"
    scene.exit(scene.worker())
    assert len(scene.effects(Start)) == 1


def test_a_success_that_is_not_wanted_any_more_is_dropped() -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    ends(scene, stored=STORED)
    assert not scene.core.cancel(1, "not needed", scene.now)
    scene.settle_down()
    assert scene.core.kept == {}
    assert list(scene.core.held) == []


@pytest.mark.parametrize("client_first", [True, False])
def test_a_task_that_ends_before_the_word_of_its_worker_goes_on_nowhere(client_first: bool) -> None:
    scene = scene_of()
    if client_first:
        record = scene.submit()
        comes(scene)
    else:
        comes(scene)
        record = scene.submit()
    scene.cancel(record)
    assert scene.ending(record).ended_as == "cancelled"
    scene.join(scene.worker())
    assert killed(scene) == [scene.worker()]
    assert scene.core.kept == {}


def test_a_task_that_goes_on_is_cancelled_as_any_other() -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    record = scene.submit(timeout_s=5.0)
    scene.cancel(record)
    assert [order.run for order in scene.effects(AskToStop)] == [RUN]
    scene.report(record, "cancelled")
    assert scene.ending(record).ended_as == "cancelled"


# -- workers and nodes that end --------------------------------------------------


@pytest.mark.parametrize("joined", [True, False])
def test_a_kept_worker_that_ends_is_replaced_and_is_no_start_that_failed(joined: bool) -> None:
    scene = scene_of()
    comes(scene)
    scene.pool().start_failures = SETTINGS.start_failures
    if joined:
        scene.join(scene.worker())
    scene.exit(scene.worker(), RUN)
    assert scene.pool().start_failures == SETTINGS.start_failures
    assert scene.pool().failure == ""
    assert scene.core.kept == {}
    assert [event.task_id for event in scene.events(WorkerLost)] == [None]
    record = scene.submit()
    scene.join(scene.worker("simulate-2.1"))
    assert scene.sent() == [record]


def test_a_task_whose_kept_worker_ends_before_its_word_goes_elsewhere() -> None:
    scene = scene_of()
    record = scene.submit()
    comes(scene, offers={"simulate": 2})
    scene.exit(scene.worker(), RUN)
    scene.join(scene.worker("simulate-2.1"))
    assert scene.sent() == [record]
    assert (record.attempt, record.losses) == (1, 0)


def test_a_task_that_went_on_is_lost_with_its_worker_as_any_other() -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    record = scene.submit()
    scene.exit(scene.worker(), RUN)
    (retried,) = scene.events(TaskRetried)
    assert (retried.task_id, retried.attempt) == (record.task_id, 1)
    assert (record.losses, record.kills) == (1, 1)


def test_a_node_that_is_lost_takes_its_kept_workers_with_it() -> None:
    scene = scene_of()
    comes(scene, keeping(), keeping(2, RUN + 1, "simulate-2"))
    scene.join(scene.worker())
    there = scene.worker().peer
    scene.core.node_lost(NODE, "silent", scene.now)
    scene.settle_down()
    assert scene.core.kept == {}
    assert scene.roster.workers == {}
    assert scene.pool().start_failures == 0
    assert [order.peer for order in scene.effects(Expel)] == [there, NODE]
    record = scene.submit()
    scene.node({"simulate": 1}, peer=NODE + 1)
    assert scene.sent() == [record]


def test_a_success_outlives_the_node_that_told_of_it() -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    ends(scene, stored=STORED)
    scene.core.node_lost(NODE, "silent", scene.now)
    scene.settle_down()
    assert scene.ending(scene.submit()).ended_as == "succeeded"


def test_a_kept_worker_that_cannot_be_read_is_killed_and_its_task_begins_again() -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    worker = scene.worker()
    scene.core.unreadable(worker.peer, "it cannot be read", scene.now)
    scene.settle_down()
    assert [order.peer for order in scene.effects(Expel)] == [worker.peer]
    assert killed(scene) == [worker]
    record = scene.submit()
    assert record.state == State.QUEUED
    assert scene.core.kept == {}
    assert killed(scene) == [worker], "it is being killed"
    scene.exit(worker)
    assert scene.pool().start_failures == 0
    scene.join(scene.worker("simulate-2.1"))
    assert scene.sent() == [record]


def test_a_kept_worker_that_cannot_be_read_is_over_though_its_node_does_not_say_so() -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    scene.core.unreadable(scene.worker().peer, "it cannot be read", scene.now)
    for _ in range(int(SETTINGS.away_s) + 1):
        scene.tick(SETTINGS.beat_s)
    assert list(scene.core.workers) == ["simulate-2.1"]
    assert scene.core.kept == {}


def test_words_that_were_lost_say_nothing_of_a_kept_worker() -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    for said in ({}, {FIRST: Accounted(frozenset(), RUN, True)}):
        scene.core.accounted(NODE, scene.now, said, scene.now, orders_lost=True)
        scene.settle_down()
    assert goes_on(scene, scene.submit())


def test_what_a_worker_has_made_that_is_back_in_time_stays() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    record = scene.submit()
    comes(scene, away(scene, record), peer=NODE + 1)
    scene.join(scene.worker())
    scene.forget()
    scene.tick(2 * SETTINGS.lease_s + ENDING_S)
    assert scene.effects(SweepObjects) == []
    assert record.worker is scene.worker()


def test_a_worker_is_not_kept_that_is_back_after_what_it_has_made_was_removed() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    kept = away(scene, scene.submit())
    scene.tick(2 * SETTINGS.lease_s + ENDING_S)
    assert [order.makers for order in scene.effects(SweepObjects)] == [[FIRST]]
    comes(scene, kept, peer=NODE + 1)
    assert discarded(scene) == [FIRST]


# -- nodes that are left --------------------------------------------------


def drain(scene: Scene, within_s: float | None = None, node: str = "node") -> None:
    assert scene.core.drain(CLIENT, 1, node, scene.now, within_s=within_s) == ""
    scene.settle_down()


def test_a_task_goes_on_where_it_is_though_that_node_is_drained() -> None:
    scene = scene_of()
    comes(scene)
    drain(scene)
    scene.join(scene.worker())
    record = scene.submit()
    assert goes_on(scene, record)
    scene.report(record)
    assert scene.worker().phase == "retiring"
    scene.exit(scene.worker())
    assert len(scene.events(NodeDrained)) == 1


def test_a_kept_worker_of_a_drained_node_leaves_when_it_is_free() -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    drain(scene)
    assert ends(scene)
    assert scene.worker().phase == "retiring"
    assert scene.ending(scene.submit()).ended_as == "succeeded"


@pytest.mark.parametrize("joined", [True, False])
def test_a_node_that_is_to_be_drained_by_now_waits_for_no_client(joined: bool) -> None:
    scene = scene_of()
    comes(scene, keeping(), offers={"simulate": 2})
    if joined:
        scene.join(scene.worker())
    drain(scene, within_s=1.0)
    assert list(scene.core.kept) == [1]
    scene.tick(1.0)
    assert killed(scene) == [scene.worker()]
    record = scene.submit()
    assert record.state == State.QUEUED
    scene.exit(scene.worker())
    scene.join(scene.worker("simulate-2.1"))
    scene.exit(scene.worker("simulate-2.1"))
    assert len(scene.events(NodeDrained)) == 1


def test_a_task_that_went_on_is_stopped_when_its_node_is_to_be_drained() -> None:
    scene = scene_of()
    comes(scene)
    scene.join(scene.worker())
    record = scene.submit()
    drain(scene, within_s=0.0)
    scene.tick(0.0)
    assert record.state == State.STOPPING
    scene.report(record, "cancelled")
    assert record.state == State.QUEUED


# -- moves --------------------------------------------------


@pytest.mark.parametrize("how", ["drain", "preempt"])
def test_a_worker_that_is_wanted_elsewhere_at_once_does_not_go_on(how: Any) -> None:
    scene = scene_of("learn")
    comes(scene)
    assert scene.core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now, how=how) == ""
    scene.join(scene.worker())
    record = scene.submit()
    assert record.state == (State.STOPPING if how == "preempt" else State.RUNNING)
    scene.report(record, "cancelled" if how == "preempt" else "succeeded")
    assert scene.worker().pool == "learn"


# -- a broker that knows the task --------------------------------------------------


def away(scene: Scene, record: TaskRecord) -> KeptByNode:
    """Let the node of a running task be lost, which goes on with it."""
    run = record.run
    scene.core.node_lost(NODE, "silent", scene.now)
    scene.settle_down()
    scene.forget()
    return keeping(record.task_id, run)


def test_a_task_that_is_queued_again_goes_on_where_it_was() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    record = scene.submit()
    kept = away(scene, record)
    comes(scene, kept, peer=NODE + 1)
    scene.join(scene.worker())
    assert record.state == State.RUNNING
    assert (record.run, record.attempt, record.losses) == (kept.run, 2, 1)
    assert scene.sent() == []
    scene.report(record)
    assert scene.ending(record).ended_as == "succeeded"


def test_of_a_task_that_runs_elsewhere_by_then_the_kept_attempt_is_given_up() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    record = scene.submit()
    kept = away(scene, record)
    scene.node({"simulate": 1}, peer=NODE + 1)
    elsewhere = record.worker
    assert elsewhere is scene.worker("simulate-2")
    scene.forget()
    comes(scene, kept, peer=NODE + 2)
    scene.join(scene.worker())
    assert killed(scene) == [scene.worker()]
    assert record.worker is elsewhere
    assert scene.core.kept == {}


def test_of_a_task_that_has_ended_the_kept_attempt_ends_with_the_patience_for_clients() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    record = scene.submit(retries=scene.retries(lost=0))
    kept = away(scene, record)
    assert scene.ending(record).ended_as == "lost"
    comes(scene, kept, peer=NODE + 1)
    scene.join(scene.worker())
    assert list(scene.core.kept) == [record.task_id], "a client that was lost may come back"
    scene.tick(SETTINGS.away_s)
    assert killed(scene) == [scene.worker()]
    assert len(scene.endings[record.task_id]) == 1


def test_a_task_that_waits_in_another_pool_by_then_does_not_go_on() -> None:
    scene = Scene({"simulate": 1}, pools=("simulate", "learn"), settings=SETTINGS)
    record = scene.submit()
    comes(scene, away(scene, record), peer=NODE + 1)
    assert scene.core.reassign([record.task_id], "learn", scene.now) == 1
    scene.join(scene.worker())
    assert record.state == State.QUEUED
    assert killed(scene) == [scene.worker()]


# -- numbers, names and deadlines --------------------------------------------------


def test_a_later_broker_gives_out_no_attempt_nor_name_of_an_earlier_one() -> None:
    names, runs = set[str](), set[int]()
    for incarnation in (1, 2, 3):
        scene = Scene(pools=("simulate",))
        if incarnation > 1:
            scene.core.begin_as(incarnation)
        scene.node({"simulate": 2})
        names |= scene.core.workers.keys()
        runs |= {scene.submit().run for _ in range(2)}
    assert sorted(names) == [f"simulate-{n}{i}" for n in ("", "2.", "3.") for i in (1, 2)]
    assert len(runs) == 6
    assert {run // RUNS for run in runs} == {0, 2, 3}


def test_the_patience_for_a_client_is_kept_when_deadlines_are_swept() -> None:
    scene = scene_of()
    comes(scene, keeping(), keeping(2, RUN + 1, "simulate-2"))
    for name in (FIRST, "simulate-2"):
        scene.join(scene.worker(name))
    scene.submit()
    for _ in range(2_000):
        scene.core.cluster.look_later(1e6, Due.TIMEOUT, 4711)
    scene.settle_down()
    assert len(scene.due("kept")) == 1, "that of the task that goes on is gone"


def test_kept_attempts_are_shown_and_leave_no_trace() -> None:
    scene = scene_of()
    shown = scene.core.kept
    comes(scene)
    assert list(shown) == [1]
    scene.join(scene.worker())
    scene.report(scene.submit())
    assert not shown
    assert not scene.core.cluster.kept_by_worker
    assert len(scene.effects(Settle)) == 1


def test_a_broker_may_want_no_attempts_that_it_has_given_up_itself() -> None:
    scene = scene_of()
    scene.core.cluster.keeps_own = False
    comes(scene, keeping(1, run=2 * RUNS + 1), keeping(2, worker="simulate-9"))
    assert list(scene.core.kept) == [2]
    assert [effect.worker for effect in scene.effects(Discard)] == [FIRST]
