"""Handlers that are called with the items of generator tasks, while these run."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from random import Random
from typing import Any, ClassVar

import pytest

from steerio import (
    Board,
    Campaign,
    StreamedItem,
    Succeeded,
    agent,
    on_item,
    on_result,
    on_success,
    task,
)
from steerio.campaign.item_calls import ITEMS_WAITING
from steerio.errors import UsageError
from steerio.testing import KillWorker, Model, simulate
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import cut, play


@task
def count_up(start: int, n: int = 20) -> Iterator[int]:
    for step in range(n):
        yield start + step


@task
def plain(x: int) -> int:
    return x


MODEL = Model(1.0)


class Following(Campaign):
    """Submits some tasks, and notes each item that they yield."""

    workers: ClassVar = {"default": 4}
    starts: ClassVar = (100, 200, 300)
    steps = 20

    def __init__(self) -> None:
        self.seen: defaultdict[int, list[Any]] = defaultdict(list)
        self.ended: list[Any] = []

    async def setup(self) -> None:
        for start in self.starts:
            self.submit(count_up, start, self.steps)

    def note_item(self, item: StreamedItem) -> None:
        self.seen[item.task.args[0]].append((item.attempt, item.index, item.value))

    @on_result(count_up)
    async def ends(self, result: Any) -> None:
        self.ended.append(result.ended_as)


def all_of(start: int, n: int = 20, attempt: int = 1) -> list[tuple[int, int, int]]:
    return [(attempt, step, start + step) for step in range(n)]


@pytest.mark.smoke
def test_a_handler_is_called_with_each_item_of_each_task_in_order() -> None:
    class Noting(Following):
        @on_item(count_up)
        async def hear(self, item: StreamedItem) -> None:
            self.note_item(item)

    run = simulate(Noting(), model=MODEL)
    assert dict(run.campaign.seen) == {start: all_of(start) for start in (100, 200, 300)}
    assert run.campaign.ended == ["succeeded"] * 3
    assert run.duration_s == pytest.approx(20.0, abs=2.0)


def test_items_of_boards_and_of_run_reach_the_handler_too() -> None:
    class Both(Following):
        starts: ClassVar = ()

        def __init__(self) -> None:
            super().__init__()
            self.todo = Board(count_up, [100])

        @agent
        async def one(self) -> None:
            await self.run(count_up, 200)

        @on_item(count_up)
        async def hear(self, item: StreamedItem) -> None:
            self.note_item(item)

    seen = simulate(Both(), model=MODEL).campaign.seen
    assert dict(seen) == {100: all_of(100), 200: all_of(200)}


def test_a_slow_handler_holds_the_tasks_back() -> None:
    class Slow(Following):
        steps = 300
        most = 0

        @on_item(count_up)
        async def hear(self, item: StreamedItem) -> None:
            self.note_item(item)
            await asyncio.sleep(10.0)
            for each in self.session.pending:
                self.most = max(self.most, len(each.yielded or ()))

    run = simulate(Slow(), model=MODEL)
    assert dict(run.campaign.seen) == {start: all_of(start, 300) for start in (100, 200, 300)}
    assert run.campaign.most <= 16
    last = max(record.ended or 0.0 for record in run.records)
    assert last > 10.0 * (900 - ITEMS_WAITING - 3 * 17 - 5)  # they did not run ahead


def test_a_task_that_yields_much_leaves_room_for_others() -> None:
    class Uneven(Following):
        order: ClassVar[list[int]] = []

        async def setup(self) -> None:
            self.order.clear()
            self.submit(count_up, 0, 1000)
            await asyncio.sleep(100.0)
            self.submit(count_up, 5000, 5)

        @on_item(count_up)
        async def hear(self, item: StreamedItem) -> None:
            self.order.append(item.task.args[0])
            await asyncio.sleep(10.0)
            if self.order.count(5000) == 5:
                self.stop(cancel=True)

    simulate(Uneven(), model=Model(0.01))
    places = [place for place, start in enumerate(Uneven.order) if start == 5000]
    assert places[0] <= 10 + ITEMS_WAITING + 1
    assert places[-1] - places[0] <= 2 * 5


def test_calls_with_items_of_one_task_do_not_overlap() -> None:
    class Several(Following):
        def __init__(self) -> None:
            super().__init__()
            self.at_work: list[int] = []
            self.most = 0

        @on_item(count_up, concurrent=8)
        async def hear(self, item: StreamedItem) -> None:
            start = item.task.args[0]
            assert start not in self.at_work
            self.at_work.append(start)
            self.most = max(self.most, len(self.at_work))
            await asyncio.sleep(3.0 if item.index % 2 else 1.0)
            self.note_item(item)
            self.at_work.remove(start)

    campaign = simulate(Several(), model=MODEL).campaign
    assert campaign.most == 3
    assert dict(campaign.seen) == {start: all_of(start) for start in (100, 200, 300)}


def test_items_come_in_lists_and_the_rest_with_time() -> None:
    class InEights(Following):
        starts: ClassVar = (0,)
        lists: ClassVar[list[list[int]]] = []

        @on_item(count_up, every=8, within_s=30.0)
        async def hear(self, items: list[StreamedItem]) -> None:
            self.lists.append([item.value for item in items])

    InEights.lists.clear()
    simulate(InEights(), model=MODEL)
    assert InEights.lists == [list(range(8)), list(range(8, 16)), list(range(16, 20))]


def test_more_items_than_there_is_room_for_may_make_one_call() -> None:
    class InHundreds(Following):
        starts: ClassVar = (0,)
        steps = 200
        lists: ClassVar[list[int]] = []

        @on_item(count_up, every=100)
        async def hear(self, items: list[StreamedItem]) -> None:
            self.lists.append(len(items))

    InHundreds.lists.clear()
    simulate(InHundreds(), model=MODEL)
    assert InHundreds.lists == [100, 100]


def test_the_newest_item_alone_holds_nothing_back() -> None:
    class Newest(Following):
        starts: ClassVar = (0,)
        steps = 200

        @on_item(count_up, latest=True)
        async def hear(self, item: StreamedItem) -> None:
            self.note_item(item)
            await asyncio.sleep(50.0)

    run = simulate(Newest(), model=MODEL)
    values = [value for _, _, value in run.campaign.seen[0]]
    assert len(values) <= 6
    assert values[-1] == 199
    assert max(record.ended or 0.0 for record in run.records) == pytest.approx(200.0, abs=5.0)


def test_a_handler_cancels_the_task_and_hears_no_more_of_it() -> None:
    class Early(Following):
        @on_item(count_up)
        async def hear(self, item: StreamedItem) -> None:
            self.note_item(item)
            await asyncio.sleep(0.5)  # others wait meanwhile
            if item.index == 5 and item.task.args[0] != 200:
                item.task.cancel("it teaches nothing")

    run = simulate(Early(), model=MODEL)
    seen = run.campaign.seen
    assert {start: len(items) for start, items in seen.items()} == {100: 6, 200: 20, 300: 6}
    assert run.ended == {"cancelled": 2, "succeeded": 1}


def test_the_handler_sees_that_another_attempt_begins() -> None:
    class Restarted(Following):
        starts: ClassVar = (100,)

        @on_item(count_up)
        async def hear(self, item: StreamedItem) -> None:
            self.note_item(item)

    run = simulate(Restarted(), model=MODEL, faults=[KillWorker(7.5, pool="default")], workers=1)
    seen = run.campaign.seen[100]
    begins = next(place for place, item in enumerate(seen) if item[0] == 2)
    assert seen[:begins] == all_of(100)[:begins]
    assert begins >= 5
    assert seen[begins:] == all_of(100, attempt=2)


def test_tasks_that_an_item_gave_rise_to_follow_its_task() -> None:
    class Chained(Following):
        starts: ClassVar = (0,)
        went = 0

        @on_item(count_up)
        async def hear(self, item: StreamedItem) -> None:
            if item.index == 5:
                self.stop(finish_chains=True)
                self.submit(plain, item.value)

        @on_success(plain)
        async def done(self, result: Succeeded) -> None:
            self.went += 1

    run = simulate(Chained(), model=MODEL)
    assert run.campaign.went == 1
    (after,) = [record for record in run.records if record.task_type.endswith("plain")]
    assert after.because == (1,)


def test_the_campaign_ends_although_a_handler_rests_and_holds_tasks_back() -> None:
    class Resting(Following):
        @on_item(count_up)
        async def hear(self, item: StreamedItem) -> None:
            self.note_item(item)
            await self.until(lambda: False)

    run = simulate(Resting(), model=MODEL)
    assert sum(map(len, run.campaign.seen.values())) == 1


def test_an_error_of_the_handler_is_one_of_the_campaign() -> None:
    class Raising(Following):
        @on_item(count_up)
        async def hear(self, item: StreamedItem) -> None:
            raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        simulate(Raising(), model=MODEL)
    assert caught.group_contains(ZeroDivisionError)


def test_a_task_that_fails_after_some_items_is_not_hidden() -> None:
    class Failing(Campaign):
        workers: ClassVar = {"default": 1}

        async def setup(self) -> None:
            self.submit(count_up, 1)

        @on_item(count_up)
        async def hear(self, item: StreamedItem) -> None: ...

    with pytest.raises(ExceptionGroup, match="Failing failed"):
        simulate(Failing(), model=Model(1.0, fails=1.0))


def test_items_that_a_handler_has_are_not_read_elsewhere() -> None:
    class Twice(Following):
        starts: ClassVar = ()
        told = ""

        @agent
        async def read(self) -> None:
            try:
                async for _ in self.stream(count_up, 1):
                    pass
            except UsageError as error:
                self.told = str(error)

        @on_item(count_up)
        async def hear(self, item: StreamedItem) -> None: ...

    assert "go to an @on_item handler" in simulate(Twice(), model=MODEL).campaign.told


def test_a_function_that_yields_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="plain yields none: follow its results with @on_success"):
        on_item(plain)


class Kept(Campaign):
    """Its handler is called with lists, in which items of ended tasks wait for others."""

    workers: ClassVar = {"default": 2}

    def __init__(self) -> None:
        self.todo = Board(count_up, [(n * 100, 5) for n in range(8)])
        self.seen: dict[int, list[int]] = {}
        self.runs = 0

    @on_item(count_up, every=3)
    async def hear(self, items: list[StreamedItem]) -> None:
        for item in items:
            if item.index == 0:
                self.seen[item.task.args[0]] = []
            self.seen[item.task.args[0]].append(item.value)

    @on_success(count_up)
    async def done(self, result: Succeeded) -> None:
        self.runs += 1


def test_snapshots_are_taken_while_items_come_and_have_those_of_ended_tasks() -> None:
    first = CrashingDisk()
    keeping = play(Kept(), first, Model(1.0), every_s=1.5)
    assert keeping.snapshots.taken >= 3
    whole = {n * 100: [n * 100 + k for k in range(5)] for n in range(8)}
    rest = 8 * 5 % 3
    for at in range(2, first.changes, 5):
        disk, again = CrashingDisk(), Kept()
        cut(Kept(), disk, at, model=Model(1.0), every_s=1.5)
        files = disk.survivors("anything", Random(at))
        play(again, CrashingDisk(files), Model(1.0), every_s=1.5)
        assert again.runs == 8
        for start, values in again.seen.items():
            assert values == whole[start][: len(values)]
        assert sum(map(len, again.seen.values())) >= 8 * 5 - rest - 2
