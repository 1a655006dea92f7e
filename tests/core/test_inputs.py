"""Tasks with objects in the store: held from submission to the end, freed right after it."""

from __future__ import annotations

import pytest

from steerio.core import attempts
from steerio.core.effects import FreeObjects, Settle, SweepObjects
from steerio.core.lifecycle import State
from steerio.core.newest_versions import VersionWaiter
from steerio.core.orphans import ENDING_S
from steerio.core.records import TaskRecord
from steerio.model.events import TaskEnded
from steerio.model.objects import Inputs, StoredObject, Version
from steerio.model.tasks import ReportedAs
from tests.core.scene import CLIENT, NODE, Scene

OTHER = 2
FRAMES = StoredObject(b"frames", 10)
MESH = StoredObject(b"mesh", 100)
VALUE = StoredObject(b"value", 20)
INPUTS = Inputs(FRAMES, (MESH,))


class Stored(Scene):
    """A scene that knows what was freed."""

    @property
    def freed(self) -> list[bytes]:
        """The objects that were freed since `forget`, each once."""
        return [name for effect in self.effects(FreeObjects) for name in effect.names]

    @property
    def swept(self) -> list[str]:
        """The makers after whom it was swept since `forget`."""
        return [maker for effect in self.effects(SweepObjects) for maker in effect.makers]

    @property
    def held(self) -> set[bytes]:
        """The objects that are held."""
        return set(self.core.held)

    def publish(self, number: int, name: str = "model") -> StoredObject:
        """Publish an object that nobody else has."""
        stored = StoredObject(b"%s %d" % (name.encode(), number), 1_000)
        self.core.publish_version(name, stored, "client", self.now)
        assert self.core.cluster.versions.newest[name] == Version(number, stored)
        self.settle_down()
        return stored

    def let_go(self, stored: StoredObject, client: int = CLIENT) -> None:
        """Let a client need an object no more."""
        assert self.core.let_go(stored.name, client)
        self.settle_down()


def taken(record: TaskRecord) -> dict[str, int]:
    """Return the numbers of the versions that a task's attempt was given."""
    return {name: version.number for name, version in (record.versions or {}).items()}


# -- inputs -------------------------------------------------------------------------------


@pytest.mark.parametrize("ended_as", ["succeeded", "failed", "cancelled"])
def test_a_tasks_inputs_are_held_until_it_has_ended(ended_as: ReportedAs) -> None:
    scene = Stored({"simulate": 1})
    waiting, record = scene.submit(), scene.submit(inputs=INPUTS)
    assert scene.held == {b"frames", b"mesh"}
    scene.report(waiting)
    assert scene.held == {b"frames", b"mesh"}
    scene.report(record, ended_as)
    assert scene.held == set()
    assert scene.freed == [b"mesh", b"frames"]


def test_a_client_may_let_go_of_what_its_tasks_still_need() -> None:
    scene = Stored({"simulate": 1})
    scene.core.hold(MESH, CLIENT)
    first = scene.submit(inputs=Inputs(None, (MESH,)))
    second = scene.submit(inputs=Inputs(None, (MESH, MESH)))
    scene.let_go(MESH)
    scene.report(first)
    assert not scene.freed
    scene.report(second)
    assert scene.freed == [b"mesh"]


def test_a_retry_still_finds_its_inputs() -> None:
    scene = Stored({"simulate": 1})
    record = scene.submit(inputs=INPUTS, retries=scene.retries(failed=2))
    for _ in range(2):
        scene.report(record, "failed")
        assert scene.held == {b"frames", b"mesh"}
    assert record.attempt == 3
    scene.report(record, "failed")
    assert scene.held == set()


def test_a_task_that_timed_out_keeps_its_inputs_for_the_next_try() -> None:
    scene = Stored({"simulate": 1})
    retries = scene.retries(timed_out=1)
    record = scene.submit(inputs=INPUTS, timeout_s=1.0, retries=retries)
    for held in ({b"frames", b"mesh"}, set[bytes]()):
        scene.tick(1.0)
        assert record.state == State.STOPPING
        scene.report(record, "cancelled")
        assert scene.held == held
    assert scene.ending(record).ended_as == "timed_out"


