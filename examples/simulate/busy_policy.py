"""How fast a policy has to be: three ways to decide on 64 and on 1,024 simulated workers.

Tasks of about ten minutes; one in ten fails, and those that fail do so early.  Deciding takes the
policy a second each time, during which its loop is busy: a real policy computes.

* one by one: for each result decide on the next task;
* together: decide on all results that have come meanwhile, in one call;
* board: put the work on a board, which goes on handing it out while the policy decides.

A first run on eight workers is recorded, and the others have their tasks from its record.

    python examples/simulate/busy_policy.py            # half a minute
    python examples/simulate/busy_policy.py --quick    # 8 and 64 workers
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from typing import Any

from steerio import Board, Campaign, Failed, Limits, Result, Succeeded, on_failure, on_success, task
from steerio.testing import Course, SimulatedRun, recorded_models, simulate

PER_WORKER = 4
"""Tasks to spend for each worker."""
DECIDING_S = 1.0
"""Seconds that a decision takes."""
LIMITS = Limits(failures=100_000)


@task(pool="simulate")
def relax(structure: int) -> float:
    """Stand for a simulation."""
    return -abs(structure - 700.0)


def draw(rng: random.Random, structure: int) -> Course:
    """Draw one: duration, end and value belong together."""
    if rng.random() < 0.1:
        return Course(rng.uniform(1.0, 30.0), fails="did not converge")
    return Course(600.0 * rng.lognormvariate(0.0, 0.3))


class Relaxing(Campaign):
    """Begins a task on each worker, and another when one has ended."""

    def __init__(self, workers: int) -> None:
        self.at_once = workers
        self.structures = iter(range(PER_WORKER * workers))
        self.known: dict[int, float] = {}

    async def setup(self) -> None:
        """Give each worker one."""
        self.begin(self.at_once)

    def begin(self, count: int) -> None:
        """Submit the next ones."""
        for structure in [next(self.structures, None) for _ in range(count)]:
            if structure is not None:
                self.submit(relax, structure)

    @on_failure(relax)
    async def replace(self, result: Result) -> None:
        """Put another in the place of one that failed, without a thought."""
        self.begin(1)


class OneByOne(Relaxing):
    """Decide on each result."""

    @on_success(relax)
    async def decide(self, result: Succeeded) -> None:
        """Decide on the next task."""
        self.known[result.args[0]] = result.value
        self.begin(1)


class Together(Relaxing):
    """Decide on all results that are there."""

    @on_success(relax, coalesce=True)
    async def decide(self, results: list[Succeeded]) -> None:
        """Decide on as many tasks as have ended."""
        self.known.update({each.args[0]: each.value for each in results})
        self.begin(len(results))


class OnBoard(Campaign):
    """Rank what waits by all results that are there."""

    def __init__(self, workers: int) -> None:
        self.todo = Board(relax, range(PER_WORKER * workers))
        self.known: dict[int, float] = {}

    @on_success(relax, coalesce=True)
    async def decide(self, results: list[Succeeded]) -> None:
        """Put those first that are near the best."""
        self.known.update({each.args[0]: each.value for each in results})
        best = max(self.known, key=lambda each: self.known[each])
        self.todo.rescore({each: -abs(each - best) for each in self.todo.waiting})

    @on_failure(relax)
    async def forget(self, result: Failed) -> None:
        """Let one go that failed."""


def report(workers: int, run: SimulatedRun[Any], real_s: float) -> None:
    """Print one line of the table."""
    deciding = sum(run.handler_s.values()) / run.duration_s
    idle = run.idle_s("simulate")
    lost = idle["policy_busy"] / (workers * run.duration_s)
    print(
        f"{workers:>8,}  {type(run.campaign).__name__:<10} {run.utilisation('simulate'):>6.0%} "
        f"{run.duration_s / 3600:>8.2f} h {deciding:>10.0%} {lost:>12.1%} {real_s:>10.1f} s"
    )


def main() -> None:
    """Record a run, and print the table."""
    parser = argparse.ArgumentParser(description="How fast a policy has to be, simulated.")
    parser.add_argument("--quick", action="store_true", help="only 8 and 64 workers")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pilot = OneByOne(8)
        simulate(pilot, workers={"simulate": 8}, model={relax: draw}, run_dir=folder, limits=LIMITS)
        model = recorded_models(folder)
    print(" workers  way          busy    it took   deciding  idle by that  simulated in")
    for workers in (8, 64) if asked.quick else (64, 1024):
        for way in (OneByOne, Together, OnBoard):
            began = time.perf_counter()
            run = simulate(
                way(workers),
                workers={"simulate": workers},
                model=model,
                limits=LIMITS,
                handler_cost={"decide": DECIDING_S},
            )
            report(workers, run, time.perf_counter() - began)


if __name__ == "__main__":
    main()
