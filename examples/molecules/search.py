"""Which of 10,000 molecules is hardest to ionize? A steered search with real chemistry.

    steerio run examples/molecules/search.py            two to five minutes on two cores
    steerio run examples/molecules/search.py --quick    under one minute

Two pools work at the same time: `simulate` computes ionization energies, always of the best
molecule that waits; `learn` ranks anew whatever waits, after every eight energies. Nothing ever
waits for a batch to end. When the budget of tasks is spent, the same workers compute what
random choice and a choice in batches would have found, and a picture shows all three.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from typing import ClassVar

from enumerate import molecules as enumerate_molecules
from report import (
    Comparison,
    as_batches_would,
    as_it_ran,
    compared,
    draw,
    found,
    write_energies,
)

from steerio import (
    Board,
    Campaign,
    Failed,
    Lost,
    Result,
    Succeeded,
    Task,
    TimedOut,
    on_failure,
    on_success,
    task,
)

RELEARN_EVERY = 8  # successes; also the size of a batch in the choice that is compared
SIZES = (10_000, 1_000, 3_000)  # molecules, budget, reference
QUICK_SIZES = (300, 60, 300)
URGENT = 1.0  # priority over the random sample
SEED = 0
COMPARED = {"for": "comparison"}  # the tag of what is computed after the search


@task(pool="simulate", timeout_s=60.0, preload=["tblite.interface", "rdkit.Chem.rdDistGeom"])
def ionization_energy(smiles: str) -> float:
    """Return the vertical ionization energy of a molecule in eV, by GFN2-xTB."""
    from energy import ionization_energy_ev

    return ionization_energy_ev(smiles)


@task(pool="learn", preload=["sklearn.gaussian_process", "rdkit.Chem"])
def rank(known: dict[str, float], waiting: list[str]) -> dict[str, float]:
    """Return a score for each waiting molecule; the higher, the sooner it is worth computing."""
    from surrogate import rank

    return rank(known, waiting)


class Search(Campaign):
    """Find the molecules that are hardest to ionize, with a budget of tasks.

    Args:
        quick: take the small sizes: 300 molecules, a budget of 60, every one computed.
        molecules: how many to choose from (10,000).
        budget: how many energies the search may ask for, failed ones included (1,000).
        reference: how many to compute at random, to compare with (3,000). With as many as there
            are molecules the comparison is exact.
    """

    workers: ClassVar = {"simulate": 2, "learn": 1}

    def __init__(
        self,
        quick: bool = False,
        molecules: int | None = None,
        budget: int | None = None,
        reference: int | None = None,
    ) -> None:
        sizes = QUICK_SIZES if quick else SIZES
        size, spend, drawn = (
            usual if asked is None else asked
            for asked, usual in zip((molecules, budget, reference), sizes, strict=True)
        )
        if min(size, spend, drawn) < 1:
            raise ValueError("molecules, budget and reference are at least 1")
        self.molecules = enumerate_molecules(size)
        self.budget = min(spend, size)
        self.sample = random.Random(SEED).sample(self.molecules, min(max(spend, drawn), size))
        # tags tell the search in the record from what it is compared with afterwards
        self.board: Board[str] = Board(ionization_energy, self.molecules, tags={"for": "search"})
        self.chosen: list[str] = []  # what was paid for, in the order of ending
        self.spans_s: list[tuple[float, float]] = []  # when each of those was worked on
        self.energies: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self.failures: dict[str, str] = {}
        self.learned_from = 0

    async def setup(self) -> None:
        """Let the learner read all molecules before the first ranking is wanted."""
        await self.run(rank, {}, self.molecules)
        await self.resumed()

    async def resumed(self) -> None:
        """Wait for the learner: until it has loaded its modules molecules would go out unranked."""
        while (load := self.pools["learn"]).workers == load.starting:
            if not load.starting and not load.expected:
                return  # none will come, and the first ranking says so
            await self.pools.changed()

    @on_success(ionization_energy)
    async def record(self, result: Succeeded) -> None:
        """Take in an energy."""
        self.keep(result)
        self.note(best_ev=max(self.energies.values()))
        self.spend(result)

    @on_failure(ionization_energy)
    async def drop(self, result: Failed | TimedOut | Lost) -> None:
        """Go on without a molecule that cannot be computed; it was paid for all the same."""
        self.keep(result)
        self.spend(result)

    @on_success(ionization_energy, every=RELEARN_EVERY)
    async def relearn(self, results: list[Succeeded]) -> None:
        """Rank anew what waits."""
        # More groups of eight may have ended while the last ranking ran: it is the energies
        # that matter and not the groups, so one ranking answers for all of them.
        if len(self.energies) - self.learned_from >= RELEARN_EVERY:
            self.learned_from = len(self.energies)
            self.board.rescore(await self.run(rank, self.energies, self.board.waiting))

    def spend(self, result: Result) -> None:
        """Count a task against the budget, and stop once that is spent."""
        if len(self.chosen) < self.budget:  # tasks that were running at the stop still end
            self.chosen.append(result.args[0])
            self.spans_s.append((result.timings.started or 0.0, result.timings.ended or 0.0))
        if len(self.chosen) == self.budget:
            self.stop()

    def keep(self, result: Result) -> None:
        """Remember how the computation of one molecule ended."""
        smiles = result.args[0]
        if isinstance(result, Succeeded):
            self.energies[smiles] = result.value
            if result.timings.started and result.timings.ended:
                self.seconds[smiles] = result.timings.ended - result.timings.started
        elif isinstance(result, Failed):
            self.failures[smiles] = result.error.message
        else:
            self.failures[smiles] = type(result).__name__

    # -- afterwards: what would others have found with the same budget? ---------------------------

    async def finish(self) -> None:
        """Compute what the other choices need, print the comparison, draw the picture."""
        if not self.chosen:
            print("stopped before any task was spent; there is nothing to compare")
            return
        workers = self.pools["simulate"].workers
        pace = as_it_ran(self.spans_s, workers)
        print(
            f"{len(self.chosen)} tasks spent in {pace.seconds:.1f} s, workers busy {pace.busy:.0%} "
            "of the time; now the same budget at random and in batches"
        )
        asked: dict[str, Task[float]] = {}
        async with asyncio.TaskGroup() as group:
            group.create_task(self.compute(self.sample, asked, priority=0.0))
            in_batches = group.create_task(self.choose_in_batches(asked))
        batches, rankings_s = in_batches.result()
        took_s = [self.seconds.get(smiles, 0.0) for smiles in batches]
        comparison = Comparison(
            len(self.molecules),
            self.energies,
            self.chosen,
            batches,
            self.sample,
            pace,
            as_batches_would(took_s, rankings_s, workers, RELEARN_EVERY),
        )
        print(f"\n{found(comparison)}\n\n{compared(comparison, RELEARN_EVERY)}")
        if self.failures:
            print(f"{len(self.failures)} molecules failed and were dropped:")
            for smiles, reason in list(self.failures.items())[:5]:
                print(f"  {smiles}: {reason}")
        if self.run_dir is not None:
            write_energies(self.run_dir / "molecules.csv", self.energies, self.seconds)
            await asyncio.to_thread(draw, comparison, RELEARN_EVERY, self.run_dir / "search.png")
            print(f"\npicture: {self.run_dir / 'search.png'}")

    async def choose_in_batches(
        self, asked: dict[str, Task[float]]
    ) -> tuple[list[str], list[float]]:
        """Return what a policy chooses that waits for each batch before it ranks again.

        And how many seconds each of its rankings took.
        """
        rankings_s: list[float] = []
        ranked = self.options(tags=COMPARED)
        chosen = self.molecules[: min(RELEARN_EVERY, len(self.chosen))]
        await self.compute(chosen, asked, URGENT)
        while len(chosen) < len(self.chosen):
            known = {smiles: self.energies[smiles] for smiles in chosen if smiles in self.energies}
            taken = set(chosen)
            waiting = [smiles for smiles in self.molecules if smiles not in taken]
            ranking = ranked.submit(rank, known, waiting)
            scores = await ranking
            rankings_s.append((await ranking.result()).timings.run_s or 0.0)
            size = min(RELEARN_EVERY, len(self.chosen) - len(chosen))
            batch = heapq.nlargest(size, waiting, key=scores.__getitem__)
            await self.compute(batch, asked, URGENT)
            chosen += batch
        return chosen, rankings_s

    async def compute(
        self, molecules: list[str], asked: dict[str, Task[float]], priority: float
    ) -> None:
        """Compute what has not been computed yet; no molecule is computed twice."""
        wanted = [s for s in molecules if s not in self.energies and s not in self.failures]
        submitter = self.options(priority=priority, tags=COMPARED)
        for smiles in wanted:
            if smiles not in asked:
                asked[smiles] = submitter.submit(ionization_energy, smiles)
            elif priority:
                asked[smiles].reprioritise(priority)
        for smiles in wanted:
            self.keep(await asked[smiles].result())
