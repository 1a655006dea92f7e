"""Campaigns that an optimizer drives, on virtual time: what it asks is run, what ends is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from random import Random
from typing import Any, ClassVar

import pytest

from steerio import (
    Campaign,
    Limits,
    Succeeded,
    UnknownPool,
    UsageError,
    agent,
    on_success,
    task,
    transient,
)
from steerio.asktell import EndedTrial, Optimizer, Suggestion, Trial, Trials, drive
from steerio.testing import KillWorker, Model, simulate
from tests.simulated.kept_runs import CrashingDisk, play


@task
def square(x: int) -> int:
    if x % 10 == 7:
        raise ValueError(f"{x} ends in 7")
    return x * x


@task
def descend(x: int, steps: int = 6) -> Iterator[Any]:
    for step in range(steps):
        yield step, float(x - step)
    return float(x - steps)


class Counting(Optimizer):
    """Asks for 0, 1, 2, ..., and notes all that it is told.

    Args:
        prune: says of a trial, a step and a value whether to prune.
        waits_after: asks for none after so many until one is told, if more are open.
    """

    def __init__(self, prune: Any = None, last: int = 10**9) -> None:
        self.prune, self.last = prune, last
        self.next, self.open = 0, 0
        self.most_open = 0
        self.told: list[EndedTrial] = []
        self.reports: list[tuple[int, int, float]] = []
        self.taught: list[EndedTrial] = []
        self.closed = 0

    def ask(self, number: int) -> dict[str, Any] | None:
        if self.next >= self.last:
            return None
        self.next, self.open = self.next + 1, self.open + 1
        self.most_open = max(self.most_open, self.open)
        return {"x": number}

    def tell(self, ended: EndedTrial) -> None:
        self.open -= 1
        self.told.append(ended)

    def report(self, trial: Trial, step: int, value: float) -> bool:
        self.reports.append((trial.number, step, value))
        return self.prune is not None and self.prune(trial, step, value)

    def begin(self, run: str, ended: Any) -> Any:
        self.taught = list(ended)
        return ()

    def close(self) -> None:
        self.closed += 1


class Driven(Campaign):
    """Driven by an optimizer."""

    workers: ClassVar = {"default": 3}

    def __init__(
        self, optimizer: Any = None, limit: int = 12, objective: Any = square, **options: Any
    ) -> None:
        self.trials = Trials(limit)
        self.given, self.objective, self.given_options = [optimizer], objective, options
        self.seen: list[int] = []

    @transient
    def optimizer(self) -> Any:
        return self.given[0] or Counting()

    @agent
    async def search(self) -> None:
        await drive(self, self.optimizer, self.objective, self.trials, **self.given_options)

    @on_success(square)
    async def see(self, result: Succeeded) -> None:
        self.seen.append(result.kwargs["x"])


def ends(campaign: Driven) -> dict[int, tuple[str, Any]]:
    return {each.number: (each.ended, each.value) for each in campaign.trials.ended}


@pytest.mark.smoke
def test_each_end_is_told_as_what_it_is() -> None:
    optimizer = Counting()
    run = simulate(Driven(optimizer), model=Model(1.0))
    expected = {x: ("failed", None) if x == 7 else ("succeeded", x * x) for x in range(12)}
    assert ends(run.campaign) == expected
    assert optimizer.told == run.campaign.trials.ended
    (failed,) = [each for each in optimizer.told if not each.succeeded]
    assert failed.reason == "ValueError: 7 ends in 7"
    assert sorted(run.campaign.seen) == [x for x in range(12) if x != 7]
    assert optimizer.closed == 1


def test_trials_are_asked_for_as_others_end_and_not_in_batches() -> None:
    optimizer = Counting()
    durations = {0: 100.0}
    model = Model(lambda rng, x: durations.get(x, 1.0))
    run = simulate(Driven(optimizer, limit=41), model=model)
    assert optimizer.most_open == 3
    assert run.campaign.trials.ended[-1].number == 0
    assert [each.number for each in optimizer.told[:20]] == list(range(1, 21))


def test_at_once_bounds_the_trials_that_are_out() -> None:
    optimizer = Counting()
    simulate(Driven(optimizer, at_once=2), model=Model(1.0), workers=8)
    assert optimizer.most_open == 2


def test_workers_that_come_are_given_trials() -> None:
    class Growing(Driven):
        workers: ClassVar = {"default": 1, "spare": 4}

        @agent
        async def move(self) -> None:
            await asyncio.sleep(5.5)
            await self.pools.move("spare", "default", workers=4)

    optimizer = Counting()
    simulate(Growing(optimizer, limit=40), model=Model(1.0))
    assert optimizer.most_open == 5


def test_a_trial_is_pruned_by_the_values_that_it_yields() -> None:
    optimizer = Counting(lambda trial, step, value: trial.number % 2 == 1 and step == 2)
    run = simulate(Driven(optimizer, 6, descend), model=Model(1.0))
    assert ends(run.campaign) == {
        0: ("succeeded", -6.0), 1: ("pruned", -1.0), 2: ("succeeded", -4.0),
        3: ("pruned", 1.0), 4: ("succeeded", -2.0), 5: ("pruned", 3.0),
    }  # fmt: skip
    pruned = next(each for each in optimizer.told if each.number == 3)
    assert pruned.reports == [(0, 3.0), (1, 2.0), (2, 1.0)]
    assert pruned.reason == "pruned by the optimizer at step 2"
    whole = next(each for each in optimizer.told if each.number == 4)
    assert [step for step, _ in whole.reports] == list(range(6))


def test_a_trial_that_someone_cancels_is_told_as_cancelled() -> None:
    class Cancels(Driven):
        @agent
        async def cancel_one(self) -> None:
            await asyncio.sleep(0.5)
            self.session.cancel(lambda task: task.tags.get("trial") == "1", "not this one")

    run = simulate(Cancels(limit=4), model=Model(1.0))
    (one,) = [each for each in run.campaign.trials.ended if each.number == 1]
    assert (one.ended, one.reason) == ("cancelled", "not this one")


def test_losses_and_timeouts_are_told_as_such() -> None:
    @task(timeout_s=5.0, retries={"lost": 0})
    def slow(x: int) -> int:
        return x

    model = Model(lambda rng, x: 50.0 if x == 1 else 1.0, crashes=lambda rng, x: x == 2)
    run = simulate(Driven(limit=4, objective=slow), model=model)
    assert {n: how for n, (how, _) in ends(run.campaign).items()} == {
        0: "succeeded", 1: "timed_out", 2: "lost", 3: "succeeded",
    }  # fmt: skip


def test_an_attempt_that_is_lost_reports_no_step_twice() -> None:
    optimizer = Counting()
    run = simulate(
        Driven(optimizer, 1, descend),
        model=Model(1.0),
        workers=1,
        faults=[KillWorker(at_s=3.5)],
    )
    assert ends(run.campaign) == {0: ("succeeded", -6.0)}
    assert [step for _, step, _ in optimizer.reports] == list(range(6))


def test_an_optimizer_that_asks_for_no_more_ends_it() -> None:
    run = simulate(Driven(Counting(last=5), limit=100), model=Model(1.0))
    assert len(run.campaign.trials.ended) == 5


def test_an_optimizer_may_wait_for_an_end() -> None:
    class InPairs(Counting):
        def ask(self, number: int) -> dict[str, Any] | None:
            if self.open and self.next % 2 == 0:
                return None
            return super().ask(number)

    optimizer = InPairs()
    run = simulate(Driven(optimizer, limit=10), model=Model(1.0))
    assert len(run.campaign.trials.ended) == 10
    assert optimizer.most_open == 2


def test_a_stop_interrupts_trials_and_leaves_them_open() -> None:
    class Stops(Driven):
        @agent
        async def give_up(self) -> None:
            await asyncio.sleep(2.5)
            self.stop(cancel=True)

    run = simulate(Stops(limit=100), model=Model(1.0))
    assert len(run.campaign.trials.ended) == 6
    assert sorted(run.campaign.trials.open) == [6, 7, 8]


def test_items_may_be_plain_numbers_or_made_into_steps() -> None:
    @task
    def rough(x: int) -> Iterator[Any]:
        yield {"at": 10, "loss": 0.5}
        yield "a word"
        return 1.0

    @task
    def plain(x: int) -> Iterator[float]:
        yield 0.5
        yield 0.25

    optimizer = Counting()
    simulate(Driven(optimizer, 1, plain), model=Model(1.0))
    assert optimizer.reports == [(0, 0, 0.5), (0, 1, 0.25)]

    def progress(item: Any) -> Any:
        return (item["at"], item["loss"]) if isinstance(item, dict) else None

    optimizer = Counting()
    simulate(Driven(optimizer, 1, rough, progress=progress), model=Model(1.0))
    assert optimizer.reports == [(0, 10, 0.5)]

    with pytest.RaisesGroup(
        pytest.RaisesExc(UsageError, match=r"yielded .*progress="), flatten_subgroups=True
    ):
        simulate(Driven(Counting(), 1, rough), model=Model(1.0))


def test_mistakes_are_named() -> None:
    class Wrong(Counting):
        def ask(self, number: int) -> Any:
            return [1, 2]

    for optimizer, options, message in [
        (Wrong(), {}, r"Wrong.ask\(\) returned \[1, 2\]: return the arguments"),
        (Optimizer(), {}, None),
        (object(), {}, "takes an Optimizer"),
        (Counting(), {"at_once": 0}, "at_once must be a whole number"),
    ]:
        expected: Any = UsageError if message else NotImplementedError
        with pytest.RaisesGroup(
            pytest.RaisesExc(expected, match=message or "has no ask"), flatten_subgroups=True
        ):
            simulate(Driven(optimizer, **options), model=Model(1.0))


def test_an_optimizer_that_fails_is_heard_of_at_once() -> None:
    class Fails(Counting):
        def report(self, trial: Trial, step: int, value: float) -> bool:
            raise ZeroDivisionError("in the optimizer")

    campaign = Driven(Fails(), 3, descend)
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        simulate(campaign, model=Model(lambda rng, x: 1000.0 if x else 1.0))
    assert campaign.trials.ended[0].reason == "its items could not be passed on"


@pytest.mark.parametrize("shared", ["optimizer", "trials"])
def test_two_calls_cannot_share_an_optimizer_or_trials(shared: str) -> None:
    class Shared(Driven):
        @agent
        async def again(self) -> None:
            other = Trials(4) if shared == "optimizer" else self.trials
            optimizer = self.optimizer if shared == "optimizer" else Counting()
            await drive(self, optimizer, square, other)

    with pytest.raises(ExceptionGroup) as caught:
        simulate(Shared(), model=Model(1.0))
    assert caught.group_contains(UsageError, match="another drive.. is under way with")


def test_a_pool_that_is_not_there_is_named() -> None:
    @task(pool="elsewhere")
    def far(x: int) -> int:
        return x

    with pytest.RaisesGroup(
        pytest.RaisesExc(UnknownPool, match="elsewhere"), flatten_subgroups=True
    ):
        simulate(Driven(objective=far), model=Model(1.0))


def test_without_an_agent_it_is_refused() -> None:
    class Early(Driven):
        async def setup(self) -> None:
            await drive(self, Counting(), square, Trials(3))

    with pytest.RaisesGroup(pytest.RaisesExc(UsageError, match="@agent"), flatten_subgroups=True):
        simulate(Early(), model=Model(1.0))


# -- resumed ---------------------------------------------------------------------------------------

MODEL = Model(lambda random, x, steps=6: 0.5 + random.random())


@pytest.mark.parametrize("objective", [square, descend])
def test_a_run_that_was_cut_at_any_write_goes_on_with_all_that_it_knows(objective: Any) -> None:
    disk = CrashingDisk()
    keeping = play(Driven(limit=24, objective=objective), disk, MODEL)
    assert keeping.snapshots.taken >= 2
    whole = 0
    for at in range(3, disk.changes, 3):
        before = Driven(limit=24, objective=objective)
        broken = CrashingDisk()
        broken.crash_at = at
        with contextlib.suppress(BaseException):  # a write of a generator's run may be its last
            play(before, broken, MODEL)
        assert broken.crashed, at
        files = broken.survivors("anything", Random(at))
        again = Driven(limit=24, objective=objective)
        play(again, CrashingDisk(files), MODEL, seed=at)
        numbers = [each.number for each in again.trials.ended]
        assert len(numbers) == len(set(numbers)) == 24, at
        assert not again.trials.open
        optimizer = again.optimizer
        both = [*optimizer.taught, *optimizer.told]
        assert [each.number for each in both] == numbers, at
        if objective is square:
            assert sorted(again.seen) == sorted(each.args["x"] for each in both if each.succeeded)
        whole += bool(optimizer.taught)
    assert whole


def test_trials_that_a_limit_has_interrupted_are_run_by_a_resume() -> None:
    disk = CrashingDisk()
    first = Driven(limit=20)
    play(first, disk, Model(1.0), limits=Limits(tasks=9))
    again = Driven(limit=20)
    play(again, disk, Model(1.0))
    assert sorted(each.args["x"] for each in again.trials.ended)[:9] == list(range(9))
    assert len(again.trials.ended) == 20


class Forgetful(Counting):
    """Asks for other numbers in each incarnation, as an optimizer without a seed does."""

    incarnation = 0

    def __init__(self) -> None:
        super().__init__()
        Forgetful.incarnation += 1

    def ask(self, number: int) -> Any:
        asked = super().ask(number)
        return (
            Suggestion({"x": 1000 * self.incarnation + number}, f"note {number}") if asked else None
        )


def test_recorded_results_are_told_although_the_optimizer_would_not_ask_for_them() -> None:
    Forgetful.incarnation = 0
    disk = CrashingDisk()
    # no snapshot: all is replayed
    play(Driven(Forgetful(), limit=9), disk, MODEL, every_s=1e6, limits=Limits(tasks=6))
    again = Driven(Forgetful(), limit=9)
    keeping = play(again, disk, MODEL, every_s=1e6)
    known = keeping.recorder.replay.given
    assert 6 <= known < 9
    xs = [each.args["x"] // 1000 for each in again.trials.ended]
    assert xs == [1] * known + [2] * (9 - known)
    assert not again.recovered


class From(Counting):
    """Asks for the numbers from a first one on."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self.first = first

    def ask(self, number: int) -> dict[str, Any] | None:
        return super().ask(self.first + number)


