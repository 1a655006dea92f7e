"""Proposals and ordered tasks of a campaign that is cut off hold, once, when it is resumed."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from steerio import (
    Answer,
    Asked,
    Board,
    Budget,
    Campaign,
    Limits,
    Ordered,
    OrderRefused,
    SetParameter,
    SubmitTask,
    on_success,
    parameter,
    task,
)
from steerio.testing import Model
from steerio.testing.record import MemoryRecord
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import cut, play
from tests.simulated.random_tasks import measure
from tests.simulated.virtual import of_kind

SELDOM, OFTEN = 1e6, 2.0


@task
def extra(name: str) -> str:
    return name


LONG = {extra: Model(2.5), measure: Model(1.0)}


class Kept(Campaign):
    """Notes what it hears, and gives the orders of its class behind some results."""

    workers: ClassVar = {"default": 2}
    plan: ClassVar[dict[int, list[tuple[Any, dict[str, Any]]]]] = {}
    rate = parameter(0.1, ge=0, le=1)

    def __init__(self) -> None:
        self.todo = Board(measure, [("kept", number) for number in range(40)])
        self.seen = 0
        self.extra: list[str] = []

    @on_success(measure)
    async def see(self, result: Any) -> None:
        self.seen += 1
        for order, options in self.plan.get(self.seen, ()):
            try:
                given = await self.session.order(order, **options)
                said.append(given)
            except OrderRefused as error:
                said.append(error)

    @on_success(extra)
    async def hear(self, result: Any) -> None:
        assert result.tags == {"ordered_by": "ada"}
        self.extra.append(result.value)


said: list[Any] = []
"""The answers to orders, of all incarnations since it was cleared."""


@pytest.fixture(autouse=True)
def _no_answers() -> None:
    said.clear()


def run(
    disk: CrashingDisk,
    plan: dict[int, list[tuple[Any, dict[str, Any]]]],
    every_s: float = SELDOM,
    tasks: int | None = None,
) -> tuple[Kept, MemoryRecord]:
    """Run the next incarnation with these orders."""
    Kept.plan = plan
    campaign, record = Kept(), MemoryRecord()
    limits = None if tasks is None else Limits(tasks=tasks)
    play(campaign, disk, LONG, limits=limits, every_s=every_s, record=record)
    return campaign, record


ADA: dict[str, Any] = {"by": "ada"}
PROPOSES: dict[str, Any] = {"by": "ada", "role": "propose", "id": "p"}


@pytest.mark.parametrize("every_s", [OFTEN, SELDOM], ids=["from a snapshot", "from the start"])
def test_an_open_proposal_is_open_again_and_decided_once(every_s: float) -> None:
    disk = CrashingDisk()
    first, record = run(disk, {3: [(SetParameter("rate", 0.5), PROPOSES)]}, every_s, tasks=15)
    assert first.rate == 0.1
    ((ended),) = of_kind(record.events, Ordered)
    assert ended.outcome.endswith("it is open again if the campaign is resumed")
    number = said.pop().question
    plan = {25: [
        (SetParameter("rate", 0.5), PROPOSES),
        (Answer("approve", number), {"by": "bob"}),
        (Answer("approve", number), {"by": "cy"}),
        (SetParameter("rate", 0.5), PROPOSES),
    ]}  # fmt: skip
    again, record = run(disk, plan, every_s, tasks=30)
    (asked,) = of_kind(record.events, Asked)
    assert asked.order is not None
    assert (asked.question, asked.order.by) == (number, "ada")
    repeated, approved, too_late, at_last = said[-4:]
    assert (repeated.done, repeated.question) == (False, number)
    assert approved.words == f"approved question {number}: rate is 0.5 now, and was 0.1"
    assert "was answered 'approve' already, by bob" in too_late.reason
    assert (at_last.done, at_last.question) == (True, number)
    assert again.rate == 0.5
    said.clear()
    third, record = run(disk, {}, every_s)
    assert third.rate == 0.5
    assert third.seen == 40
    assert not of_kind(record.events, Asked)


@pytest.mark.parametrize("choice", ["approve", "deny"])
@pytest.mark.parametrize("every_s", [OFTEN, SELDOM], ids=["from a snapshot", "from the start"])
def test_a_decided_proposal_is_not_decided_again(choice: str, every_s: float) -> None:
    disk = CrashingDisk()
    order = SubmitTask("extra", ("one",))
    plan = {3: [(order, PROPOSES)], 6: [(Answer(choice, 1), {"by": "bob"})]}
    first, _ = run(disk, plan, every_s, tasks=20)
    expected = ["one"] * (choice == "approve")
    assert first.extra == expected
    again, record = run(disk, {30: [(Answer("approve", 1), {"by": "cy"})]}, every_s)
    assert isinstance(said[-1], OrderRefused)
    assert again.extra == expected
    assert not of_kind(record.events, Asked)


@pytest.mark.parametrize("every_s", [OFTEN, SELDOM], ids=["from a snapshot", "from the start"])
@pytest.mark.parametrize("at", [3, 18], ids=["ended", "cut off"])
def test_an_ordered_task_is_submitted_once_over_all_incarnations(at: int, every_s: float) -> None:
    disk = CrashingDisk()
    order, once = SubmitTask("extra", ("one",)), {**ADA, "id": "once"}
    first, _ = run(disk, {at: [(order, once), (order, once)]}, every_s, tasks=20)
    assert said[0] == said[1]
    assert first.extra == ["one"] if at == 3 else len(first.extra) <= 1
    again, _ = run(disk, {25: [(order, once)]}, every_s, tasks=30)
    assert said[-1].done, "it is the same order, and has been carried out"
    assert again.extra == ["one"]
    third, record = run(disk, {}, every_s)
    assert third.extra == ["one"]
    assert third.seen == 40
    names = [each.task_type for each in record.tasks if "extra" in each.task_type]
    assert len(names) == 0, "its result is the recorded one"


def test_a_budget_is_kept_over_a_resume() -> None:
    disk = CrashingDisk()
    two = {**ADA, "budget": Budget(tasks_per_hour=2, worker_hours=1.0)}
    order = SubmitTask("extra", ("one",))
    for number, every_s in enumerate((SELDOM, OFTEN, OFTEN, SELDOM)):
        orders = [(order, two), (order, {**two, "by": "bob"})] if number < 2 else [(order, two)]
        at = (5, 14, 22, 30)[number]
        Kept.plan = {at: orders[:1]}
        run(disk, {at: orders[:1]}, every_s, tasks=(12, 20, 28, 36)[number])
    assert [type(each) for each in said[-2:]] == [OrderRefused] * 2
    assert "ada has submitted 2 tasks within the last hour, and may submit 2" in said[-1].reason


@pytest.mark.parametrize("at", range(1, 200, 7))
def test_wherever_the_disk_stops_an_ordered_task_is_there_at_most_once(at: int) -> None:
    disk = CrashingDisk()
    order, once = SubmitTask("extra", ("one",)), {**ADA, "id": "once"}
    Kept.plan = {
        3: [(SubmitTask("extra", ("two",)), PROPOSES)],
        5: [(order, once)],
        7: [(Answer("approve", 1), {"by": "bob"})],
    }
    first = Kept()
    files = cut(first, disk, at, model=LONG, every_s=OFTEN)
    if files is None:
        assert sorted(first.extra) == ["one", "two"]
        return
    again = Kept()
    play(again, CrashingDisk(files), LONG, every_s=OFTEN)
    assert sorted(again.extra) == ["one", "two"]
    assert again.seen == 40


class Waits(Campaign):
    """Does nothing behind its board but wait for a task that is ordered."""

    workers: ClassVar = {"default": 1}
    entries: ClassVar[int] = 4
    orders: ClassVar[bool] = True

    def __init__(self) -> None:
        self.todo = Board(measure, [("waits", number) for number in range(self.entries)])
        self.seen = self.heard = 0

    @on_success(measure)
    async def begin(self, result: Any) -> None:
        self.seen += 1
        if self.orders and self.seen == 2:
            await self.session.order(SubmitTask("extra", ("one",)), by="ada")

    @on_success(extra)
    async def hear(self, result: Any) -> None:
        self.heard += 1
        await asyncio.sleep(1)


@pytest.mark.parametrize("entries", [0, 1, 2, 4])
def test_an_ordered_task_is_submitted_again_though_its_campaign_asks_for_less(
    entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = CrashingDisk()
    first = Waits()
    play(first, disk, LONG, limits=Limits(tasks=3), every_s=SELDOM)
    assert first.heard <= 1
    monkeypatch.setattr(Waits, "orders", False)
    monkeypatch.setattr(Waits, "entries", entries)
    for _ in range(2):
        again = Waits()
        play(again, disk, LONG, every_s=SELDOM)
        assert (again.seen, again.heard) == (entries, 1)
