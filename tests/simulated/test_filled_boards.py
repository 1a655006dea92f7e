"""Boards that pull their entries from a source, which is held back while enough of them wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any, ClassVar

import pytest

from steerio import Board, Campaign, Result, Succeeded, agent, on_idle, on_result, on_success, task
from steerio.errors import UsageError
from steerio.testing import Model, simulate
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import play

TASK_S = 10.0
KEEP = 3


@task
def compute(x: int) -> int:
    return x


@task(pool="make")
def make(count: int) -> Iterator[int]:
    yield from range(count)


class Filled(Campaign):
    """Fills its board from a generator that notes how far ahead it is asked."""

    workers: ClassVar = {"default": 2}

    def __init__(self, items: int = 20) -> None:
        self.board = Board(compute)
        self.items = items
        self.pulled, self.ahead, self.new = 0, 0, -1
        self.done: list[int] = []

    def source(self) -> Any:
        for x in range(self.items):
            self.pulled += 1
            self.ahead = max(self.ahead, self.pulled - len(self.done))
            yield x

    @agent
    async def fill(self) -> None:
        self.new = await self.board.fill_from(self.source(), keep=KEEP, score=lambda x: -x)

    @on_success(compute)
    async def note_it(self, result: Succeeded) -> None:
        self.done.append(result.args[0])


class Asynchronous(Filled):
    async def source(self) -> AsyncIterator[int]:  # type: ignore[override]
        self.closed = False
        try:
            for x in Filled.source(self):
                await asyncio.sleep(1.0)
                yield x
        finally:
            self.closed = True


@pytest.mark.parametrize("kind", [Filled, Asynchronous])
def test_items_are_pulled_when_fewer_than_the_bound_wait(kind: type[Filled]) -> None:
    run = simulate(kind(), model=Model(TASK_S)).campaign
    assert sorted(run.done) == list(range(20))
    assert run.new == 20
    assert KEEP < run.ahead <= KEEP + 2 + 2, "those that wait, that run, and that have just ended"


def test_a_source_without_an_end_is_held_back_and_closed_at_the_end() -> None:
    class Endless(Asynchronous):
        def __init__(self) -> None:
            super().__init__(1_000_000)

        @on_success(compute)
        async def note_it(self, result: Succeeded) -> None:
            self.done.append(result.args[0])
            if len(self.done) == 9:
                self.stop()

    run = simulate(Endless(), model=Model(TASK_S)).campaign
    assert run.pulled < 20
    assert run.closed


def test_an_error_of_a_source_is_raised_where_it_is_used() -> None:
    class Broken(Filled):
        def source(self) -> Any:
            yield from range(4)
            raise OSError("no more data")

        @agent
        async def fill(self) -> None:
            try:
                await self.board.fill_from(self.source(), keep=KEEP)
            except OSError as error:
                self.why = str(error)

    run = simulate(Broken(), model=Model(TASK_S)).campaign
    assert run.why == "no more data"
    assert sorted(run.done) == [0, 1, 2, 3]

    class Failing(Broken):
        fill = Filled.fill

    with pytest.raises(ExceptionGroup) as raised:
        simulate(Failing(), model=Model(TASK_S))
    assert raised.group_contains(OSError, match="no more data")


def test_the_items_of_a_generator_task_are_a_source() -> None:
    class Piped(Filled):
        workers: ClassVar = {"default": 2, "make": 1}

        @agent
        async def fill(self) -> None:
            self.new = await self.board.fill_from(self.submit(make, 20), keep=KEEP)

    models = {make: Model(2.0), compute: Model(TASK_S)}
    run = simulate(Piped(), model=models).campaign
    assert run.new == 20
    assert sorted(run.done) == list(range(20))


def test_on_idle_is_called_while_a_source_is_slow_and_the_campaign_ends_with_it() -> None:
    class Idle(Asynchronous):
        workers: ClassVar = {"default": 1}

        def __init__(self) -> None:
            super().__init__(3)
            self.idle = 0

        async def source(self) -> AsyncIterator[int]:  # type: ignore[override]
            for x in Filled.source(self):
                await asyncio.sleep(100.0)
                yield x

        @on_idle("default")
        async def note_idle(self, idle: int) -> None:
            self.idle += 1

    run = simulate(Idle(), model=Model(TASK_S))
    assert run.campaign.idle >= 3
    assert sorted(run.campaign.done) == [0, 1, 2]
    assert 300 <= run.duration_s < 400


def test_a_board_that_the_campaign_does_not_know_is_refused_and_nothing_hangs() -> None:
    class Lost(Filled):
        @agent
        async def fill(self) -> None:
            await Board(compute).fill_from([1, 2], keep=1)

    with pytest.raises(ExceptionGroup) as raised:
        simulate(Lost(), model=Model(TASK_S))
    assert raised.group_contains(UsageError, match="keep it in an attribute")

    class Dropping(Filled):
        @on_success(compute)
        async def note_it(self, result: Succeeded) -> None:
            self.board = Board(compute)

    with pytest.raises(ExceptionGroup) as raised:
        simulate(Dropping(), model=Model(TASK_S))
    assert raised.group_contains(UsageError, match="keep it in an attribute")


@pytest.mark.parametrize("source", [5, "items", None])
def test_only_sources_are_taken(source: Any) -> None:
    class Wrong(Filled):
        @agent
        async def fill(self) -> None:
            await self.board.fill_from(source, keep=KEEP)

    with pytest.raises(ExceptionGroup) as raised:
        simulate(Wrong(), model=Model(TASK_S))
    assert raised.group_contains(UsageError, match="fill_from takes items from")


@pytest.mark.parametrize("keep", [0, 2.5, 1_000_001])
def test_the_bound_is_checked(keep: Any) -> None:
    class Wrong(Filled):
        @agent
        async def fill(self) -> None:
            await self.board.fill_from([1], keep=keep)

    with pytest.raises(ExceptionGroup) as raised:
        simulate(Wrong(), model=Model(TASK_S))
    assert raised.group_contains(UsageError, match="while fewer than keep=")


def test_a_handler_may_fill_a_board_too() -> None:
    class ByHandler(Filled):
        fill = None  # type: ignore[assignment]

        async def setup(self) -> None:
            self.submit(compute, 1_000)

        @on_result(compute)
        async def begin(self, result: Result) -> None:
            if result.args[0] == 1_000:
                await self.board.fill_from(range(8), keep=2)

    run = simulate(ByHandler(), model=Model(TASK_S)).campaign
    assert sorted(run.done) == [*range(8), 1_000]


@pytest.mark.parametrize("every_s", [12.0, 1000.0])
def test_each_item_is_computed_once_over_a_resume(every_s: float) -> None:
    snapshots = 0
    for at in range(20, 120, 8):
        disk = CrashingDisk(crash_at=at)
        with contextlib.suppress(BaseException):
            play(Filled(), disk, Model(TASK_S), every_s=every_s)
        again = Filled()
        left = CrashingDisk(disk.survivors("anything", Random(at)))
        keeping = play(again, left, Model(TASK_S), every_s=every_s)
        assert sorted(again.done) == list(range(20))
        assert not again.recovered
        snapshots += keeping.snapshots.taken
    assert (snapshots > 5) == (every_s < 1000)
