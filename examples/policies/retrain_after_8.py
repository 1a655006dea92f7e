"""Policy 2: retrain a model after 8 successful computations.

A model guesses the height of places that were not simulated yet.  It is made anew after
every 8 successes, on a worker of its own, while simulations go on; its guesses then rank
what is waiting.

    steerio run examples/policies/retrain_after_8.py --quick
"""

from __future__ import annotations

import math
import time
from typing import ClassVar

from steerio import Board, Campaign, Succeeded, on_success, task


@task(pool="simulate")
def height(x: float) -> float:
    """Stand for a simulation: slow, and told apart only by its result."""
    time.sleep(0.02)
    return math.sin(3 * x) - 0.1 * (x - 4) ** 2


@task(pool="learn")
def guess(known: dict[float, float], waiting: list[float]) -> dict[float, float]:
    """Guess each place by its nearest known neighbour; unknown regions get a bonus."""
    guesses: dict[float, float] = {}
    for x in waiting:
        nearest = min(known, key=lambda k: abs(k - x))
        guesses[x] = known[nearest] + 2 * abs(nearest - x)
    return guesses


class Search(Campaign):
    """Search a line of 400 places for its highest.

    Args:
        budget: simulations that shall succeed.
        quick: only 24.
    """

    workers: ClassVar = {"simulate": 2, "learn": 1}

    def __init__(self, budget: int = 80, quick: bool = False) -> None:
        self.budget = 24 if quick else budget
        places = [0.02 * n for n in range(400)]
        self.todo = Board(height, places[::40] + places)
        self.known: dict[float, float] = {}
        self.models = 0

    @on_success(height)
    async def record(self, result: Succeeded) -> None:
        """Remember, and stop when enough is known."""
        self.known[result.args[0]] = result.value
        if len(self.known) == self.budget:
            self.stop()

    @on_success(height, every=8)
    async def retrain(self, results: list[Succeeded]) -> None:
        """Train on all that is known, and rank what is waiting by it."""
        guesses = await self.run(guess, self.known, self.todo.waiting)
        ranked = self.todo.rescore(guesses)
        self.models += 1
        print(f"model {self.models}: {len(self.known)} known, {ranked} ranked anew")

    async def finish(self) -> None:
        """Say what was found."""
        x, best = max(self.known.items(), key=lambda item: item[1])
        print(f"highest of {len(self.known)}: {best:.3f} at x = {x:.2f}")
