"""The policies that a steering system must express in a few lines, on simulated workers."""

from __future__ import annotations

import random
from typing import ClassVar

import pytest

from steerio import (
    Board,
    Campaign,
    Limits,
    Succeeded,
    TaskEnded,
    TaskQueued,
    TaskStarted,
    WorkerMoved,
    on_idle,
    on_result,
    on_success,
    task,
)
from steerio.testing import Model, SimulatedRun, lognormal, simulate
from tests.simulated.virtual import of_kind


@task(pool="simulate", timeout_s=3600)
def energy(molecule: int) -> float:
    """Return what is sought; the larger the better."""
    return 1000.0 - abs(molecule - 700)


@task(pool="learn")
def rank(known: dict[int, float], waiting: list[int]) -> dict[int, float]:
    """Rank what waits by the line through what is known."""
    low, high = min(known), max(known)
    slope = (known[high] - known[low]) / (high - low)
    return {molecule: slope * (molecule - high) for molecule in waiting if molecule < 750}


@task(pool="learn")
def train(known: int) -> int:
    """Take a while, and then there is something to infer with."""
    return known


@task(pool="infer")
def infer(molecule: int) -> int:
    return molecule


MODEL = {
    energy: Model(lognormal(60.0)),
    rank: Model(30.0),
    train: Model(300.0),
    infer: Model(20.0),
}


class OneForOne(Campaign):
    """Submit a new simulation once another completes."""

    workers: ClassVar = {"simulate": 8}

    def __init__(self, molecules: int, at_once: int = 8) -> None:
        self.molecules = iter(range(molecules))
        self.at_once = at_once
        self.found: list[float] = []

    async def setup(self) -> None:
        for _ in range(self.at_once):
            self.submit(energy, next(self.molecules))

    @on_success(energy)
    async def another(self, result: Succeeded) -> None:
        self.found.append(result.value)
        molecule = next(self.molecules, None)
        if molecule is not None:
            self.submit(energy, molecule)


class GiveToInference(Campaign):
    """Give the trainers' workers to inference once training ends."""

    workers: ClassVar = {"learn": 1, "infer": 1}

    def __init__(self, trainers: int) -> None:
        self.trainers = trainers
        self.inferred = 0

    async def setup(self) -> None:
        self.map(train, range(self.trainers))
        self.map(infer, range(20 * self.trainers))

    @on_success(train)
    async def give(self, result: Succeeded) -> None:
        await self.pools.move("learn", "infer", 1)

    @on_success(infer)
    async def count(self, result: Succeeded) -> None:
        self.inferred += 1


class Batches(Campaign):
    """Wait for eight results, and then submit the next eight."""

    workers: ClassVar = {"simulate": 8}

    def __init__(self, molecules: int) -> None:
        self.molecules = list(range(molecules))
        self.found: list[float] = []

    async def setup(self) -> None:
        self.next_batch()

    def next_batch(self) -> None:
        batch, self.molecules = self.molecules[:8], self.molecules[8:]
        self.map(energy, batch)

    @on_success(energy, every=8)
    async def look(self, results: list[Succeeded]) -> None:
        self.found += [result.value for result in results]
        self.next_batch()


class Ranked(Campaign):
    """Retrain after eight successes, and re-rank what waits while it is worked off."""

    workers: ClassVar = {"simulate": 8, "learn": 1}

    def __init__(self, molecules: int) -> None:
        self.todo = Board(energy, range(molecules))
        self.known: dict[int, float] = {}
        self.trained_on: list[list[int]] = []

    @on_success(energy)
    async def record(self, result: Succeeded) -> None:
        self.known[result.args[0]] = result.value

    @on_success(energy, every=8)
    async def relearn(self, results: list[Succeeded]) -> None:
        self.trained_on.append([result.args[0] for result in results])
        self.todo.rescore(await self.run(rank, self.known, self.todo.waiting))


def test_a_simulation_is_submitted_once_another_completes() -> None:
    run = simulate(OneForOne(100), model=MODEL)
    assert len(run.campaign.found) == 100
    ended = [event.at for event in of_kind(run.events, TaskEnded)]
    queued = [event.at for event in of_kind(run.events, TaskQueued)]
    assert queued == [0.0] * 8 + ended[:-8], "each at the moment in which one ended"
    assert run.records[-1].cause == "OneForOne.another"


def test_a_model_is_retrained_after_eight_successes_however_long_training_takes() -> None:
    slow = {energy: Model(10.0), rank: Model(500.0)}  # far more than eight end meanwhile
    run = simulate(Ranked(96), model=slow)
    batches = run.campaign.trained_on
    assert [len(batch) for batch in batches] == [8] * 12
    counted = [molecule for batch in batches for molecule in batch]
    assert sorted(counted) == list(range(96)), "each success counted, and once"
    trainings = [e for e in of_kind(run.events, TaskStarted) if e.pool == "learn"]
    assert [event.at for event in trainings] == [10.0 + 500.0 * n for n in range(12)]