class Twice(Campaign):
    """Two optimizers of one function, which an agent calls by itself as well."""

    workers: ClassVar = {"default": 5}

    def __init__(self) -> None:
        self.low, self.high = Trials(9, "low"), Trials(9, "high")
        self.by_itself: list[int] = []

    @transient
    def optimizers(self) -> list[From]:
        return [From(0), From(100)]

    @agent
    async def search_low(self) -> None:
        await drive(self, self.optimizers[0], square, self.low, at_once=2)

    @agent
    async def search_high(self) -> None:
        await drive(self, self.optimizers[1], square, self.high, at_once=2)

    @agent
    async def call(self) -> None:
        for x in range(2000, 2007):
            await asyncio.sleep(0.1)
            self.by_itself.append(await self.run(square, x))


@pytest.mark.parametrize("tasks", [5, 12, 20])
def test_recorded_results_are_told_to_the_optimizer_that_asked_for_them(tasks: int) -> None:
    disk = CrashingDisk()
    with contextlib.suppress(ExceptionGroup):  # its limit may cut the agent short
        play(Twice(), disk, MODEL, every_s=1e6, limits=Limits(tasks=tasks))
    again = Twice()
    keeping = play(again, disk, MODEL, every_s=1e6)
    for trials, first in ((again.low, 0), (again.high, 100)):
        assert sorted(each.args["x"] for each in trials.ended) == list(range(first, first + 9))
    assert again.by_itself == [x * x for x in range(2000, 2007)]
    assert keeping.recorder.replay.given >= tasks
    assert not again.recovered
