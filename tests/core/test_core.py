"""The door: every deadline is looked at, every task has a story, and what is broken is found."""

from __future__ import annotations

from typing import get_args

import pytest

from steerio.core import effects as fx
from steerio.core.core import Core
from steerio.core.deadlines import ABOUT, Due, draw_deadlines
from steerio.core.effects import Effect, ForWorker
from steerio.core.invariants import InvariantBroken
from steerio.core.looks import LOOKS
from steerio.core.newest_versions import VersionWaiter
from steerio.core.stories import TaskEvent, say_effect
from steerio.model.campaign_orders import GivenOrder, Look, OrderAnswer
from steerio.model.events import AnyEvent, BrokerReturned, LoopStalled, Published
from steerio.model.objects import StoredObject, Version
from steerio.model.places import WorkerNeeds
from steerio.model.settings import Settings
from steerio.model.tasks import CLIENT_BITS
from tests.core.scene import CLIENT, NODE, Scene

# -- closed unions and tables ----------------------------------------------------------------------


def test_every_deadline_is_looked_at_and_is_about_something() -> None:
    assert LOOKS.keys() == ABOUT.keys() == set(Due)
    lines = draw_deadlines().splitlines()
    assert lines[0] == "flowchart LR"
    assert {line.split()[-1] for line in lines[1:]} == {due.name for due in Due}


def test_every_event_about_a_task_is_told_in_its_story() -> None:
    about = {kind for kind in get_args(AnyEvent) if "task_id" in kind.__struct_fields__}
    assert about == set(get_args(TaskEvent))


def test_every_order_about_what_a_worker_has_in_hand_is_void_when_the_worker_is_gone() -> None:
    others = {fx.Start, fx.Discard, fx.Retire, fx.DefineType, fx.UndefineTypes}  # its process
    about = {kind for kind in get_args(Effect) if "worker" in kind.__struct_fields__}
    assert about == set(get_args(ForWorker)) | others


# -- words -----------------------------------------------------------------------------------------


def lines(scene: Scene, task_id: int) -> list[str]:
    return scene.core.story(task_id)


def test_a_story_tells_what_happened_to_a_task_in_order() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(retries=scene.retries(failed=1))
    scene.now += 1.0
    scene.core.progressed(record, 0.5, "half", scene.now)
    scene.core.yielded(record, 0, scene.now, has_value=True)
    scene.report(record, "failed")
    scene.now += 1.0
    worker = scene.worker()
    scene.exit(worker, record.run)
    assert lines(scene, record.task_id) == [
        "0.000 s: queued in pool 'simulate'",
        "0.000 s: attempt 1 started on worker simulate-1",
        "1.000 s: at 0.5: half",
        "1.000 s: yielded item 0",
        "1.000 s: attempt 1 is over (failed: failed), and it is queued again",
        "1.000 s: attempt 2 started on worker simulate-1",
        "2.000 s: worker simulate-1 was lost: signal 9",
        "2.000 s: attempt 2 is over (lost: signal 9), and it is queued again",
        "now it is QUEUED: pool 'simulate' has 1 task queued, and of its 1 worker none is ready",
    ]
    scene.cancel(record)
    assert lines(scene, record.task_id)[-2:] == [
        "2.000 s: cancelled at attempt 2",
        "it is not here: it has ended, or was never submitted",
    ]
    assert lines(scene, 4711) == ["it is not here: it has ended, or was never submitted"]


def test_a_story_ends_with_where_the_task_is_and_why() -> None:
    scene = Scene()
    scene.node({"simulate": 1}, make=WorkerNeeds(cpus=2))
    first, second, third = scene.holding(3)
    assert lines(scene, first.task_id)[-1] == (
        "now it is RUNNING: worker simulate-1 on node node works on it, as attempt 1"
    )
    assert lines(scene, third.task_id)[-1] == (
        "now it is HELD: worker simulate-1 on node node holds it behind 2 tasks, "
        "for its type takes 1e-05 s"
    )
    scene.cancel(second)
    assert lines(scene, second.task_id)[-1] == (
        "now it is STOPPING: worker simulate-1 on node node is to stop it (no longer needed)"
    )


def why(scene: Scene, task_id: int) -> str:
    return scene.core.story(task_id)[-1].partition(", and ")[2]


