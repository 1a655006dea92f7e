"""Three ways of keeping a machine busy: batch of N, one for one, ranked queue.

All three simulate the same number of places, most promising first, and say for what share
of the time the workers were busy.  Simulations take between 10 and 60 ms, so whoever waits
for a whole batch waits for its slowest.

    steerio run examples/policies/keeping_busy.py:BatchOfN --quick
    steerio run examples/policies/keeping_busy.py:OneForOne --quick
    steerio run examples/policies/keeping_busy.py:RankedQueue --quick
"""

from __future__ import annotations

import heapq
import math
import random
import time
from typing import ClassVar

from steerio import Board, Campaign, Succeeded, agent, on_success, task

WORKERS = 2


@task(pool="simulate")
def height(x: float) -> float:
    """Stand for a simulation whose duration depends on what is simulated."""
    time.sleep(0.01 + 0.05 * random.Random(x).random())
    return math.sin(3 * x) - 0.1 * (x - 4) ** 2


class Search(Campaign):
    """What the three have in common: places, what is known of them, and a guess.

    Args:
        budget: simulations to spend.
        quick: spend only 24.
    """

    workers: ClassVar = {"simulate": WORKERS}

    def __init__(self, budget: int = 120, quick: bool = False) -> None:
        self.budget = 24 if quick else budget
        self.places = [0.04 * n for n in range(200)]
        random.Random(1).shuffle(self.places)
        self.known: dict[float, float] = {}
        self.runs: list[tuple[float, float]] = []

    def learn(self, result: Succeeded) -> None:
        """Remember one result, and from when to when it kept a worker busy."""
        self.known[result.args[0]] = result.value
        times = result.timings
        self.runs.append((times.started or 0.0, times.ended or 0.0))

    def promise(self, x: float) -> float:
        """Guess how high a place is: like its nearest known neighbour, or more if far from it."""
        if not self.known:
            return 0.0
        nearest = min(self.known, key=lambda k: abs(k - x))
        return self.known[nearest] + 2 * abs(nearest - x)

    def pick(self, count: int) -> list[float]:
        """Take the most promising places off the list."""
        picked = heapq.nlargest(count, self.places, key=self.promise)
        self.places = [x for x in self.places if x not in picked]
        return picked

    async def finish(self) -> None:
        """Say what was found, and how busy the workers were."""
        busy_s = sum(ended - started for started, ended in self.runs)
        began, ended = min(self.runs)[0], max(end for _, end in self.runs)
        share = busy_s / (WORKERS * (ended - began))
        best = max(self.known.values())
        print(f"{type(self).__name__}: {best:.3f} in {len(self.known)}, workers {share:.0%} busy")


class BatchOfN(Search):
    """Wait for N results, then pick the next batch.

    Simple, and each choice knows every result; but workers idle while the last of a batch
    is still running.
    """

    n = 8

    @agent
    async def steer(self) -> None:
        """Go from batch to batch."""
        while len(self.known) < self.budget:
            async for ended in self.as_completed(self.map(height, self.pick(self.n))):
                result = await ended.result()
                if isinstance(result, Succeeded):
                    self.learn(result)


class OneForOne(Search):
    """Pick one as soon as one ends.

    No worker waits for another; each choice knows all results but those under way.
    """

    async def setup(self) -> None:
        """Give each worker one."""
        self.left = self.budget - WORKERS
        self.map(height, self.pick(WORKERS))

    @on_success(height)
    async def replace(self, result: Succeeded) -> None:
        """Put another in the place of the one that ended."""
        self.learn(result)
        if self.left > 0:
            self.left -= 1
            self.map(height, self.pick(1))


class RankedQueue(Search):
    """Keep a ranked queue, re-ranked while it is worked off.

    Handing out takes no decision, so no worker waits for one; ranking happens beside it.
    """

    def __init__(self, budget: int = 120, quick: bool = False) -> None:
        super().__init__(budget, quick)
        self.todo = Board(height, self.places)

    @on_success(height)
    async def record(self, result: Succeeded) -> None:
        """Remember, and stop when the budget is spent."""
        self.learn(result)
        if len(self.known) == self.budget:
            self.stop()

    @on_success(height, every=4)
    async def rerank(self, results: list[Succeeded]) -> None:
        """Rank all that waits by what is known now."""
        self.todo.rescore({x: self.promise(x) for x in self.todo.waiting})
