"""Courses of attempts are drawn as a whole, from a generator that belongs to the call."""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import Any, ClassVar

import pytest

from steerio import Campaign, Result, Session, Succeeded, on_result, task
from steerio.errors import TaskFailed, UsageError
from steerio.model.events import WorkerJoined
from steerio.testing import Course, Model, SimulatedCluster, simulate
from tests.simulated.virtual import on_cluster


@task(pool="simulate", retries={"failed": 3})
def relax(steps: int) -> Generator[float, None, str]:
    yield 0.0
    raise AssertionError("the model stands for it")


@task(pool="simulate", retries={"failed": 3, "lost": 3})
def energy(molecule: int) -> float:
    raise AssertionError("the model stands for it")


@task(pool="simulate")
def doubled(n: int) -> int:
    return 2 * n


def draw_relax(rng: random.Random, steps: int) -> Course:
    """Yield the denser the longer it takes; those that take long give up early."""
    duration_s = rng.uniform(10.0, 100.0)
    items = [(at / steps * duration_s, rng.random()) for at in range(1, steps + 1)]
    return Course(duration_s, value=f"{duration_s:.3f}", items=items)


def draw_energy(rng: random.Random, molecule: int) -> Course:
    if rng.random() < 0.3:
        return Course(rng.uniform(0.0, 1.0), fails="did not converge")
    return Course(rng.uniform(10.0, 60.0), value=rng.gauss(0.0, 1.0))


class Measure(Campaign):
    """Computes all molecules in a given order."""

    workers: ClassVar = {"simulate": 4}

    def __init__(self, order: list[int]) -> None:
        self.order = order
        self.told: dict[int, Any] = {}

    async def setup(self) -> None:
        self.map(energy, self.order)

    @on_result(energy)
    async def take(self, result: Result) -> None:
        run_s = round(result.timings.run_s or 0.0, 6)
        self.told[result.args[0]] = (type(result).__name__, run_s, getattr(result, "value", None))


def test_the_order_of_tasks_and_the_number_of_workers_change_no_draw() -> None:
    order = list(range(40))
    first = simulate(Measure(order), model={energy: draw_energy}, seed=5).campaign.told
    for workers in (1, 7):
        random.Random(workers).shuffle(order)
        run = simulate(
            Measure(order), model={energy: draw_energy}, seed=5, workers={"simulate": workers}
        )
        assert run.campaign.told == first
    assert len({run_s for _, run_s, _ in first.values()}) == 40
    assert simulate(Measure(order), model={energy: draw_energy}, seed=6).campaign.told != first


def test_equal_calls_and_attempts_have_draws_of_their_own() -> None:
    run = simulate(Measure([1] * 30), model={energy: draw_energy}, seed=1)
    assert len({record.ended for record in run.records}) == 30
    attempts = [record.attempt for record in run.records]
    assert max(attempts) > 1  # some were tried again, and did not fail in the same way again
    assert run.ended["succeeded"] == 30


@on_cluster(model={relax: draw_relax}, seed=3)
async def test_items_come_at_their_times_and_the_value_at_the_end(
    cluster: SimulatedCluster, session: Session
) -> None:
    handle = session.submit(relax, 5)
    times: list[float] = []
    async for _ in handle.items():
        times.append(round(session.clock(), 6))
    result = await handle.result()
    assert isinstance(result, Succeeded)
    duration_s = float(result.value)
    assert times == [pytest.approx(at / 5 * duration_s, abs=1e-3) for at in range(1, 6)]
    assert result.timings.run_s == pytest.approx(duration_s, abs=1e-3)


def slowly(rng: random.Random, steps: int) -> Course:
    return Course(10.0, items=[(float(at), b"x" * 1000) for at in range(steps)], fails=OSError("x"))


@on_cluster(model={relax: slowly, doubled: lambda _, n: Course(3.0 * n)})
async def test_a_course_may_fail_after_its_items_and_may_leave_the_value_to_the_function(
    cluster: SimulatedCluster, session: Session
) -> None:
    handle = session.options(retries={"failed": 0, "lost": 0}).submit(relax, 4)
    with pytest.raises(TaskFailed, match="OSError: x"):
        await handle
    assert session.clock() == pytest.approx(10.0)
    assert await session.run(doubled, 2) == 4
    assert session.clock() == pytest.approx(16.0)


@on_cluster(1, model={energy: lambda rng, n: Course(5.0, crashes=n == 1, value=0.5, obeys="kill")})
async def test_a_course_may_crash_its_worker(cluster: SimulatedCluster, session: Session) -> None:
    result = await session.options(retries={"failed": 0, "lost": 0}).submit(energy, 1).result()
    assert result.ended_as == "lost"
    assert await session.run(energy, 2) == 0.5


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: Course(-1.0), "a duration must be 0 or more"),
        (lambda: Course(1.0, items=[(2.0, "late")]), "an item of a Course is at 2 s"),
        (lambda: Course(3.0, items=[(2.0, 1), (1.0, 2)]), "the times go up"),
        (lambda: Course(3.0, items=["now"]), "tuples of seconds and an item"),  # type: ignore[list-item]
        (lambda: Course(3.0, fails=1), "fails is a bool"),  # type: ignore[arg-type]
        (lambda: Course(3.0, obeys="no"), "Course.obeys is"),  # type: ignore[arg-type]
    ],
)
def test_an_impossible_course_is_refused(wrong: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        wrong()


three_seconds: Any = lambda rng, n: Course(3.0)  # noqa: E731 - a draw where seconds are wanted


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (lambda rng, n: 3.0, r"returned 3.0, not a Course\(duration_s=...\).*Model\(function\)"),
        (lambda rng, n: Course(3.0, items=[(1.0, 1)]), "that task is no generator"),
        (Model(three_seconds), "without a Model around it"),
        (3.0, "not a Model"),
    ],
)
def test_a_draw_that_is_no_course_is_named(model: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        simulate(Measure([1]), model={energy: model})


def test_the_starts_of_workers_are_drawn_by_worker() -> None:
    def slow(rng: random.Random, pool: str) -> float:
        assert pool == "simulate"
        return rng.uniform(5.0, 50.0)

    def joined(**options: Any) -> dict[str, float]:
        run = simulate(Measure([1] * 20), model={energy: draw_energy}, start_s=slow, **options)
        return {e.worker: e.at for e in run.events if isinstance(e, WorkerJoined)}

    starts = joined(seed=1)
    assert len(set(starts.values())) == 4
    assert all(5.0 <= at <= 50.0 for at in starts.values())
    more = joined(seed=1, workers={"simulate": 6})
    assert {worker: more[worker] for worker in starts} == starts
    with pytest.raises(UsageError, match="a duration of the start of a worker of pool simulate"):
        simulate(Measure([1]), model={energy: draw_energy}, start_s=lambda rng, pool: -1.0)
