"""A small campaign whose large values go every way there is through a store.

What it is to find, `expected` computes without one.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from steerio import Campaign, Succeeded, agent, on_success, task
from steerio.launch.workers import AskedWorkers

Numbers = NDArray[np.float64]

LENGTH = 150_000
"""Of 1.2 MB: above the threshold."""
TABLE = 2 * LENGTH
COLUMNS = 6
ITEMS = 5


def drawn(seed: int, length: int = LENGTH) -> Numbers:
    """Return the numbers of a seed."""
    return np.random.default_rng(seed).normal(size=length)


def digest(value: Numbers | bytes) -> str:
    """Return what tells it from others."""
    return hashlib.sha256(value if isinstance(value, bytes) else value.tobytes()).hexdigest()


@task
def scaled(numbers: Numbers, factor: float) -> Numbers:
    """Return other numbers, as long."""
    numbers *= factor  # it is this task's own
    return numbers


@task
def column_mean(table: Numbers, column: int) -> float:
    """Return the mean of a column."""
    return float(table.reshape(-1, COLUMNS)[:, column].mean())


@task
def predicted(weights: Numbers, x: float) -> float:
    """Return what a model says."""
    return float(weights.sum() * x)


@task
def pieces(count: int) -> Iterator[Numbers]:
    """Yield numbers, many at a time."""
    for seed in range(count):
        yield drawn(seed)


@task(retries={"lost": 1})
def returned_by_the_second(document: bytes, mark: str) -> bytes:
    """End the first worker that runs this."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return document[::-1]


class Stored(Campaign):
    """Finds the same wherever its large values go."""

    workers: ClassVar[AskedWorkers] = {"default": 2}

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.found: dict[str, Any] = {"scaled": {}}
        self.attempts = 0
        self.held = 0
        """How many bytes were in the store at one time."""
        self.names: list[bytes] = []
        """Of objects that were put there."""

    @agent
    async def scale(self) -> None:
        """Send and get numbers by value."""
        await self.gather(*(self.submit(scaled, drawn(seed), seed / 2) for seed in range(4)))

    @on_success(scaled)
    async def record(self, result: Any) -> None:
        """Note what became of them."""
        self.found["scaled"][str(result.args[1])] = digest(result.value)

    @agent
    async def share(self) -> None:
        """Give one table to many tasks."""
        table = await self.put(drawn(7, TABLE))
        self.names.append(table.stored.name)
        tasks = [self.submit(column_mean, table, column) for column in range(COLUMNS)]
        self.found["means"] = await self.gather(*tasks)
        self.found["table"] = digest(await table)
        self.held = (await self.session.store.statistics()).nbytes

    @agent
    async def publish_models(self) -> None:
        """Let tasks use whatever model is the newest."""
        models = self.versions("model")
        self.found["models"] = said = []
        for seed in (1, 2):
            await models.publish(drawn(seed))
            result = await self.submit(predicted, models.latest, 2.0).result()
            assert isinstance(result, Succeeded)
            said.append([result.versions["model"], result.value])
        newest = await models.current()
        self.names.append(newest.stored.name)
        self.found["newest"] = digest(await newest)

    @agent
    async def read_items(self) -> None:
        """Read what a generator yields."""
        self.found["items"] = [digest(item) async for item in self.stream(pieces, ITEMS)]

    @agent
    async def lose_a_worker(self) -> None:
        """Have a task tried again, which finds its argument."""
        task = self.submit(returned_by_the_second, drawn(9).tobytes(), self.mark)
        result = await task.result()
        assert isinstance(result, Succeeded)
        self.found["returned"], self.attempts = digest(result.value), result.attempt

    async def finish(self) -> None:
        """Say it."""
        print("found", json.dumps(self.found, sort_keys=True), flush=True)  # noqa: T201 - for a test to read


def expected() -> dict[str, Any]:
    """Return what the campaign must find."""
    table = drawn(7, TABLE)
    return {
        "scaled": {str(seed / 2): digest(drawn(seed) * (seed / 2)) for seed in range(4)},
        "means": [float(table.reshape(-1, COLUMNS)[:, n].mean()) for n in range(COLUMNS)],
        "table": digest(table),
        "models": [[number, float(drawn(number).sum() * 2.0)] for number in (1, 2)],
        "newest": digest(drawn(2)),
        "items": [digest(drawn(seed)) for seed in range(ITEMS)],
        "returned": digest(drawn(9).tobytes()[::-1]),
    }
