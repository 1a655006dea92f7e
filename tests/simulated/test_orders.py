"""Orders to a campaign: from its own agents and from other sessions, on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from steerio import (
    Answer,
    Answered,
    Asked,
    Board,
    Budget,
    Campaign,
    CancelTasks,
    Checkpoint,
    Limits,
    Ordered,
    OrderRefused,
    ParameterChanged,
    PauseAgent,
    QuestionClosed,
    ResumeAgent,
    SetParameter,
    StopCampaign,
    SubmitTask,
    UsageError,
    agent,
    every,
    on_idle,
    on_success,
    parameter,
)
from steerio.campaign.conductor import drive
from steerio.errors import DeadlockError, NotAnswered
from steerio.testing import RestartBroker, simulate
from tests.simulated.virtual import (
    AS_ASKED,
    cluster_of,
    in_virtual_time,
    of_kind,
    simulation,
)


class Search(Campaign):
    """Runs tasks of a second, one after another of two, and notes when it is called."""

    rate = parameter(0.1, ge=0, le=1, help="Step of the search.")
    mode = parameter("fast", choices=("fast", "slow"))
    most = parameter(20, ge=1)
    loud = parameter(False)

    def __init__(self) -> None:
        self.todo = Board(simulation, [1.0 + number / 1e6 for number in range(20)])
        self.calls: list[float] = []

    @on_success(simulation)
    async def take_in(self, result: Any) -> None:
        self.calls.append(self.rate)


Act = Callable[[Any, Any], Awaitable[None]]


async def beside(campaign: Campaign, act: Act, **options: Any) -> Any:
    """Run a campaign on a cluster, and beside it another session that acts; return the record."""
    async with (
        cluster_of(2, **options) as cluster,
        cluster.session("Search") as of_campaign,
        cluster.session("ada") as session,
    ):
        running = asyncio.ensure_future(drive(campaign, of_campaign))
        await asyncio.sleep(0.5)
        await act(session, cluster)
        await running
    return cluster.record.events


@in_virtual_time
async def test_a_parameter_is_set_from_outside_and_told_of() -> None:
    async def act(session: Any, _: Any) -> None:
        await asyncio.sleep(5)
        answer = await session.order(SetParameter("rate", "0.5"), reason="it is slow")
        assert answer.words == "rate is 0.5 now, and was 0.1"

    campaign = Search()
    events = await beside(campaign, act)
    assert set(campaign.calls) == {0.1, 0.5}
    (changed,) = of_kind(events, ParameterChanged)
    assert (changed.name, changed.old, changed.new) == ("rate", 0.1, 0.5)
    assert (changed.by, changed.reason, changed.client) == ("ada", "it is slow", "Search")
    (ordered,) = of_kind(events, Ordered)
    assert (ordered.by, ordered.order, ordered.done) == ("ada", "set rate to '0.5'", True)
    assert ordered.id == changed.order


REFUSED = [
    (SetParameter("rate", 2), "Search.rate cannot be 2: it is a number at least 0 and at most 1"),
    (SetParameter("rate", "fast"), "Search.rate cannot be 'fast'"),
    (SetParameter("rate", True), "Search.rate cannot be True"),
    (SetParameter("rate", "nan"), "Search.rate cannot be 'nan'"),
    (SetParameter("mode", "odd"), "one of 'fast', 'slow'"),
    (SetParameter("most", 0), "a whole number at least 1"),
    (SetParameter("most", 2.5), "Search.most cannot be 2.5"),
    (SetParameter("loud", "perhaps"), "True or False"),
    (SetParameter("size", 1), r"no parameter 'size' \(it has: rate, mode, most, loud\)"),
    (Answer("yes"), r"say which question \(open are: none\)"),
    (Answer("yes", 4), r"no question 4 is open \(open are: none\)"),
    (PauseAgent("fit"), r"no agent 'fit' \(it has: Search.take_in\)"),
    (Checkpoint(), "no journal"),
]


@in_virtual_time
async def test_orders_that_cannot_be_are_refused_in_words_and_change_nothing() -> None:
    async def act(session: Any, _: Any) -> None:
        for order, words in REFUSED:
            with pytest.raises(OrderRefused, match=words):
                await session.order(order)
            with pytest.raises(OrderRefused, match=words):
                await session.order(order, dry_run=True)

    campaign = Search()
    events = await beside(campaign, act)
    assert (campaign.rate, campaign.mode, campaign.most, campaign.loud) == (0.1, "fast", 20, False)
    assert [each.done for each in of_kind(events, Ordered)] == [False] * 2 * len(REFUSED)
    assert not of_kind(events, ParameterChanged)


@in_virtual_time
async def test_a_dry_run_says_what_would_happen_and_changes_nothing() -> None:
    said: list[str] = []

    async def act(session: Any, _: Any) -> None:
        for order in (
            SetParameter("rate", 0.5),
            PauseAgent("take_in"),
            StopCampaign(),
            StopCampaign(True),
        ):
            said.append((await session.order(order, dry_run=True)).words)

    campaign = Search()
    events = await beside(campaign, act)
    assert said == [
        "would set rate from 0.1 to 0.5",
        "Search.take_in would be paused, with 0 calls queued",
        "would end the campaign",
        "would end the campaign, and cancel running tasks",
    ]
    assert campaign.calls == [0.1] * 20
    assert all(each.dry_run for each in of_kind(events, Ordered))


@in_virtual_time
async def test_a_repeated_order_is_one_order() -> None:
    async def act(session: Any, _: Any) -> None:
        first = await session.order(SetParameter("rate", 0.5), id="one")
        await session.order(SetParameter("rate", 0.7))
        again = await session.order(SetParameter("rate", 0.5), id="one")
        assert again == first
        both = await asyncio.gather(
            *(session.order(SetParameter("rate", 0.2), id="two") for _ in range(2))
        )
        assert both[0] == both[1]
        other = await session.order(SetParameter("rate", 0.3), id="two", by="another")
        assert other.words == "rate is 0.3 now, and was 0.2"

        await session.order(SetParameter("rate", 0.4), id="three", dry_run=True)
        tried = await session.order(SetParameter("rate", 0.3), id="three")
        assert tried.words == "rate is 0.3 already", "a dry run of the same id is not the order"

    campaign = Search()
    events = await beside(campaign, act)
    assert len(of_kind(events, ParameterChanged)) == 4
    assert campaign.rate == 0.3


@in_virtual_time
async def test_an_order_is_refused_if_its_subject_has_changed_since_its_giver_looked() -> None:
    async def act(session: Any, _: Any) -> None:
        seen = (await session.look()).at_event
        await session.order(SetParameter("rate", 0.5), based_on=seen)
        with pytest.raises(OrderRefused, match=f"rate has changed since event {seen}, at event"):
            await session.order(SetParameter("rate", 0.6), based_on=seen)
        await session.order(SetParameter("most", 10), based_on=seen)
        seen = (await session.look()).at_event
        await session.order(SetParameter("rate", 0.6), based_on=seen)
        await session.order(PauseAgent("take_in"), based_on=seen)
        with pytest.raises(OrderRefused, match=r"agent Search.take_in has changed"):
            await session.order(ResumeAgent("take_in"), based_on=seen)
        await session.order(ResumeAgent("take_in"))

    campaign = Search()
    await beside(campaign, act)
    assert (campaign.rate, campaign.most) == (0.6, 10)


@in_virtual_time
async def test_a_paused_agent_gets_no_new_call_and_its_calls_are_made_when_it_is_resumed() -> None:
    campaign = Search()

    async def act(session: Any, _: Any) -> None:
        answer = await session.order(PauseAgent("Search.take_in"))
        assert answer.words == "Search.take_in is paused, with 0 calls queued"
        before = len(campaign.calls)
        await asyncio.sleep(100)
        assert len(campaign.calls) == before
        view = await session.look()
        assert (view.agents["take_in"].paused, view.agents["take_in"].queued) == (True, 20 - before)
        again = await session.order(PauseAgent("take_in"))
        assert again.words == "Search.take_in is paused already"
        await session.order(ResumeAgent("take_in"))
        assert (await session.order(ResumeAgent("take_in"))).words.endswith("is not paused")

    await beside(campaign, act)
    assert len(campaign.calls) == 20


class Asking(Search):
    """Asks two questions, one of them with a bound."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    @agent
    async def ask(self) -> None:
        self.said.append(await self.approve("spend 500 node-hours?", default="no"))
        bounded = await self.approve("which?", ("a", "b"), timeout_s=50, default="b")
        self.said.append(bounded)
        await asyncio.sleep(20)


