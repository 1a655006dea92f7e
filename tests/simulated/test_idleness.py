"""`on_idle` is asked again when its answer may be another, and before a campaign ends."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any, ClassVar

import pytest

from steerio import (
    Board,
    Campaign,
    Result,
    Succeeded,
    agent,
    on_event,
    on_idle,
    on_result,
    on_success,
    task,
)
from steerio.campaign.idleness import RESTS_IN_VAIN
from steerio.errors import UnknownPool
from steerio.testing import Model, simulate

pytestmark = pytest.mark.borders

ROUNDS = 5


@task(pool="simulate")
def energy(x: int) -> float:
    return x / 2


@task(pool="learn")
def fit(x: int) -> float:
    return x / 2


MODEL = Model(1.0)


class Rounds(Campaign):
    """Wants five rounds; each is left for `more` by whoever thinks."""

    workers: ClassVar = {"simulate": 2}

    def __init__(self) -> None:
        self.todo: list[int] = []
        self.rounds = self.asked = 0

    async def setup(self) -> None:
        self.submit(energy, 0)

    async def leave(self) -> None:
        await asyncio.sleep(3)
        if self.rounds < ROUNDS:
            self.rounds += 1
            self.todo.append(self.rounds)

    def take(self) -> None:
        self.asked += 1
        while self.todo:
            self.submit(energy, self.todo.pop())

    @on_idle("simulate")
    async def more(self, idle: int) -> None:
        self.take()


class Handler(Rounds):
    @on_success(energy)
    async def think(self, result: Succeeded) -> None:
        await self.leave()


class SlowAsker(Handler):
    @on_idle("simulate")
    async def more(self, idle: int) -> None:
        await asyncio.sleep(2)
        self.take()


class Pairs(Rounds):
    async def setup(self) -> None:
        self.map(energy, [0, 0])

    @on_success(energy, every=2)
    async def think(self, results: list[Succeeded]) -> None:
        await self.leave()
        self.todo += self.todo


class Concurrent(Rounds):
    @on_result(energy, concurrent=3)
    async def think(self, result: Result) -> None:
        await self.leave()


class Told(Rounds):
    @on_success(energy)
    async def tell(self, result: Succeeded) -> None:
        self.publish(Told.News())

    class News:
        """That something ended."""

    @on_event(News)
    async def think(self, news: News) -> None:
        await self.leave()


class OtherPool(Rounds):
    workers: ClassVar = {"simulate": 2, "learn": 1}

    @on_success(energy)
    async def think(self, result: Succeeded) -> None:
        self.submit(fit, 0)

    @on_success(fit)
    async def learnt(self, result: Succeeded) -> None:
        await self.leave()

    @on_idle("learn")
    async def nothing(self, idle: int) -> None:
        """Have nothing to do."""


class Boarded(Rounds):
    def __init__(self) -> None:
        super().__init__()
        self.board = Board(energy)

    @on_success(energy)
    async def think(self, result: Succeeded) -> None:
        await self.leave()
        for item in self.todo:
            self.board.add(item)


class Lending(Rounds):
    workers: ClassVar = {"simulate": 1, "learn": 0}

    @on_success(energy)
    async def think(self, result: Succeeded) -> None:
        async with self.pools.lend("simulate", to="learn"):
            await self.run(fit, 0)
            await self.leave()


class AlsoWhereNobodyIs(Handler):
    workers: ClassVar = {"simulate": 2, "learn": 0}

    @on_idle("learn")
    async def never(self, idle: int) -> None:
        raise AssertionError("nobody is there")


class Mortal(Rounds):
    @agent
    async def think(self) -> None:
        for _ in range(ROUNDS):
            await self.leave()


WANTING = [
    Handler,
    SlowAsker,
    Pairs,
    Concurrent,
    Told,
    OtherPool,
    Boarded,
    Lending,
    AlsoWhereNobodyIs,
    Mortal,
]


@pytest.mark.parametrize("latency_s", [0.0, 0.01])
@pytest.mark.parametrize("wanting", WANTING)
def test_what_is_left_for_idle_workers_is_asked_for(
    wanting: type[Rounds], latency_s: float
) -> None:
    run = simulate(wanting(), model=MODEL, latency_s=latency_s)
    assert run.campaign.rounds == ROUNDS
    assert not run.campaign.todo or isinstance(run.campaign, Boarded)
    assert run.ended["succeeded"] >= 1 + ROUNDS


def test_a_worker_is_not_left_idle_until_another_has_ended() -> None:
    class Beside(Campaign):
        workers: ClassVar = {"simulate": 2}
        left: bool | None = None
        at = 0.0

        async def setup(self) -> None:
            self.submit(energy, 0)
            self.submit(energy, 1)

        @on_success(energy)
        async def think(self, result: Succeeded) -> None:
            if result.args == (0,):
                await asyncio.sleep(3)
                self.left = True

        @on_idle("simulate")
        async def more(self, idle: int) -> None:
            if self.left:
                self.left, self.at = False, asyncio.get_running_loop().time()
                self.submit(energy, 2)

    model = Model(lambda _, x: [1.0, 1000.0, 1.0][x])
    assert simulate(Beside(), model=model).campaign.at == 4


def test_what_a_living_agent_leaves_is_asked_for() -> None:
    class Instrument(Rounds):
        @agent
        async def measure(self) -> None:
            while True:
                await asyncio.sleep(10)
                self.todo.append(1)

        @on_success(energy, every=4)
        async def enough(self, results: list[Succeeded]) -> None:
            self.stop()

    run = simulate(Instrument(), model=MODEL)
    assert run.duration_s == 31


def test_of_several_each_may_leave_work_for_another() -> None:
    class Chain(Campaign):
        """Each leaves work for the one before it, which is asked first; the first submits."""

        workers: ClassVar = {"simulate": 1, "learn": 1, "more": 1}

        def __init__(self) -> None:
            self.left: list[str] = []
            self.begun = False

        async def setup(self) -> None:
            self.submit(energy, 0)

        @on_idle("simulate")
        async def a(self, idle: int) -> None:
            if "a" in self.left:
                self.left.remove("a")
                self.submit(energy, 1)

        @on_idle("learn")
        async def b(self, idle: int) -> None:
            await asyncio.sleep(1)
            if "b" in self.left:
                self.left = ["a"]

        @on_idle("more")
        async def c(self, idle: int) -> None:
            await asyncio.sleep(5)
            if not self.begun:
                self.begun, self.left = True, ["b"]

    run = simulate(Chain(), model=MODEL)
    assert run.ended == {"succeeded": 2}


@pytest.mark.parametrize("every", [None, 1, 2])
def test_what_calls_cause_in_each_other_for_nothing_comes_to_an_end(
    every: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    class Hungry:
        """That workers are idle."""

    class Crying(Campaign):
        workers: ClassVar = {"simulate": 1}
        cries = 0

        @on_idle("simulate")
        async def cry(self, idle: int) -> None:
            self.cries += 1
            self.publish(Hungry())
            self.publish(Hungry())

        @on_event(Hungry, every=every)
        async def hear(self, event: Hungry) -> None:
            await asyncio.sleep(1)

    with caplog.at_level(logging.WARNING):
        run = simulate(Crying(), model=MODEL)
    assert RESTS_IN_VAIN <= run.campaign.cries <= 4 * RESTS_IN_VAIN
    assert "Crying.cry was called 20 times when all else was at rest" in caplog.text


def test_a_handler_of_what_it_published_may_leave_work_for_it() -> None:
    class Hungry:
        """That workers are idle."""

    class Ranking(Rounds):
        @on_idle("simulate")
        async def more(self, idle: int) -> None:
            if not self.todo:
                self.publish(Hungry())
            self.take()

        @on_event(Hungry)
        async def rank(self, event: Hungry) -> None:
            await self.leave()

    run = simulate(Ranking(), model=MODEL)
    assert run.campaign.rounds == ROUNDS
    assert run.ended == {"succeeded": 1 + ROUNDS}


def test_workers_that_left_for_good_are_not_waited_for() -> None:
    class Leaving(Campaign):
        workers: ClassVar = {"simulate": 2, "learn": 0}

        async def setup(self) -> None:
            self.submit(energy, 0)

        @on_success(energy)
        async def go(self, result: Succeeded) -> None:
            await self.pools.move("simulate", "learn", 2)
            await self.run(fit, 1)

        @on_idle("simulate")
        async def more(self, idle: int) -> None:
            assert idle

    assert simulate(Leaving(), model=MODEL).ended == {"succeeded": 2}


def test_a_pool_that_does_not_exist_is_refused() -> None:
    class Mistyped(Campaign):
        workers: ClassVar = {"simulate": 1}

        @on_idle("simulat")
        async def more(self, idle: int) -> None: ...

    with pytest.raises(ExceptionGroup) as raised:
        simulate(Mistyped(), model=MODEL)
    assert isinstance(raised.value.exceptions[0], UnknownPool)


class Random(Campaign):
    """Whoever runs thinks, waits and leaves work for either pool, in a random order."""

    workers: ClassVar = {"simulate": 2, "learn": 1}

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.left: dict[str, int] = {"simulate": 0, "learn": 0}
        self.wanted = self.rng.randrange(3, 25)
        self.done = 0

    async def setup(self) -> None:
        self.submit(energy, 0)

    async def think(self) -> None:
        for _ in range(self.rng.randrange(3)):
            await asyncio.sleep(self.rng.choice([0.0, 0.5, 2.0]))
        for _ in range(self.rng.randrange(1, 3)):
            if self.wanted:
                self.wanted -= 1
                self.left[self.rng.choice(["simulate", "learn"])] += 1
            await asyncio.sleep(self.rng.choice([0.0, 3.0]))

    async def give(self, pool: str, function: Any) -> None:
        await asyncio.sleep(self.rng.choice([0.0, 0.0, 1.5]))
        if self.left[pool]:
            self.left[pool] -= 1
            self.submit(function, 1)

    @on_success(energy, concurrent=2)
    async def simulated(self, result: Succeeded) -> None:
        self.done += 1
        await self.think()

    @on_success(fit)
    async def learnt(self, result: Succeeded) -> None:
        self.done += 1
        await self.think()

    @on_idle("simulate")
    async def simulate(self, idle: int) -> None:
        await self.give("simulate", energy)

    @on_idle("learn")
    async def learn(self, idle: int) -> None:
        await self.give("learn", fit)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_thought_and_left_in_whatever_order_is_all_done(seed: int) -> None:
    asked = Random(seed)
    wanted = asked.wanted
    run = simulate(asked, model=Model(lambda rng, *_: rng.choice([0.5, 4.0])))
    assert run.ended["succeeded"] == 1 + wanted
    assert not any(run.campaign.left.values())