def test_inference_gets_the_trainers_workers_once_training_ends() -> None:
    run = simulate(GiveToInference(500), model=MODEL, workers={"learn": 500, "infer": 500})
    assert run.campaign.inferred == 10_000
    moves = of_kind(run.events, WorkerMoved)
    assert [(event.source, event.pool) for event in moves] == [("learn", "infer")] * 500
    assert {event.at for event in moves} == {300.0}
    left = 10_000 - 500 * 300 // 20
    assert run.duration_s == pytest.approx(300.0 + left / 1_000 * 20.0, abs=20.0)


@pytest.mark.parametrize(
    ("campaign", "workers"),
    [
        (OneForOne(5_000, 1_000), {"simulate": 1_000}),
        (Ranked(5_000), {"simulate": 999, "learn": 1}),
        (GiveToInference(500), {"learn": 500, "infer": 500}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_policy_is_the_same_with_a_thousand_workers(
    campaign: Campaign, workers: dict[str, int]
) -> None:
    run = simulate(campaign, model=MODEL, workers=workers)
    assert set(run.ended) == {"succeeded"}
    assert run.ended["succeeded"] >= 5_000
    assert len({record.worker for record in run.records}) == 1_000


def test_a_batch_waits_for_its_slowest() -> None:
    run = simulate(Batches(80), model=MODEL)
    starts = sorted({event.at for event in of_kind(run.events, TaskStarted)})
    assert len(starts) == 10
    assert len(run.campaign.found) == 80


def test_one_for_one_and_ranked_keep_the_machine_busier_than_batches() -> None:
    share: dict[str, float] = {}
    duration: dict[str, float] = {}
    for way in (Batches, OneForOne, Ranked):
        run: SimulatedRun[Campaign] = simulate(way(400), model=MODEL, seed=3)
        share[way.__name__] = run.utilisation("simulate")
        duration[way.__name__] = run.duration_s
    assert share["Batches"] < 0.75
    assert min(share["OneForOne"], share["Ranked"]) > 0.95
    assert duration["Batches"] > 1.3 * max(duration["OneForOne"], duration["Ranked"])


def test_ranking_what_waits_finds_the_best_sooner() -> None:
    ranked = simulate(Ranked(1_000), model=MODEL, limits=Limits(successes=100))
    in_order = simulate(OneForOne(1_000), model=MODEL, limits=Limits(successes=100))
    assert max(ranked.campaign.known.values()) > max(in_order.campaign.found)


class Idle(Campaign):
    """Ask for work when a worker has none."""

    workers: ClassVar = {"simulate": 4}

    def __init__(self, count: int) -> None:
        self.left = count
        self.asked: list[int] = []

    @on_idle("simulate")
    async def more(self, idle: int) -> None:
        self.asked.append(idle)
        for _ in range(min(idle, self.left)):
            self.left -= 1
            self.submit(energy, self.left)
        if not self.left:
            self.stop()


def test_a_worker_without_work_asks_for_some() -> None:
    run = simulate(Idle(40), model=MODEL)
    assert run.ended == {"succeeded": 40}
    assert run.utilisation("simulate") > 0.9


class Failing(Campaign):
    """Count how tasks end, whatever that is."""

    workers: ClassVar = {"simulate": 4}

    def __init__(self) -> None:
        self.ended: list[str] = []

    async def setup(self) -> None:
        self.map(energy, range(200))

    @on_result(energy)
    async def count(self, result: Succeeded) -> None:
        self.ended.append(result.ended_as)


def test_tasks_fail_as_often_as_their_model_says() -> None:
    run = simulate(Failing(), model={energy: Model(1.0, fails=0.25)}, seed=1)
    assert 30 <= run.campaign.ended.count("failed") <= 70
    assert run.ended == {how: run.campaign.ended.count(how) for how in ("succeeded", "failed")}


def test_a_simulation_ends_when_it_shall_and_cancels_what_runs() -> None:
    run = simulate(OneForOne(10_000), model=MODEL, until_s=1_000.0)
    assert run.ended["cancelled"] == 8
    assert run.duration_s == pytest.approx(1_000.0, abs=1.0)
    assert run.ended["succeeded"] > 50


def test_chance_is_drawn_for_each_task_type_by_itself() -> None:
    alone = simulate(OneForOne(50), model=MODEL, seed=5)
    rng = random.Random("5/tests.simulated.test_policies:energy")
    drawn = sorted(lognormal(60.0)(rng) for _ in range(50))
    took = sorted((r.ended or 0) - (r.started or 0) for r in alone.records)
    assert took == pytest.approx(drawn)
