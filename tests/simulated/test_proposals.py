"""Proposals: orders that are put as questions, approved or denied, once; on virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from steerio import (
    Answer,
    Answered,
    Asked,
    Budget,
    OrderAnswer,
    Ordered,
    OrderRefused,
    ResumePools,
    SetParameter,
    StopCampaign,
    SubmitTask,
)
from steerio.campaign.budgets import ORDERS_A_MINUTE
from steerio.campaign.proposals import MOST_OPEN, OPEN_BYTES, PROPOSAL_BYTES
from steerio.errors import NotAnswered
from tests.simulated.test_given_orders import (
    CHANGING,
    Lab,
    an_order,
    beside,
    effects,
    nothing,
    orders,
    prepare,
    refusal,
)
from tests.simulated.virtual import in_virtual_time, of_kind

HALF = SetParameter("rate", 0.5)


async def propose(session: Any, order: Any, **options: Any) -> int:
    """Propose an order, and return the number of its question."""
    options.setdefault("reason", "so")
    answer = await session.order(order, role="propose", **options)
    assert not answer.done
    assert answer.question > 0
    return int(answer.question)


@pytest.mark.parametrize("name", CHANGING)
@in_virtual_time
async def test_an_approved_order_is_carried_out_once(name: str) -> None:
    labs: list[Lab] = []

    async def act(lab: Lab, ada: Any) -> None:
        labs.append(lab)
        await prepare(ada)
        order = an_order(name, lab)
        number = await propose(ada, order, id="p")
        assert await propose(ada, order, id="p") == number, "the same"
        (seen,) = (await ada.look()).questions
        assert (seen.number, seen.by, seen.options) == (number, "ada", ("approve", "deny"))
        assert seen.text.startswith("ada proposes: ")
        assert seen.text.endswith(" (so)")
        assert (seen.order.order, seen.order.by, seen.left_s) == (order, "ada", None)
        await asyncio.sleep(5)
        assert lab.rate != 0.5
        answers = await asyncio.gather(
            *(ada.order(Answer("approve", number), by=by) for by in ("bob", "cy")),
            return_exceptions=True,
        )
        assert isinstance(answers[0], OrderAnswer)
        assert answers[0].words.startswith(f"approved question {number}: ")
        assert isinstance(answers[1], OrderRefused)
        if name != "stop":
            again = await ada.order(order, id="p", role="propose")
            assert (again.done, again.question) == (True, number)

    events = await beside(act)
    assert effects(labs[0], events)[name] in (True, 1)
    (told,) = [e for e in of_kind(events, Ordered) if e.by == "ada"]
    assert (told.done, told.reason, told.id) == (True, "so", "p")
    assert (told.question, told.approved_by) == (1, "bob")
    (asked,) = of_kind(events, Asked)
    assert asked.order is not None
    assert asked.order.id == "p"
    (answered,) = of_kind(events, Answered)
    assert (answered.question, answered.choice, answered.by) == (1, "approve", "bob")
    assert asked.number < answered.number < told.number


@pytest.mark.parametrize("name", CHANGING)
@in_virtual_time
async def test_a_denied_order_has_no_effect_and_its_giver_is_told(name: str) -> None:
    labs: list[Lab] = []

    async def act(lab: Lab, ada: Any) -> None:
        labs.append(lab)
        await prepare(ada)
        number = await propose(ada, an_order(name, lab), id="p")
        dry = await ada.order(Answer("deny"), by="bob", dry_run=True)
        assert dry.words.startswith(f"would answer question {number}")
        answer = await ada.order(Answer("deny"), by="bob", reason="too dear")
        assert answer.words == f"denied question {number}"
        assert "was answered 'deny' already, by bob" in await refusal(
            ada, Answer("approve", number), by="bob"
        )
        again = await ada.order(an_order(name, lab), id="p", role="propose")
        assert again.words == "denied by bob: too dear"
        assert not (await ada.look()).questions

    events = await beside(act)
    assert nothing(name, labs[0], events)
    (told,) = [e for e in of_kind(events, Ordered) if e.by == "ada"]
    assert (told.done, told.outcome, told.question) == (False, "denied by bob: too dear", 1)
    assert told.approved_by == ""


@in_virtual_time
async def test_an_order_is_checked_again_when_it_is_approved() -> None:
    async def act(lab: Lab, ada: Any) -> None:
        seen = (await ada.look()).at_event
        number = await propose(ada, HALF, based_on=seen)
        await ada.order(SetParameter("rate", 0.3), by="bob")
        said = await refusal(ada, Answer("approve"), by="bob")
        assert said.startswith(f"question {number} was approved by bob, but it cannot be carried")
        assert "parameter rate has changed since event" in said
        assert lab.rate == 0.3
        number = await propose(ada, ResumePools(("learn",)))
        await ada.order(SetParameter("rate", 0.2), by="bob")
        assert (await ada.order(Answer("approve", number), by="bob")).done
        few = Budget(tasks_per_hour=1)
        numbers = [await propose(ada, SubmitTask("training", (1,)), budget=few) for _ in range(2)]
        assert (await ada.order(Answer("approve", numbers[0]), by="bob")).tasks
        said = await refusal(ada, Answer("approve", numbers[1]), by="bob")
        assert "ada has submitted 1 task within the last hour, and may submit 1" in said

    events = await beside(act)
    assert [each[1] for each in orders(events)] == [False, True, True, False]


@in_virtual_time
async def test_what_is_so_already_needs_no_approval() -> None:
    async def act(_: Lab, ada: Any) -> None:
        await ada.order(StopCampaign(cancel=True), by="bob")
        answer = await ada.order(StopCampaign(), role="propose")
        assert answer.words.startswith("it ends already")
        said = await refusal(ada, HALF, role="propose")
        assert said.startswith("nothing can be proposed, as the campaign ends: by bob")

    await beside(act)


@in_virtual_time
async def test_however_much_is_proposed_the_campaign_can_be_looked_at() -> None:
    async def act(_: Lab, ada: Any) -> None:
        said = await refusal(ada, HALF, role="propose", reason=9_000 * "r")
        assert said.startswith(f"a proposal has at most {PROPOSAL_BYTES} bytes with its reason")
        some = [
            ada.order(HALF, by=f"bot {number // MOST_OPEN}", role="propose", reason=7_000 * "r")
            for number in range(60)
        ]
        given = await asyncio.gather(*some, return_exceptions=True)
        put = [each for each in given if isinstance(each, OrderAnswer)]
        assert MOST_OPEN < len(put) < 60
        assert f"have {OPEN_BYTES} bytes at most" in str(given[-1])
        assert len((await ada.look()).questions) == len(put)

    await beside(act)


@in_virtual_time
async def test_one_giver_has_no_more_than_so_many_proposals_open() -> None:
    async def act(_: Lab, ada: Any) -> None:
        for number in range(MOST_OPEN):
            await propose(ada, SetParameter("rate", number / 100))
        said = await refusal(ada, HALF, role="propose")
        assert said.startswith("20 proposals of ada are open, and there may be 20")
        await propose(ada, HALF, by="cy")
        await ada.order(Answer("deny", 3), by="bob")
        await propose(ada, HALF)

    await beside(act)


@in_virtual_time
async def test_one_that_may_only_propose_cannot_fill_the_record() -> None:
    async def act(_: Lab, ada: Any) -> None:
        for _number in range(ORDERS_A_MINUTE):
            await ada.order(HALF, role="propose", dry_run=True)
        said = await refusal(ada, HALF, role="propose", dry_run=True)
        assert said == "ada has given 60 orders within a minute: give it later"
        await propose(ada, HALF, by="cy")
        await ada.order(HALF, dry_run=True)
        await asyncio.sleep(61)
        await propose(ada, HALF)

    events = await beside(act)
    assert len(of_kind(events, Ordered)) < ORDERS_A_MINUTE + 10


@pytest.mark.parametrize("how", ["stopped", "quiet"])
@in_virtual_time
async def test_proposals_end_with_their_campaign_and_keep_it_from_no_end(how: str) -> None:
    async def act(lab: Lab, ada: Any) -> None:
        await propose(ada, HALF, id="p")
        if how == "stopped":
            await ada.order(StopCampaign(cancel=True), by="bob", reason="enough")
            again = await ada.order(HALF, id="p", role="propose")
            assert again.words == "not decided, as the campaign ends: by bob: enough"
        else:
            await asyncio.sleep(4000)

    events = await beside(act)
    ((_, done, outcome),) = orders(events)
    assert not done
    assert outcome.startswith("not decided, as the campaign ends: ")
    assert not of_kind(events, Answered)


class Asking(Lab):
    """Asks a question of the same words as a proposal."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""


