"""A task type is known while a client knows it or a task of it has not ended, and no longer."""

from __future__ import annotations

from typing import Any

import pytest

from steerio.core.effects import UndefineTypes
from steerio.core.records import TypeRecord, WorkerRecord
from steerio.model.tasks import TaskSpec
from tests.core.scene import CLIENT, Scene

pytestmark = pytest.mark.borders

OTHER = 2


def shipped(number: int) -> TaskSpec:
    """Return what a function by value is, holding something else each time."""
    return TaskSpec("energy", "simulate", code=b"%d" % number)


def define(scene: Scene, number: int, spec: TaskSpec, client: int = CLIENT) -> TypeRecord:
    """Let a client call a type by a number."""
    scene.core.define(client, number, spec)
    return scene.core.clients[client].types[number]


def forget(scene: Scene, *numbers: int, client: int = CLIENT) -> None:
    """Let a client forget what it called by these numbers."""
    scene.core.forget_types(client, numbers)
    scene.settle_down()


def told_of(worker: WorkerRecord, kind: TypeRecord) -> None:
    """Pretend that a worker was told of a type."""
    worker.known_types[kind.type_id] = kind
    kind.told[worker] = None


def told(scene: Scene) -> list[tuple[str, list[int]]]:
    """Return which worker was told to forget what."""
    return [(effect.worker.name, effect.types) for effect in scene.effects(UndefineTypes)]


def test_a_type_that_its_client_forgets_is_forgotten_by_the_workers_that_were_sent_it() -> None:
    scene = Scene({"simulate": 2})
    first, second = define(scene, 1, shipped(1)), define(scene, 2, shipped(2))
    for name, kind in (("1", first), ("1", second), ("2", second)):
        told_of(scene.worker(f"simulate-{name}"), kind)
    forget(scene, 1, 2, 77)
    assert told(scene) == [
        ("simulate-1", [first.type_id, second.type_id]),
        ("simulate-2", [second.type_id]),
    ]
    assert not any(worker.known_types for worker in scene.roster.workers.values())
    assert len(scene.core.cluster.types) == 0


def test_a_type_stays_until_its_tasks_have_ended_and_both_clients_have_forgotten_it() -> None:
    scene = Scene({"simulate": 1})
    scene.core.client_joined(OTHER, "other", watched=False, now=scene.now)
    kind = define(scene, 1, shipped(1))
    assert define(scene, 9, shipped(1), OTHER) is kind
    told_of(scene.worker(), kind)
    task = scene.submit(kind)
    forget(scene, 1)
    forget(scene, 9, client=OTHER)
    assert len(scene.core.cluster.types) == 1
    assert told(scene) == []
    again = define(scene, 2, shipped(1))
    assert again is kind, "it is the same as long as it is there"
    forget(scene, 2)
    scene.report(task)
    assert told(scene) == [("simulate-1", [kind.type_id])]
    assert len(scene.core.cluster.types) == 0


def test_a_type_that_a_client_calls_by_two_numbers_is_forgotten_with_the_second_and_once() -> None:
    scene = Scene({"simulate": 1})
    kind = define(scene, 1, shipped(1))
    assert define(scene, 2, shipped(1)) is kind
    told_of(scene.worker(), kind)
    forget(scene, 1)
    assert told(scene) == []
    assert define(scene, 3, shipped(1)) is kind
    forget(scene, 2, 3)
    assert told(scene) == [("simulate-1", [kind.type_id])]
    assert len(scene.core.cluster.types) == 0


def test_a_client_that_leaves_leaves_no_type_behind() -> None:
    scene = Scene({"simulate": 1})
    for number in range(5):
        scene.submit(define(scene, number, shipped(number)))
    scene.core.client_left(CLIENT, "it left", scene.now)
    scene.settle_down()
    assert len(scene.core.cluster.types) == 1, "that of the running task, which is being stopped"


def test_a_number_that_is_used_again_means_another_type() -> None:
    scene = Scene({"simulate": 1})
    define(scene, 1, shipped(1))
    second = define(scene, 1, shipped(2))
    assert list(scene.core.cluster.types) == [second]
    assert define(scene, 1, shipped(2)) is second
    assert (second.clients, len(scene.core.cluster.types)) == (1, 1)


def test_a_function_shipped_anew_is_expected_to_take_as_long_as_before() -> None:
    scene = Scene({"simulate": 1})
    define(scene, 1, shipped(1)).mean_s = 0.25
    assert define(scene, 2, shipped(2)).mean_s == 0.25
    forget(scene, 1)
    assert define(scene, 3, shipped(3)).mean_s == 0.25, "the newest is asked"
    forget(scene, 2, 3)
    assert define(scene, 4, shipped(4)).mean_s < 0


def test_types_whose_durations_are_looked_at_make_room_for_others() -> None:
    scene = Scene({})
    scene.node({"simulate": 1}, walltime_s=1_000_000.0)
    queue = scene.pool().backlog
    for number in range(200):
        kind = define(scene, 1, shipped(number))
        task = scene.submit(kind)
        scene.report(task)
    remembered: Any = queue._types
    assert len(remembered) <= 1
