"""A recorded run is a model of its tasks: the same campaign goes as it went, others much alike."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from steerio import Board, Campaign, Limits, Result, Succeeded, on_result, on_success, task
from steerio.errors import TaskFailed, UsageError
from steerio.model.events import WorkerJoined
from steerio.testing import Course, Model, RecordedModels, lognormal, recorded_models, simulate


@task(pool="simulate", retries={"failed": 1, "lost": 3}, timeout_s=200.0)
def energy(molecule: int) -> float:
    return -abs(molecule - 70.0)


@task(pool="learn")
def rank(known: dict[int, float]) -> dict[int, float]:
    best = max(known, key=lambda each: known[each])
    return {molecule: -abs(molecule - best) for molecule in range(200)}


@task(pool="simulate")
def relax(steps: int) -> Generator[int, None, str]:
    yield from range(steps)
    return f"after {steps}"


class Search(Campaign):
    """Ranks its board by all that is known after every eighth result."""

    workers: ClassVar = {"simulate": 8, "learn": 1}

    def __init__(self, molecules: int = 120) -> None:
        self.todo: Board[Any] = Board(energy, range(molecules))
        self.known: dict[int, float] = {}
        self.ends: Counter[str] = Counter()

    @on_result(energy)
    async def record(self, result: Result) -> None:
        self.ends[result.ended_as] += 1
        if isinstance(result, Succeeded):
            self.known[result.args[0]] = result.value

    @on_success(energy, every=8)
    async def relearn(self, results: list[Succeeded]) -> None:
        scores = await self.run(rank, self.known)
        self.todo.rescore({each: scores[each] for each in self.todo.waiting})


def draw(rng: random.Random, molecule: int) -> Course:
    """Fail early now and then, crash, run into the timeout."""
    chance = rng.random()
    if chance < 0.2:
        return Course(rng.uniform(0.0, 5.0), fails="did not converge")
    if chance < 0.25:
        return Course(20.0, crashes=True)
    if chance < 0.3:
        return Course(1000.0)
    return Course(rng.lognormvariate(4.0, 0.4))


FAILURES = Limits(failures=1000)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "run"
    simulate(
        Search(),
        model={energy: draw, rank: Model(lognormal(30))},
        start_s=lambda rng, pool: 12.0 if pool == "learn" else 4.0,
        seed=1,
        run_dir=folder,
        limits=FAILURES,
    )
    return folder


def test_the_same_campaign_goes_as_it_was_recorded(run_dir: Path, tmp_path: Path) -> None:
    def once(model: Any, **options: Any) -> Any:
        return simulate(Search(), model=model, limits=FAILURES, **options)

    first = once(
        {energy: draw, rank: Model(lognormal(30))},
        start_s=lambda rng, pool: 12.0 if pool == "learn" else 4.0,
        seed=1,
    )
    assert first.ended["timed_out"] > 2
    assert first.ended["failed"] > 0
    assert sum(record.attempt > 1 for record in first.records) > 10
    again = once(recorded_models(run_dir), seed=99)
    # every call was recorded, and nothing is left to chance: durations are differences of times of
    # at most 1e4 s, of which each is off by less than 1e-11 s, and no more than 200 add up
    assert again.duration_s == pytest.approx(first.duration_s, abs=1e-8)
    for pool in ("simulate", "learn"):
        assert again.utilisation(pool) == pytest.approx(first.utilisation(pool), abs=1e-9)
    assert again.ended == first.ended
    assert again.campaign.known == first.campaign.known
    errors = Counter(record.error for record in first.records)
    assert Counter(record.error for record in again.records) == errors


def test_other_calls_go_as_those_that_were_recorded(run_dir: Path) -> None:
    class Others(Search):
        def __init__(self) -> None:
            super().__init__()
            self.todo = Board(energy, range(1000, 1800))

        async def relearn(self, results: list[Succeeded]) -> None:
            pass

    first = [each for each in simulate_again(run_dir).records if each.task_type.endswith("energy")]
    run = simulate(
        Others(), model=recorded_models(run_dir), limits=FAILURES, workers={"simulate": 64}
    )
    assert run.campaign.ends.total() == 800
    assert all(run.campaign.known[each] == -abs(each - 70.0) for each in run.campaign.known)
    known, runs = durations(first), durations(run.records)
    assert runs <= known  # each is one of those that were recorded
    assert len(runs) > 0.9 * len(known)  # of 100 each is missed by 800 draws in 1 of 3,000 cases
    # of 120 recorded tasks, drawn 800 times: four standard errors of both are 4 * 0.04
    before = sum(each.ended_as == "succeeded" for each in first) / 120
    assert run.ended["succeeded"] / 800 == pytest.approx(before, abs=0.16)


def durations(records: list[Any]) -> set[float]:
    return {round(each.ended - each.started, 6) for each in records if each.ended_as == "succeeded"}


def simulate_again(run_dir: Path) -> Any:
    return simulate(Search(), model=recorded_models(run_dir), limits=FAILURES)


def test_workers_start_as_they_did(run_dir: Path) -> None:
    models = recorded_models(run_dir)
    rng = random.Random(1)
    assert {models.start_s(rng, "learn") for _ in range(9)} == {12.0}
    assert {round(models.start_s(rng, "simulate"), 6) for _ in range(99)} == {4.0}
    assert models.start_s(rng, "another pool") in (4.0, 12.0)
    joined = {e.worker: e.at for e in simulate_again(run_dir).events if isinstance(e, WorkerJoined)}
    assert joined["learn-1"] == 12.0
    assert joined["simulate-1"] == 4.0
    at_once = simulate(Search(), model=models, start_s=0.0, limits=FAILURES)
    assert min(e.at for e in at_once.events if isinstance(e, WorkerJoined)) == 0.0


class Relaxing(Campaign):
    """Reads the items of generator tasks, of which one fails."""

    workers: ClassVar = {"simulate": 2}

    def __init__(self) -> None:
        self.told: list[tuple[int, float]] = []
        self.values: list[Any] = []

    async def setup(self) -> None:
        for steps in (4, 0, 8):
            task = self.submit(relax, steps)
            with contextlib.suppress(TaskFailed):
                async for item in task.items():
                    self.told.append((item, round(asyncio.get_running_loop().time(), 6)))
            self.values.append(getattr(await task.result(), "value", "none"))


def test_generators_yield_their_own_items_over_the_recorded_time(tmp_path: Path) -> None:
    def drawn(rng: random.Random, steps: int) -> Course:
        if steps == 8:
            return Course(7.0, items=[(1.0, 0)], fails="broken")
        times = [float(10 * at / steps) for at in range(1, steps + 1)]
        return Course(10.0, f"after {steps}", [(at, n) for n, at in enumerate(times)])

    first = simulate(Relaxing(), model={relax: drawn}, run_dir=tmp_path, limits=FAILURES)
    again = simulate(Relaxing(), model=recorded_models(tmp_path), limits=FAILURES)
    assert again.campaign.told[:4] == first.campaign.told[:4]
    assert again.campaign.values[:2] == ["after 4", "after 0"]
    assert again.duration_s == pytest.approx(first.duration_s)
    assert again.ended == first.ended


@task(pool="simulate")
def shape(name: str) -> tuple[int, ...]:
    return (len(name), 2)


@task(pool="simulate")
def bare(n):  # type: ignore[no-untyped-def]
    return {"n": n} if n else None


CALLED: list[Any] = []


@task(pool="simulate")
def told(n: int) -> str:
    CALLED.append(n)
    return "<object>" if n else "plain"


class Values(Campaign):
    """Has values of many kinds."""

    workers: ClassVar = {"simulate": 1}

    async def setup(self) -> None:
        self.values = [
            await self.run(shape, "abc"),
            await self.run(bare, 0),
            await self.run(bare, 3),
            await self.run(told, 0),
            await self.run(told, 1),
        ]


def test_values_are_those_of_the_record_if_it_tells_them_in_full(tmp_path: Path) -> None:
    first = simulate(Values(), model=Model(1.0), run_dir=tmp_path)
    CALLED.clear()
    again = simulate(Values(), model=recorded_models(tmp_path))
    assert again.campaign.values == first.campaign.values
    assert CALLED == [1]  # the record has its value as a word that might stand for another


def test_one_type_may_have_another_model(run_dir: Path) -> None:
    models = recorded_models(run_dir) | {rank: Model(7.0)}
    assert isinstance(models, RecordedModels)
    run = simulate(Search(40), model=models, limits=FAILURES)
    ranks = [r for r in run.records if r.task_type.endswith("rank")]
    assert {round((r.ended or 0.0) - (r.started or 0.0), 6) for r in ranks} == {7.0}
    assert min(e.at for e in run.events if isinstance(e, WorkerJoined)) == 4.0


def test_tasks_of_a_script_have_the_models_of_its_module(run_dir: Path, tmp_path: Path) -> None:
    lines = (run_dir / "tasks.jsonl").read_text().replace(f"{__name__}:", "__main__:")
    (tmp_path / "tasks.jsonl").write_text(lines)
    run = simulate(Search(), model=recorded_models(tmp_path), limits=FAILURES)
    assert run.ended == simulate_again(run_dir).ended


def test_a_type_that_was_not_recorded_is_named(run_dir: Path) -> None:
    with pytest.raises(UsageError, match=r"relax has no model \(models here: .*energy.*rank\)"):
        simulate(Relaxing(), model=recorded_models(run_dir))


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no run directory"):
        recorded_models(tmp_path / "nowhere")
    (tmp_path / "tasks.jsonl").write_text('{"task_id": 1')
    with pytest.raises(UsageError, match="cannot be read"):
        recorded_models(tmp_path)
