"""What simulated tasks report arrives while they run, as often as from real ones."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from steerio import Session, TaskCancelled, TaskProgress, random_seed, report, task
from steerio.testing import KillWorker, Model, SimulatedCluster
from steerio.testing.report_times import Said, planned
from tests.simulated.virtual import of_kind, on_cluster

pytestmark = pytest.mark.borders


@task(pool="simulate")
def train(epochs: int) -> int:
    for epoch in range(epochs):
        report((epoch + 1) / epochs, f"epoch {epoch}")
    return epochs


@task(pool="simulate")
async def train_slowly(epochs: int) -> int:
    for epoch in range(epochs):
        await asyncio.sleep(1)
        report((epoch + 1) / epochs, f"epoch {epoch}")
        await asyncio.gather(asyncio.sleep(0.01), say(f"half of {epoch}"))
    return random_seed()


async def say(message: str) -> None:
    report(message=message)


@task(pool="simulate")
def yield_epochs(epochs: int) -> Iterator[int]:
    for epoch in range(epochs):
        report(message=f"epoch {epoch}")
        yield epoch


@task(pool="simulate")
async def yield_epochs_slowly(epochs: int) -> AsyncIterator[int]:
    for epoch in range(epochs):
        report(message=f"epoch {epoch}")
        yield epoch


@task(pool="simulate")
def collect(number: int) -> list[int]:
    return [number]


MODEL = {
    train: Model(10.0),
    train_slowly: Model(0.5),
    yield_epochs: Model(1.0),
    yield_epochs_slowly: Model(1.0),
}
on_one = on_cluster(1, model=MODEL)


def told(cluster: SimulatedCluster, since: float) -> list[tuple[float, Any]]:
    """Return when, to a tenth, what was reported."""
    events = of_kind(cluster.record.events, TaskProgress)
    return [(round(event.at - since, 1), event.message) for event in events]


@on_one
async def test_a_function_reports_while_its_attempt_lasts(
    cluster: SimulatedCluster, session: Session
) -> None:
    await session.run(train, 4)
    assert told(cluster, 0) == [
        (2.5, "epoch 0"),
        (5.0, "epoch 1"),
        (7.5, "epoch 2"),
        (10.0, "epoch 3"),
    ]


@on_one
async def test_who_follows_reports_can_cancel_on_them(
    cluster: SimulatedCluster, session: Session
) -> None:
    training = session.submit(train, 10)
    async with session.events(TaskProgress) as events:
        while (await anext(events)).message != "epoch 2":
            pass
    training.cancel("it does not get better")
    with pytest.raises(TaskCancelled):
        await training
    assert asyncio.get_running_loop().time() == pytest.approx(3.2, abs=0.3)
    assert len(told(cluster, 0)) == 3


@on_cluster(1, model=MODEL, faults=[KillWorker(5.5)])
async def test_a_killed_attempt_reports_no_more(
    cluster: SimulatedCluster, session: Session
) -> None:
    await session.run(train, 2)
    assert [message for _, message in told(cluster, 0)] == ["epoch 0", "epoch 0", "epoch 1"]


@on_one
async def test_a_coroutine_reports_when_it_does_and_its_last_word_is_told(
    cluster: SimulatedCluster, session: Session
) -> None:
    one, other = await session.gather(*session.map(train_slowly, [2, 1]))
    assert told(cluster, 0) == [
        (1.5, "epoch 0"),
        (1.6, "half of 0"),
        (2.5, "epoch 1"),
        (2.5, "half of 1"),
        (4.0, "epoch 0"),
        (4.0, "half of 0"),
    ]
    assert one != other, "each is known for what it is"


@pytest.mark.parametrize("function", [yield_epochs, yield_epochs_slowly])
def test_generators_report_between_their_items(function: Any) -> None:
    @on_one
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        assert [item async for item in session.stream(function, 3)] == [0, 1, 2]
        assert told(cluster, 0) == [(0.0, "epoch 0"), (1.0, "epoch 1"), (2.0, "epoch 2")]

    scene()


@on_one
async def test_what_a_policy_says_outside_its_tasks_is_no_report(
    cluster: SimulatedCluster, session: Session
) -> None:
    running = asyncio.create_task(session.run(train_slowly, 3))
    await asyncio.sleep(1.2)
    report(message="of nobody")
    session.submit(train, 0).add_done_callback(lambda _: report(message="of nobody"))
    await running
    assert "of nobody" not in str(told(cluster, 0))


def test_what_is_returned_is_what_was_there_when_the_function_returned() -> None:
    shared: list[int] = []

    def append(_: int) -> list[int]:
        shared.append(len(shared))
        return shared

    @on_cluster(2, model={collect: Model(10.0, value=append)})
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        assert await session.gather(*session.map(collect, [1, 2])) == [[0], [0, 1]]

    scene()


# -- when it is told ------------------------------------------------------------------------------


def said(*fractions: float | None) -> list[Said]:
    return [Said(fraction, str(index)) for index, fraction in enumerate(fractions)]


@pytest.mark.parametrize(
    ("fractions", "at"),
    [
        ([], []),
        ([0.5, 1.0], [50, 100]),
        ([None], [50]),
        ([None, None, None], [25, 50, 75]),
        ([None, 0.8, None], [40, 80, 90]),
        ([0.6, 0.2, 2.0, -1.0], [60, 60, 100, 100]),
        ([1.0, None], [100, 100]),
        ([math.nan, 0.5, math.nan, math.inf], [25, 50, 75, 100]),
    ],
)
def test_reports_are_told_by_their_fractions(fractions: list[float | None], at: list[int]) -> None:
    everything = said(*fractions)
    came = planned(everything, 100.0)
    assert [round(second) for second, _ in came] == at
    assert [one for _, one in came][-1:] == everything[-1:], "the last is always told"


def test_reports_are_told_as_often_as_those_of_real_workers() -> None:
    many = said(*[index / 1_000 for index in range(1_000)])
    came = planned(many, 1.0)
    assert 15 <= len(came) <= 21
    assert came[-1][1] == many[-1]
    assert planned(many, 0.0) == [(0.0, many[0]), (0.0, many[-1])]