@in_virtual_time
async def test_a_question_is_answered_once_and_the_default_is_taken_in_time() -> None:
    campaign = Asking()

    async def act(session: Any, _: Any) -> None:
        (question,) = (await session.look()).questions
        assert (question.number, question.by, question.options) == (1, "Asking.ask", ("yes", "no"))
        with pytest.raises(OrderRefused, match="'perhaps' is no answer to question 1"):
            await session.order(Answer("perhaps"))
        assert "would answer" in (await session.order(Answer("yes"), dry_run=True)).words
        with pytest.raises(OrderRefused, match="once"):
            await session.order(PauseAgent("ask"))
        await session.order(Answer("yes"), reason="we have them", by="bob")
        with pytest.raises(OrderRefused, match="question 1 was answered 'yes' already, by bob"):
            await session.order(Answer("no", 1))
        await asyncio.sleep(10)
        (question,) = (await session.look()).questions
        assert (question.number, question.default) == (2, "b")
        assert question.left_s == pytest.approx(40, abs=1)
        await asyncio.sleep(45)
        with pytest.raises(OrderRefused, match="question 2 was answered 'b' already, as"):
            await session.order(Answer("a", 2))

    events = await beside(campaign, act)
    assert campaign.said == ["yes", "b"]
    assert [each.text for each in of_kind(events, Asked)] == ["spend 500 node-hours?", "which?"]
    answered = [(each.question, each.choice, each.by) for each in of_kind(events, Answered)]
    assert answered == [(1, "yes", "bob"), (2, "b", "")]