def test_a_task_outlives_its_worker_and_its_node_with_its_inputs() -> None:
    scene = Stored({"simulate": 1})
    record = scene.submit(inputs=INPUTS, retries=scene.retries(lost=2))
    lost = scene.worker()
    scene.exit(lost, record.run)
    assert scene.swept == [lost.name]
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.settle_down()
    assert record.state == State.QUEUED
    scene.node({"simulate": 1}, peer=NODE + 1)
    assert record.state == State.RUNNING
    assert not scene.freed
    scene.exit(next(iter(scene.roster.workers.values())), record.run)
    scene.core.node_lost(NODE + 1, "it left", scene.now)
    scene.tick(scene.settings.join_s)
    assert scene.ending(record).ended_as == "lost"
    assert scene.held == set()


def test_what_was_recalled_or_preempted_keeps_its_inputs() -> None:
    scene = Stored({"simulate": 1})
    first, second = scene.holding(2, inputs=INPUTS)
    assert scene.give_back(second)
    attempts.preempt(scene.core.cluster, first, "its worker is to go", scene.now)
    scene.report(first, "cancelled")
    assert {first.state, second.state} == {State.RUNNING, State.QUEUED}
    assert scene.held == {b"frames", b"mesh"}
    for _ in range(2):
        (running,) = scene.core.runs.values()
        scene.report(running)
    assert scene.held == set()


def test_a_task_that_is_not_even_queued_frees_what_came_with_it() -> None:
    scene = Stored({"simulate": 1})
    stray = scene.submit(scene.task_type("stray", "nowhere"), inputs=INPUTS)
    assert scene.ending(stray).ended_as == "lost"
    assert scene.freed == [b"mesh", b"frames"]
    scene.forget()
    scene.core.fail_pool("simulate", "its workers die", scene.now)
    scene.settle_down()
    scene.submit(inputs=INPUTS)
    assert scene.freed == [b"mesh", b"frames"]


def test_a_repeated_task_frees_only_what_is_its_own() -> None:
    scene = Stored({"simulate": 1})
    record = scene.submit(inputs=INPUTS)
    again = scene.task(inputs=Inputs(VALUE, (MESH,)))
    again.task_id = record.task_id
    for repeated in (again, record):
        assert not scene.core.submit(repeated, scene.now)
        scene.settle_down()
    without = scene.task(inputs=Inputs(None, (MESH,)))
    without.task_id = record.task_id
    assert not scene.core.submit(without, scene.now)
    scene.settle_down()
    assert scene.freed == [b"value"]
    assert scene.held == {b"frames", b"mesh"}


# -- clients ------------------------------------------------------------------------------


def test_what_a_client_leaves_behind_lives_as_long_as_its_running_tasks() -> None:
    scene = Stored({"simulate": 1})
    scene.core.client_joined(OTHER, "other", watched=False, now=scene.now, maker="client1")
    scene.core.define(OTHER, 1, scene.task_type().spec)
    scene.core.hold(VALUE, OTHER)
    scene.core.hold(MESH, OTHER)
    running = scene.submit(client=OTHER, inputs=Inputs(None, (MESH,)))
    queued = scene.submit(client=OTHER, inputs=INPUTS)
    scene.core.client_left(OTHER, "it left", scene.now)
    scene.settle_down()
    assert scene.ending(queued).ended_as == "cancelled"
    assert scene.freed == [b"value", b"frames"]
    assert scene.held == {b"mesh"}
    late = StoredObject(b"late", 5)
    scene.report(running, "succeeded", stored=late)
    assert scene.freed == [b"value", b"frames", b"mesh", b"late"]
    assert scene.held == set()
    scene.tick(2 * scene.settings.lease_s + ENDING_S)
    assert scene.swept == ["client1"]


def test_a_client_that_put_nothing_is_not_swept_after() -> None:
    scene = Stored({"simulate": 1})
    scene.core.client_left(CLIENT, "it left", scene.now)
    scene.tick(2 * scene.settings.lease_s + ENDING_S)
    assert scene.swept == []


