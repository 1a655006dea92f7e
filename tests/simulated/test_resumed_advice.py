"""A campaign that is resumed has the answers of its advisors again, and asks none for them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, ClassVar

import pytest
from msgspec import Meta, Struct

from steerio import Advice, Advised, Advisor, Board, Campaign, Checkpoint, Limits, agent, on_success
from steerio.testing.record import MemoryRecord
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import cut, play
from tests.simulated.random_tasks import measure
from tests.simulated.virtual import of_kind

SELDOM = 1e6
"""Seconds to the next snapshot, so that there is none."""


class View(Struct):
    round: int


class NextStep(Struct):
    step: Annotated[float, Meta(ge=0, le=10)]


class Narrow(Struct):
    step: Annotated[float, Meta(ge=0, le=1)]


class Asked:
    """A scripted advisor: it gives these answers in order, each after a while."""

    def __init__(self, *answers: Any, seconds: float = 0.01) -> None:
        self.seconds = seconds
        self.answers = list(answers)
        self.rounds: list[int] = []

    async def __call__(self, view: View, choices: Any) -> Any:
        self.rounds.append(view.round)
        await asyncio.sleep(self.seconds)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"step": answer}


class Consults(Campaign):
    """Consults its advisor at each third result."""

    workers: ClassVar = {"default": 1}
    script: ClassVar[Asked]
    choices: ClassVar[Any] = NextStep
    timeout_s: ClassVar[float] = 20.0
    same: ClassVar[bool] = False

    def __init__(self) -> None:
        self.todo = Board(measure, [("consults", number) for number in range(12)])
        self.rounds = 0
        self.steps: list[float] = []
        self.advice: list[Advice[Any]] = []

    @on_success(measure, every=3)
    async def think(self, results: Any) -> None:
        self.rounds += 1
        advisor = Advisor(
            self.script,
            fallback=lambda view: self.choices(0.125),
            timeout_s=self.timeout_s,
            name="model",
        )
        view = View(0 if self.same else self.rounds)
        advice = await self.consult(advisor, view, self.choices)
        self.steps.append(advice.value.step)
        self.advice.append(advice)


def consults(**changed: Any) -> type[Consults]:
    return type("Consults", (Consults,), {"__module__": __name__, **changed})


@pytest.mark.parametrize("same", [False, True], ids=["other views", "equal views"])
def test_answers_are_read_back_each_once_and_in_order_and_later_ones_asked_for(same: bool) -> None:
    disk = CrashingDisk()
    first = consults(script=Asked(3.0, RuntimeError("no"), 30.0), same=same)()
    play(first, disk, limits=Limits(tasks=10), every_s=SELDOM, workers=1)
    assert first.steps == [3.0, 0.125, 10.0]
    script = Asked(4.0)
    again = consults(script=script, same=same)()
    record = MemoryRecord()
    play(again, disk, every_s=SELDOM, record=record)
    assert again.steps == [3.0, 0.125, 10.0, 4.0]
    assert script.rounds == [0 if same else 4]
    assert [each.recorded for each in again.advice] == [True] * 3 + [False]
    assert again.advice[1].because == "RuntimeError: no"
    assert again.advice[2].clipped == ("step was 30.0, and is 10.0",)
    assert [each.seconds for each in again.advice[:3]] == [each.seconds for each in first.advice]
    told = of_kind(record.events, Advised)
    assert [each.answer for each in told] == ['{"step":4.0}'], "those of before are not told again"


def test_a_question_that_was_open_is_asked_again() -> None:
    disk = CrashingDisk()
    slow = consults(script=Asked(3.0, seconds=100.0), timeout_s=500.0)
    first = slow()
    play(first, disk, limits=Limits(tasks=3), every_s=SELDOM)
    assert first.advice[0].because.startswith("the campaign ends")
    script = Asked(5.0, 6.0, 7.0, 8.0)
    again = consults(script=script)()
    play(again, disk, every_s=SELDOM)
    assert again.steps == [5.0, 6.0, 7.0, 8.0]
    assert script.rounds == [1, 2, 3, 4]


def test_an_answer_that_the_choices_do_not_have_any_more_is_asked_for_again() -> None:
    disk = CrashingDisk()
    play(consults(script=Asked(0.5, 5.0))(), disk, limits=Limits(tasks=7), every_s=SELDOM)
    script = Asked(0.7, 0.8, 0.9)
    choices = type(
        "NextStep", (Struct,), {"__annotations__": {"step": Annotated[float, Meta(ge=0, le=1)]}}
    )
    again = consults(script=script, choices=choices)()
    play(again, disk, every_s=SELDOM)
    assert again.steps == [0.5, 0.7, 0.8, 0.9]
    other = consults(script=Asked(0.1, 0.2, 0.3, 0.4), choices=Narrow)()
    play(other, disk, every_s=SELDOM)
    assert other.steps == [0.1, 0.2, 0.3, 0.4], "another type is another question"


ordered: list[asyncio.Task[Any]] = []
"""Orders that a handler has given and does not wait for."""


class Snapped(Consults):
    """Orders a snapshot between its second and its third advice, in its first incarnation."""

    orders_at: ClassVar[int | None] = 6

    @on_success(measure)
    async def keep(self, result: Any) -> None:
        if result.args[1] == self.orders_at:
            ordered.append(asyncio.ensure_future(self.session.order(Checkpoint())))


def test_answers_behind_a_snapshot_are_read_back_and_those_before_are_in_its_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = CrashingDisk()
    monkeypatch.setattr(Snapped, "script", Asked(1.0, 2.0, 3.0, 4.0), raising=False)
    first = Snapped()
    keeping = play(first, disk, every_s=SELDOM, workers=1, limits=Limits(tasks=10))
    assert ordered.pop().result().words == "a snapshot was taken"
    assert (keeping.snapshots.taken, first.steps) == (1, [1.0, 2.0, 3.0])
    script = Asked(5.0)
    monkeypatch.setattr(Snapped, "script", script)
    monkeypatch.setattr(Snapped, "orders_at", None)
    again = Snapped()
    play(again, disk, every_s=SELDOM, workers=1)
    assert again.steps == [1.0, 2.0, 3.0, 5.0]
    assert script.rounds == [4]
    assert [each.recorded for each in again.advice] == [False, False, True, False]


class Checked(Campaign):
    """Has a snapshot taken in its second incarnation, before it consults again."""

    workers: ClassVar = {"default": 1}
    script: ClassVar[Asked]
    incarnation: ClassVar[int] = 1

    def __init__(self) -> None:
        self.at = 0
        self.advice: list[Advice[NextStep]] = []

    @agent
    async def walk(self) -> None:
        if self.at == 0:
            await self.run(measure, "checked", 1)
            self.at = 1
        if self.incarnation == 2:
            ordered.append(asyncio.ensure_future(self.session.order(Checkpoint())))
            await asyncio.sleep(1)
            await self.checkpoint()
            assert (await ordered.pop()).words == "a snapshot was taken"
            return
        advisor = Advisor(self.script, fallback=NextStep(0.0))
        self.advice.append(await self.consult(advisor, View(1), NextStep))


def test_a_snapshot_has_the_answers_that_were_not_asked_for_again_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = CrashingDisk()
    monkeypatch.setattr(Checked, "script", Asked(1.0), raising=False)
    play(Checked(), disk, every_s=SELDOM)
    monkeypatch.setattr(Checked, "incarnation", 2)
    keeping = play(Checked(), disk, every_s=SELDOM)
    assert keeping.snapshots.taken == 1
    monkeypatch.setattr(Checked, "incarnation", 3)
    third = Checked()
    play(third, disk, every_s=SELDOM)
    assert [(each.value.step, each.recorded) for each in third.advice] == [(1.0, True)]


@pytest.mark.parametrize("at", range(14, 60, 5))
def test_wherever_a_campaign_is_cut_off_it_ends_with_the_answers_that_it_acted_on(at: int) -> None:
    disk = CrashingDisk()
    answers = [1.0, 2.0, 3.0, 4.0]
    script = Asked(*answers)
    first = consults(script=script)()
    files = cut(first, disk, at, every_s=3.0)
    if files is None:
        return
    again = consults(script=Asked(*[10.0 - n for n in range(4)]))()
    play(again, CrashingDisk(files), every_s=3.0)
    assert len(again.steps) == 4
    kept = [n for n, each in enumerate(again.steps) if each in answers]
    assert kept == list(range(len(kept))), "those that were read back are the first ones"
