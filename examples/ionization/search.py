"""Which molecules are hardest to ionize? Three levels of theory, and a model that says who goes on.

    steerio run examples/ionization/search.py --quick
    steerio run examples/ionization/search.py

A molecule goes through a cheap estimate, a relaxation, and density functional theory. All steps
that could be taken wait on one board, whatever their level. Each is worth the chance of one of the
best for each second that it costs to go on: so cheap steps go first, and dear ones are for few. A
model learns from the values of all levels, and ranks the molecules anew after some results of the
lower ones. Workers are lent to training and inference.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

from delta import LEVELS, Array, Estimates, Model, joined, worths
from levels import BASIS, HEAVY_ATOMS, QUICK_BASIS, Relaxed, check_codes, space

from steerio import (
    Board,
    Campaign,
    Failed,
    Lost,
    Succeeded,
    Task,
    TimedOut,
    agent,
    on_failure,
    on_success,
    task,
)

TOP_SHARE = 0.05
NEWS = (48, 16, 4)
"""New results of a level after which the model is trained anew."""
RERANK = 8
"""Results of the lower levels after which the molecules are ranked anew, with the same model."""
CHUNK = 500
"""Molecules of one task of inference."""
GUESSED_S = (0.05, 0.5, 5.0)
"""Seconds of a step of each level, until some have ended."""
RETRIES = {"lost": 8}
"""A long task has had bad luck if its worker was lost, and is tried again."""


class Next(NamedTuple):
    """The next step of a molecule: to which level, and with the geometries that it has."""

    smiles: str
    level: int = 0
    geometries: Relaxed | None = None
    basis: str = BASIS


@task(pool="simulate", timeout_s=60.0, retries=RETRIES, preload=["delta", "tblite.ase"])
def vertical(step: Next) -> float:
    """Return the vertical ionization energy by GFN1-xTB, in eV."""
    from levels import vertical_ev

    return vertical_ev(step.smiles)


@task(pool="simulate", timeout_s=120.0, retries=RETRIES, preload=["delta", "tblite.ase"])
def adiabatic(step: Next) -> Relaxed:
    """Return the geometries and the adiabatic ionization energy by GFN2-xTB."""
    from levels import relaxed

    return relaxed(step.smiles)


@task(pool="simulate", timeout_s=900.0, retries=RETRIES, preload=["levels", "pyscf.dft"])
def density(step: Next) -> float:
    """Return the adiabatic ionization energy by density functional theory, in eV."""
    from levels import density_ev

    assert step.geometries is not None
    return density_ev(step.smiles, step.geometries, step.basis)


@task(pool="train", preload=["delta"])
def learned(known: list[dict[str, float]]) -> Model:
    """Return a model of all levels."""
    from delta import train

    return train(known)


@task(pool="infer", preload=["delta"])
def estimated(model: Model, known: list[dict[str, float]], molecules: list[str]) -> Estimates:
    """Estimate the highest level of molecules."""
    from delta import predict

    return predict(model, known, molecules)


STEPS = (vertical, adiabatic, density)


class Ionization(Campaign):
    """Find the molecules that are hardest to ionize, by density functional theory.

    Args:
        worker_s: seconds of workers to spend, idle ones included.
        heavy_atoms: most heavy atoms of a molecule: 5 or more.
        molecules: the molecules themselves, if not all of that size.
        quick: take few small molecules, a tiny basis, and 40 worker seconds.
    """

    workers: ClassVar = {"simulate": 2, "train": 0, "infer": 0}
    first: ClassVar = 0  # the level at which molecules begin,
    taught: ClassVar = 0  # and the lowest that the model learns

    def __init__(
        self,
        worker_s: float = 600.0,
        heavy_atoms: int = HEAVY_ATOMS,
        molecules: list[str] | None = None,
        quick: bool = False,
    ) -> None:
        self.worker_s = 40.0 if quick else worker_s
        self.basis = QUICK_BASIS if quick else BASIS
        self.molecules = molecules or space(5 if quick else heavy_atoms)
        self.top = max(1, round(TOP_SHARE * len(self.molecules)))
        self.known: list[dict[str, float]] = [{} for _ in range(LEVELS)]
        self.failures: dict[str, str] = {}
        self.seconds = [0.0] * LEVELS
        self.following = dict.fromkeys(self.molecules, self.first)
        self.model: Model | None = None
        self.models = 0
        self.learned_from = [0] * LEVELS
        self.ranked_by = (0, 0)  # models, and values of the lower levels
        self.board: Board[Any] = Board(vertical, key=lambda step: step[:2])
        for smiles in self.molecules:
            self.go_on(Next(smiles, self.first, basis=self.basis))

    async def setup(self) -> None:
        """Look whether the codes are there."""
        check_codes()

    def go_on(self, step: Next, worth: float = 0.0) -> None:
        """Put the next step of a molecule on the board; it goes last until it is ranked."""
        self.following[step.smiles] = step.level
        self.board.add(step, worth, task_type=STEPS[step.level])

    @on_success(vertical)
    @on_success(adiabatic)
    @on_success(density)
    async def take(self, result: Succeeded) -> None:
        """Take in a value; the molecule waits for its next step."""
        step, value = result.args[0], result.value
        geometries = value if isinstance(value, Relaxed) else None
        self.known[step.level][step.smiles] = geometries.energy_ev if geometries else value
        self.seconds[step.level] += result.timings.run_s or 0.0
        if step.level < LEVELS - 1:
            self.go_on(step._replace(level=step.level + 1, geometries=geometries))
        else:
            self.note(best_ev=max(self.known[-1].values()))

    @on_failure(vertical)
    @on_failure(adiabatic)
    @on_failure(density)
    async def drop(self, result: Failed | TimedOut | Lost) -> None:
        """Go on without a molecule that cannot be computed."""
        how = result.error.message if isinstance(result, Failed) else type(result).__name__
        self.failures[result.args[0].smiles] = how
        del self.following[result.args[0].smiles]

    @agent
    async def learn(self) -> None:
        """Train the model anew when a level has news; a worker is lent for it."""
        while True:
            await self.until(self.has_news)
            self.learned_from = [len(values) for values in self.known]
            async with self.pools.lend("simulate", to="train"):
                self.model = await self.run(learned, self.known[self.taught :])
            self.models += 1

    def has_news(self) -> bool:
        """Say whether a level has enough values that the model has not learned from."""
        news = zip(self.known, self.learned_from, NEWS, strict=True)
        return any(len(values) >= before + every for values, before, every in news)

    @agent
    async def rank(self) -> None:
        """Rank anew what waits, by a worker that is lent for it."""
        while True:
            await self.until(self.is_stale)
            most = math.ceil(len(self.molecules) / CHUNK)
            wanted = min(most, self.pools["simulate"].at_home)
            async with self.pools.lend("simulate", to="infer", workers=wanted, at_least=1):
                self.ranked_by = self.models, self.lower
                following = dict(self.following)
                found = joined(await self.gather(*self.estimates(list(following))))
            worth = self.worths(following, found).tolist()
            self.board.rescore(dict(zip(following.items(), worth, strict=True)))

    def estimates(self, molecules: list[str]) -> list[Task[Estimates]]:
        """Have the last level of these molecules estimated, by what is known now."""
        known, model = self.known[self.taught :], self.model
        assert model is not None
        return [
            self.submit(estimated, model, known, molecules[start : start + CHUNK])
            for start in range(0, len(molecules), CHUNK)
        ]

    def worths(self, following: dict[str, int], found: Estimates) -> Array:
        """Return the worth of the next step of each molecule, in chances for a second."""
        levels = [level - self.taught for level in following.values()]
        costs = [
            seconds / len(known) if known else guessed
            for seconds, known, guessed in zip(self.seconds, self.known, GUESSED_S, strict=True)
        ]
        return worths(found, self.top, levels, costs[self.taught :])

    def is_stale(self) -> bool:
        """Say whether the ranking lacks a model, or some values of the lower levels."""
        models, lower = self.ranked_by
        return self.models > models or (models > 0 and self.lower >= lower + RERANK)

    @property
    def lower(self) -> int:
        """How many values of the lower levels are known."""
        return sum(len(values) for values in self.known[:-1])

    @agent
    async def end(self) -> None:
        """End when the worker seconds are spent, or all molecules are through."""
        await self.until(lambda: self.pools["simulate"].busy > 0)  # workers are there
        workers = sum(load.at_home for load in self.pools.values())
        await self.until(lambda: self.through, timeout_s=self.worker_s / workers)
        self.stop(cancel=True, reason="all are through" if self.through else "the time is spent")

    @property
    def through(self) -> bool:
        """Whether each molecule has its last value, or has failed."""
        return len(self.known[-1]) + len(self.failures) == len(self.molecules)

    async def finish(self) -> None:
        """Say what was found, and how many molecules came how far."""
        names = ("vertical, GFN1-xTB", "adiabatic, GFN2-xTB", "adiabatic, DFT")
        for name, values, seconds in zip(names, self.known, self.seconds, strict=True):
            print(f"{name:20}{len(values):6} of {len(self.molecules)}{seconds:10.1f} s")
        print(f"{len(self.failures)} failed; {self.models} models")
        for smiles in sorted(self.known[-1], key=self.known[-1].__getitem__)[: -1 - 10 : -1]:
            print(f"{self.known[-1][smiles]:8.3f} eV  {smiles}")
