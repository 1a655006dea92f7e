"""Orders are passed to the campaign that takes them, and each giver hears an answer."""

from __future__ import annotations

import pytest

from steerio.core import passing
from steerio.core.effects import SendOrder, TellOrder
from steerio.model.campaign_orders import (
    Answer,
    CancelTasks,
    Checkpoint,
    GivenOrder,
    Look,
    MoveWorkers,
    Order,
    OrderAnswer,
    PauseAgent,
    PausePools,
    RankTasks,
    ResumeAgent,
    ResumePools,
    SetParameter,
    StopCampaign,
    SubmitTask,
    order_in_words,
)
from steerio.model.events import ParameterChanged
from tests.core.scene import CLIENT, EPOCH, Scene

SEARCH, OTHER = 7, 8
DONE = OrderAnswer(True, "rate is 0.2 now")


def scene_with(*campaigns: str) -> Scene:
    scene = Scene()
    for peer, name in enumerate(campaigns, SEARCH):
        scene.core.client_joined(peer, name, watched=False, now=scene.now)
        scene.core.take_orders(peer, takes=True)
    return scene


def give(scene: Scene, to: str = "", request: int = 1) -> str:
    given = GivenOrder(SetParameter("rate", 0.2), "ada")
    refusal = scene.core.give_order(CLIENT, request, to, given)
    scene.settle_down()
    return refusal


def told(scene: Scene) -> list[tuple[int, int, str]]:
    return [(each.giver, each.request, each.answer.words) for each in scene.effects(TellOrder)]


def test_an_order_goes_to_the_only_campaign_and_its_answer_back() -> None:
    scene = scene_with("Search")
    assert give(scene) == ""
    (sent,) = scene.effects(SendOrder)
    assert (sent.taker, sent.given.by) == (SEARCH, "ada")
    assert not scene.core.order_done(CLIENT, sent.number, DONE), "another's"
    assert scene.core.order_done(SEARCH, sent.number, DONE)
    assert not scene.core.order_done(SEARCH, sent.number, DONE), "once"
    scene.settle_down()
    assert told(scene) == [(CLIENT, 1, "rate is 0.2 now")]
    assert scene.core.cluster.orders == {}


def test_without_a_campaign_or_with_several_an_order_is_refused_and_these_are_named() -> None:
    assert give(scene_with()) == "no campaign takes orders here (there are: none)"
    scene = scene_with("Search", "Fit")
    assert give(scene) == "several campaigns take orders here: say which one, of Fit, Search"
    expected = "no campaign named Walk takes orders here (there are: Fit, Search)"
    assert give(scene, "Walk") == expected
    assert give(scene, "Fit") == ""
    assert [each.taker for each in scene.effects(SendOrder)] == [OTHER]
    twins = scene_with("Search", "Search")
    expected = "2 campaigns are named Search: say which one, of Search#7, Search#8"
    assert give(twins, "Search") == expected
    assert give(twins, f"Search#{OTHER}") == ""
    (sent,) = twins.effects(SendOrder)
    assert sent.taker == OTHER


@pytest.mark.parametrize("leaves", [True, False])
def test_a_campaign_that_goes_before_it_answered_is_told_to_the_giver(leaves: bool) -> None:
    scene = scene_with("Search", "Fit")
    give(scene, "Search")
    give(scene, "Fit", request=2)
    if leaves:
        scene.core.client_left(SEARCH, "it left", scene.now)
    else:
        scene.core.take_orders(SEARCH, takes=False)
        scene.core.take_orders(SEARCH, takes=False)  # said twice
    scene.settle_down()
    ((giver, request, words),) = told(scene)
    assert (giver, request) == (CLIENT, 1)
    assert words.startswith("the campaign did not answer: it ")
    assert len(scene.core.cluster.orders) == 1, "the other's"


def test_an_order_of_a_giver_that_left_is_answered_to_no_one() -> None:
    scene = scene_with("Search", "Fit")
    give(scene, "Search")
    (sent,) = scene.effects(SendOrder)
    scene.core.client_left(OTHER, "it left", scene.now)
    assert sent.number in scene.core.cluster.orders
    scene.core.client_left(CLIENT, "it left", scene.now)
    scene.settle_down()
    assert not scene.core.order_done(SEARCH, sent.number, DONE)
    assert told(scene) == []


def test_a_campaign_that_answers_nothing_is_given_no_more_orders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passing, "MOST_UNDER_WAY", 2)
    scene = scene_with("Search")
    assert [give(scene, request=number) for number in (1, 2)] == ["", ""]
    assert give(scene, request=3) == "2 orders to Search wait for its answer"


def test_a_peer_that_is_no_client_takes_no_orders() -> None:
    scene = scene_with()
    scene.core.take_orders(99, takes=True)
    assert give(scene) == "no campaign takes orders here (there are: none)"


def test_an_announcement_is_numbered_timed_and_under_the_name_of_its_client() -> None:
    scene = scene_with("Search")
    event = ParameterChanged(0, 0.0, "rate", 0.1, 0.2, "ada", "it is slow", "order-1", "forged")
    number = scene.core.announced(event, "Search", scene.now)
    scene.settle_down()
    assert scene.recorded == [
        ParameterChanged(
            number, EPOCH + scene.now, "rate", 0.1, 0.2, "ada", "it is slow", "order-1", "Search"
        )
    ]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (SetParameter("rate", 0.2), "set rate to 0.2"),
        (Answer("yes"), "answer the question 'yes'"),
        (Answer("yes", 3), "answer question 3 'yes'"),
        (PauseAgent("fit"), "pause fit"),
        (ResumeAgent("fit"), "resume fit"),
        (PausePools(), "pause all pools"),
        (ResumePools(("fit", "learn")), "resume pools fit, learn"),
        (MoveWorkers("fit", "learn", 1), "move 1 worker from fit to learn"),
        (SubmitTask("m:fit", ("x" * 100,), {"n": 2}), f"submit fit({'x' * 100!r}, n=2)"),
        (CancelTasks((4,)), "cancel task 4"),
        (CancelTasks(tuple(range(21))), "cancel 21 tasks"),
        (RankTasks((4, 5), 2.5), "rank tasks 4, 5 at 2.5"),
        (Checkpoint(), "take a snapshot"),
        (StopCampaign(), "stop"),
        (StopCampaign(True), "stop, and cancel running tasks"),
        (Look(), "look"),
    ],
)
def test_every_order_can_be_said_in_a_few_words(order: Order, words: str) -> None:
    assert order_in_words(order) == words


def test_an_order_that_someone_is_to_approve_names_all_of_its_tasks() -> None:
    tasks = tuple(range(100, 130))
    assert order_in_words(CancelTasks(tasks)) == "cancel 30 tasks"
    assert order_in_words(RankTasks(tasks, 2.0), in_full=True).endswith(", 128, 129 at 2")
