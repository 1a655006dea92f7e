"""Handlers get results in the portions that they ask for: the newest, bursts, few in time."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import Any, ClassVar

import pytest

from steerio import (
    Campaign,
    Limits,
    Result,
    agent,
    every,
    on_event,
    on_failure,
    on_idle,
    on_result,
    on_success,
    task,
)
from steerio.errors import UnhandledFailure
from steerio.testing import Model, simulate
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import play


@task
def lasting(seconds: float, fails: bool = False) -> float:
    if fails:
        raise ValueError(seconds)
    return seconds


def as_asked(_: object, seconds: float, *__: object) -> float:
    return seconds


MODEL = Model(as_asked)


def now() -> float:
    return round(asyncio.get_running_loop().time(), 3)


class Timed(Campaign):
    """Has a result at each of these times, by as many workers."""

    workers: ClassVar = {"default": 20}
    ends: ClassVar[list[float]] = []
    takes_s = 0.0

    def __init__(self) -> None:
        self.calls: list[tuple[float, list[float]]] = []

    async def setup(self) -> None:
        self.began = now()
        self.map(lasting, self.ends)

    async def take(self, results: Result | list[Result]) -> None:
        several = results if isinstance(results, list) else [results]
        self.calls.append((round(now() - self.began, 1), [each.args[0] for each in several]))
        await asyncio.sleep(self.takes_s)


def test_the_latest_takes_the_place_of_those_that_wait() -> None:
    class Newest(Timed):
        ends: ClassVar = [1.0, 2.0, 3.0, 4.0, 5.0, 15.0]
        takes_s = 10.0

        @on_success(lasting, latest=True)
        async def handle(self, result: Result) -> None:
            await self.take(result)

    run = simulate(Newest(), model=MODEL)
    assert run.campaign.calls == [(1, [1.0]), (11, [5.0]), (21, [15.0])]


def test_failures_of_which_a_newer_took_the_place_are_handled() -> None:
    class Newest(Timed):
        takes_s = 10.0

        async def setup(self) -> None:
            self.began = now()
            self.map(lasting, [(float(n), True) for n in range(1, 5)])

        @on_failure(lasting, latest=True)
        async def handle(self, result: Result) -> None:
            await self.take(result)

    run = simulate(Newest(), model=MODEL)
    assert run.campaign.calls == [(1, [1.0]), (11, [4.0])]


BURSTS = [1.0, 2.0, 3.0, 20.0, 21.0]


@pytest.mark.parametrize("latest", [True, False])
def test_a_burst_makes_one_call_when_it_is_over(latest: bool) -> None:
    class Debounced(Timed):
        ends: ClassVar = BURSTS

        @on_success(lasting, debounce_s=5, latest=latest, coalesce=not latest)
        async def handle(self, results: Any) -> None:
            await self.take(results)

    run = simulate(Debounced(), model=MODEL)
    last = [[3.0], [21.0]] if latest else [[1.0, 2.0, 3.0], [20.0, 21.0]]
    assert run.campaign.calls == [(8, last[0]), (21, last[1])], "nothing more can come at the end"


def test_a_burst_that_goes_on_makes_a_call_within_its_time() -> None:
    class Debounced(Timed):
        ends: ClassVar = [float(n) for n in range(1, 16)]

        @on_success(lasting, debounce_s=2, within_s=6, coalesce=True)
        async def handle(self, results: list[Result]) -> None:
            await self.take(results)

    run = simulate(Debounced(), model=MODEL)
    assert [at for at, _ in run.campaign.calls] == [7, 14, 15]
    assert [x for _, seen in run.campaign.calls for x in seen] == list(range(1, 16))


def test_a_burst_that_begins_while_a_call_waits_belongs_to_that_call() -> None:
    class Debounced(Timed):
        ends: ClassVar = [1.0, 5.0, 10.0, 11.0, 12.0]
        takes_s = 9.5  # of the first, so that the second waits from 7 to 12.5

        @on_success(lasting, debounce_s=2, coalesce=True)
        async def handle(self, results: list[Result]) -> None:
            await self.take(results)

        @every(30.0)
        async def live(self) -> None:
            self.stop()

    run = simulate(Debounced(), model=MODEL)
    assert run.campaign.calls == [(3, [1.0]), (14, [5.0, 10.0, 11.0, 12.0])]


def test_fewer_are_told_within_their_time_and_a_rest_at_the_end_at_once() -> None:
    class InTime(Timed):
        ends: ClassVar = [1.0, 2.0, 3.0, 4.0, 5.0, 100.0]

        @on_success(lasting, every=3, within_s=10)
        async def handle(self, results: list[Result]) -> None:
            await self.take(results)

    run = simulate(InTime(), model=MODEL)
    assert run.campaign.calls == [(3, [1.0, 2.0, 3.0]), (14, [4.0, 5.0]), (100, [100.0])]


def test_fewer_than_a_quorum_wait_on_and_make_no_call_at_the_end() -> None:
    class Quorum(Timed):
        ends: ClassVar = [1.0, 30.0, 31.0]

        @on_success(lasting, every=5, within_s=10, quorum=2)
        async def handle(self, results: list[Result]) -> None:
            await self.take(results)

    run = simulate(Quorum(), model=MODEL)
    assert run.campaign.calls == [(30, [1.0, 30.0])]


def test_failures_below_a_quorum_are_errors_at_the_end_and_others_are_handled() -> None:
    class Failing(Timed):
        async def setup(self) -> None:
            self.began = now()
            self.map(lasting, [(float(n), True) for n in self.ends])

    class Handled(Failing):
        ends: ClassVar = [1.0, 2.0]

        @on_result(lasting, every=5, within_s=10)
        async def handle(self, results: list[Result]) -> None:
            await self.take(results)

    class TooFew(Failing):
        ends: ClassVar = [1.0]

        @on_result(lasting, every=5, within_s=10, quorum=2)
        async def handle(self, results: list[Result]) -> None:
            await self.take(results)

    assert simulate(Handled(), model=MODEL).campaign.calls == [(2, [1.0, 2.0])]
    with pytest.raises(ExceptionGroup) as raised:
        simulate(TooFew(), model=MODEL)
    assert raised.group_contains(UnhandledFailure)


def test_a_rest_is_told_when_the_campaign_stops() -> None:
    class Stopped(Timed):
        ends: ClassVar = [1.0, 2.0, 3.0, 4.0, 500.0]

        @on_success(lasting, every=3, within_s=100)
        async def handle(self, results: list[Result]) -> None:
            await self.take(results)

    run = simulate(Stopped(), model=MODEL, limits=Limits(successes=4, drain=False))
    assert run.campaign.calls == [(3, [1.0, 2.0, 3.0]), (4.2, [4.0])]


def test_an_on_idle_is_asked_after_a_rest_was_told() -> None:
    class Asked(Timed):
        ends: ClassVar = [1.0]
        asked: ClassVar[list[float]] = []

        @on_success(lasting, every=3, within_s=100)
        async def handle(self, results: list[Result]) -> None:
            await self.take(results)
            if len(self.calls) == 1:
                self.submit(lasting, 5.0)

        @on_idle("default")
        async def more(self, idle: int) -> None:
            self.asked.append(now())

    run = simulate(Asked(), model=MODEL)
    assert run.campaign.calls == [(1, [1.0]), (6, [5.0])]


def test_a_living_agent_has_the_time_run_that_handlers_wait_for() -> None:
    class Lives(Timed):
        ends: ClassVar = [1.0]

        @on_success(lasting, every=3, within_s=10)
        async def handle(self, results: list[Result]) -> None:
            await self.take(results)

        @agent
        async def live(self) -> None:
            await asyncio.sleep(50)

    assert simulate(Lives(), model=MODEL).campaign.calls == [(11, [1.0])]


def test_events_are_gathered_too_and_tasks_know_the_results_behind_them() -> None:
    class Telling(Timed):
        ends: ClassVar = [1.0, 2.0]
        heard: ClassVar[list[str]] = []

        @on_success(lasting)
        async def tell(self, result: Result) -> None:
            if result.args[0] < 5:
                self.publish(f"{result.args[0]}")

        @on_event(str, debounce_s=3, latest=True)
        async def hear(self, news: str) -> None:
            self.heard.append(news)
            self.submit(lasting, 7.0)

    Telling.heard.clear()
    run = simulate(Telling(), model=MODEL)
    assert run.campaign.heard == ["2.0"]
    numbers = {each.args[0][0]: each for each in run.records}
    assert numbers[7.0].because == (numbers[2.0].task_id,)


@pytest.mark.parametrize(
    "options",
    [
        {"every": 8, "within_s": 3},
        {"coalesce": True, "debounce_s": 1.5, "within_s": 4},
        {"every": 8, "within_s": 3, "coalesce": True},
    ],
)
def test_a_campaign_that_was_cut_off_tells_what_it_had_gathered(options: dict[str, Any]) -> None:
    class Gathering(Campaign):
        workers: ClassVar = {"default": 2}

        def __init__(self) -> None:
            self.told: list[int] = []

        async def setup(self) -> None:
            self.map(lasting, [float(n % 3 + 1) for n in range(20)])

        @on_success(lasting, **options)
        async def handle(self, results: list[Result]) -> None:
            self.told += [each.task_id for each in results]

    for at in range(20, 80, 6):
        disk = CrashingDisk(crash_at=at)
        with contextlib.suppress(BaseException):
            play(Gathering(), disk, MODEL, every_s=3.0)
        again = Gathering()
        files = disk.survivors("anything", Random(at))
        play(again, CrashingDisk(files), MODEL, every_s=1000.0)
        assert len(again.told) == 20


def test_the_latest_of_a_snapshot_is_told_alone() -> None:
    class Newest(Campaign):
        workers: ClassVar = {"default": 2}

        def __init__(self) -> None:
            self.told: list[float] = []

        async def setup(self) -> None:
            self.map(lasting, [1.0 + n for n in range(12)])

        @on_success(lasting, latest=True, debounce_s=2.5)
        async def handle(self, result: Result) -> None:
            self.told.append(result.args[0])

    for at in range(20, 60, 6):
        disk = CrashingDisk(crash_at=at)
        with contextlib.suppress(BaseException):
            play(Newest(), disk, MODEL, every_s=3.0)
        again = Newest()
        play(again, CrashingDisk(disk.survivors("anything", Random(at))), MODEL, every_s=1000.0)
        assert again.told[-1] == 12.0
        assert again.told == sorted(set(again.told))
