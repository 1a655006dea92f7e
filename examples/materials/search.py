"""Materials for CO2: generate linkers, assemble frameworks, estimate and compute, all at once.

    steerio run examples/materials/search.py --quick

A generator streams linkers. They are assembled to frameworks, and those whose pores let CO2 in go
to molecular dynamics, the newest first. Those that it leaves in shape have their uptake measured by
short, noisy runs; the leaders are measured again, and those that stay ahead by one long run. The
generator is retrained on all outcomes as they come, and workers move to the stage that has work.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from heapq import nlargest
from typing import Any, ClassVar

from adsorption import adsorb
from candidates import Candidate
from dynamics import relax
from frameworks import Framework, assemble, check_packages, pores
from linkers import FIRST, LinkerModel, generate, train

from steerio import (
    Board,
    Campaign,
    PoolLoad,
    Proportional,
    Result,
    StreamedItem,
    Succeeded,
    agent,
    at_least,
    at_most,
    on_failure,
    on_item,
    on_result,
    on_success,
)

STAGES = (generate, assemble, relax, adsorb)
ALIKE = (("generate", "assemble", "dynamics", "adsorb"),)
"""The pools that share workers, if any worker can do any task;"""
KINDS = (("generate", "dynamics"), ("assemble", "adsorb"))
"""and if workers of the first two have a GPU, and those of the others a core."""
PICOSECONDS, SHORT, LONG = 5.0, 4_000, 40_000
PROBE, STRAIN = 3.3, 0.013
"""The diameter that pores must let through, in angstrom; and the strain that is allowed."""
REPEATS, REMEMBER = 3, 4_096
"""Short runs of a leader before its long one; outcomes that are trained on at most, the newest."""


class Materials(Campaign):
    """Find frameworks that stay in shape and take up much CO2.

    Args:
        budget: ends of molecular dynamics after which to begin no other.
        picoseconds: of molecular dynamics.
        cycles: of a short run of adsorption, and of a long one.
        batch: linkers that the generator writes with one version of its model.
        stack: linkers, frameworks and candidates that wait at most, each.
        retrain: ends of molecular dynamics after which the generator is trained again.
        leaders: candidates that are measured again.
        keep: workers that stay with generation.
        feeding: workers that stay with assembly, for each of these.
        apart: whether workers with a GPU and workers with a core move among their own pools.
        settle_s: seconds for which workers must be wished elsewhere before they move.
        seed: of all random numbers.
        raspa: whether RASPA2 measures uptakes, and not the stand-in.
        quick: begin no other after 5 ends, each stage short.
    """

    workers: ClassVar = {"generate": 1, "assemble": 1, "dynamics": 1, "adsorb": 1, "learn": 0}

    def __init__(
        self,
        budget: int = 100,
        picoseconds: float = PICOSECONDS,
        cycles: tuple[int, int] = (SHORT, LONG),
        batch: int = 16,
        stack: int = 32,
        retrain: int = 8,
        leaders: int = 8,
        keep: int = 0,
        feeding: int = 1,
        apart: bool = False,
        settle_s: float = 0.5,
        seed: int = 1,
        raspa: bool = False,
        quick: bool = False,
    ) -> None:
        self.budget, self.retrain = (5, 2) if quick else (budget, retrain)
        self.picoseconds = 1.0 if quick else picoseconds
        self.short, self.long = (500, 2_000) if quick else cycles
        self.stack, self.most = (8, 4) if quick else (stack, leaders)
        self.batch = min(4 if quick else batch, self.stack)
        self.seed, self.settle_s, self.raspa = seed, settle_s, raspa
        self.least = {"generate": keep, "assemble": feeding * keep}
        self.kinds = KINDS if apart else ALIKE
        newest: dict[str, Any] = {"newest_first": True, "limit": self.stack}
        self.writing = Board(generate, key=lambda item: item[2])
        self.linkers = Board(assemble, **newest)
        self.frameworks = Board(relax, key=lambda item: item[0].linker, **newest)
        self.again = Board(adsorb, key=lambda item: (item[0].linker, *item[1:]))
        self.fresh = Board(adsorb, key=lambda item: item[0].linker, **newest)
        self.candidates: dict[str, Candidate] = {}
        self.leaders, self.computed = list[Candidate](), list[Candidate]()
        self.worth: dict[str, float] = {}
        """By linker: 0 if it came to nothing, or its uptake."""
        self.seconds = {stage.name: 1.0 for stage in STAGES}
        self.batches = self.ends = self.version = self.written = 0

    async def setup(self) -> None:
        """Publish the generator's first model."""
        await self.run(check_packages, self.raspa)
        await self.versions("linkers").publish(FIRST)

    @agent
    async def write(self) -> None:
        """Have linkers written while there is room, and some with each new model anyway."""
        while True:
            await self.checkpoint(until=lambda: self.hungry)
            self.batches += 1
            self.written = self.version
            latest = self.versions("linkers").latest
            self.writing.add((latest, self.batch, self.seed + self.batches))

    @property
    def hungry(self) -> bool:
        """Whether another batch of linkers should be written."""
        asked = self.batch * (len(self.writing) + len(self.writing.running))
        room = self.stack - len(self.linkers) - len(self.frameworks) - asked
        return self.ends < self.budget and (self.written < self.version or room >= self.batch)

    @on_item(generate)
    async def collect(self, item: StreamedItem) -> None:
        """Have a linker assembled, before all older ones."""
        self.linkers.add(item.value)

    @on_success(assemble)
    async def probe_pores(self, result: Succeeded) -> None:
        """Have the pores of a framework measured."""
        self.submit(pores, result.value)

    @on_success(pores)
    async def admit(self, result: Succeeded) -> None:
        """Have a framework put under molecular dynamics, if its pores let CO2 in."""
        framework: Framework = result.args[0]
        if result.value.free_diameter < PROBE:
            self.worth[framework.linker] = 0.0
        else:
            self.frameworks.add((framework, self.picoseconds, self.seed))

    @on_success(relax)
    async def judge(self, result: Succeeded) -> None:
        """Have the uptake of a framework measured, if it has stayed in shape."""
        framework, strain = result.value
        if strain > STRAIN:
            self.worth[framework.linker] = 0.0
        else:
            self.candidates[framework.linker] = Candidate(framework, strain)
            self.fresh.add((framework, self.short, self.seed, self.raspa))

    @on_failure(assemble)
    @on_failure(pores)
    @on_failure(relax)
    @on_failure(adsorb)
    async def fail(self, result: Result) -> None:
        """Remember that a linker came to nothing."""
        self.worth[getattr(result.args[0], "linker", result.args[0])] = 0.0

    @on_success(adsorb)
    async def rank(self, result: Succeeded) -> None:
        """Take in an uptake; have a leader measured again, and after some times by a long run."""
        framework, cycles, seed, _ = result.args
        candidate, uptake = self.candidates[framework.linker], result.value.uptake
        if cycles == self.long:
            candidate.long = self.worth[framework.linker] = uptake
            self.computed.append(candidate)
            self.note(computed=len(self.computed), best=max(each.long for each in self.computed))
        else:
            candidate.short.append(uptake)
            self.worth[framework.linker] = candidate.mean
            known = dict.fromkeys([*self.leaders, candidate])
            self.leaders = nlargest(self.most, known, key=lambda each: each.upper)
            if candidate in self.leaders:
                cycles = self.short if len(candidate.short) < REPEATS else self.long
                self.again.add((framework, cycles, seed + 1, self.raspa), candidate.upper)

    @on_result(relax, coalesce=True)
    async def count(self, results: list[Result]) -> None:
        """Count the ends of molecular dynamics, whatever they are."""
        self.ends += len(results)

    @agent
    async def end(self) -> None:
        """Begin no framework once the budget is used up, and stop when all is measured."""
        await self.until(lambda: self.ends >= self.budget)
        for board in (self.writing, self.linkers, self.frameworks):
            board.replace([], [])
        boards = (self.linkers, self.frameworks, self.fresh, self.again)
        await self.until(lambda: not any(len(each) or each.running for each in boards))
        self.stop(reason="its budget is used up")

    @agent
    async def learn(self) -> None:
        """Train the generator again and again, each time on what is known by then."""
        while True:
            due = self.ends + self.retrain
            await self.checkpoint(until=lambda due=due: self.ends >= due)
            known = list(self.worth.items())[-REMEMBER:]
            await self.versions("linkers").publish(await self.fit(dict(known)))
            self.version += 1
            self.note(version=self.version)

    async def fit(self, worth: dict[str, float]) -> LinkerModel:
        """Train on a worker that molecular dynamics lends for it."""
        async with self.pools.lend("dynamics", to="learn"):
            return await self.run(train, worth)

    @on_result(generate)
    @on_result(assemble)
    @on_result(relax)
    @on_result(adsorb)
    async def time(self, result: Result) -> None:
        """Learn how long the tasks of a stage take of late."""
        took_s, before_s = result.timings.run_s or 0.0, self.seconds[result.task_type]
        self.seconds[result.task_type] += (took_s - before_s) / 16

    @agent
    async def allocate(self) -> None:
        """Move workers to the stages that have work, among those of a kind."""
        rules = [partial(self.share, kind) for kind in self.kinds]
        await self.pools.follow(*rules, settle_s=self.settle_s)

    def share(self, kind: tuple[str, ...], pools: Mapping[str, PoolLoad]) -> Mapping[str, int]:
        """Wish for workers in proportion to the time that the work of each pool takes."""
        weights = {stage.pool: self.seconds[stage.name] for stage in STAGES if stage.pool in kind}
        least = {pool: workers for pool, workers in self.least.items() if pool in kind}
        most = {pool: pools[pool].queued + pools[pool].running for pool in least}
        return at_least(least, at_most(most, Proportional(*kind, weights=weights)))(pools)

    async def finish(self) -> None:
        """Say what was found."""
        print(
            f"{self.batches} batches of linkers by {self.version + 1} models; {self.ends} ends of "
            f"molecular dynamics, {len(self.candidates)} in shape; {len(self.computed)} computed"
        )
        code = "RASPA2, no charges" if self.raspa else "a stand-in"
        for each in sorted(self.computed, key=lambda each: -each.long)[:3]:
            print(f"{each.long:.2f} mol/kg ({code}), strain {each.strain:.1%}: ", end="")
            print(each.framework.linker)
