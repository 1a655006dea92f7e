"""What goes by value is what it was at submit, in the simulator as well."""

from __future__ import annotations

import asyncio
import functools

import pytest

from steerio import Board, Campaign, on_success
from steerio.client import sent_types
from steerio.model.results import Succeeded
from steerio.testing import Model, SimulatedCluster, simulate
from tests.simulated.virtual import in_virtual_time

pytestmark = pytest.mark.borders


class Scale:
    """Holds a number."""

    def __init__(self, by: float) -> None:
        self.by = by

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scale)

    def __hash__(self) -> int:
        return 1

    def times(self, x: float) -> float:
        """Scale."""
        return self.by * x


class Counter:
    """Changes as it is used."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def add(self, x: int) -> list[int]:
        """Add one more, and fail where that is the first ever."""
        self.seen.append(x)
        TRIES.append(x)
        if len(TRIES) == 1:
            raise ValueError("the first")
        return self.seen


TRIES: list[int] = []


def random_s(rng: object, *_: object) -> float:
    """Draw a duration."""
    drawn: float = rng.random()  # type: ignore[attr-defined]
    return drawn


@in_virtual_time
async def test_methods_run_with_their_object_as_it_was_and_draw_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sent_types, "KEPT_TYPES", 4)
    scale = Scale(0)
    async with SimulatedCluster({"default": 2}, model=Model(random_s)) as cluster:
        async with cluster.session() as session:
            tasks = []
            for number in range(40):
                scale.by = number
                tasks.append(session.submit(scale.times, 2.0))
            assert await session.gather(*tasks) == [2.0 * number for number in range(40)]
            times = [(await task.result()).timings for task in tasks]
            durations = {round(t.run_s or 0, 6) for t in times}
            assert len(durations) == 40, "chance goes on, though each is another function"
            types = cluster.broker.core.cluster.types
            assert len(types) <= 4
            workers = cluster.broker.core.workers.values()
            assert all(len(worker.known_types) <= 4 for worker in workers)
        await asyncio.sleep(1)  # of virtual time: the broker hears of it
        assert len(types) == 0


class Search(Campaign):
    """Hands out a method from a board."""

    def __init__(self) -> None:
        self.scale = Scale(1)
        self.board = Board(self.scale.times, [1.0, 2.0, 3.0, 4.0])
        self.values: list[float] = []

    @on_success(Scale(0).times)
    async def record(self, result: Succeeded) -> None:
        """Change what the next is handed out with."""
        self.values.append(result.value)
        self.scale.by *= 10
        if len(self.values) == 4:
            self.stop()


def test_a_board_hands_out_with_the_state_of_that_moment() -> None:
    campaign = Search()
    simulate(campaign, workers={"default": 1}, model=Model(1.0))
    assert campaign.values[0] == 1.0
    assert campaign.values[-1] in (400.0, 4000.0), campaign.values


@in_virtual_time
async def test_what_a_task_changes_of_its_function_reaches_neither_the_next_nor_a_retry() -> None:
    TRIES.clear()
    counter = Counter()
    total = [0]

    def count(x: int) -> int:
        total[0] += x
        return total[0]

    def start(x: int, seen: list[int] = []) -> list[int]:  # noqa: B006 - it is what is tested
        seen.append(x)
        return seen

    def outer(x: int) -> int:
        return count(x)

    async with SimulatedCluster({"default": 1}, model=Model(1.0)) as cluster:
        async with cluster.session() as session:
            again = session.options(retries={"failed": 1})
            assert await again.run(counter.add, 1) == [1]
            assert (len(TRIES), counter.seen) == (2, [])
            for function in (counter.add, start, functools.partial(start, seen=[])):
                assert [await session.run(function, n) for n in range(3)] == [[0], [1], [2]]
            for function in (count, outer):
                assert await session.gather(*session.map(function, [1, 1, 1])) == [1, 1, 1]
            total[0] = 5
            assert await session.run(outer, 1) == 6
