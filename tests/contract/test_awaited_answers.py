"""An assistant waits for the answer to one question of one campaign, however often it is asked."""

from __future__ import annotations

from pathlib import Path

from steerio import Answered, Asked, Ordered, QuestionClosed, SetParameter
from steerio.mcp.ordering_tools import AwaitedEnds
from steerio.mcp.tool_inputs import WaitInput
from steerio.model.campaign_orders import GivenOrder

PROPOSED = GivenOrder(SetParameter("step", 0.2), "model")
OPTIONS = ("approve", "deny")


def asked(client: str, order: GivenOrder | None = None) -> Asked:
    return Asked(0, 0.0, 1, "so?", OPTIONS, "model", client=client, order=order)


def answered(client: str) -> Answered:
    return Answered(0, 0.0, 1, "approve", "ada", client=client)


def ordered(client: str, *, done: bool) -> Ordered:
    return Ordered(0, 0.0, "set", "so", done, "model", question=1, client=client)


def test_a_proposal_that_is_open_again_in_the_next_incarnation_is_not_over() -> None:
    awaited = AwaitedEnds(Path(), WaitInput(question=1))
    awaited.heard(asked("Search", PROPOSED))
    awaited.heard(ordered("Search", done=False))  # its campaign was stopped
    assert awaited.over
    awaited.heard(asked("Search", PROPOSED))
    assert not awaited.over
    assert awaited.answer == {"question": 1, "state": "not answered"}
    awaited.heard(answered("Search"))
    assert not awaited.over
    awaited.heard(ordered("Search", done=True))
    assert awaited.over
    assert awaited.answer["state"] == "done"


def test_the_questions_of_other_campaigns_at_a_broker_have_the_same_numbers() -> None:
    awaited = AwaitedEnds(Path(), WaitInput(question=1), "Search")
    awaited.heard(asked("Search"))
    awaited.heard(asked("Fit"))
    awaited.heard(answered("Fit"))
    assert not awaited.over
    awaited.heard(answered("Search"))
    assert awaited.over


def test_a_question_that_is_closed_without_an_answer_is_over_until_it_is_asked_again() -> None:
    awaited = AwaitedEnds(Path(), WaitInput(question=1))
    awaited.heard(asked("Search"))
    awaited.heard(QuestionClosed(0, 0.0, 1, "Search.ask", "enough", "Search"))
    assert awaited.over
    closed = {"question": 1, "state": "closed without an answer", "reason": "enough"}
    assert awaited.answer == closed
    awaited.heard(asked("Search"))
    assert not awaited.over
    assert awaited.answer == {"question": 1, "state": "not answered"}
