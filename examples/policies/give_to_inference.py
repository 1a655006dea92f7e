"""Policy 3: give more workers to inference once training ends.

A model is trained on what was simulated, and then guesses thousands of places.  While it is
being trained there is nothing to guess, and afterwards nothing to train: so the trainer's
worker goes over to inference.  The process stays; only its pool changes.

    steerio run examples/policies/give_to_inference.py --quick
"""

from __future__ import annotations

import math
import time
from typing import ClassVar

from steerio import Campaign, Succeeded, on_success, task


@task(pool="learn")
def train(known: dict[float, float]) -> list[float]:
    """Stand for a training: the places to go by are those that are highest."""
    time.sleep(0.2)
    return sorted(known, key=lambda x: -known[x])[:3]


@task(pool="infer")
def guess(best: list[float], places: list[float]) -> tuple[float, float]:
    """Stand for an inference: the most promising of some places, and how promising it is."""
    time.sleep(0.02)
    return max((-min(abs(x - b) for b in best), x) for x in places)


class Infer(Campaign):
    """Train once, and infer on all workers.

    Args:
        chunks: inferences to make, of 100 places each.
        quick: only 20.
    """

    workers: ClassVar = {"learn": 1, "infer": 1}

    def __init__(self, chunks: int = 200, quick: bool = False) -> None:
        self.chunks = 20 if quick else chunks
        self.best = (-math.inf, 0.0)

    async def setup(self) -> None:
        """Begin with the training."""
        known = {0.31 * n: math.sin(3 * 0.31 * n) - 0.1 * (0.31 * n - 4) ** 2 for n in range(25)}
        self.submit(train, known)

    @on_success(train)
    async def infer(self, result: Succeeded) -> None:
        """Give inference the trainer's worker, and as much work as there is."""
        for chunk in range(self.chunks):
            self.submit(guess, result.value, [0.0004 * (chunk + 200 * n) for n in range(100)])
        await self.pools.move("learn", "infer", 1)
        print(self.pools)

    @on_success(guess)
    async def record(self, result: Succeeded) -> None:
        """Remember the most promising place."""
        self.best = max(self.best, tuple(result.value))

    async def finish(self) -> None:
        """Say what was found."""
        print(f"most promising: x = {self.best[1]:.3f}")
