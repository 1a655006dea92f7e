"""Detached clients leave and come back: their tasks go on, and their values are kept."""

from __future__ import annotations

import pytest

from steerio.core.effects import Expel, SendOrder, SweepObjects, TellNode, TellOrder, TellPause
from steerio.core.lifecycle import State
from steerio.core.move_requests import NOBODY
from steerio.core.orphans import ENDING_S
from steerio.core.records import TypeRecord
from steerio.model.campaign_orders import GivenOrder, Look, OrderAnswer
from steerio.model.events import ClientLost
from steerio.model.objects import Inputs, StoredObject
from steerio.model.settings import Settings
from steerio.model.tasks import TaskSpec
from tests.core.scene import CLIENT, Scene

PEER = 7
AWAY_S = 30.0
MODEL = StoredObject(b"model", 1_000)
FRAMES = StoredObject(b"frames", 10)


class Detached(Scene):
    """A cluster with a detached client, which submits all tasks."""

    def __init__(self, workers: int = 1, *, watched: bool = False) -> None:
        super().__init__(
            {"simulate": workers, "learn": 1},
            settings=Settings(away_s=AWAY_S, held=32, held_s=0.001),
        )
        self.joins(watched=watched)

    def joins(self, *, watched: bool = False) -> None:
        self.core.client_joined(PEER, "nb", watched, self.now, maker="client:7", detached=True)

    def leaves(self) -> None:
        self.core.client_left(PEER, "it left", self.now)
        self.settle_down()

    def give(self, stored: StoredObject | None = None, inputs: Inputs | None = None) -> int:
        """Have a task of it run, and return the number of it."""
        record = self.submit(client=PEER, inputs=inputs)
        if stored is not None:
            self.report(record, stored=stored)
        return record.task_id

    @property
    def held(self) -> set[bytes]:
        return set(self.core.held)


def test_the_tasks_of_a_detached_client_go_on_when_it_leaves() -> None:
    scene = Detached()
    running, queued = scene.submit(client=PEER), scene.submit(client=PEER)
    scene.leaves()
    assert [event.client for event in scene.events(ClientLost)] == ["nb"]
    assert scene.core.clients[PEER].away
    assert (running.state, queued.state) == (State.RUNNING, State.QUEUED)
    scene.report(running)
    scene.report(queued)
    assert scene.ending(queued).ended_as == "succeeded"
    scene.leaves()
    assert len(scene.events(ClientLost)) == 1, "it is away already"


def test_its_types_are_kept_as_long_as_tasks_need_them() -> None:
    scene = Detached()
    spec = TaskSpec("shipped", "simulate", code=b"1")
    scene.core.define(PEER, 1, spec)
    kind = scene.core.task_type(PEER, 1)
    assert isinstance(kind, TypeRecord)
    record = scene.submit(client=PEER, kind=kind)
    scene.leaves()
    assert scene.core.task_type(PEER, 1) is None
    assert kind in list(scene.core.cluster.types)
    scene.report(record)
    assert kind not in list(scene.core.cluster.types)


def test_a_silent_one_is_away_and_looked_at_again_when_it_is_back() -> None:
    scene = Detached(watched=True)
    scene.tick(AWAY_S)
    assert [order.peer for order in scene.effects(Expel)] == [PEER]
    client = scene.core.clients[PEER]
    assert client.away
    scene.joins(watched=True)
    assert not client.away
    scene.tick(AWAY_S)
    assert len(scene.effects(Expel)) == 2


@pytest.mark.parametrize("after_s", [1.0, 2 * AWAY_S])
def test_one_that_is_back_has_one_deadline(after_s: float) -> None:
    scene = Detached(watched=True)
    scene.leaves()
    scene.tick(after_s)
    assert scene.core.clients[PEER].watched == (after_s < AWAY_S)
    scene.joins(watched=True)
    scene.joins(watched=True)
    for _ in range(5):
        scene.core.heard(PEER, scene.now)
        scene.tick(AWAY_S / 2)
    assert scene.effects(Expel) == []
    scene.tick(AWAY_S)
    assert len(scene.effects(Expel)) == 1


def test_a_value_is_held_for_it_until_it_is_forgotten() -> None:
    scene = Detached()
    number = scene.give(MODEL)
    scene.core.let_go(b"model", PEER)
    assert scene.held == {b"model"}
    scene.leaves()
    scene.joins()
    scene.core.give_again(PEER, number)
    assert scene.core.let_go(b"model", PEER)
    scene.core.give_again(PEER, 99)
    assert not scene.core.let_go(b"model", PEER)
    assert scene.held == {b"model"}
    scene.core.forget_results(PEER, [99, number])
    scene.settle_down()
    assert scene.held == set()


def test_a_value_that_comes_while_it_is_away_is_held_too() -> None:
    scene = Detached()
    record = scene.submit(client=PEER, inputs=Inputs(FRAMES))
    scene.leaves()
    assert scene.held == {b"frames"}
    scene.report(record, stored=MODEL)
    assert scene.held == {b"model"}
    assert scene.core.cluster.store_load().by_clients == {"nb": MODEL.nbytes}


