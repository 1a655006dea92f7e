"""An ensemble of surrogate models, retrained while many inference tasks use it.

    steerio run examples/ensemble/search.py --quick

Where is the six-dimensional Hartmann function lowest?  Each evaluation teaches an ensemble of
surrogates: ridge regressions on random Fourier features (Rahimi & Recht 2007), each with its
own features and its own bootstrap sample.  Their spread says how unsure they are, and what is
evaluated next is where mean minus spread is lowest (lower confidence bound).

A model is some megabytes, and each inference task needs all of them.  They are published under
a name each, so that a task is given the newest ones when it starts, and each model is in memory
once, however many tasks and workers use it.  With ``--by-value`` they travel with each task.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any, ClassVar, TypedDict

import numpy as np

from steerio import Campaign, Succeeded, on_success, task

Array = np.ndarray[Any, np.dtype[np.float64]]

DIMENSIONS = 6
FEATURES = 4_000
WIDTH = 1.2
"""Of the features' frequencies: about one wiggle across the unit cube."""
RIDGE = 1e-3
WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
SHAPE = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
CENTRES = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
PER_SEED = 1_000_000
"""Seeds of tasks for each seed of a search."""
LOWEST = -3.32237
"""The minimum of the function (Dixon & Szegö 1978)."""


class Surrogate(TypedDict):
    """One member of the ensemble: its features and their weights, and what it learnt from."""

    frequencies: Array
    phases: Array
    weights: Array
    factor: Array
    """Of the kernel of what it has seen: what makes a model large, as in any Gaussian process."""


@task(pool="simulate")
def hartmann(point: list[float]) -> float:
    """Evaluate the function, which stands for a simulation."""
    inner = (SHAPE * (np.array(point) - CENTRES) ** 2).sum(axis=1)
    return float(-(WEIGHTS * np.exp(-inner)).sum())


def features_of(points: Array, frequencies: Array, phases: Array) -> Array:
    """Return the random features of some points, shape (points, features)."""
    cosines: Array = np.cos(points @ frequencies + phases)
    return cosines * math.sqrt(2 / len(phases))


@task(pool="learn")
def train(points: Array, values: Array, seed: int) -> Surrogate:
    """Fit one member to a bootstrap sample of what is known."""
    rng = np.random.default_rng(seed)
    frequencies = rng.normal(scale=WIDTH * math.pi, size=(DIMENSIONS, FEATURES))
    phases = rng.uniform(0, 2 * math.pi, size=FEATURES)
    sample = rng.integers(len(points), size=len(points))
    seen = features_of(points[sample], frequencies, phases)
    kernel = seen @ seen.T + RIDGE * np.eye(len(sample))
    weights = seen.T @ np.linalg.solve(kernel, values[sample])
    return Surrogate(frequencies=frequencies, phases=phases, weights=weights, factor=seen)


@task(pool="infer")
def propose(members: list[Surrogate], seed: int, candidates: int) -> tuple[list[float], float]:
    """Return the best of some random candidates, and how low it may be."""
    points = np.random.default_rng(seed).random((candidates, DIMENSIONS))
    guesses = np.stack(
        [features_of(points, m["frequencies"], m["phases"]) @ m["weights"] for m in members]
    )
    bound = guesses.mean(axis=0) - guesses.std(axis=0)
    best = int(bound.argmin())
    return points[best].tolist(), float(bound[best])


class Ensemble(Campaign):
    """Evaluate, retrain after every so many evaluations, propose, and so on."""

    workers: ClassVar = {"simulate": 1, "learn": 1, "infer": 2}

    def __init__(
        self,
        budget: int = 320,
        members: int = 4,
        every: int = 32,
        candidates: int = 200,
        by_value: bool = False,
        seed: int = 0,
        quick: bool = False,
    ) -> None:
        """Plan a search.

        Args:
            budget: evaluations in all.
            members: models in the ensemble.
            every: evaluations for each retraining.
            candidates: random points that each inference task looks at.
            by_value: send the models with each task.
            seed: of its random points and features.
            quick: a short run.
        """
        self.budget = 96 if quick else budget
        self.every = 16 if quick else every
        self.members, self.candidates, self.by_value = members, candidates, by_value
        self.points: list[list[float]] = []
        self.values: list[float] = []
        self.rounds = 0
        self.first_seed = seed * PER_SEED
        self.asked = 0
        self.given: list[Any] = []
        self.sent_bytes = 0
        """What inference tasks were sent."""
        self.model_bytes = 0
        """What the models of all rounds take, each counted once."""
        self.versions_used: set[int] = set()

    async def setup(self) -> None:
        """Begin with random points."""
        for point in (
            np.random.default_rng(self.first_seed).random((self.every, DIMENSIONS)).tolist()
        ):
            self.submit(hartmann, point)

    @on_success(hartmann, every=16)
    async def learn(self, results: list[Succeeded]) -> None:
        """Take the results in; retrain when there are enough, and have points proposed."""
        self.points += [result.args[0] for result in results]
        self.values += [result.value for result in results]
        if len(self.values) >= self.budget:
            self.stop()
            return
        if len(self.values) % self.every:
            return
        self.rounds += 1
        known = await self.put(np.array(self.points))
        values = np.array(self.values)
        first = self.first_seed + self.rounds * self.members
        seeds = [first + n for n in range(self.members)]
        trained = await asyncio.gather(*(self.run(train, known, values, s) for s in seeds))
        self.model_bytes += sum(part.nbytes for model in trained for part in model.values())
        if self.by_value:
            self.given = list(trained)
        else:
            names = [self.versions(f"member-{n}") for n in range(self.members)]
            await asyncio.gather(*(name.publish(m) for name, m in zip(names, trained, strict=True)))
            self.given = [name.latest for name in names]
        for _ in range(self.every):
            self.asked += 1
            self.submit(propose, self.given, self.first_seed + self.asked, self.candidates)

    @on_success(propose)
    async def evaluate(self, result: Succeeded) -> None:
        """Evaluate what was proposed."""
        self.sent_bytes += result.sizes.args_bytes
        self.versions_used.update(result.versions.values())
        self.submit(hartmann, result.value[0])

    async def finish(self) -> None:
        """Say what was found, and what was moved for it."""
        tasks = self.asked
        moved = self.sent_bytes if self.by_value else self.sent_bytes + self.model_bytes
        print(f"lowest of {len(self.values)}: {min(self.values):.3f} (there is {LOWEST:.3f})")
        print(
            f"{tasks} inference tasks, {self.rounds} rounds of {self.members} models: "
            f"{moved / 1e6:.0f} MB moved to them {'by value' if self.by_value else 'by reference'}"
        )