@in_virtual_time
async def test_a_stop_ends_a_wait_for_an_answer_and_makes_the_calls_of_paused_agents() -> None:
    campaign = Asking()

    async def act(session: Any, _: Any) -> None:
        await session.order(PauseAgent("take_in"))
        await asyncio.sleep(5)
        answer = await session.order(StopCampaign(), reason="enough")
        assert answer.words == "it ends"
        with pytest.raises(OrderRefused, match="question 1 was closed without an answer: "):
            await session.order(Answer("yes", 1))

    events = await beside(campaign, act)
    assert campaign.said == []
    (closed,) = of_kind(events, QuestionClosed)
    assert (closed.question, closed.by, closed.client) == (1, "Asking.ask", "Search")
    assert "enough" in closed.reason
    assert 0 < len(campaign.calls) < 20


class Impatient(Search):
    """Asks, gives up after a while, and asks once more."""

    @agent
    async def ask(self) -> None:
        for _ in range(2):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await self.approve("go on?", ("yes", "no"))


@in_virtual_time
async def test_a_question_that_its_agent_gives_up_is_closed_and_told() -> None:
    async def act(session: Any, _: Any) -> None:
        await asyncio.sleep(4.5)
        with pytest.raises(OrderRefused, match="1 was closed without an answer: given up by"):
            await session.order(Answer("yes", 1))
        await session.order(Answer("yes", 2))

    events = await beside(Impatient(), act)
    (closed,) = of_kind(events, QuestionClosed)
    assert (closed.question, closed.reason) == (1, "given up by Impatient.ask")
    assert [each.question for each in of_kind(events, Answered)] == [2]