def test_a_story_says_why_a_task_is_queued() -> None:
    scene = Scene(pools=("simulate", "learn"))
    scene.node({"simulate": 1}, make=WorkerNeeds(cpus=2))
    scene.core.expect_workers({"learn": 1}, scene.now)
    scene.submit()
    queued = scene.submit()
    assert why(scene, queued.task_id) == "of its 1 worker that could take it none is free"
    scene.core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now)
    assert why(scene, queued.task_id) == ("moves, which go first, wait for 1 worker of it")
    learn = scene.submit(scene.task_type("train", "learn"))
    assert why(scene, learn.task_id) == "of its 1 worker none is ready"


def test_the_reason_of_a_task_is_the_end_of_its_story() -> None:
    scene = Scene()
    task = scene.submit()
    assert scene.core.why(task.task_id) == scene.core.story(task.task_id)[-1]
    assert scene.core.why(task.task_id).startswith("now it is QUEUED: ")
    assert scene.core.why(task.task_id + 1) == ""


def test_a_story_says_what_a_task_needs_that_no_worker_has() -> None:
    scene = Scene()
    scene.node({"simulate": 1}, make=WorkerNeeds(cpus=2))
    scene.pool().announced = 2  # another may come
    large = scene.submit(needs=WorkerNeeds(cpus=4))
    assert why(scene, large.task_id).startswith("of its 1 worker none has ")
    scene.tick(5.0)
    scene.tick(5.0)
    assert "none of its idle workers (1) satisfies the needs of its tasks" in why(
        scene, large.task_id
    )


def test_a_story_says_that_the_nodes_of_idle_workers_end() -> None:
    scene = Scene(closed=False)
    scene.node({"simulate": 1}, walltime_s=100.0)
    scene.measured(1_000.0)
    waiting = scene.submit()
    assert why(scene, waiting.task_id) == (
        "of its 1 idle worker none fits it, or none has the time for it"
    )


def test_every_effect_can_be_said_in_one_line() -> None:
    scene = Scene({"simulate": 1}, pools=("simulate", "learn"))
    record, worker = scene.submit(), scene.worker()
    scene.core.ask_move(CLIENT, 1, "simulate", "learn", 1, scene.now)
    node, stored = worker.node, StoredObject(b"mesh", 10)
    move = next(iter(scene.core.moves.values()))
    said: list[tuple[Effect, str]] = [
        (fx.DefineType(worker, record.type), "worker simulate-1: learn task type energy"),
        (fx.SendTask(worker, record), "task 1: send attempt 1 to worker simulate-1"),
        (fx.Grant(worker, 1, 2), "worker simulate-1: may yield 2 more items in run 1"),
        (fx.RecallTask(worker, 1), "worker simulate-1: is not to begin run 1"),
        (fx.AskToStop(worker, 1), "worker simulate-1: is to stop run 1"),
        (fx.TellPort(worker, 1, 9, b""), "worker simulate-1: the gang of run 1 meets at port 9"),
        (fx.Signal(worker, 1, "term"), "worker simulate-1: term it, for run 1"),
        (fx.Start(node, worker), "node node: start worker simulate-1"),
        (fx.Discard(node, "simulate-9"), "have node end simulate-9, which it has kept"),
        (fx.Retire(worker), "worker simulate-1: is to end"),
        (fx.TellMove(move, move.state, [], [], ""), "move 1: waiting with 0 of 1 from 'simulate'"),
        (fx.TellNode(1, 2, "left", "it left"), "client 1: its node (request 2) is left it left"),
        (fx.TellPause(1, 2, ""), "client 1: its pause (request 2) is in effect"),
        (fx.SendOrder(1, 2, GivenOrder(Look(), "ada"), 7), "client 1: order 2, look"),
        (fx.TellOrder(1, 2, OrderAnswer(True, "it is")), "client 1: its order (request 2): it is"),
        (fx.Dismiss(NODE, "it was retired"), "peer 100: may end, it was retired"),
        (fx.Expel(NODE, "silent"), "peer 100: is shown out, silent"),
        (fx.FreeObjects([b"mesh"]), "store: free 1 object"),
        (fx.ForgetCopies(node, [b"mesh"]), "node node: forget 1 object"),
        (fx.SweepObjects(["client-1", "w"]), "store: sweep after client-1, w"),
        (fx.FetchCopies(node, [stored]), "node node: fetch 1 object ahead"),
        (fx.UndefineTypes(worker, [1]), "worker simulate-1: forget 1 task type"),
        (fx.Settle(record, fx.Ending("succeeded")), "task 1: succeeded"),
        (fx.Settle(record, fx.Ending("lost", reason="no pool")), "task 1: lost: no pool"),
    ]
    assert {type(effect) for effect, _ in said} == set(get_args(Effect))
    for effect, words in said:
        assert say_effect(effect) == words


