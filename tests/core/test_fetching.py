"""Fetching ahead: only where that pays, each object once for each node, and never in vain."""

from __future__ import annotations

from steerio.core.effects import FetchCopies, ForgetCopies, FreeObjects
from steerio.core.lifecycle import State
from steerio.model.objects import Inputs, StoredObject
from tests.core.scene import CLIENT, NODE, Scene

MESH = StoredObject(b"mesh", 100)
MODEL = StoredObject(b"model", 1_000)
BOTH = Inputs(None, (MESH, MODEL))


def scene_of(*workers: int, wanted: bool = True) -> Scene:
    """One node for each number, with as many workers."""
    scene = Scene()
    scene.core.cluster.fetching.wanted = wanted
    for place, count in enumerate(workers):
        scene.node({"simulate": count}, peer=NODE + place)
    return scene


def fetched(scene: Scene) -> list[tuple[int, list[bytes]]]:
    """Return which node, by its place, was told to fetch what, since the scene forgot."""
    orders = scene.effects(FetchCopies)
    return [(order.node.peer - NODE, [o.name for o in order.objects]) for order in orders]


def busy(scene: Scene) -> None:
    """Give every worker a task."""
    while scene.pool().idle:
        scene.submit()
    scene.forget()


def test_nothing_is_fetched_where_the_store_is_on_the_node() -> None:
    scene = scene_of(1, wanted=False)
    busy(scene)
    scene.submit(inputs=BOTH)
    scene.measured(1e-5)
    (running, *_) = scene.core.runs.values()
    scene.report(running, run_s=1e-5)
    assert fetched(scene) == []


def test_what_starts_at_once_is_not_fetched_ahead() -> None:
    scene = scene_of(1)
    scene.submit(inputs=BOTH)
    assert fetched(scene) == []


def test_the_only_node_of_a_pool_fetches_for_what_is_queued() -> None:
    scene = scene_of(2)
    busy(scene)
    scene.submit(inputs=Inputs(MODEL, (MESH,)))
    scene.submit()
    assert fetched(scene) == [(0, [b"mesh", b"model"])]


def test_a_node_is_told_once_of_each_object() -> None:
    scene = scene_of(1)
    busy(scene)
    scene.submit(inputs=Inputs(None, (MESH,)))
    scene.submit(inputs=BOTH)
    scene.submit(inputs=BOTH)
    assert fetched(scene) == [(0, [b"mesh"]), (0, [b"model"])]


def test_several_nodes_fetch_only_what_several_need() -> None:
    scene = scene_of(1, 1)
    busy(scene)
    scene.submit(inputs=BOTH)
    assert fetched(scene) == []
    scene.submit(inputs=Inputs(None, (MESH,)))
    assert fetched(scene) == [(0, [b"mesh"]), (1, [b"mesh"])]
    scene.core.hold(MODEL, CLIENT)
    scene.submit(inputs=BOTH)
    assert fetched(scene)[2:] == [(0, [b"model"]), (1, [b"model"])]


def test_nodes_without_a_worker_of_the_pool_fetch_nothing() -> None:
    scene = Scene(pools=("simulate", "learn"), closed=False)
    scene.core.cluster.fetching.wanted = True
    scene.node({"simulate": 1})
    scene.node({"learn": 1}, peer=NODE + 1)
    busy(scene)
    scene.submit(inputs=BOTH)
    assert fetched(scene) == [(0, [b"mesh", b"model"])]


def test_a_node_fetches_what_its_worker_holds_behind_another_task() -> None:
    scene = scene_of(1, 1)
    scene.core.publish_version("model", MODEL, "trainer", scene.now)
    scene.measured(1e-5)
    busy(scene)
    (first, _) = scene.core.runs.values()
    tasks = [scene.submit(inputs=Inputs(None, (), ("model",))) for _ in range(5)]
    held_at = first.worker
    assert held_at is not None
    scene.report(first, run_s=1e-5)
    assert [record.state for record in tasks[:2]] == [State.RUNNING, State.HELD]
    assert fetched(scene) == [(held_at.node.peer - NODE, [b"model"])]


def test_a_task_that_is_tried_again_waits_as_any_other() -> None:
    scene = scene_of(1)
    record = scene.submit(inputs=BOTH, retries=scene.retries(failed=1))
    scene.submit(priority=1)
    scene.report(record, "failed")
    assert record.state == State.QUEUED
    assert fetched(scene) == [(0, [b"mesh", b"model"])]


def test_what_is_gone_is_forgotten_and_would_be_fetched_anew() -> None:
    scene = scene_of(1)
    busy(scene)
    for _ in range(2):
        record = scene.submit(inputs=Inputs(None, (MESH,)))
        scene.cancel(record)
    assert fetched(scene) == [(0, [b"mesh"]), (0, [b"mesh"])]
    assert [effect.names for effect in scene.effects(FreeObjects)] == [[b"mesh"], [b"mesh"]]
    assert [effect.names for effect in scene.effects(ForgetCopies)] == [[b"mesh"], [b"mesh"]]
    assert not scene.core.cluster.fetching._copies


def test_a_node_that_joins_later_is_told_anew() -> None:
    scene = scene_of(1)
    busy(scene)
    scene.submit(inputs=BOTH)
    scene.forget()
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.settle_down()
    scene.node({"simulate": 1}, peer=NODE + 1)
    scene.submit(inputs=BOTH)
    assert fetched(scene) == [(1, [b"mesh", b"model"])]


# -- a node fetches no more than it keeps ------------------------------------------------------


def objects(*sizes: int) -> Inputs:
    return Inputs(None, tuple(StoredObject(b"%d" % size, size) for size in sizes))


def test_a_node_is_told_of_no_more_than_it_keeps() -> None:
    scene = scene_of(1)
    scene.core.cluster.fetching.most_bytes = 100
    busy(scene)
    scene.submit(inputs=objects(60))
    scene.submit(inputs=objects(41, 40))
    scene.submit(inputs=objects(1))
    assert fetched(scene) == [(0, [b"60"]), (0, [b"40"])]


def test_what_is_gone_makes_room_for_more() -> None:
    scene = scene_of(1)
    scene.core.cluster.fetching.most_bytes = 100
    busy(scene)
    record = scene.submit(inputs=objects(60))
    scene.cancel(record)
    scene.submit(inputs=objects(61))
    assert fetched(scene) == [(0, [b"60"]), (0, [b"61"])]


def test_what_a_task_has_begun_to_use_makes_room_for_more() -> None:
    scene = scene_of(1)
    scene.core.cluster.fetching.most_bytes = 100
    busy(scene)
    (running,) = scene.core.runs.values()
    scene.submit(inputs=objects(60))
    scene.submit(inputs=objects(60))
    scene.report(running)
    scene.submit(inputs=objects(61))
    assert fetched(scene) == [(0, [b"60"]), (0, [b"61"])]
