"""Generator tasks are let go on by their reader, and by nobody's reading."""

from __future__ import annotations

import pytest

from steerio.core.effects import Grant, SendTask
from tests.core.scene import Scene

pytestmark = pytest.mark.borders


def grants(scene: Scene) -> list[tuple[int, int]]:
    return [(e.run, e.count) for e in scene.performed if isinstance(e, Grant)]


def test_a_grant_is_for_the_attempt_under_way() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    assert scene.core.grant(record.task_id, 3)
    scene.settle_down()
    assert grants(scene) == [(record.run, 3)]
    assert not record.unread


def test_a_grant_to_a_task_that_waits_or_has_ended_is_nobodys() -> None:
    scene = Scene({"simulate": 1})
    first, waiting = scene.submit(), scene.submit()
    assert scene.core.grant(waiting.task_id, 1)
    scene.report(first)
    assert not scene.core.grant(first.task_id, 1)
    scene.settle_down()
    assert grants(scene) == []


def test_that_nobody_reads_holds_for_all_attempts() -> None:
    scene = Scene({"simulate": 1}, now=1.0)
    record = scene.submit()
    assert scene.core.grant(record.task_id, 0)
    assert scene.core.grant(record.task_id, 1), "of an item that was on its way"
    scene.settle_down()
    scene.exit(scene.worker(), record.run)
    assert record.unread
    assert grants(scene) == [(1, 0), (1, 0)]


def test_that_nobody_reads_is_known_when_a_task_is_sent() -> None:
    scene = Scene({"simulate": 1})
    first, waiting = scene.submit(), scene.submit()
    scene.core.grant(waiting.task_id, 0)
    scene.report(first)
    assert [e.record.unread for e in scene.performed if isinstance(e, SendTask)] == [False, True]


def test_a_grant_to_a_worker_that_died_in_the_same_step_is_void() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    scene.core.grant(record.task_id, 1)
    scene.core.worker_exited(scene.worker().name, record.run, "signal 9", scene.now)
    scene.settle_down()
    assert grants(scene) == []
