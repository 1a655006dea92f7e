"""A node gives an account of its workers, because messages about them were lost on their way."""

from __future__ import annotations

import pytest

from steerio.core.accounts import ITEMS, NO_WORD, UNKNOWN
from steerio.core.effects import DefineType, Expel, Signal
from steerio.core.lifecycle import State
from steerio.core.records import Accounted, TaskRecord, TypeRecord
from steerio.model.events import WorkerLost
from steerio.model.tasks import TaskSpec
from tests.core.scene import CLIENT, NODE, Scene

LATER_S = 1.0
"""How long after an order the node has heard of the broker again."""


def account(
    scene: Scene,
    *runs: TaskRecord,
    ended: int = 0,
    words_lost: bool = False,
    orders_lost: bool = False,
    heard: float | None = None,
    workers: tuple[str, ...] = ("simulate-1",),
) -> None:
    """Let the node say that its workers have these attempts, and have ended another."""
    said = Accounted(frozenset(record.run for record in runs), ended, words_lost)
    scene.core.accounted(
        NODE,
        scene.now if heard is None else heard,
        dict.fromkeys(workers, said),
        scene.now,
        orders_lost=orders_lost,
    )
    scene.settle_down()


def stepping(scene: Scene) -> TypeRecord:
    """Return a task type whose tasks yield items."""
    scene.core.define(CLIENT, 99, TaskSpec("steps", "simulate", "generator"))
    return scene.core.clients[CLIENT].types[99]


def test_a_task_whose_order_was_lost_is_sent_again_and_its_type_is_told_again() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    lost = record.run
    scene.tick(LATER_S)
    scene.forget()
    account(scene, orders_lost=True)
    assert scene.sent() == [record]
    assert record.run > lost
    assert (record.attempt, record.losses) == (1, 0), "it costs no attempt"
    assert len(scene.effects(DefineType)) == 1
    scene.report(record)
    assert scene.ending(record).ended_as == "succeeded"


def test_an_order_that_may_still_be_on_its_way_is_waited_for() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    scene.forget()
    account(scene, orders_lost=True, heard=record.sent)
    assert scene.sent() == []
    assert record.state == State.RUNNING


def test_only_those_that_did_not_come_are_sent_again() -> None:
    scene = Scene({"simulate": 1})
    first, second, third = scene.holding(3)
    runs = [first.run, second.run, third.run]
    scene.tick(LATER_S)
    scene.forget()
    account(scene, first, third, orders_lost=True)
    assert [record.run for record in scene.worker().in_hand] == [runs[0], runs[2]]
    assert second.state == State.QUEUED
    scene.report(first)
    scene.report(third)
    assert second.state == State.RUNNING


def test_a_cancelled_task_whose_order_was_lost_has_ended() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    scene.cancel(record)
    scene.tick(LATER_S)
    account(scene, orders_lost=True)
    assert scene.ending(record).ended_as == "cancelled"
    assert scene.worker().phase == "idle"


def test_an_attempt_that_ended_without_a_word_is_lost_and_tried_again() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    over = record.run
    scene.tick(LATER_S)
    scene.forget()
    account(scene, ended=over, words_lost=True)
    assert scene.sent() == [record]
    assert (record.attempt, record.losses, record.kills) == (2, 1, 0)
    assert record.earlier is not None
    assert NO_WORD in record.earlier[0].reason
    assert not scene.core.reported(over, "succeeded", 0.0, 1.0, scene.now), "it comes too late"


@pytest.mark.parametrize("orders_lost", [False, True])
def test_it_is_lost_if_it_may_not_be_tried_again(orders_lost: bool) -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(retries=scene.retries(lost=0))
    scene.tick(LATER_S)
    account(scene, ended=record.run, words_lost=True, orders_lost=orders_lost)
    ending = scene.ending(record)
    assert (ending.ended_as, ending.reason) == ("lost", NO_WORD)


def test_one_that_was_asked_to_stop_has_stopped() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    scene.cancel(record, "enough")
    scene.tick(LATER_S)
    account(scene, ended=record.run, words_lost=True)
    assert (scene.ending(record).ended_as, scene.ending(record).reason) == ("cancelled", "enough")


def test_a_task_that_has_ended_is_waited_for_while_no_word_is_lost() -> None:
    scene = Scene({"simulate": 2})
    record, other = scene.submit(), scene.submit()
    scene.tick(LATER_S)
    account(scene, ended=other.run, workers=("simulate-1", "simulate-2"))
    assert record.state == other.state == State.RUNNING


def test_a_task_that_runs_goes_on_though_words_of_it_are_lost() -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit()
    scene.tick(LATER_S)
    account(scene, record, words_lost=True)
    account(scene, words_lost=True)
    assert record.state == State.RUNNING
    scene.report(record)
    assert scene.ending(record).ended_as == "succeeded"


@pytest.mark.parametrize(("words_lost", "orders_lost"), [(True, False), (False, True)])
def test_a_task_that_yields_items_is_given_up_as_some_may_lack(
    words_lost: bool, orders_lost: bool
) -> None:
    scene = Scene({"simulate": 1})
    record = scene.submit(stepping(scene))
    worker = scene.worker()
    scene.tick(LATER_S)
    scene.forget()
    for _ in range(2):
        account(scene, record, words_lost=words_lost, orders_lost=orders_lost)
    assert scene.effects(Signal) == [Signal(worker, 0, "kill")]
    assert scene.effects(Expel) == [Expel(worker.peer, ITEMS)]
    scene.exit(worker, record.run)
    assert scene.events(WorkerLost)[-1].reason == ITEMS
    scene.join(scene.worker("simulate-2"))
    assert record.attempt == 2


def test_a_worker_of_which_its_node_does_not_know_is_over_and_replaced() -> None:
    scene = Scene({"simulate": 2})
    record = scene.submit()
    assert record.worker is not None
    name = record.worker.name
    scene.tick(LATER_S)
    scene.forget()
    account(scene, workers=tuple({"simulate-1", "simulate-2"} - {name}))
    assert [lost.reason for lost in scene.events(WorkerLost)] == [UNKNOWN]
    assert scene.sent() == [record], "the other worker takes its task"
    account(scene, record, workers=tuple({"simulate-1", "simulate-2"} - {name}))
    assert len(scene.roster.workers) == 2, "that one is only being started"


def test_a_worker_that_is_to_end_is_left_alone() -> None:
    scene = Scene({"simulate": 1})
    assert not scene.core.drain(CLIENT, 1, "node", scene.now)
    scene.settle_down()
    assert scene.worker().phase == "retiring"
    account(scene, words_lost=True, orders_lost=True)
    assert scene.worker().phase == "retiring"


def test_the_account_of_a_node_that_is_gone_means_nothing() -> None:
    scene = Scene({"simulate": 1})
    scene.core.node_lost(NODE, "it left", scene.now)
    scene.settle_down()
    scene.forget()
    account(scene, orders_lost=True)
    assert scene.performed == []