class Finishing(Search):
    """Asks as it ends, and has a call that lasts."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    @on_success(simulation)
    async def last(self, result: Any) -> None:
        if len(self.calls) == 4:
            self.stop()
            with pytest.raises(OrderRefused, match="is not paused, as the campaign ends: an agent"):
                await self.session.order(PauseAgent("take_in"))
            assert (await self.session.order(StopCampaign())).words.startswith("it ends already")

    async def finish(self) -> None:
        self.said.append(await self.approve("keep the files?"))
        await self.approve("and the others?")


@in_virtual_time
async def test_a_campaign_may_ask_as_it_finishes_and_is_not_paused_then() -> None:
    campaign = Finishing()

    async def act(session: Any, cluster: Any) -> None:
        await asyncio.sleep(10)
        await session.order(Answer("yes"))
        await asyncio.sleep(1)
        assert campaign._conductor is not None
        campaign._conductor.must_end("interrupted")  # type: ignore[attr-defined]

    await beside(campaign, act)
    assert campaign.said == ["yes"]


def test_a_question_that_no_one_answers_is_a_deadlock_in_a_simulation() -> None:
    with pytest.raises(DeadlockError):
        simulate(Asking(), model=AS_ASKED, workers={"simulate": 2})


class Steering(Search):
    """Gives itself orders, as a test of a user may, and answers its own question."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""

    @agent
    async def person(self) -> None:
        await asyncio.sleep(3)
        await self.session.order(SetParameter("rate", 0.5), by="person")
        await self.session.order(Answer("no"), by="person")
        await asyncio.sleep(3)
        self.rate = 0.9  # by itself

    async def setup(self) -> None:
        with pytest.raises(UsageError, match="options"):
            await self.approve("?", "yes")
        with pytest.raises(UsageError, match="no two the same"):
            await self.approve("?", ())
        with pytest.raises(UsageError, match="default"):
            await self.approve("?", timeout_s=1.0)
        with pytest.raises(UsageError, match="none of the options"):
            await self.approve("?", default="perhaps")
        with pytest.raises(UsageError, match="asks a question"):
            await self.approve("")

    @agent
    async def ask(self) -> None:
        self.said = await self.approve("go on?")


def test_a_simulated_campaign_takes_orders_of_its_own_agents() -> None:
    run = simulate(Steering(), model=AS_ASKED, workers={"simulate": 2})
    assert run.campaign.said == "no"
    assert set(run.campaign.calls) == {0.1, 0.5, 0.9}
    changed = [(each.new, each.by) for each in of_kind(run.events, ParameterChanged)]
    assert changed == [(0.5, "person"), (0.9, "Steering.person")]


def test_the_same_seed_has_the_same_orders_but_for_their_ids() -> None:
    runs = [simulate(Steering(), model=AS_ASKED, workers={"simulate": 2}) for _ in range(2)]
    orders = [[(e.number, e.at, e.outcome) for e in of_kind(r.events, Ordered)] for r in runs]
    assert orders[0] == orders[1]


class Paced(Campaign):
    """Has agents of every trigger, and pauses two of them."""

    def __init__(self) -> None:
        self.beats = self.offered = 0

    @every(1.0)
    async def beat(self) -> None:
        self.beats += 1

    @on_idle("simulate")
    async def offer(self, free: int) -> None:
        if self.offered < 5:
            self.offered += 1
            self.submit(simulation, 1.0)

    @agent
    async def person(self) -> None:
        await self.session.order(PauseAgent("beat"))
        await self.session.order(PauseAgent("offer"))
        await asyncio.sleep(50)
        assert (self.beats, self.offered) <= (1, 1)
        await self.session.order(ResumeAgent("offer"))
        await asyncio.sleep(50)
        assert self.offered == 5
        self.stop()


def test_agents_of_time_and_of_idle_workers_are_paused_too() -> None:
    run = simulate(Paced(), model=AS_ASKED, workers={"simulate": 1})
    assert run.campaign.offered == 5
    assert run.duration_s == pytest.approx(100, abs=2)