def test_it_is_swept_after_those_whose_end_nobody_saw_when_they_must_be_over() -> None:
    scene = Stored({"simulate": 2})
    names = list(scene.roster.workers)
    lease_s = scene.settings.lease_s
    scene.core.client_joined(OTHER, "other", watched=False, now=scene.now, maker="client:1")
    scene.core.node_lost(NODE, "silent for too long", scene.now)
    scene.tick(lease_s)
    scene.core.client_left(OTHER, "silent for too long", scene.now)
    scene.tick(lease_s + ENDING_S - 0.1)
    assert scene.swept == []
    scene.tick(0.1)
    assert scene.swept == names
    scene.tick(lease_s)
    assert scene.swept == [*names, "client:1"]


def test_it_is_swept_at_once_after_a_worker_whose_end_its_node_saw() -> None:
    scene = Stored({"simulate": 1})
    scene.exit(scene.worker("simulate-1"))
    assert scene.swept == ["simulate-1"]
    scene.tick(3 * scene.settings.lease_s + ENDING_S)
    assert scene.swept == ["simulate-1"]


# -- values -------------------------------------------------------------------------------


def test_a_value_in_the_store_is_held_for_its_client() -> None:
    scene = Stored({"simulate": 1})
    record = scene.submit()
    scene.report(record, stored=VALUE)
    assert scene.ending(record).stored == VALUE
    assert scene.held == {b"value"}
    assert not scene.freed
    scene.let_go(VALUE)
    assert scene.freed == [b"value"]


def test_a_value_may_be_one_of_the_inputs() -> None:
    scene = Stored({"simulate": 1})
    record = scene.submit(inputs=INPUTS)
    scene.report(record, stored=MESH)
    assert scene.freed == [b"frames"]
    scene.let_go(MESH)
    assert scene.freed == [b"frames", b"mesh"]


def test_the_value_of_an_attempt_that_counts_for_nothing_is_freed() -> None:
    scene = Stored({"simulate": 1})
    record = scene.submit(retries=scene.retries(failed=1))
    values = [StoredObject(b"value %d" % n, 1) for n in range(4)]
    scene.report(record, "failed", stored=values[0])  # is tried again
    scene.report(record, "failed", stored=values[1])
    assert scene.ending(record).stored is None
    assert not scene.report(record, stored=values[2])  # late
    stopped = scene.submit()
    scene.cancel(stopped)
    scene.report(stopped, stored=values[3])
    assert scene.ending(stopped).ended_as == "cancelled"
    assert scene.freed == [value.name for value in values]
    assert scene.held == set()


def test_a_value_that_was_there_before_it_was_stopped_for_a_move_or_a_timeout_counts() -> None:
    scene = Stored({"simulate": 1})
    record = scene.submit(timeout_s=1.0)
    scene.tick(1.0)
    scene.report(record, stored=VALUE)
    assert scene.ending(record).stored == VALUE
    assert scene.held == {b"value"}


def test_a_worker_cannot_free_what_somebody_holds() -> None:
    scene = Stored({"simulate": 1})
    scene.core.hold(MESH, CLIENT)
    record = scene.submit(inputs=Inputs(FRAMES))
    scene.report(record, "failed", stored=MESH)
    assert not scene.report(record, stored=MESH)
    other = scene.submit()
    scene.report(other, stored=MESH)
    scene.let_go(MESH)
    assert scene.freed == [b"frames"]
    assert scene.held == {b"mesh"}


def test_what_is_freed_is_freed_after_all_else_that_a_step_decided() -> None:
    scene = Stored({"simulate": 1})
    record = scene.submit(inputs=INPUTS)
    scene.core.reported(record.run, "succeeded", 0.0, 1.0, 1.0)
    kinds = [type(effect) for effect in scene.core.take_effects()]
    assert kinds == [Settle, FreeObjects]


# -- versions -----------------------------------------------------------------------------