def test_the_next_broker_holds_the_values_of_tasks_that_have_ended() -> None:
    scene = Detached()
    scene.core.keep_result(PEER, 5, MODEL)
    scene.leaves()
    assert scene.held == {b"model"}
    scene.core.keep_result(CLIENT, 5, FRAMES)
    assert scene.held == {b"model"}, "the other is not detached"


def test_one_that_is_not_needed_any_more_leaves_as_others_do() -> None:
    scene = Detached()
    record = scene.submit(client=PEER)
    scene.core.attach(PEER)
    scene.leaves()
    assert PEER not in scene.core.clients
    assert record.state == State.STOPPING


def test_one_that_will_not_come_back_is_forgotten_unless_it_is_there() -> None:
    scene = Detached()
    scene.core.client_forgotten(PEER)
    assert PEER in scene.core.clients
    scene.leaves()
    for _ in range(2):
        scene.core.client_forgotten(PEER)
        scene.settle_down()
        assert PEER not in scene.core.clients


def test_one_of_an_earlier_broker_is_not_told_as_lost() -> None:
    scene = Detached()
    record = scene.submit(client=PEER)
    scene.core.client_away(PEER, scene.now)
    scene.settle_down()
    assert scene.events(ClientLost) == []
    assert scene.core.clients[PEER].away
    scene.joins()
    scene.report(record)
    assert not scene.core.clients[PEER].away


def test_its_objects_are_swept_after_it_unless_it_is_back() -> None:
    scene = Detached()
    wait_s = 2 * scene.settings.lease_s + ENDING_S
    scene.leaves()
    scene.joins()
    scene.tick(wait_s)
    assert scene.effects(SweepObjects) == []
    scene.leaves()
    scene.tick(wait_s)
    assert scene.effects(SweepObjects) == [SweepObjects(["client:7"])]


# -- the requests of one session, of which the next knows nothing ----------------------------------


def test_leased_workers_that_are_still_busy_are_nobodys_when_their_client_leaves() -> None:
    scene = Detached()
    scene.core.ask_move(PEER, 2, "simulate", "learn", 1, scene.now, lease=True)
    fit = scene.task_type("fit", "learn")
    first, second = scene.submit(fit), scene.submit(fit)
    scene.leaves()
    ((_, move),) = scene.core.moves.items()
    assert (move.client, move.request) == (NOBODY, move.number)
    scene.joins()
    assert scene.core.ask_move(PEER, 2, "learn", "simulate", 1, scene.now, lease=True) == ""
    for record in (first, second):
        scene.report(record)
    assert [each.client for each in scene.core.moves.values()] == [PEER]
    scene.leaves()
    assert scene.core.moves == {}
    assert (scene.pool().workers, scene.pool("learn").workers) == (1, 1)


def test_what_one_that_left_asked_about_pools_and_nodes_is_not_told_to_the_next() -> None:
    scene = Detached()
    scene.measured(0.0)
    running, held = scene.submit(), scene.submit()
    assert held.state == State.HELD
    scene.core.pause(PEER, 1, "simulate", "by nb", scene.now)
    scene.core.pause(CLIENT, 1, "simulate", "by client", scene.now)
    scene.core.drain(PEER, 2, "node", scene.now)
    scene.core.drain(CLIENT, 2, "node", scene.now)
    scene.leaves()
    scene.joins()
    scene.give_back(held)
    scene.tick(1.0)
    scene.report(running)
    for worker in list(scene.roster.workers.values()):
        scene.exit(worker)
    assert [(each.client, each.request) for each in scene.effects(TellPause)] == [(CLIENT, 1)]
    assert [(each.client, each.request) for each in scene.effects(TellNode)] == [(CLIENT, 2)]


def test_what_one_that_left_was_about_to_be_told_is_not_told_to_the_next() -> None:
    scene = Detached()
    scene.core.pause(PEER, 1, "simulate", "by nb", scene.now)
    scene.core.drain(PEER, 2, "node", scene.now)
    scene.core.undrain("node", scene.now)
    for taker, giver in ((CLIENT, PEER), (PEER, CLIENT)):
        scene.core.take_orders(taker, takes=True)
        name = scene.core.clients[taker].name
        assert scene.core.give_order(giver, 3, name, GivenOrder(Look(), "ada")) == ""
    (given, _) = scene.core.cluster.orders
    scene.core.order_done(CLIENT, given, OrderAnswer(True, "all is well"))
    scene.core.unreadable(PEER, "it said no word", scene.now)
    scene.joins()
    scene.settle_down()
    assert scene.effects(Expel) == []
    assert scene.effects(TellPause) == []
    assert scene.effects(TellNode) == []
    assert [each.taker for each in scene.effects(SendOrder)] == [CLIENT]
    assert [each.giver for each in scene.effects(TellOrder)] == [CLIENT], "it left"