# -- checking --------------------------------------------------------------------------------------


def test_a_broken_invariant_is_found_and_named() -> None:
    scene = Scene({"simulate": 1})
    scene.core.check(scene.now)
    scene.pool().ready += 1
    with pytest.raises(
        InvariantBroken, match="a pool counts those that are ready: <Pool 'simulate'"
    ):
        scene.core.check(scene.now)


# -- the rest of the door --------------------------------------------------------------------------


def test_the_core_shows_how_everything_is() -> None:
    core = Core(Settings(), ["simulate"], closed=True, epoch=1_000.0, fetch_ahead_bytes=10)
    assert (core.settings, core.closed, core.epoch, core.event_count) == (
        Settings(),
        True,
        1_000.0,
        0,
    )
    assert repr(core).startswith("<Core of 0 tasks; <Pool 'simulate'")
    assert repr(core.cluster) == "<Cluster of 0 nodes, 0 tasks>"
    assert (core.next_look, core.has_effects, core.has_events) == (None, False, False)
    assert (core.cluster.fetching.wanted, core.cluster.fetching.most_bytes) == (True, 10)
    core.client_joined(CLIENT, "client", watched=False, now=0.0)
    core.published("topic", 7, "client", 0.0)
    assert (core.has_effects, core.has_events, core.events_taken) == (False, True, 0)
    assert core.take_events() == [Published(1, 1_000.0, "topic", 7, "client")]
    assert core.events_after(0) == (0, [Published(1, 1_000.0, "topic", 7, "client")])
    assert core.task_type(CLIENT, 1) is None
    assert core.reassign([1], "nowhere", 0.0) is None


def test_what_the_core_has_shown_shows_later_changes() -> None:
    scene = Scene()
    core = scene.core
    nodes, workers, tasks, runs = core.nodes, core.workers, core.tasks, core.runs
    scene.node({"simulate": 1})
    record = scene.submit()
    assert (list(nodes), list(workers)) == ([NODE], ["simulate-1"])
    assert (tasks, runs) == ({record.task_id: record}, {record.run: record})
    scene.report(record)
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.settle_down()
    assert [len(shown) for shown in (nodes, workers, tasks, runs)] == [0] * 4


def test_a_client_has_the_newest_version_at_once_and_waits_for_a_newer_one() -> None:
    scene = Scene()
    core = scene.core
    old, new = StoredObject(b"model-1", 10), StoredObject(b"model-2", 10)
    first, served = core.publish_version("model", old, "trainer", scene.now)
    assert (first, served) == (Version(1, old), [])
    assert core.ask_version("model", VersionWaiter(CLIENT, 1, after=0)) == first
    newer = VersionWaiter(CLIENT, 2, after=1)
    assert core.ask_version("model", newer) is None
    assert core.publish_version("model", new, "trainer", scene.now) == (Version(2, new), [newer])
    assert list(core.held) == [b"model-1", b"model-2"], "the older one for the client alone"
    core.let_go(b"model-1", CLIENT)
    assert list(core.held) == [b"model-2"]


def test_a_broker_that_takes_the_place_of_another_has_its_versions_and_says_so() -> None:
    scene = Scene()
    core, model = scene.core, Version(4, StoredObject(b"model-4", 10))
    core.returned_as(2, {"model": model}, {}, scene.now)
    scene.settle_down()
    assert scene.recorded == [BrokerReturned(1, 1_000.0, 2)]
    assert (core.newest_versions, core.versions_published) == ({"model": model}, 0)
    assert core.ask_version("model", VersionWaiter(CLIENT, 1, after=3)) == model
    newer = StoredObject(b"model-5", 10)
    assert core.publish_version("model", newer, "trainer", scene.now)[0] == Version(5, newer)
    assert core.versions_published == 1
    assert list(core.held) == [b"model-4", b"model-5"], "the older one for the client alone"


