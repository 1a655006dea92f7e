"""The search against batches and random choice, on as many workers for as long.

    python examples/molecules/compare.py --quick
    python examples/molecules/compare.py

The energies and times are those of `recorded.py`, the rankings are really learned, and the workers
are simulated.  A seed stands for an order of the molecules.  The search spends its budget on eight
workers that compute and one that ranks.  The others have all nine for as long, whatever they do.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
from recorded import recorded
from replay import RELEARN_EVERY, Replayed, Table, in_batches
from search import Search, ionization_energy, rank

from steerio import Board
from steerio.testing import Model, SimulatedRun, simulate

SEEDS, BUDGET = 10, 200
WORKERS = {"simulate": 8, "learn": 1}
ALL = sum(WORKERS.values())
STEERED, RANDOM = "steered", "random"
BATCHES = {f"batches of {size}": size for size in (RELEARN_EVERY, 4 * ALL)}
POLICY = (
    "search.py:ionization_energy",
    "search.py:rank",
    *(f"search.py:Search.{name}" for name in ("workers", "__init__", "setup", "resumed")),
    *(f"search.py:Search.{name}" for name in ("record", "drop", "relearn", "spend", "keep")),
)


class Found(NamedTuple):
    """What a policy had found when steering was done: of the top, in tasks, and how busy it was."""

    top: int
    tasks: int
    held_s: float
    busy: float
    best_by_tasks: int
    """Of the top among as many tasks as steering spent."""


class Replay(Search):
    """The search among recorded molecules, in a given order, without what comes after it."""

    def __init__(self, order: list[str], budget: int) -> None:
        super().__init__(molecules=1, budget=1, reference=1)
        self.molecules, self.budget = order, budget
        self.board = Board(ionization_energy, order)

    async def finish(self) -> None:
        """Compare nothing."""


def search(
    table: Table, order: list[str], budget: int, workers: dict[str, int]
) -> SimulatedRun[Replay]:
    """Simulate the search."""
    assert table.ranking_s is not None
    ranking_s = table.ranking_s

    def learned(known: dict[str, float], waiting: list[str]) -> dict[str, float]:
        return table.timed_rank(list(known), waiting)[0]

    model = {
        ionization_energy: Model(
            lambda _, smiles: table.seconds[smiles], value=table.energies.__getitem__
        ),
        rank: Model(lambda _, known, waiting: ranking_s(len(known)), value=learned),
    }
    return simulate(Replay(order, budget), model=model, workers=workers)


def at_random(table: Table, order: list[str], workers: int) -> Replayed:
    """Play the policy that takes the molecules as they come."""
    run, free = Replayed(), [0.0] * workers
    for smiles in order:
        run.ended(smiles, heapq.heappop(free) + table.seconds[smiles])
        heapq.heappush(free, run.done_s[-1])
    return run


def found(table: Table, run: Replayed, until_s: float, budget: int) -> Found:
    """Say what a policy had found by some time."""
    top = table.top()
    ends = [(done_s, table.seconds[s]) for s, done_s in zip(run.chosen, run.done_s, strict=True)]
    busy_s = sum(max(0.0, min(until_s, done_s) - (done_s - took_s)) for done_s, took_s in ends)
    return Found(
        run.found_by(until_s, top),
        sum(done_s <= until_s for done_s, _ in ends),
        ALL * until_s,
        busy_s / (ALL * until_s),
        sum(smiles in top for smiles in run.chosen[:budget]),
    )


def measured(table: Table, seeds: int, budget: int) -> dict[str, list[Found]]:
    """Return for each policy what it had found with each seed when steering was done."""
    ways: dict[str, list[Found]] = {}
    top = table.top()
    for seed in range(1, seeds + 1):
        order = [str(s) for s in np.random.default_rng(seed).permutation(list(table.energies))]
        run = search(table, order, budget, WORKERS)
        until_s = run.duration_s
        hits = sum(smiles in top for smiles in run.campaign.chosen)
        steered = Found(hits, budget, ALL * until_s, run.utilisation(), hits)
        ways.setdefault(STEERED, []).append(steered)
        for name, size in BATCHES.items():
            played = in_batches(table, order, ALL, round(1.25 * budget), size)
            ways.setdefault(name, []).append(found(table, played, until_s, budget))
        played = at_random(table, order, ALL)
        ways.setdefault(RANDOM, []).append(found(table, played, until_s, budget))
    return ways


def compare(quick: bool = False) -> dict[str, Any]:
    """Return the table for `python -m bench science`: see its README."""
    table = recorded()
    ways = measured(table, 2 if quick else SEEDS, BUDGET)
    best = len(table.top())
    small = next(iter(BATCHES))
    by_tasks = [100 * mean(each.best_by_tasks for each in ways[way]) / best for way in ways]
    share = dict(zip(ways, by_tasks, strict=True))
    return {
        "setting": f"{len(table.energies):,} molecules, {ALL} workers",
        "cost": "worker seconds held",
        "score": "of the top 5 % found, %",
        "better": "higher",
        "ways": [
            {
                "way": name,
                "cost": [each.held_s for each in way],
                "score": [100 * each.top / best for each in way],
                "busy": [each.busy for each in way],
            }
            for name, way in ways.items()
        ],
        "does_not_pay": f"counted in tasks: among its first {BUDGET} each finds as much "
        f"({small}: {share[small]:.0f} %, steered: {share[STEERED]:.0f} %); batches lose time",
    }


def at_scale(workers: int) -> SimulatedRun[Any]:
    """Return a search with eight molecules for each worker, simulated.

    Each recorded molecule stands for as many as it takes, under different names.
    """
    table = recorded()
    assert table.ranking_s is not None
    ranking_s, names = table.ranking_s, list(table.energies)
    budget = 8 * workers
    copies = range(math.ceil(2 * budget / len(names)))
    order = [f"{smiles} {copy}" for copy in copies for smiles in names]

    def took_s(_: random.Random, known: dict[str, float], waiting: list[str]) -> float:
        return ranking_s(len(known)) * len(waiting) / len(names)

    def learned(known: dict[str, float], waiting: list[str]) -> dict[str, float]:
        kinds = {name.split()[0]: None for name in waiting}
        scores = table.timed_rank(list({name.split()[0]: None for name in known}), list(kinds))[0]
        return {name: scores[name.split()[0]] for name in waiting}

    model = {
        ionization_energy: Model(
            lambda _, name: table.seconds[name.split()[0]],
            value=lambda name: table.energies[name.split()[0]],
        ),
        rank: Model(took_s, value=learned),
    }
    pools = {"simulate": workers - 1, "learn": 1}
    return simulate(Replay(order, budget), model=model, workers=pools)


def main() -> None:
    """Run all policies with all seeds, and print the table."""
    parser = argparse.ArgumentParser(description="The search, against batches and random choice.")
    parser.add_argument("--quick", action="store_true", help="one seed, a budget of 60")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    asked = parser.parse_args()
    seeds, budget = (1, 60) if asked.quick else (asked.seeds, BUDGET)
    table = recorded()
    counted = f"{seeds} seed{'s' * (seeds != 1)}"
    print(f"{len(table.energies):,} molecules, {budget} tasks, {counted}, {ALL} workers")
    print(f"{'when steering is done':22}{'tasks':>12}{'top found':>14}{'busy':>8}")
    for name, way in measured(table, seeds, budget).items():
        tasks, top = spread([each.tasks for each in way]), spread([each.top for each in way])
        print(f"{name:22}{tasks:>12}{top:>14}{mean(each.busy for each in way):>8.0%}")


def spread(values: list[int]) -> str:
    """Return mean and standard deviation."""
    return f"{mean(values):.0f} +- {stdev(values) if len(values) > 1 else 0:.0f}"


if __name__ == "__main__":
    main()