def test_a_task_gets_the_version_that_is_newest_when_it_starts() -> None:
    scene = Stored({"simulate": 1})
    first = scene.publish(1)
    running = scene.submit(inputs=Inputs(None, (), ("model",)))
    waiting = scene.submit(inputs=Inputs(None, (), ("model",)))
    scene.publish(2)
    assert (taken(running), taken(waiting)) == ({"model": 1}, {})
    assert not scene.freed
    scene.report(running)
    assert scene.freed == [first.name]
    assert taken(waiting) == {"model": 2}
    scene.report(waiting)
    assert scene.held == {b"model 2"}


def test_a_retry_gets_a_newer_version_and_the_old_one_goes() -> None:
    scene = Stored({"simulate": 1})
    scene.publish(1)
    scene.publish(1, "mesh")
    latest = Inputs(None, (), ("model", "mesh"))
    record = scene.submit(inputs=latest, retries=scene.retries(failed=1))
    scene.publish(2)
    assert scene.held == {b"model 1", b"model 2", b"mesh 1"}
    scene.report(record, "failed")
    assert taken(record) == {"model": 2, "mesh": 1}
    assert scene.freed == [b"model 1"]
    scene.publish(3)
    assert scene.freed == [b"model 1"]
    scene.report(record)
    assert scene.freed == [b"model 1", b"model 2"]
    (settled,) = scene.effects(Settle)
    assert taken(settled.record) == {"model": 2, "mesh": 1}


def test_a_version_given_ahead_of_time_is_given_back_with_its_task() -> None:
    scene = Stored({"simulate": 1})
    scene.publish(1)
    _, held = scene.holding(2, inputs=Inputs(None, (), ("model",)))
    assert taken(held) == {"model": 1}
    scene.publish(2)
    scene.give_back(held)
    assert taken(held) == {}
    assert not scene.freed  # the one before it still runs with it
    scene.cancel(held)
    assert taken(held) == {}


def test_what_is_cancelled_before_it_began_used_no_version() -> None:
    scene = Stored({"simulate": 1})
    scene.publish(1)
    _, held = scene.holding(2, inputs=Inputs(None, (), ("model",)))
    scene.cancel(held)
    scene.give_back(held)
    assert scene.ending(held).ended_as == "cancelled"
    assert taken(held) == {}


def test_a_task_is_lost_that_takes_the_latest_of_what_was_never_published() -> None:
    scene = Stored({"simulate": 1})
    scene.publish(1)
    record = scene.submit(inputs=Inputs(FRAMES, (MESH,), ("model", "mesh")))
    ending = scene.ending(record)
    assert ending.ended_as == "lost"
    assert ending.reason == "it takes the latest 'mesh', of which no version was published yet"
    assert scene.freed == [b"mesh", b"frames"]
    assert scene.held == {b"model 1"}
    (ended,) = scene.events(TaskEnded)
    assert (ended.attempt, ended.worker) == (0, None)


def test_a_client_that_leaves_waits_for_no_version_any_more() -> None:
    scene = Stored({"simulate": 1})
    versions = scene.core.cluster.versions
    assert versions.ask("model", VersionWaiter(CLIENT, 1, 0)) is None
    scene.core.client_left(CLIENT, "it left", scene.now)
    assert versions.publish("model", VALUE, "other", scene.now) == []
    scene.settle_down()
    assert scene.held == {b"value"}


def test_the_end_of_the_broker_empties_the_store() -> None:
    scene = Stored({"simulate": 2})
    scene.publish(1)
    scene.core.hold(VALUE, CLIENT)
    scene.submit(inputs=INPUTS)
    scene.core.client_joined(OTHER, "other", watched=False, now=scene.now, maker="client:1")
    scene.node({"simulate": 1}, peer=NODE + 1)
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.settle_down()
    scene.core.broker_ends()
    effects = scene.core.take_effects()
    (swept,) = [effect.makers for effect in effects if isinstance(effect, SweepObjects)]
    assert swept == ["client:1", "simulate-3", "simulate-1", "simulate-2"]
    assert isinstance(effects[-1], FreeObjects)
    assert set(effects[-1].names) == {b"model 1", b"value", b"frames", b"mesh"}
    assert scene.held == set()