@in_virtual_time
async def test_a_giver_approves_no_proposal_of_its_own_but_may_take_it_back() -> None:
    async def act(lab: Lab, ada: Any) -> None:
        first, second = await propose(ada, HALF, id="p"), await propose(ada, HALF, id="q")
        for dry_run in (True, False):
            said = await refusal(ada, Answer("approve", first), dry_run=dry_run)
            assert said == (
                f"question {first} is a proposal of ada, so another giver has to approve it; one "
                "with the role 'steer' may give the order itself"
            )
        assert (await ada.order(Answer("deny", second))).done
        assert [each.number for each in (await ada.look()).questions] == [first]
        assert (await ada.order(Answer("approve", first), by="bob")).done
        assert lab.rate == 0.5

    events = await beside(act)
    assert [e.by for e in of_kind(events, Answered)] == ["ada", "bob"]


@in_virtual_time
async def test_questions_of_agents_and_proposals_do_not_mix() -> None:
    async def act(lab: Lab, ada: Any) -> None:
        async def ask() -> str:
            return await lab.approve("ada proposes: set rate to 0.5 (so)", ("approve", "deny"))

        await propose(ada, HALF)
        asking = asyncio.ensure_future(ask())
        await asyncio.sleep(1)
        assert [each.order is None for each in (await ada.look()).questions] == [False, True]
        assert "say which question" in await refusal(ada, Answer("approve"))
        await ada.order(Answer("approve", 1), by="bob")
        assert lab.rate == 0.5
        await ada.order(StopCampaign(cancel=True), by="bob")
        with pytest.raises(NotAnswered):
            await asking

    await beside(act, Asking())