@in_virtual_time
async def test_orders_are_refused_before_and_after_there_is_a_campaign() -> None:
    async with cluster_of(1) as cluster, cluster.session("ada") as session:
        for _ in range(2):
            with pytest.raises(OrderRefused, match="no campaign takes orders here"):
                await session.order(SetParameter("rate", 0.5))
            with pytest.raises(OrderRefused, match="no campaign named Fit takes orders here"):
                await session.look("Fit")
            async with cluster.session("Search") as of_campaign:
                await drive(Search(), of_campaign, Limits())
        with pytest.raises(UsageError, match="an order is one of SetParameter"):
            await session.order("stop")  # type: ignore[arg-type]
        misfits: list[Any] = [CancelTasks(7), SubmitTask("fit", (object(),)), Answer("a", 1 << 99)]  # type: ignore[arg-type]
        for order in misfits:
            with pytest.raises(UsageError, match=f"{type(order).__name__} cannot be given like"):
                await session.order(order)
        with pytest.raises(UsageError, match="based_on is the number of an event"):
            await session.order(StopCampaign(), based_on=True)
        for budget in (Budget(worker_hours=math.nan), Budget(tasks_per_hour=-1)):
            with pytest.raises(UsageError, match="of a budget is a finite number from 0"):
                await session.order(StopCampaign(), budget=budget)


@in_virtual_time
async def test_a_campaign_takes_orders_of_the_next_broker_too() -> None:
    campaign = Search()
    async with (
        cluster_of(1, faults=[RestartBroker(5, for_s=10)]) as cluster,
        cluster.session("Search", host="laptop") as of_campaign,
        cluster.session("ada", host="desk") as session,
    ):
        running = asyncio.ensure_future(drive(campaign, of_campaign))
        await asyncio.sleep(20)
        await session.order(SetParameter("rate", 0.5))
        assert (await session.look()).parameters["rate"].value == 0.5
        await running
    assert campaign.rate == 0.5


@pytest.mark.parametrize("at", [5.05, 8.0])
@in_virtual_time
async def test_what_has_changed_while_a_broker_was_away_can_be_set_after_a_look(at: float) -> None:
    class Sets(Search):
        @agent
        async def set(self) -> None:
            await asyncio.sleep(at)
            self.rate = 0.3

    campaign = Sets()
    async with (
        cluster_of(1, faults=[RestartBroker(5, for_s=10)]) as cluster,
        cluster.session("Sets", host="laptop") as of_campaign,
        cluster.session("ada", host="desk") as session,
    ):
        running = asyncio.ensure_future(drive(campaign, of_campaign))
        await asyncio.sleep(1)
        before = (await session.look()).at_event
        await asyncio.sleep(19)
        with pytest.raises(OrderRefused, match="has changed since event"):
            await session.order(SetParameter("rate", 0.5), based_on=before)
        seen = await session.look()
        await session.order(SetParameter("rate", 0.5), based_on=seen.at_event)
        await running
    assert campaign.rate == 0.5


@in_virtual_time
async def test_a_question_of_a_task_of_asyncio_keeps_the_campaign_and_ends_with_it() -> None:
    class Asks(Search):
        @agent
        async def ask(self) -> None:
            self.asking = asyncio.create_task(self.approve("go on?", ("yes", "no")))

    async def answers(session: Any, _: Any) -> None:
        await asyncio.sleep(500)
        await session.order(Answer("yes"))

    asks = Asks()
    await beside(asks, answers)
    assert asks.asking.result() == "yes"

    class Fails(Asks):
        @agent
        async def fail(self) -> None:
            await asyncio.sleep(5)
            raise ValueError("odd")

    async def nothing(_: Any, __: Any) -> None:
        pass

    fails = Fails()
    with pytest.raises(ExceptionGroup):
        await beside(fails, nothing)
    for asked in (fails.asking, fails.approve("and now?", ("yes", "no"))):
        with pytest.raises((NotAnswered, UsageError)):
            await asyncio.wait_for(asked, 10)


@in_virtual_time
async def test_an_answer_that_is_too_long_is_told_of_and_keeps_no_one_waiting() -> None:
    class Asks(Search):
        @agent
        async def ask(self) -> None:
            texts = [f"{number} {9_000 * 'x'}?" for number in range(130)]
            await asyncio.gather(
                *(self.approve(text, ("yes", "no"), timeout_s=9, default="no") for text in texts)
            )

    async def act(session: Any, _: Any) -> None:
        with pytest.raises(OrderRefused, match="too long"):
            await session.look()

    await beside(Asks(), act)
