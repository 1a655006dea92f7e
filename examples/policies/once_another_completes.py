"""Policy 1: submit a new simulation once another completes.

Two climbers look for the top of a landscape.  Each has one simulation outstanding; where
the next one goes is decided when the result of the last is there.

    steerio run examples/policies/once_another_completes.py --quick
"""

from __future__ import annotations

import math
import random
import time
from typing import ClassVar

from steerio import Campaign, Succeeded, on_success, task


@task(pool="simulate")
def height(x: float) -> float:
    """Stand for a simulation: slow, and told apart only by its result."""
    time.sleep(0.02)
    return math.sin(3 * x) - 0.1 * (x - 4) ** 2


class Climb(Campaign):
    """Climb until the budget is spent.

    Args:
        budget: simulations to spend.
        seed: of the steps.
        quick: spend only 20.
    """

    workers: ClassVar = {"simulate": 2}

    def __init__(self, budget: int = 200, seed: int = 1, quick: bool = False) -> None:
        self.left = 20 if quick else budget
        self.chance = random.Random(seed)
        self.best = (-math.inf, 0.0)

    async def setup(self) -> None:
        """Send off one climber for each worker."""
        for start in (0.0, 8.0):
            self.go_on_from(start)

    @on_success(height)
    async def step(self, result: Succeeded) -> None:
        """Once a simulation completes, submit the next."""
        self.best = max(self.best, (result.value, result.args[0]))
        self.go_on_from(self.best[1])

    def go_on_from(self, x: float) -> None:
        """Simulate a place nearby, while there is budget."""
        if self.left > 0:
            self.left -= 1
            self.submit(height, x + self.chance.gauss(0, 0.5))

    async def finish(self) -> None:
        """Say what was found."""
        print(f"highest: {self.best[0]:.3f} at x = {self.best[1]:.3f}")