def test_the_number_of_a_client_is_taken_while_tasks_of_it_are_left() -> None:
    scene = Scene({"simulate": 1})
    record = scene.task()
    record.task_id = (3 << CLIENT_BITS) + 7
    assert not scene.core.has_tasks_of(3)
    assert scene.core.submit(record, scene.now)
    assert scene.core.has_tasks_of(3)
    assert not scene.core.has_tasks_of(2)
    scene.report(record)
    assert not scene.core.has_tasks_of(3)


def test_what_comes_with_something_that_is_dropped_is_freed_unless_it_is_needed() -> None:
    scene = Scene()
    stored = StoredObject(b"mesh", 10)
    scene.core.refuse(b"mesh")
    assert scene.core.take_effects() == [fx.FreeObjects([b"mesh"])]
    scene.core.hold(stored, CLIENT)
    scene.core.refuse(b"mesh")
    assert list(scene.core.held) == [b"mesh"]
    assert scene.core.take_effects() == []


def test_pools_without_workers_are_given_up_together() -> None:
    scene = Scene({"simulate": 1}, pools=("simulate", "learn"))
    scene.core.fail_pools("no node is left", scene.now)
    assert {name: pool.failure for name, pool in scene.core.pools.items()} == {
        "simulate": "",
        "learn": "no node is left",
    }
    scene.core.fail_pools("none at all", scene.now)
    assert scene.pool("learn").failure == "no node is left"


def test_a_node_says_how_far_its_clock_is_behind_and_a_client_has_none() -> None:
    scene = Scene({"simulate": 1})
    scene.core.heard(NODE, scene.now, 0.25)
    scene.core.heard(CLIENT, scene.now, 0.5)
    scene.core.heard(4711, scene.now, 0.5)
    assert scene.core.nodes[NODE].offset_s == 0.25


def test_items_that_nobody_reads_are_for_no_client() -> None:
    scene = Scene({"simulate": 1})
    record, stored = scene.submit(), StoredObject(b"item", 10)
    assert scene.core.yielded(record, 0, scene.now, has_value=True, stored=stored)
    assert list(scene.core.held) == [b"item"]
    scene.core.grant(record.task_id, 0)
    scene.forget()
    other = StoredObject(b"other", 10)
    assert not scene.core.yielded(record, 1, scene.now, has_value=True, stored=other)
    assert not scene.core.yielded(record, 2, scene.now, has_value=False)
    assert list(scene.core.held) == [b"item"]
    scene.settle_down()
    assert len(scene.effects(fx.Grant)) == 2, "at once, and as it sent one all the same"


def test_the_store_at_a_glance_says_who_needs_what() -> None:
    scene = Scene()
    mesh, model = StoredObject(b"mesh", 10), StoredObject(b"model", 100)
    scene.core.hold(mesh, CLIENT)
    scene.core.publish_version("model", model, "trainer", scene.now)
    load = scene.core.store_load()
    assert (load.objects, load.nbytes, load.by_tasks) == (2, 110, 0)
    assert (load.by_clients, load.by_versions) == ({"client": 10}, {"model": 100})


def test_decisions_are_said_with_what_waits_from_now_on_and_why() -> None:
    scene = Scene({"simulate": 1})
    for _ in range(3):
        assert scene.core.submit(scene.task(), scene.now)
    scene.core.cancel(3, "no longer needed", scene.now)
    said = scene.core.say(scene.core.take_effects())
    assert said[:3] == [
        "worker simulate-1: learn task type energy",
        "task 1: send attempt 1 to worker simulate-1",
        "task 3: cancelled: no longer needed",
    ]
    here = "pool 'simulate' has 1 task queued"
    assert said[3:] == [
        f"task 2: waits, {here}, and of its 1 worker that could take it none is free"
    ]


def test_a_stall_of_the_event_loop_is_an_event() -> None:
    scene = Scene()
    scene.core.loop_stalled("Search.think", 2.5, "think (search.py:7)", scene.now)
    (event,) = (each for each in scene.core.take_events() if isinstance(each, LoopStalled))
    assert (event.agent, event.seconds, event.where) == ("Search.think", 2.5, "think (search.py:7)")
