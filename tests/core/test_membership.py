"""Who comes, who goes, and what is lost when they do."""

from __future__ import annotations

import pytest

from steerio.core.effects import Expel, Signal, Start
from steerio.core.lifecycle import State
from steerio.model.events import (
    ClientLost,
    NodeJoined,
    NodeLost,
    PoolChanged,
    TaskStarted,
    WorkerJoined,
    WorkerLost,
)
from steerio.model.settings import Settings
from tests.core.scene import CLIENT, NODE, Scene

SETTINGS = Settings(beat_s=1.0, lease_s=15.0, away_s=60.0, start_s=120.0, join_s=60.0)

AWKWARD = [0.0, 0.1, 1.4, 4.1, 1 / 3, 12345.678]
"""Times at which adding seconds and taking them away again is not exact."""


# -- nodes ----------------------------------------------------------------------------------


def test_a_node_that_joins_is_told_to_start_its_workers() -> None:
    scene = Scene(pools=("simulate", "learn"))
    scene.node({"simulate": 2, "learn": 1}, ready=False)
    started = scene.effects(Start)
    assert [order.worker.name for order in started] == ["simulate-1", "simulate-2", "learn-1"]
    assert {order.node.peer for order in started} == {NODE}
    (joined,) = scene.events(NodeJoined)
    assert (joined.node, joined.host, joined.workers) == (
        "node",
        "host",
        {"simulate": 2, "learn": 1},
    )


def test_a_node_for_a_pool_that_cannot_be_is_not_let_in() -> None:
    scene = Scene(pools=("simulate",))
    workers = {"simulate": 1, "nowhere": 1}
    assert scene.core.node_joined(NODE, "node", "host", workers, 0.0) is None
    scene.settle_down()
    assert scene.roster.nodes == {}
    assert scene.performed == []


def test_a_peer_is_one_node_however_often_it_says_so() -> None:
    scene = Scene({"simulate": 1})
    assert scene.core.node_joined(NODE, "again", "host", {"simulate": 1}, 0.0) is None
    scene.settle_down()
    assert list(scene.roster.nodes) == ["node"]


def test_a_worker_that_joins_gets_to_work() -> None:
    scene = Scene(pools=("simulate",))
    record = scene.submit()
    scene.node({"simulate": 1}, ready=False)
    assert record.state == State.QUEUED
    scene.join(scene.worker())
    assert record.state == State.RUNNING
    joined, changed, started = scene.recorded[-3:]
    assert isinstance(joined, WorkerJoined)
    assert (joined.worker, joined.pool, joined.node, joined.pid) == (
        "simulate-1",
        "simulate",
        "node",
        4711,
    )
    assert isinstance(changed, PoolChanged)
    assert changed.workers == 1
    assert isinstance(started, TaskStarted)


@pytest.mark.parametrize("name", ["simulate-1", "nobody"])
def test_a_worker_that_nobody_waits_for_is_not_let_in(name: str) -> None:
    scene = Scene({"simulate": 1})
    assert scene.core.worker_joined(9, name, 1, 0.0) is None
    scene.settle_down()
    assert scene.pool().ready == 1


def test_a_lost_node_takes_its_workers_with_it() -> None:
    scene = Scene({"simulate": 2})
    record = scene.submit()
    peers = {worker.peer for worker in scene.roster.workers.values()}
    scene.forget()
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.settle_down()
    assert scene.roster.workers == {}
    assert [event.reason for event in scene.events(NodeLost)] == ["it left"]
    lost = scene.events(WorkerLost)
    assert [event.reason for event in lost] == ["its node was lost: it left"] * 2
    assert sorted(event.task_id or 0 for event in lost) == [0, record.task_id]
    assert scene.events(PoolChanged)[-1].workers == 0
    assert {order.peer for order in scene.effects(Expel)} == {NODE, *peers}


def test_a_worker_that_was_told_to_end_is_not_counted_twice_when_its_node_is_lost() -> None:
    scene = Scene({"simulate": 1})
    assert scene.core.drain(CLIENT, 1, "node", scene.now) == ""
    scene.settle_down()
    assert [event.workers for event in scene.events(PoolChanged)][-1] == 0
    told = len(scene.events(PoolChanged))
    scene.core.node_lost(NODE, "power", scene.now)
    scene.settle_down()
    assert len(scene.events(PoolChanged)) == told
    assert scene.events(WorkerLost) == []
    assert scene.roster.workers == {}


def test_workers_that_had_not_joined_need_not_be_sent_away() -> None:
    scene = Scene(pools=("simulate",))
    scene.node({"simulate": 3}, ready=False)
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.settle_down()
    assert [order.peer for order in scene.effects(Expel)] == [NODE]


