"""In the simulator, too, a task gets what was there when it was submitted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from steerio import Board, Campaign, Session, Succeeded, on_success, task
from steerio.testing import KillWorker, Model, SimulatedCluster, simulate
from tests.simulated.virtual import on_cluster

pytestmark = pytest.mark.borders

Array = np.ndarray[Any, Any]


@task(pool="simulate")
def ends(array: Array, seconds: float) -> tuple[float, float]:
    return float(array[0]), float(array[-1])


@task(pool="simulate")
def same_buffer(size: int) -> Iterator[Array]:
    buffer = np.zeros(size)
    for number in range(4):
        buffer[:] = number
        yield buffer


_scratch = np.zeros(2_000)


@task(pool="simulate")
def same_value(number: int) -> Array:
    _scratch[:] = number
    return _scratch


@task(pool="simulate")
def same_array(array: Array) -> float:
    return float(array[-1])


@task(pool="simulate")
def same_record(record: dict[str, Any]) -> tuple[str, int]:
    return record["name"], record["steps"][0]


TAKES = {
    ends: Model(lambda _, __, seconds: seconds),
    same_buffer: Model(1.0),
    same_value: Model(1.0),
}


@on_cluster(1, model=TAKES, faults=[KillWorker(5, pool="simulate")])
async def test_a_task_that_is_tried_again_gets_what_was_submitted(
    cluster: SimulatedCluster, session: Session
) -> None:
    for size in (3, 2_000, 300_000):
        array = np.zeros(size)
        tasks = []
        for number in range(3):
            array[:] = number
            tasks.append(session.submit(ends, array, 10.0 if number == 0 else 1.0))
        array[:] = -1
        results = [await one.result() for one in tasks]
        assert [r.value for r in results if isinstance(r, Succeeded)] == [(0, 0), (1, 1), (2, 2)]


@on_cluster(1, model=TAKES)
async def test_what_a_task_yields_and_returns_is_what_it_was_then(
    cluster: SimulatedCluster, session: Session
) -> None:
    for size in (3, 2_000, 300_000):
        items = [item async for item in session.stream(same_buffer, size)]
        assert [(item[0], item[-1]) for item in items] == [(n, n) for n in range(4)]
    tasks = session.map(same_value, range(4))
    values = await session.gather(*tasks)
    assert [(value[0], value[-1]) for value in values] == [(n, n) for n in range(4)]


@on_cluster(1, model=TAKES | {same_array: Model(1.0), same_record: Model(1.0)})
async def test_the_items_of_a_map_are_what_they_were_when_they_were_given_out(
    cluster: SimulatedCluster, session: Session
) -> None:
    for size in (3, 2_000, 300_000):
        tasks = session.map(same_array, same_buffer.function(size))
        assert await session.gather(*tasks) == [0, 1, 2, 3]

    def records() -> Iterator[dict[str, Any]]:
        record: dict[str, Any] = {"name": "", "steps": [0]}
        for number in range(3):
            record["name"] = f"r{number}"
            record["steps"][0] = number
            yield record

    told = await session.gather(*session.map(same_record, records()))
    assert told == [(f"r{number}", number) for number in range(3)]


class Changing(Campaign):
    """Fill one array, and one record, again and again, and add them to boards."""

    def __init__(self) -> None:
        self.arrays: Board[float] = Board(same_array, key=lambda array: float(array[0]))
        self.records: Board[str] = Board(same_record, key=lambda record: str(record["name"]))
        array, record = np.zeros(2_000), {"name": "", "steps": [0]}
        for number in range(5):
            array[:] = number
            self.arrays.add(array)
            record["name"] = f"r{number}"
            record["steps"][0] = number  # type: ignore[index]
            self.records.add(record)
        record["steps"][0] = -1  # type: ignore[index]
        self.seen: list[Any] = []

    @on_success(same_array)
    @on_success(same_record)
    async def take_in(self, result: Succeeded) -> None:
        self.seen.append(result.value)


def test_what_is_on_a_board_is_what_was_added() -> None:
    model = {same_array: Model(1.0), same_record: Model(1.0)}
    campaign = simulate(Changing(), model=model, workers={"simulate": 2}).campaign
    assert sorted(campaign.seen, key=str) == sorted(
        [*map(float, range(5)), *((f"r{n}", n) for n in range(5))], key=str
    )
