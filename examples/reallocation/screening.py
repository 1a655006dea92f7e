"""A screening in three stages that take turns: simulate, train, infer.

Simulations come off a ranked queue.  After some of them a model is trained, in four parts;
then it scores all that waits, in many small parts, and the queue is ranked by that.  So the
need for workers moves from one stage to another all the time.

The work is synthetic: each task sleeps for as long as a real one would compute, which depends
on its arguments alone.  Four of them keep four workers busy even where there are two cores,
and every run has the same tasks.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from typing import TYPE_CHECKING, Any, ClassVar

from steerio import Board, Campaign, Succeeded, on_success, task
from steerio.testing import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steerio import TaskType

WORKERS = 4
EVERY = 24
"""Simulations for each training."""
TRAIN_PARTS, TRAIN_S = 4, 0.3
INFER_PARTS, INFER_S = 16, 0.07


def energy_s(molecule: int) -> float:
    """Return the seconds that a simulation takes: between 0.1 and 0.2."""
    return 0.1 + 0.1 * random.Random(molecule).random()


def height(molecule: int) -> float:
    """Return what a simulation finds out."""
    return math.sin(molecule / 7) + 0.1 * random.Random(molecule).random()


@task(pool="simulate")
def energy(molecule: int) -> float:
    """Simulate one molecule."""
    time.sleep(energy_s(molecule))
    return height(molecule)


@task(pool="learn")
def train(known: dict[int, float], part: int) -> list[int]:
    """Train one part of the model: a share of what is known, best first."""
    time.sleep(TRAIN_S)
    return sorted(list(known)[part::TRAIN_PARTS], key=lambda key: -known[key])


@task(pool="infer")
def infer(best: list[int], waiting: list[int]) -> dict[int, float]:
    """Score some of what waits: the nearer to one of the best, the better."""
    time.sleep(INFER_S)
    return guess(best, waiting)


def guess(best: list[int], waiting: list[int]) -> dict[int, float]:
    """Return the scores."""
    return {molecule: -min(abs(molecule - other) for other in best) for molecule in waiting}


MODELS = {
    energy: Model(lambda _, molecule: energy_s(molecule), value=height),
    train: Model(TRAIN_S, value=lambda known, part: sorted(known, key=lambda k: -known[k])),
    infer: Model(INFER_S, value=guess),
}
"""The same tasks for a simulated cluster, where nothing has to sleep."""


class Screening(Campaign):
    """Screen molecules; training and inference borrow their workers from the simulations.

    Args:
        molecules: how many.
        first: the number of the first one; others have other durations.
    """

    workers: ClassVar = {"simulate": WORKERS, "learn": 0, "infer": 0}
    kinds: ClassVar[Sequence[TaskType[..., Any]]] = (energy, train, infer)

    def __init__(self, molecules: int, first: int = 0) -> None:
        # two more than workers are handed out, so that one who comes home finds work there
        self.todo = Board(self.kinds[0], range(first, first + molecules), ahead=2)
        self.known: dict[int, float] = {}

    async def work_on(self, kind: TaskType[..., Any], *args: Any) -> Any:
        """Run a task on a worker that the simulations lend for it."""
        async with self.pools.lend("simulate", to=kind.pool):
            return await self.run(kind, *args)

    @on_success(energy)
    async def record(self, result: Succeeded) -> None:
        """Take in what a simulation found."""
        self.known[result.args[0]] = result.value
        self.note(highest=max(self.known.values()))

    @on_success(energy, every=EVERY, concurrent=2, coalesce=True)
    async def relearn(self, results: list[Succeeded]) -> None:
        """Train on all that is known, then score all that waits, then rank it.

        Two may be under way, so that a pool for training need not wait for one for inference; then
        a third takes all that come meanwhile.
        """
        _, train, infer = self.kinds
        known, waiting = dict(self.known), self.todo.waiting
        parts = await asyncio.gather(
            *(self.work_on(train, known, part) for part in range(TRAIN_PARTS))
        )
        best = [molecule for part in parts for molecule in part[:2]]
        chunks = [waiting[part::INFER_PARTS] for part in range(INFER_PARTS)]
        for scores in await asyncio.gather(*(self.work_on(infer, best, c) for c in chunks)):
            self.todo.rescore(scores)


class Static(Screening):
    """The same with pools that stay as they are."""

    async def work_on(self, kind: TaskType[..., Any], *args: Any) -> Any:
        """Run a task on the pool's own workers."""
        return await self.run(kind, *args)


class Anywhere(Screening):
    """The same where any worker does anything at once: on a simulated cluster, the best possible.

    What others wait for goes first.
    """

    workers: ClassVar = {"any": WORKERS}
    kinds: ClassVar = (
        task(pool="any")(energy.function),
        task(pool="any", priority=1.0)(train.function),
        task(pool="any", priority=1.0)(infer.function),
    )

    async def work_on(self, kind: TaskType[..., Any], *args: Any) -> Any:
        """Run a task, before all simulations that wait."""
        return await self.run(kind, *args)
