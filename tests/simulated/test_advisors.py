"""Advisors of a campaign, on virtual time: scripted, slow, failing and hostile ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from steerio import (
    Advice,
    Advised,
    Advisor,
    Campaign,
    Limits,
    UsageError,
    agent,
    on_success,
    task,
)
from steerio.campaign.advisor_turns import MOST_WAITING
from steerio.model.advice import VIEW_CHARACTERS
from steerio.testing import Model, simulate


class View(Struct):
    seen: int
    notes: Any = None


class NextStep(Struct):
    temperature: Annotated[float, Meta(ge=200, le=600)] = 300.0
    method: Literal["fast", "exact"] = "fast"


class Other(Struct):
    temperature: float = 250.0


@task
def work(number: int) -> int:
    return number


RULE = NextStep(222.0)


class Consults(Campaign):
    """Consults its advisor at each of some results, and lets others be handled meanwhile."""

    workers: ClassVar = {"default": 1}

    def __init__(self, advisor: Advisor, times: int = 1) -> None:
        self.advisor, self.times = advisor, times
        self.advice: list[Advice[NextStep]] = []
        self.done: list[float] = []
        self.told: list[Advised] = []
        self.views: list[View] = []

    async def setup(self) -> None:
        self.map(work, range(self.times))

    @on_success(work)
    async def think(self, result: Any) -> None:
        view = self.views[result.value] if self.views else View(result.value)
        self.advice.append(await self.consult(self.advisor, view, NextStep))
        self.done.append(asyncio.get_running_loop().time())


def consult(
    advise: Any, *, times: int = 1, campaign: Consults | None = None, **options: Any
) -> Any:
    """Run a campaign that consults an advisor, and return it and the run."""
    options.setdefault("fallback", RULE)
    campaign = campaign or Consults(Advisor(advise, **options), times)
    run = simulate(campaign, model=Model(1.0))
    campaign.told = [each for each in run.events if isinstance(each, Advised)]
    return campaign


def one(campaign: Consults) -> Advice[NextStep]:
    (advice,) = campaign.advice
    (told,) = campaign.told
    assert (told.source, told.reason, told.clipped) == (advice.by, advice.because, advice.clipped)
    assert msgspec.json.decode(told.answer, type=NextStep) == advice.value
    assert (told.by, told.choices, told.client) == ("Consults.think", "NextStep", "Consults")
    assert told.seconds == advice.seconds
    return advice


@pytest.mark.smoke
def test_an_answer_is_given_and_told_of() -> None:
    async def model(view: View, choices: Any) -> Any:
        await asyncio.sleep(3)
        assert choices is NextStep
        return {"temperature": 900, "method": "exact"}

    campaign = consult(model)
    advice = one(campaign)
    assert advice.value == NextStep(600.0, "exact")
    assert advice.clipped == ("temperature was 900, and is 600.0",)
    assert (advice.by, advice.because, advice.recorded) == ("advisor", "", False)
    assert advice.seconds == pytest.approx(3)
    (told,) = campaign.told
    assert (told.advisor, told.view) == ("model", '{"seen":0,"notes":null}')


async def late(view: View, choices: Any) -> Any:
    await asyncio.sleep(1000)


async def deaf(view: View, choices: Any) -> Any:
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        await asyncio.sleep(50)
        raise RuntimeError("much later") from None


async def raising(view: View, choices: Any) -> Any:
    raise ValueError("no \x1b[2J model\nat all")


async def exiting(view: View, choices: Any) -> Any:
    raise SystemExit(3)


async def cancelling(view: View, choices: Any) -> Any:
    asking = asyncio.current_task()
    assert asking is not None
    asking.cancel()
    await asyncio.sleep(1)


async def cancelled(view: View, choices: Any) -> Any:
    raise asyncio.CancelledError


async def other(view: View, choices: Any) -> Any:
    return Other(300.0)


async def nonsense(view: View, choices: Any) -> Any:
    return "\x1b]0;pwned\x07 I would rather not {"


async def injected(view: View, choices: Any) -> Any:
    return '{"method": "\\u001b[31mexact; rm -rf", "temperature": 300}'


async def huge(view: View, choices: Any) -> Any:
    return '{"temperature": 300}' + "x" * 10**7


async def nothing(view: View, choices: Any) -> Any:
    return None


def plain(view: View, choices: Any) -> Any:
    return {"temperature": 300}


HOSTILE: list[tuple[Callable[..., Any], str]] = [
    (late, "no answer within 20 s"),
    (deaf, "no answer within 20 s"),
    (raising, "ValueError: no \N{REPLACEMENT CHARACTER}[2J model at all"),
    (exiting, "SystemExit: 3"),
    (cancelling, "it cancelled itself"),
    (cancelled, "it cancelled itself"),
    (other, "its answer is none: it is Other(temperature=300.0), and not a NextStep"),
    (nonsense, "its answer is none: it has no JSON object"),
    (injected, "its answer is none: Invalid enum value "),
    (huge, "its answer is none: it is longer than"),
    (nothing, "its answer is none: it is None"),
    (plain, "its function returned no awaitable: write async def"),
]


@pytest.mark.parametrize(
    ("advise", "because"), [pytest.param(*each, id=each[0].__name__) for each in HOSTILE]
)
def test_without_an_answer_in_time_that_fits_the_fallback_is_followed(
    advise: Any, because: str, caplog: pytest.LogCaptureFixture
) -> None:
    advice = one(consult(advise, timeout_s=20))
    assert advice.by == "fallback"
    assert advice.value == RULE
    assert advice.because.startswith(because)
    assert advice.because.isprintable()
    assert advice.seconds <= 20
    (warning,) = [each for each in caplog.records if "the fallback of advisor" in each.message]
    assert warning.levelno == logging.WARNING


def test_the_rule_sees_the_view_and_its_advice_is_checked() -> None:
    def rule(view: View) -> NextStep:
        return NextStep(200.0 + view.seen)

    campaign = consult(raising, times=3, fallback=rule)
    assert [each.value.temperature for each in campaign.advice] == [200, 201, 202]
    for wrong in (NextStep(100.0), Other(), None):
        with pytest.raises(ExceptionGroup) as caught:
            consult(raising, fallback=lambda view, wrong=wrong: wrong)
        (error,) = caught.value.exceptions
        assert isinstance(error, UsageError)
        assert "the fallback of advisor raising is " in str(error)


def test_an_advisor_cannot_change_the_campaign_through_its_view() -> None:
    async def changing(view: View, choices: Any) -> Any:
        view.notes.append("mine")
        return NextStep()

    campaign = Consults(Advisor(changing, fallback=RULE))
    campaign.views = [View(0, ["yours"])]
    consult(None, campaign=campaign)
    assert campaign.views == [View(0, ["yours"])]
    assert one(campaign).by == "advisor"


def test_results_are_handled_while_an_advisor_thinks() -> None:
    class Beside(Consults):
        def __init__(self, advisor: Advisor) -> None:
            super().__init__(advisor, 5)
            self.handled: list[float] = []

        @on_success(work)
        async def handle(self, result: Any) -> None:
            self.handled.append(asyncio.get_running_loop().time())

    campaign = Beside(Advisor(late, fallback=RULE, timeout_s=100))
    consult(None, campaign=campaign)
    assert campaign.handled[-1] < 10 < campaign.done[0]


class AtOnce(Campaign):
    """Consults its advisor several times at once."""

    workers: ClassVar = {"default": 1}

    def __init__(self, advisor: Advisor, times: int) -> None:
        self.advisor, self.times = advisor, times
        self.advice: list[Advice[NextStep]] = []
        self.took = 0.0

    @agent
    async def think(self) -> None:
        await self.run(work, 1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        asking = [self.consult(self.advisor, View(n), NextStep) for n in range(self.times)]
        self.advice = await asyncio.gather(*asking)
        self.took = loop.time() - began


def at_once(times: int, advise: Any, **options: Any) -> AtOnce:
    campaign = AtOnce(Advisor(advise, fallback=RULE, **options), times)
    simulate(campaign, model=Model(1.0))
    return campaign


class Counting:
    """An advisor that takes some seconds, and knows how many questions it had at a time."""

    def __init__(self, seconds: float, *, deaf: bool = False) -> None:
        self.seconds, self.deaf = seconds, deaf
        self.now = self.most = self.calls = 0

    async def __call__(self, view: View, choices: Any) -> Any:
        self.now += 1
        self.calls += 1
        self.most = max(self.most, self.now)
        until = asyncio.get_running_loop().time() + self.seconds
        try:
            while (left := until - asyncio.get_running_loop().time()) > 0:
                try:
                    await asyncio.sleep(left)
                except asyncio.CancelledError:
                    if not self.deaf:
                        raise
            return NextStep(500.0 + view.seen)
        finally:
            self.now -= 1


@pytest.mark.parametrize("turns", [1, 2])
def test_questions_wait_for_their_turn_within_the_time_limit(turns: int) -> None:
    advise = Counting(4)
    campaign = at_once(6, advise, timeout_s=10, at_a_time=turns)
    assert advise.most == turns
    assert [each.by for each in campaign.advice].count("advisor") == 2 * turns
    assert campaign.took == pytest.approx(10)
    reasons = [each.because for each in campaign.advice]
    assert reasons[2 * turns : 3 * turns] == ["no answer within 10 s"] * turns
    assert reasons[3 * turns :] == ["no turn within 10 s"] * (6 - 3 * turns)


def test_an_advisor_that_is_not_cancelled_gets_no_more_questions_meanwhile() -> None:
    advise = Counting(25, deaf=True)
    campaign = at_once(5, advise, timeout_s=10)
    assert (advise.calls, advise.most) == (1, 1)
    assert campaign.took == pytest.approx(10)


def test_so_many_questions_wait_and_further_ones_fall_back_at_once() -> None:
    campaign = at_once(MOST_WAITING + 3, Counting(4), timeout_s=5)
    full = [each for each in campaign.advice if "wait for their turn" in each.because]
    assert (len(full), {each.seconds for each in full}) == (2, {0.0})


def test_beyond_its_questions_of_an_hour_the_fallback_is_followed() -> None:
    advise = Counting(1)

    class Hourly(AtOnce):
        @agent
        async def think(self) -> None:
            await self.run(work, 1)
            for n in range(self.times):
                self.advice.append(await self.consult(self.advisor, View(n), NextStep))
                await asyncio.sleep(900)

    campaign = Hourly(Advisor(advise, fallback=RULE, per_hour=3), 10)
    simulate(campaign, model=Model(1.0))
    assert [each.by == "advisor" for each in campaign.advice] == [
        *(True, True, True, False) * 2, True, True,
    ]  # fmt: skip
    assert campaign.advice[3].because == "its 3 questions an hour are spent; the next is in 897 s"
    assert advise.calls == 8


def test_the_end_of_a_campaign_does_not_wait_for_advice() -> None:
    class Stops(Consults):
        @on_success(work)
        async def end(self, result: Any) -> None:
            await asyncio.sleep(5)
            self.stop(reason="enough")
            advice = await self.consult(self.advisor, View(7), NextStep)
            assert advice.because == "the campaign ends: enough"

        async def finish(self) -> None:
            self.advice.append(await self.consult(quick, View(8), NextStep))

    quick = Advisor(Counting(1), fallback=RULE)
    campaign = Stops(Advisor(late, fallback=RULE, timeout_s=500))
    simulate(campaign, model=Model(1.0))
    waited, last = campaign.advice
    assert (waited.because, waited.seconds) == ("the campaign ends: enough", 5)
    assert last.by == "advisor", "there is time for one in finish()"


@pytest.mark.parametrize("fails", [False, True])
def test_questions_end_with_their_campaign_in_their_order(fails: bool) -> None:
    ended: list[int] = []

    class Asks(Campaign):
        workers: ClassVar = {"default": 1}

        @agent
        async def think(self) -> None:
            asking = [asyncio.create_task(self.ask(number)) for number in range(60)]
            await self.run(work, 1)
            if fails:
                raise ValueError("odd")
            self.stop(reason="enough")
            await asyncio.gather(*asking)

        async def ask(self, number: int) -> None:
            advice = await self.consult(advisor, View(number), NextStep)
            assert advice.because == f"the campaign ends: {'it is over' if fails else 'enough'}"
            ended.append(number)

    model = Counting(1000)
    advisor = Advisor(model, fallback=RULE, timeout_s=900, at_a_time=50)
    with pytest.raises(ExceptionGroup) if fails else contextlib.nullcontext():
        simulate(Asks(), model=Model(1.0))
    assert (model.calls, ended) == (50, [*range(60)])


def test_a_handler_that_is_cut_short_takes_its_question_back() -> None:
    advise = Counting(1000)
    campaign = Consults(Advisor(advise, fallback=RULE, timeout_s=900))
    simulate(campaign, model=Model(1.0), limits=Limits(wall_s=20, calls_s=5))
    assert (advise.calls, advise.now) == (1, 0)

    class Cancels(AtOnce):
        @agent
        async def think(self) -> None:
            await self.run(work, 1)
            asking = [
                asyncio.ensure_future(self.consult(self.advisor, View(n), NextStep))
                for n in range(3)
            ]
            await asyncio.sleep(1)
            for each in asking[:2]:
                each.cancel()
            self.advice = [await asking[2]]

    quick = Counting(5)
    cancels = Cancels(Advisor(quick, fallback=RULE, timeout_s=20), 0)
    simulate(cancels, model=Model(1.0))
    assert (quick.calls, quick.now, cancels.advice[0].seconds) == (2, 0, 6)


def test_a_long_view_is_not_shown() -> None:
    advise = Counting(1)
    campaign = Consults(Advisor(advise, fallback=RULE))
    campaign.views = [View(0, ["x" * 1000] * 60)]
    consult(None, campaign=campaign)
    assert advise.calls == 0
    assert f"characters, and may have {VIEW_CHARACTERS}" in one(campaign).because
    assert len(campaign.told[0].view) < 1_100


class Uncopied:
    def __deepcopy__(self, memo: Any) -> Any:
        raise RuntimeError("there is but one")

    def tolist(self) -> list[int]:
        return []


@pytest.mark.parametrize(
    ("advisor", "view", "choices", "because"),
    [
        (late, View(1), NextStep, r"consult asks a steerio.Advisor\(...\), not <function late>"),
        (Advisor(late, fallback=RULE), View(1), Other, "the fallback of advisor late is NextStep"),
        (Advisor(late, fallback=RULE), View(1), dict, "a type of msgspec.Struct"),
        (Advisor(late, fallback=RULE), {"seen": 1}, NextStep, "view of an advisor is a msgspec"),
        (Advisor(late, fallback=RULE), View(1, late), NextStep, "function cannot be written"),
        (Advisor(late, fallback=RULE), View(1, Uncopied()), NextStep, "there is but one"),
    ],
)
def test_mistakes_are_named_at_the_first_question(
    advisor: Any, view: Any, choices: Any, because: str
) -> None:
    class Errs(Consults):
        @on_success(work)
        async def think(self, result: Any) -> None:
            await self.consult(advisor, view, choices)

    with pytest.raises(ExceptionGroup) as caught:
        simulate(Errs(advisor), model=Model(1.0))
    (error,) = caught.value.exceptions
    assert isinstance(error, UsageError)
    with pytest.raises(UsageError, match=because):
        raise error


@pytest.mark.parametrize(
    ("options", "because"),
    [
        ({"advise": "gpt"}, r"is made of async def advise\(view, choices\), not 'gpt'"),
        ({"fallback": NextStep}, "is one of its choices, or def rule"),
        ({"fallback": "fast"}, "is one of its choices, or def rule"),
        ({"timeout_s": 0}, "timeout_s of an advisor must be above 0"),
        ({"per_hour": 0}, "per_hour of an advisor is a whole number from 1, not 0"),
        ({"at_a_time": 1.5}, "at_a_time of an advisor is a whole number from 1, not 1.5"),
        ({"name": "x" * 300}, "name of an advisor must be a name"),
    ],
)
def test_an_advisor_that_cannot_be_is_refused(options: dict[str, Any], because: str) -> None:
    given: dict[str, Any] = {"advise": late, "fallback": RULE, **options}
    with pytest.raises(UsageError, match=because):
        Advisor(given.pop("advise"), **given)
    assert repr(Advisor(Counting(1), fallback=RULE)) == "<Advisor Counting>"
