"""Orders, questions and answers of a campaign that is cut off hold when it is resumed."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from steerio import (
    Answer,
    Board,
    Campaign,
    Checkpoint,
    Limits,
    OrderRefused,
    PauseAgent,
    ResumeAgent,
    SetParameter,
    agent,
    on_success,
    parameter,
)
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import play
from tests.simulated.random_tasks import measure

SELDOM = 1e6
"""Seconds to the next snapshot, so that there is none."""


class Steered(Campaign):
    """Has its parameter set by an order, but only in its first incarnation."""

    workers: ClassVar = {"default": 2}
    acts: ClassVar[bool] = True
    rate = parameter(0.1, ge=0, le=1)

    def __init__(self) -> None:
        self.todo = Board(measure, [("steered", number) for number in range(40)])
        self.rates: list[float] = []
        self.held = 0

    @on_success(measure)
    async def take_in(self, result: Any) -> None:
        self.rates.append(self.rate)
        if self.acts and len(self.rates) == 5:
            await self.session.order(SetParameter("rate", 0.5))

    @on_success(measure)
    async def hold(self, result: Any) -> None:
        self.held += 1
        if self.acts and self.held == 6:
            await self.session.order(PauseAgent("hold"))


@pytest.mark.parametrize("every_s", [2.0, SELDOM], ids=["from a snapshot", "from the start"])
def test_orders_are_repeated_behind_the_results_behind_which_they_were_given(
    every_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = CrashingDisk()
    first = Steered()
    play(first, disk, limits=Limits(tasks=20), every_s=every_s)
    assert first.rates[:5] == [0.1] * 5
    assert first.rates[-1] == first.rate == 0.5
    monkeypatch.setattr(Steered, "acts", False)
    again = Steered()
    play(again, disk, every_s=every_s, limits=Limits(tasks=30))
    cut = first.rates.index(0.5)
    assert again.rate == 0.5
    assert again.rates[-1] == 0.5
    assert abs(again.rates.index(0.5) - cut) <= 1, "its place among two that ended at once"


class Asks(Campaign):
    """Asks the same question of each third result."""

    workers: ClassVar = {"default": 1}
    answers: ClassVar[str] = "yes"

    def __init__(self) -> None:
        self.todo = Board(measure, [("asks", number) for number in range(12)])
        self.said: list[str] = []
        self.numbers: list[int] = []

    @on_success(measure, every=3)
    async def ask(self, results: Any) -> None:
        asking = asyncio.ensure_future(self.approve("go on?"))
        await asyncio.sleep(0)
        if not asking.done():
            view = await self.session.look()
            self.numbers += [each.number for each in view.questions]
            if self.answers:
                await self.session.order(Answer(self.answers), by="ada")
        self.said.append(await asking)


def test_a_question_has_its_number_and_its_answer_again(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = CrashingDisk()
    first = Asks()
    play(first, disk, limits=Limits(tasks=8), every_s=SELDOM)
    assert (first.said, first.numbers) == (["yes"] * 2, [1, 2])
    monkeypatch.setattr(Asks, "answers", "no")
    again = Asks()
    play(again, disk, every_s=SELDOM)
    assert again.said == ["yes", "yes", "no", "no"]
    assert again.numbers == [3, 4]


asked: list[asyncio.Task[Any]] = []
"""Orders that a campaign's handlers have given and do not wait for."""


class Kept(Campaign):
    """Has a snapshot taken when it is half done, and an agent paused."""

    workers: ClassVar = {"default": 1}
    rate = parameter(0.1)

    def __init__(self) -> None:
        self.todo = Board(measure, [("kept", number) for number in range(12)])
        self.seen = self.held = 0

    def order(self, *orders: Any) -> None:
        async def give() -> list[str]:
            return [(await self.session.order(each)).words for each in orders]

        asked.append(asyncio.ensure_future(give()))

    @on_success(measure)
    async def see(self, result: Any) -> None:
        self.seen += 1
        if self.seen == 4:
            self.order(PauseAgent("hold"), SetParameter("rate", 0.3), Checkpoint())
        if self.seen == 10:
            self.order(ResumeAgent("hold"))

    @on_success(measure)
    async def hold(self, result: Any) -> None:
        self.held += 1


def test_a_snapshot_that_was_ordered_has_parameters_and_pauses() -> None:
    disk = CrashingDisk()
    first = Kept()
    keeping = play(first, disk, limits=Limits(tasks=8), every_s=SELDOM)
    assert asked.pop().result()[-1] == "a snapshot was taken"
    assert keeping.snapshots.taken == 1
    again = Kept()
    play(again, disk, every_s=SELDOM)
    assert (again.seen, again.held, again.rate) == (12, 12, 0.3)
    assert asked.pop().result()[0].startswith("Kept.hold is resumed, with ")


class Unkept(Campaign):
    """Cannot have a snapshot taken: its agent calls no checkpoint, or an attribute is odd."""

    workers: ClassVar = {"default": 1}

    def __init__(self, *, stays: bool) -> None:
        self.stays = stays
        self.said = ""

    async def setup(self) -> None:
        if self.stays:
            self.numbers = (number for number in range(3))

    @agent
    async def walk(self) -> None:
        await self.run(measure, "unkept", 1)
        asking = asyncio.ensure_future(self.session.order(Checkpoint()))
        for _ in range(100):
            await asyncio.sleep(1)
            if self.stays:
                await self.checkpoint()
        with pytest.raises(OrderRefused) as caught:
            await asking
        self.said = caught.value.reason


@pytest.mark.parametrize(
    ("stays", "words"), [(True, "cannot pickle 'generator'"), (False, "within 60 s calls were")]
)
def test_an_order_for_a_snapshot_says_why_none_was_taken(stays: bool, words: str) -> None:
    campaign = Unkept(stays=stays)
    play(campaign, CrashingDisk(), every_s=SELDOM)
    assert words in campaign.said


class Undecided(Campaign):
    """Two agents: one asks, and the other has snapshots taken while it does, and after."""

    workers: ClassVar = {"default": 1}

    def __init__(self, timeout_s: float | None = None) -> None:
        self.timeout_s = timeout_s
        self.said: list[str] = []
        self.took_s: list[float] = []

    @agent
    async def ask(self) -> None:
        await self.approve("go on?", timeout_s=self.timeout_s, default="no")

    @agent
    async def walk(self) -> None:
        await self.run(measure, "undecided", 1)
        await asyncio.sleep(7_200)  # a hold could last for 2 % of that
        for _ in range(2):
            loop = asyncio.get_running_loop()
            began, asking = loop.time(), asyncio.ensure_future(self.session.order(Checkpoint()))
            await asyncio.sleep(0.01)
            await self.checkpoint()
            self.took_s.append(loop.time() - began)
            try:
                self.said.append((await asking).words)
            except OrderRefused as error:
                self.said.append(error.reason)
            if self.timeout_s is None and len(self.said) == 1:
                await self.session.order(Answer("yes", 1))


def test_no_snapshot_waits_for_an_answer_that_may_never_come(
    caplog: pytest.LogCaptureFixture,
) -> None:
    campaign = Undecided()
    play(campaign, CrashingDisk(), every_s=SELDOM)
    refused, taken = campaign.said
    assert refused == (
        "no snapshot was taken: Undecided.ask waits for the answer to question 1, and could not "
        "go on from there after a resume"
    )
    assert taken == "a snapshot was taken"
    assert max(campaign.took_s) < 1
    assert "so a resume would replay the results from the last one: Undecided.ask" in caplog.text
