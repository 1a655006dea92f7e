"""Agents wait for conditions, which are looked at when something happens, and only then."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from random import Random
from typing import Any, ClassVar

import pytest

import steerio
from steerio import (
    Board,
    Campaign,
    SetParameter,
    Succeeded,
    agent,
    every,
    on_event,
    on_idle,
    on_success,
    task,
)
from steerio.errors import UsageError
from steerio.testing import Model, simulate
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import play


@task
def lasting(seconds: float) -> float:
    return seconds


@task(pool="learn")
def train(size: int) -> int:
    return size


MODEL = {
    lasting: Model(lambda random, seconds: seconds),
    train: Model(3.0),
}


def now() -> float:
    return round(asyncio.get_running_loop().time(), 3)


class Waiting(Campaign):
    workers: ClassVar = {"default": 4, "learn": 1}

    def __init__(self) -> None:
        self.known: list[float] = []
        self.news = 0
        self.seen: list[tuple[float, int]] = []
        self.looks = 0
        self.began = 0.0

    async def setup(self) -> None:
        self.began = now()

    def saw(self) -> None:
        self.seen.append((round(now() - self.began, 2), len(self.known)))

    def enough(self, count: int) -> bool:
        self.looks += 1
        return len(self.known) >= count


class Learning(Waiting):
    """Trains whenever there are eight new ones, and takes all that are there."""

    async def setup(self) -> None:
        await super().setup()
        self.map(lasting, [1.0] * 40)

    @on_success(lasting)
    async def record(self, result: Succeeded) -> None:
        self.known.append(result.value)
        self.news += 1

    @agent
    async def learn(self) -> None:
        while True:
            await self.until(lambda: self.news >= 8)
            self.news = 0
            await self.run(train, len(self.known))
            self.saw()


def test_an_agent_that_waits_for_results_needs_no_stop(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run = simulate(Learning(), model=MODEL)
    # 4 a second: trainings begin at 2, 5, 8 and 11, with all that came meanwhile
    assert [at for at, _ in run.campaign.seen] == [5, 8, 11, 14]
    assert run.campaign.seen[-1] == (14, 40)
    (said,) = [r for r in caplog.records if "could make it true" in r.getMessage()]
    assert "Learning ends: " in said.getMessage()
    assert "the condition of Learning.learn, a lambda (test_conditions.py:" in said.getMessage()
    assert said.levelno == logging.INFO


def test_a_condition_is_looked_at_a_few_times_for_each_thing_and_never_in_between() -> None:
    class Long(Waiting):
        @agent
        async def submit_some(self) -> None:
            for _ in range(5):
                self.known.append(await self.run(lasting, 10_000.0))

        @agent
        async def wait(self) -> None:
            assert await self.until(lambda: self.enough(5))
            self.saw()

    run = simulate(Long(), model=MODEL)
    assert run.campaign.seen == [(50_000, 5)]
    assert run.campaign.looks < 100


class Steps(Waiting):
    """Changes its state in as many ways as there are."""

    way = ""
    step = steerio.parameter(0)

    def __init__(self) -> None:
        super().__init__()
        self.todo: Board[float] = Board(lasting)

    async def setup(self) -> None:
        await super().setup()
        self.submit(lasting, 5.0)

    async def later(self) -> None:
        self.known.append(await self.run(lasting, 1.0))

    @agent
    async def change(self) -> None:
        await asyncio.sleep(2)
        match self.way:
            case "step":
                self.known.append(1.0)
                await asyncio.sleep(100)
            case "child":  # in a task of asyncio that the agent has started
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.later())
                    group.create_task(asyncio.sleep(100))
            case "gathered":
                await asyncio.gather(self.later(), asyncio.sleep(100))
            case "board":
                self.todo.add(3.0)
                await asyncio.sleep(100)
            case "parameter":
                await self.session.order(SetParameter("step", 3))
                await asyncio.sleep(100)
            case "assigned":
                self.step = 3
                await asyncio.sleep(100)
            case "event":
                self.publish("known")
                await asyncio.sleep(100)
            case "end":
                self.news = 1
            case "pool":
                await self.pools.move("default", "learn", 2)
                await asyncio.sleep(100)
            case _:
                raise AssertionError(self.way)

    @on_event(str)
    async def hear(self, word: str) -> None:
        self.known.append(1.0)
        await asyncio.sleep(100)

    def has_changed(self) -> bool:
        return bool(
            self.known
            or self.todo.ended
            or self.step
            or self.news
            or self.pools["learn"].workers > 1
        )

    @agent
    async def wait(self) -> None:
        await self.until(self.has_changed)
        self.saw()


@pytest.mark.parametrize(
    ("way", "at"),
    [
        ("step", 2),
        ("child", 3),
        ("gathered", 3),
        ("board", 5),
        ("parameter", 2),
        ("assigned", 2),
        ("event", 2),
        ("end", 2),
        ("pool", 2),
    ],
)
def test_whatever_agents_can_see_makes_conditions_come_true(way: str, at: float) -> None:
    made = type("Made", (Steps,), {"way": way})
    run = simulate(made(), model=MODEL)
    assert [round(when, 1) for when, _ in run.campaign.seen] == [at]


def test_a_condition_is_true_when_until_returns() -> None:
    class Two(Waiting):
        """Two agents take three each of what comes one by one."""

        async def setup(self) -> None:
            await super().setup()
            self.map(lasting, [1.0] * 12)

        @on_success(lasting)
        async def record(self, result: Succeeded) -> None:
            self.known.append(result.value)

        async def take(self) -> None:
            while True:
                await self.until(lambda: len(self.known) >= 3)
                assert len(self.known) >= 3
                del self.known[:3]
                self.saw()

        @agent
        async def one(self) -> None:
            await self.take()

        @agent
        async def other(self) -> None:
            await self.take()

    run = simulate(Two(), model=MODEL)
    assert len(run.campaign.seen) == 4


def test_a_loop_that_waits_for_what_is_true_lets_others_go_on() -> None:
    class Busy(Waiting):
        @agent
        async def spin(self) -> None:
            while not self.known:
                await self.until(lambda: True)

        @agent
        async def end(self) -> None:
            await asyncio.sleep(0)
            self.known.append(1.0)

    simulate(Busy(), model=MODEL)


def test_until_gives_up_after_its_time() -> None:
    class Late(Waiting):
        @agent
        async def wait(self) -> None:
            assert not await self.until(lambda: bool(self.known), timeout_s=7.5)
            self.saw()
            assert not await self.until(lambda: bool(self.known), timeout_s=0)
            assert await self.until(lambda: bool(self.seen), timeout_s=0)
            self.saw()
            assert await self.until(lambda: bool(self.known), timeout_s=60)
            self.saw()

        @agent
        async def know(self) -> None:
            self.known.append(await self.run(lasting, 10.0))

    run = simulate(Late(), model=MODEL)
    assert [round(when, 1) for when, _ in run.campaign.seen] == [7.5, 7.5, 10]


def test_a_campaign_in_which_all_wait_ends_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Waiting):
        async def setup(self) -> None:
            self.map(lasting, [1.0, 2.0, 3.0])

        @on_success(lasting)
        async def handle(self, result: Succeeded) -> None:
            self.saw()
            await self.until(self.never)

        def never(self) -> bool:
            return False

        @agent
        async def wait(self) -> None:
            await self.until(self.never)

        @on_idle("default")
        async def more(self, idle: int) -> None:
            await self.until(lambda: bool(self.known))

    with caplog.at_level(logging.INFO):
        run = simulate(Stuck(), model=MODEL)
    assert len(run.campaign.seen) == 1
    assert run.ended["succeeded"] == 3
    (said,) = [r for r in caplog.records if "could make it true" in r.getMessage()]
    assert said.levelno == logging.WARNING
    for part in ("Stuck.handle, ", "Stuck.wait, ", "Stuck.more, ", "never (test_conditions.py:"):
        assert part in said.getMessage()
    assert "calls of Stuck.handle" in said.getMessage()


def test_calls_that_wait_in_line_behind_a_wait_are_seen_to_be_stuck() -> None:
    class Stuck(Waiting):
        async def setup(self) -> None:
            self.submit(lasting, 1.0)
            self.submit(train, 1)

        @on_success(lasting)
        @on_success(train)
        async def handle(self, result: Succeeded) -> None:
            self.saw()
            await self.until(lambda: False)

    run = simulate(Stuck(), model=MODEL)
    assert len(run.campaign.seen) == 1


def test_one_of_two_at_a_time_that_goes_on_is_not_stuck() -> None:
    class Pairs(Waiting):
        async def setup(self) -> None:
            await super().setup()
            self.map(lasting, [1.0, 2.0, 3.0])

        @on_success(lasting, concurrent=2)
        async def handle(self, result: Succeeded) -> None:
            if result.value == 1.0:
                await self.until(lambda: len(self.known) == 2)
            self.known.append(result.value)
            await asyncio.sleep(10)
            self.saw()

    run = simulate(Pairs(), model=MODEL)
    assert [round(when, 1) for when, _ in run.campaign.seen] == [12, 22, 22]


def test_others_that_may_still_act_keep_a_wait_alive() -> None:
    class Ticking(Waiting):
        @every(5.0)
        async def tick(self) -> None:
            self.known.append(1.0)

        @agent
        async def wait(self) -> None:
            await self.until(lambda: self.enough(3))
            self.saw()
            self.stop()

    run = simulate(Ticking(), model=MODEL)
    assert [round(when, 1) for when, _ in run.campaign.seen] == [15]

    class Asked(Waiting):
        @on_idle("default")
        async def more(self, idle: int) -> None:
            if not self.known:
                self.known.append(await self.run(lasting, 1.0))

        @agent
        async def wait(self) -> None:
            await self.until(lambda: self.enough(1))
            self.saw()

    run = simulate(Asked(), model=MODEL)
    assert [round(when, 1) for when, _ in run.campaign.seen] == [1]


def test_a_stop_ends_waits_once_all_else_has_ended() -> None:
    class Stopped(Waiting):
        async def setup(self) -> None:
            await super().setup()
            self.submit(lasting, 10.0)

        @agent
        async def stop_it(self) -> None:
            await asyncio.sleep(1)
            self.stop()

        @on_success(lasting)
        async def record(self, result: Succeeded) -> None:
            self.known.append(result.value)

        @agent
        async def wait(self) -> None:
            await self.until(lambda: self.enough(1))
            self.saw()
            await self.until(lambda: self.enough(2))
            self.saw()

    run = simulate(Stopped(), model=MODEL)
    assert [round(when, 1) for when, _ in run.campaign.seen] == [10]


def test_an_error_of_a_condition_is_that_of_its_agent_and_says_so() -> None:
    class Wrong(Waiting):
        @agent
        async def wait(self) -> None:
            table: dict[str, int] = {}
            await self.until(lambda: table["x"] > 3)

    with pytest.raises(ExceptionGroup) as raised:
        simulate(Wrong(), model=MODEL)
    (error,) = raised.value.exceptions
    assert isinstance(error, KeyError)
    (note,) = error.__notes__
    assert note.startswith("raised by the condition of Wrong.wait, a lambda (test_conditions.py:")

    class WrongLater(Waiting):
        @agent
        async def know(self) -> None:
            await asyncio.sleep(1)
            self.known.append(1.0)

        @agent
        async def wait(self) -> None:
            try:
                await self.until(lambda: bool(self.known and self.known[1]))
            except IndexError:
                self.saw()

    assert simulate(WrongLater(), model=MODEL).campaign.seen == [(1.0, 1)]


async def never() -> bool:
    return False


def awaitable() -> Any:
    return never()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (True, r"as in self\.until\(lambda: .*\), not True"),
        (never, "until takes a plain function"),
        (awaitable, "returned an awaitable, which is always true"),
    ],
)
def test_what_is_no_condition_is_refused(wrong: Any, says: str) -> None:
    class Wrong(Waiting):
        @agent
        async def wait(self) -> None:
            with pytest.raises(UsageError, match=says):
                await self.until(wrong)
            with pytest.raises(UsageError, match="timeout_s must be from 0"):
                await self.until(lambda: True, timeout_s=-1)

    simulate(Wrong(), model=MODEL)


def test_setup_and_finish_wait_for_some_time_only() -> None:
    class Around(Waiting):
        async def setup(self) -> None:
            await super().setup()
            with pytest.raises(UsageError, match=r"Around.setup waits .* needs a timeout_s="):
                await self.until(lambda: True)
            self.known.append(await self.run(lasting, 1.0))
            assert await self.until(lambda: self.enough(1), timeout_s=1)
            assert not await self.until(lambda: self.enough(2), timeout_s=10)
            self.saw()

        async def finish(self) -> None:
            with pytest.raises(UsageError, match=r"Around.finish waits"):
                await self.until(lambda: True)
            assert not await self.until(lambda: self.enough(2), timeout_s=10)
            self.saw()

    run = simulate(Around(), model=MODEL)
    assert [round(when, 1) for when, _ in run.campaign.seen] == [11, 21]


def test_a_wait_in_a_task_of_asyncio_keeps_the_campaign_until_it_ends() -> None:
    class Child(Waiting):
        @agent
        async def wait(self) -> None:
            async with asyncio.timeout(50):
                await asyncio.gather(
                    self.until(lambda: self.enough(1)), self.until(lambda: self.enough(2))
                )
            self.saw()

        @agent
        async def know(self) -> None:
            for _ in range(2):
                self.known.append(await self.run(lasting, 10.0))

    run = simulate(Child(), model=MODEL)
    assert [round(when, 1) for when, _ in run.campaign.seen] == [20]


@pytest.mark.parametrize(("answer_s", "seen"), [(30.0, "no"), (1e6, None)])
def test_an_answer_for_a_task_of_asyncio_makes_a_condition_true(
    answer_s: float, seen: str | None
) -> None:
    class Asks(Waiting):
        choice: str | None = None

        @agent
        async def ask(self) -> None:
            asking = asyncio.create_task(self.ask_in_time())
            await self.run(lasting, 1.0)
            await self.until(asking.done)
            self.saw()

        async def ask_in_time(self) -> None:
            question = self.approve("so?", ("yes", "no"), timeout_s=answer_s, default="no")
            with contextlib.suppress(TimeoutError):
                self.choice = await asyncio.wait_for(question, 50)

    campaign = simulate(Asks(), model=MODEL).campaign
    assert campaign.choice == seen
    assert [round(when) for when, _ in campaign.seen] == [min(50, answer_s)]


class Kept(Learning):
    """Counts on, whatever cuts it off."""

    workers: ClassVar = {"default": 4}

    def __init__(self) -> None:
        super().__init__()
        self.trained: list[int] = []

    @agent
    async def learn(self) -> None:
        while True:
            await self.checkpoint(until=lambda: self.news >= 8)
            self.news -= 8
            self.trained.append(len(self.known))
            await self.run(lasting, 3.0)


def test_snapshots_are_taken_while_an_agent_waits_and_it_goes_on_from_there() -> None:
    whole = Kept()
    keeping = play(whole, CrashingDisk(), MODEL, workers=4, every_s=1.0)
    assert keeping.snapshots.taken >= 2
    restored = 0
    for at in range(30, 110, 8):
        disk = CrashingDisk(crash_at=at)
        with contextlib.suppress(BaseException):
            play(Kept(), disk, MODEL, workers=4, every_s=1.0)
        again = Kept()
        files = disk.survivors("anything", Random(at))
        keeping = play(again, CrashingDisk(files), MODEL, workers=4, every_s=1000.0)
        restored += keeping.past.covers != []
        assert len(again.known) - 8 * len(again.trained) == again.news == len(whole.known) % 8
        assert len(again.trained) == len(whole.trained)
    assert restored