def test_a_lost_node_says_nothing_about_how_workers_start() -> None:
    scene = Scene(pools=("simulate",))
    scene.node({"simulate": 5}, ready=False)
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.settle_down()
    assert scene.pool().start_failures == 0
    assert scene.pool().failure == ""


def test_a_node_is_lost_once() -> None:
    scene = Scene({"simulate": 1})
    for _ in range(2):
        scene.core.node_lost(NODE, "it left", scene.now)
        scene.settle_down()
    assert len(scene.events(NodeLost)) == 1


def test_losing_one_node_leaves_the_other_at_work() -> None:
    scene = Scene({"simulate": 1})
    scene.node({"simulate": 1}, peer=NODE + 1)
    one, other = scene.submit(), scene.submit()
    assert other.worker is not None
    assert one.worker is not None
    scene.core.node_lost(other.worker.node.peer, "it left", scene.now)
    scene.settle_down()
    assert one.state == State.RUNNING
    assert other.state == State.QUEUED
    scene.report(one)
    assert other.state == State.RUNNING


# -- leases -----------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", AWKWARD)
def test_a_silent_node_is_lost_after_its_lease_at_whatever_time(begin: float) -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS, now=begin)
    scene.silent.add(NODE)
    scene.now = scene.core.next_look or 0.0
    scene.tick(0.0)
    assert scene.events(NodeLost)[0].reason == "silent for 15 s"


def test_a_node_that_beats_is_not_lost() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    scene.silent.add(NODE)
    for _ in range(100):
        scene.core.heard(NODE, scene.now)
        scene.tick(14.0)
    assert scene.events(NodeLost) == []
    scene.tick(1.0)
    assert len(scene.events(NodeLost)) == 1


def test_the_lease_of_a_node_that_left_ends_quietly() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.tick(1000.0)
    assert len(scene.events(NodeLost)) == 1
    assert len(scene.core.cluster.deadlines) == 0


def test_a_node_is_not_lost_at_once_for_its_silence_while_words_wait() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    scene.silent.add(NODE)
    scene.tick(15.0, words_wait=True)
    scene.core.heard(NODE, scene.now)
    scene.tick(14.0, words_wait=True)
    assert scene.events(NodeLost) == []


def test_a_silent_node_is_lost_a_beat_later_though_others_never_pause() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    scene.silent.add(NODE)
    for _ in range(2):
        assert scene.events(NodeLost) == []
        scene.tick(15.0, words_wait=True)
    assert len(scene.events(NodeLost)) == 1


def test_tasks_are_stopped_on_time_though_words_wait() -> None:
    scene = Scene({"simulate": 1}, settings=SETTINGS)
    record = scene.submit(timeout_s=0.5, cancel_grace_s=0.2)
    for seconds in (0.5, 0.2, 0.2):
        scene.tick(seconds, words_wait=True)
    assert [order.signal for order in scene.effects(Signal)] == ["term", "kill"]
    assert record.out_of_time


@pytest.mark.parametrize("begin", AWKWARD)
def test_a_silent_client_is_lost_after_its_lease_at_whatever_time(begin: float) -> None:
    scene = Scene(settings=SETTINGS, now=begin)
    scene.core.client_joined(2, "other", watched=True, now=begin)
    scene.now = scene.core.next_look or 0.0
    scene.tick(0.0)
    assert [event.client for event in scene.events(ClientLost)] == ["other"]
    assert [order.peer for order in scene.effects(Expel)] == [2]
    assert list(scene.core.clients) == [CLIENT]


def test_a_client_that_beats_is_not_lost() -> None:
    scene = Scene(settings=SETTINGS)
    scene.core.client_joined(2, "other", watched=True, now=0.0)
    for _ in range(10):
        scene.core.heard(2, scene.now)
        scene.tick(14.0)
    assert 2 in scene.core.clients


def test_a_client_that_is_not_watched_may_be_silent() -> None:
    scene = Scene(settings=SETTINGS)
    scene.tick(1e6)
    assert CLIENT in scene.core.clients


def test_the_lease_of_a_client_that_left_ends_quietly() -> None:
    scene = Scene(settings=SETTINGS)
    scene.core.client_joined(2, "other", watched=True, now=0.0)
    scene.core.client_left(2, "it left", 0.0)
    scene.tick(1000.0)
    assert len(scene.events(ClientLost)) == 1
    assert scene.effects(Expel) == []


def test_a_client_that_joins_twice_is_the_same_client() -> None:
    scene = Scene(settings=SETTINGS)
    client = scene.core.clients[CLIENT]
    scene.core.client_joined(CLIENT, "again", watched=True, now=0.0)
    scene.tick(1000.0)
    assert scene.core.clients[CLIENT] is client


def test_a_stranger_may_say_what_it_likes() -> None:
    scene = Scene()
    scene.core.heard(4711, 0.0)
    scene.settle_down()
    assert scene.recorded == []
