"""Three ways of keeping a machine busy, on 8, 64 and 1,024 simulated workers.

A search spends twelve simulations of about ten minutes for each worker, and looks for high
places of a landscape.  What is learnt from them is a score for each of 256 regions.

* batch of N: wait for all N, learn from them, pick the next N;
* one for one: for each simulation that ends choose one other;
* ranked queue: hand out the best of a queue that is ranked again whenever that is done.

Learning takes a minute, choosing one takes a second, both on a worker of their own.

    python examples/simulate/three_ways.py            # about a minute
    python examples/simulate/three_ways.py --quick    # 8 and 64 workers
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import time
from pathlib import Path
from typing import Any

from steerio import Board, Campaign, Succeeded, agent, on_success, task
from steerio.testing import Model, SimulatedRun, lognormal, simulate

SIDE = 16
"""Regions along each side of the landscape."""
PER_WORKER = 12
"""Simulations to spend for each worker."""
CHOICE = 4
"""Places to choose from for each simulation."""
PEAKS = [(0.21, 0.73, 1.0, 0.06), (0.62, 0.31, 0.9, 0.10), (0.85, 0.88, 0.7, 0.15)]
"""Where the peaks are, how high and how wide."""

Place = tuple[float, float]
Seen = dict[int, tuple[float, int]]
"""What is known of a region: the sum of the heights that were found there, and how many."""


@task(pool="simulate")
def height(x: float, y: float) -> float:
    """Stand for a simulation."""
    return sum(h * math.exp(-((x - a) ** 2 + (y - b) ** 2) / w**2) for a, b, h, w in PEAKS)


@task(pool="learn")
def learn(seen: Seen) -> list[float]:
    """Score all regions: by what was found there, and by how little is known of them."""
    spent = sum(count for _, count in seen.values()) + 1
    scores: list[float] = []
    for region in range(SIDE * SIDE):
        total, count = seen.get(region, (0.0, 0))
        scores.append(total / (count + 1) + 0.2 * math.sqrt(math.log(spent) / (count + 1)))
    return scores


@task(pool="learn")
def choose(seen: Seen) -> list[float]:
    """Do the same from a model that is updated, not trained anew."""
    return learn(seen)


MODEL = {height: Model(lognormal(600, sigma=0.5)), learn: Model(60), choose: Model(1)}


def region_of(place: Place) -> int:
    """Return the number of the region that a place is in."""
    return int(place[0] * SIDE) * SIDE + int(place[1] * SIDE)


class Search(Campaign):
    """What the three have in common: places, and what is known of them."""

    def __init__(self, workers: int) -> None:
        self.at_once = workers
        rng = random.Random(workers)
        count = CHOICE * PER_WORKER * workers
        self.places = [(rng.random(), rng.random()) for _ in range(count)]
        self.in_region: dict[int, list[Place]] = {}
        for place in self.places:
            self.in_region.setdefault(region_of(place), []).append(place)
        self.scores = [0.0] * (SIDE * SIDE)
        self.seen: Seen = {}
        self.found: list[float] = []

    def count(self, result: Succeeded) -> None:
        """Take a height into account, and end when the budget is spent."""
        region = region_of((result.args[0], result.args[1]))
        total, count = self.seen.get(region, (0.0, 0))
        self.seen[region] = (total + result.value, count + 1)
        self.found.append(result.value)
        if len(self.found) == PER_WORKER * self.at_once:
            self.stop(cancel=True, reason="the budget is spent")

    def pick(self, count: int) -> list[Place]:
        """Take places of the regions with the best scores."""
        picked: list[Place] = []
        while len(picked) < count and self.in_region:
            best = max(self.in_region, key=lambda region: self.scores[region])
            places = self.in_region[best]
            missing = count - len(picked)
            picked += places[:missing]
            del places[:missing]
            if not places:
                del self.in_region[best]
        return picked


class BatchOfN(Search):
    """Wait for all, learn from them, pick as many again."""

    @agent
    async def steer(self) -> None:
        """Go from batch to batch."""
        while True:
            batch = self.pick(self.at_once)
            async for ended in self.as_completed(self.map(height, batch)):
                result = await ended.result()
                if isinstance(result, Succeeded):
                    self.count(result)
            self.scores = await self.run(learn, self.seen)


class OneForOne(Search):
    """For each that ends choose another."""

    async def setup(self) -> None:
        """Give each worker one."""
        self.map(height, self.pick(self.at_once))

    @on_success(height)
    async def replace(self, result: Succeeded) -> None:
        """Put another in the place of the one that ended."""
        self.count(result)
        self.scores = await self.run(choose, self.seen)
        self.map(height, self.pick(1))


class RankedQueue(Search):
    """Hand out the best of a queue, and rank it again whenever the last ranking is done."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.todo = Board(height, self.places)
        self.news = asyncio.Event()

    @on_success(height)
    async def record(self, result: Succeeded) -> None:
        """Take in one result."""
        self.count(result)
        self.news.set()

    @agent
    async def rank(self) -> None:
        """Rank what waits by all that is known by then."""
        while True:
            await self.news.wait()
            self.news.clear()
            scores = await self.run(learn, self.seen)
            self.todo.rescore({place: scores[region_of(place)] for place in self.todo.waiting})


def report(workers: int, run: SimulatedRun[Any], real_s: float) -> None:
    """Print one line of the table."""
    search: Search = run.campaign
    found = search.found[: PER_WORKER * workers]
    high = sum(value > 0.5 for value in found) / len(found)
    print(
        f"{workers:>8,}  {type(search).__name__:<12} {run.utilisation('simulate'):>6.0%} "
        f"{run.duration_s / 3600:>8.1f} h {max(found):>8.3f} {high:>8.0%} {real_s:>10.1f} s"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Three ways of keeping a machine busy, simulated.")
    parser.add_argument("--quick", action="store_true", help="only 8 and 64 workers")
    parser.add_argument("--run-dir", type=Path, help="where to leave the records, if anywhere")
    parser.add_argument("--seed", type=int, default=0, help="of the durations (default: 0)")
    asked = parser.parse_args()
    print(" workers  way            busy    it took  highest  above 0.5  simulated in")
    for workers in (8, 64) if asked.quick else (8, 64, 1024):
        for way in (BatchOfN, OneForOne, RankedQueue):
            began = time.perf_counter()
            pools = {"simulate": workers, "learn": 1}
            search = way(workers)
            folder = asked.run_dir and asked.run_dir / f"{way.__name__}-{workers}"
            run = simulate(search, workers=pools, model=MODEL, seed=asked.seed, run_dir=folder)
            report(workers, run, time.perf_counter() - began)


if __name__ == "__main__":
    main()
