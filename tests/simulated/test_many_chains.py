"""An item's chain of tasks as one coroutine, many at once and no more than a limit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from random import Random
from typing import Any, ClassVar

import pytest

from steerio import Board, Campaign, FailedChain, FinishedChain, agent, task
from steerio.errors import TaskCancelled, TaskFailed, UnknownPool, UsageError
from steerio.testing import Model, simulate
from tests.contract.crashing_disk import CrashingDisk
from tests.core.counting import growth
from tests.simulated.kept_runs import cut, play


@task
def embed(x: int) -> int:
    return x


@task
def relax(x: int) -> int:
    return x


@task(pool="other")
def score(x: int) -> int:
    return x


MODEL = Model(lambda random, x: random.uniform(1, 9))


class Chains(Campaign):
    """Takes numbers through three steps."""

    workers: ClassVar = {"default": 4, "other": 2}
    limit: ClassVar[Any] = 8
    n = 60
    pool_limits: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        self.taken = 0
        self.outcomes: list[Any] = []
        self.under_way = self.most = 0

    def items(self) -> Iterator[int]:
        for x in range(self.n):
            self.taken += 1
            yield x

    async def chain(self, x: int) -> int:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.run(embed, x)
            for _ in range(2):
                await self.run(relax, x)
            return await self.run(score, x)
        finally:
            self.under_way -= 1

    @agent
    async def follow(self) -> None:
        async for outcome in self.run_chains(
            self.items(), self.chain, limit=self.limit, pool_limits=self.pool_limits
        ):
            self.outcomes.append(outcome)
            most = 8 if self.limit == "other" else self.limit
            assert self.taken <= len(self.outcomes) + most * 2
            self.ended(outcome)

    def ended(self, outcome: Any) -> None:
        pass


@pytest.mark.smoke
def test_all_chains_are_followed_and_no_more_than_the_limit_at_once() -> None:
    campaign = simulate(Chains(), model=MODEL).campaign
    assert sorted(outcome.item for outcome in campaign.outcomes) == list(range(60))
    for outcome in campaign.outcomes:
        assert outcome == FinishedChain(outcome.item, outcome.item)
    assert campaign.most == 8


def test_chains_that_fail_are_told_and_end_no_other(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Chains):
        async def chain(self, x: int) -> int:
            if x % 10 == 3:
                raise ZeroDivisionError(x)
            return await super().chain(x)

    with caplog.at_level(logging.WARNING, "steerio.campaign"):
        run = simulate(Failing(), model={embed: Model(1.0, fails=0.3), relax: MODEL, score: MODEL})
    outcomes = {outcome.item: outcome for outcome in run.campaign.outcomes}
    assert len(outcomes) == 60
    failed = [each for each in outcomes.values() if isinstance(each, FailedChain)]
    kinds = Counter(type(each.error).__name__ for each in failed)
    assert set(kinds) == {"ZeroDivisionError", "TaskFailed"}
    assert kinds["ZeroDivisionError"] == 6
    assert caplog.text.count("raised; run_chains tells such errors as FailedChain") == 1


def test_chains_are_finished_before_others_are_begun() -> None:
    class Stopping(Chains):
        n = 10_000

        def ended(self, outcome: Any) -> None:
            if len(self.outcomes) == 100:
                self.stop(cancel=True)

    run = simulate(Stopping(), model=Model(1.0))
    first = sum(r.task_type.endswith("embed") and r.ended_as == "succeeded" for r in run.records)
    assert first <= 100 + 8

    class Unlimited(Stopping):
        limit = 1_000

    run = simulate(Unlimited(), model=Model(1.0))
    first = sum(r.task_type.endswith("embed") and r.ended_as == "succeeded" for r in run.records)
    assert first <= 100 + 4 * 8  # by their priority alone, but for chains that wait elsewhere


def test_chains_that_were_begun_are_finished_although_types_come_again() -> None:
    class Stopping(Chains):
        n = 1_000

        def ended(self, outcome: Any) -> None:
            if len(self.outcomes) == 20:
                self.stop(finish_chains=True)

    campaign = simulate(Stopping(), model=MODEL).campaign
    finished = [each for each in campaign.outcomes if isinstance(each, FinishedChain)]
    cut_off = [each for each in campaign.outcomes if isinstance(each, FailedChain)]
    assert campaign.taken <= 20 + 2 * 8
    assert len(finished) + len(cut_off) == campaign.taken
    assert all(isinstance(each.error, TaskCancelled) for each in cut_off)  # had no result yet
    assert len(finished) >= 20 + 4


def test_a_chain_may_do_several_tasks_at_once_in_a_step() -> None:
    class Parallel(Chains):
        async def chain(self, x: int) -> int:
            self.under_way += 1
            with contextlib.suppress(TaskCancelled):
                await asyncio.gather(self.run(embed, x), self.run(embed, -x))
                if x == 5:
                    self.stop(finish_chains=True)
                await asyncio.gather(self.run(embed, x), self.run(relax, -x))
                await self.run(score, x)
                return 1
            return 0

    campaign = simulate(Parallel(), model=Model(1.0), workers={"default": 16}).campaign
    assert Counter(each.value for each in campaign.outcomes) == {1: 8}


def test_a_chain_that_goes_on_for_ever_is_cut_short_at_a_stop() -> None:
    class Endless(Chains):
        limit = 1

        async def chain(self, x: int) -> int:
            self.stop(finish_chains=await self.run(embed, x) == x)
            while True:
                await self.run(embed, x)

    assert simulate(Endless(), model=Model(1.0)).ended["succeeded"] >= 1000


def test_chains_keep_under_way_while_outcomes_are_worked_on() -> None:
    class Busy(Chains):
        n = 1000

        @agent
        async def follow(self) -> None:
            async for outcome in self.run_chains(self.items(), self.chain, limit=8):
                self.outcomes.append(outcome)
                await asyncio.sleep(1000.0)
                assert 8 <= self.taken - len(self.outcomes) <= 16
                if len(self.outcomes) == 20:
                    break
            self.left = self.under_way

    campaign = simulate(Busy(), model=Model(1.0)).campaign
    assert campaign.left == 0


def test_leaving_the_loop_cancels_the_chains_under_way() -> None:
    class Leaving(Chains):
        @agent
        async def follow(self) -> None:
            chains = self.run_chains(self.items(), self.chain, limit=8)
            async with contextlib.aclosing(chains):
                async for outcome in chains:
                    self.outcomes.append(outcome)
                    break
            self.left = self.under_way

    run = simulate(Leaving(), model=MODEL)
    assert (len(run.campaign.outcomes), run.campaign.left) == (1, 0)
    assert run.campaign.taken <= 10
    assert run.ended["cancelled"] >= 4


def test_a_limit_follows_the_workers_of_a_pool() -> None:
    class Follows(Chains):
        workers: ClassVar = {"default": 6, "other": 2}
        limit = "other"

        def __init__(self) -> None:
            super().__init__()
            self.seen: list[int] = []

        @agent
        async def move(self) -> None:
            async with self.pools.lend("default", to="other", workers=3):
                await self.until(lambda: self.under_way == 5)
                self.seen.append(self.most)
            await self.until(lambda: self.pools["other"].workers == 2 and self.under_way <= 2)
            self.most = 0
            left = self.n - len(self.outcomes)
            await self.until(lambda: self.n - len(self.outcomes) < left - 5)
            self.seen.append(self.most)

    campaign = simulate(Follows(), model=MODEL).campaign
    assert campaign.seen == [5, 2]
    assert len(campaign.outcomes) == 60


def test_a_limit_that_no_worker_is_there_for_lets_one_chain_begin() -> None:
    class Lent(Chains):
        workers: ClassVar = {"default": 4, "other": 0}
        limit = "other"
        n = 6

        async def chain(self, x: int) -> int:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            async with self.pools.lend("default", to="other"):
                value = await self.run(score, x)
            self.under_way -= 1
            return value

    campaign = simulate(Lent(), model=MODEL).campaign
    assert len(campaign.outcomes) == 6
    assert campaign.most <= 2


def test_a_limit_of_a_pool_that_there_is_not_is_refused() -> None:
    class Misspelt(Chains):
        pool_limits: ClassVar = {"othr": 2}

    with pytest.raises(ExceptionGroup) as caught:
        simulate(Misspelt(), model=MODEL)
    assert caught.group_contains(UnknownPool, match="othr")


@pytest.mark.parametrize("limits", [{"other": 2}, {"default": 3}])
def test_no_chain_begins_while_a_pool_has_enough_of_them(limits: dict[str, int]) -> None:
    (pool,), (most,) = limits.keys(), limits.values()

    class Limited(Chains):
        limit = 50
        pool_limits: ClassVar = limits
        at = begun_at = 0

        async def chain(self, x: int) -> int:
            self.begun_at = max(self.begun_at, self.at)
            step = {"default": embed, "other": score}[pool]
            self.at += 1
            await self.run(step, x)
            self.at -= 1
            return await self.run(relax if pool == "other" else score, x)

    campaign = simulate(Limited(), model=MODEL).campaign
    assert len(campaign.outcomes) == 60
    assert campaign.begun_at < most


def test_an_asynchronous_source_may_be_slow() -> None:
    class Slow(Chains):
        async def source(self) -> AsyncIterator[int]:
            for x in range(10):
                await asyncio.sleep(100.0)
                self.taken += 1
                yield x

        @agent
        async def follow(self) -> None:
            async for outcome in self.run_chains(self.source(), self.chain, limit=3):
                self.outcomes.append(outcome)
                assert self.taken == len(self.outcomes)

    campaign = simulate(Slow(), model=Model(1.0)).campaign
    assert [each.item for each in campaign.outcomes] == list(range(10))
    assert campaign.most == 1


def test_chains_may_begin_chains_and_feed_boards() -> None:
    class Nested(Chains):
        def __init__(self) -> None:
            super().__init__()
            self.board = Board(relax)

        async def outer(self, x: int) -> int:
            await self.run(embed, x)
            self.board.add(1000 + x)
            inner = self.run_chains([x, -x], self.chain, limit=2)
            return len([each async for each in inner])

        @agent
        async def follow(self) -> None:
            self.outcomes += [
                each async for each in self.run_chains(range(1, 5), self.outer, limit=2)
            ]

    run = simulate(Nested(), model=MODEL)
    assert sorted(each.item for each in run.campaign.outcomes) == [1, 2, 3, 4]
    assert {each.value for each in run.campaign.outcomes} == {2}
    assert run.ended == {"succeeded": 4 + 4 + 8 * 4}


def test_errors_of_the_program_end_the_loop() -> None:
    class Wrong(Chains):
        chains: Any = None
        told: ClassVar[list[Any]] = []

        @agent
        async def follow(self) -> None:
            def broken() -> Iterator[int]:
                yield 1
                raise LookupError("no more")

            for call in (
                lambda: self.run_chains(broken(), self.chain, limit=2),
                lambda: self.run_chains([1], print, limit=2),  # type: ignore[arg-type]
                lambda: self.run_chains([1], self.chain, limit=0),
                lambda: self.run_chains([1], self.chain, limit=2, pool_limits={"other": -1}),
                lambda: self.run_chains(5, self.chain, limit=2),  # type: ignore[arg-type]
                lambda: self.run_chains([1], "chain", limit=2),  # type: ignore[arg-type]
            ):
                try:
                    async for outcome in call():
                        self.outcomes.append(outcome)
                except Exception as error:  # noqa: BLE001 - all that is raised
                    self.told.append(error)

    Wrong.told.clear()
    simulate(Wrong(), model=Model(1.0))
    kinds = [type(error) for error in Wrong.told]
    assert kinds == [LookupError, UsageError, UsageError, UsageError, UsageError, UsageError]
    assert "takes an 'async def'" in str(Wrong.told[1])
    assert "limit must be a whole number" in str(Wrong.told[2])


def test_a_resumed_campaign_runs_no_finished_task_of_its_chains_again() -> None:
    class Kept(Chains):
        n = 12

        async def chain(self, x: int) -> int:
            return await self.run(relax, await self.run(embed, x))

    ran: Counter[int] = Counter()

    def value(x: int) -> int:
        ran[x] += 1
        return x

    model = Model(lambda random, x: random.uniform(1, 9), value=value)
    disk = CrashingDisk()
    play(Kept(), disk, model, every_s=3.0)
    assert set(ran.values()) == {2}
    for at in range(2, disk.changes, 4):
        ran.clear()
        disk, again = CrashingDisk(), Kept()
        cut(Kept(), disk, at, model=model, every_s=3.0)
        play(again, CrashingDisk(disk.survivors("everything", Random(at))), model, every_s=3.0)
        assert sorted(each.item for each in again.outcomes) == list(range(12))
        assert sum(ran.values()) <= 2 * 12 + 2  # those that two workers had in hand


def test_a_failed_task_is_an_outcome_with_its_error() -> None:
    class One(Chains):
        n = 1

    (outcome,) = simulate(One(), model=Model(1.0, fails=1.0)).campaign.outcomes
    match outcome:
        case FailedChain(item, error):
            assert item == 0
            assert isinstance(error, TaskFailed)
        case _:
            raise AssertionError(outcome)


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyboardInterrupt])
@pytest.mark.parametrize("slow", [False, True])
def test_a_source_that_is_cut_off_by_what_is_no_error_is_not_taken_for_ended(
    limit: int, error: type[BaseException], slow: bool
) -> None:
    class Cut(Chains):
        def source(self) -> Iterator[int]:
            for x in range(10):
                if x == 3:
                    raise error
                yield x

        async def slow_source(self) -> AsyncIterator[int]:
            for x in self.source():
                await asyncio.sleep(0)
                yield x

        @agent
        async def follow(self) -> None:
            items: Any = self.slow_source() if slow else self.source()
            try:
                async for outcome in self.run_chains(items, self.chain, limit=limit):
                    self.outcomes.append(outcome.item)
            except RuntimeError as told:
                self.outcomes.append(str(told))

    assert f"ended with {error.__name__}" in simulate(Cut(), model=Model(1.0)).campaign.outcomes[-1]


@pytest.mark.parametrize("pool_limits", [{}, {"other": 10_000}])
def test_many_chains_at_once_are_no_more_work_for_each(pool_limits: dict[str, int]) -> None:
    def prepared(n: int) -> Callable[[], object]:
        class Many(Chains):
            async def chain(self, x: int) -> int:
                return await self.run(score, x)

            @agent
            async def follow(self) -> None:
                chains = self.run_chains(range(n), self.chain, limit=n, pool_limits=pool_limits)
                self.outcomes += [each async for each in chains]

        return lambda: simulate(Many(), model=Model(1.0), workers={"default": 1, "other": 64})

    assert growth(prepared, 300) < 2.2
