"""An ensemble of networks that is trained by gangs while simulations and proposals go on.

    steerio run examples/training/search.py --quick
    steerio run examples/training/search.py --ranks 1      each member on one worker

How is a reactor to be run, so that most comes out? A member of the ensemble is due again once there
are so many more results than it was trained on; a gang of workers trains it on all that are known
when it begins, and publishes it. Proposals take the newest version of each member.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from statistics import mean
from typing import Any, ClassVar

import numpy as np
from members import Known, Proposal, check_torch, fit, propose
from reactor import DIMENSIONS, NAMES, Point, setting, simulate

from steerio import Board, Campaign, Succeeded, agent, on_success

MEMBERS = 4
PER_SEED = 1_000_000
"""Seeds of tasks for each seed of a search."""


class Training(Campaign):
    """Find the best settings of a reactor.

    Args:
        budget: simulations in all.
        first: results that the first training waits for; until then points are random.
        every: a member is due again after so many more results.
        ranks: workers that train a member together.
        batch: points of one proposal.
        keep: points that wait on the board, so that no worker waits for a proposal.
        sources: proposals that are made at a time, at most.
        versions: of each member at most; 1: the model is never retrained, 0: there is none.
        seed: of all random numbers.
        quick: 64 simulations.
    """

    workers: ClassVar = {"simulate": 2, "learn": 2}

    def __init__(
        self,
        budget: int = 240,
        first: int = 32,
        every: int = 8,
        ranks: int = 2,
        batch: int = 4,
        keep: int = 4,
        sources: int = 1,
        versions: int = 1000,
        seed: int = 1,
        quick: bool = False,
    ) -> None:
        self.budget, self.first = (64, 24) if quick else (budget, first)
        self.every, self.ranks, self.most = every, ranks, versions
        self.batch, self.keep, self.sources = batch, keep, sources
        self.asked = 0
        self.first_seed = seed * PER_SEED
        self.chance = np.random.default_rng(seed)
        self.todo: Board[tuple[Point]] = Board(simulate)
        self.points: list[Point] = []
        self.values: list[float] = []
        self.trained: list[dict[int, float]] = [{} for _ in range(MEMBERS)]
        """Of each member, by the number of results that a version knew: when it was ready."""
        self.newest: dict[int, Any] = {}
        """By member, the newest version, as tasks take it when they begin."""
        self.lags: dict[tuple[int, int], float] = {}
        """By member and that number: seconds from trained to first used."""
        self.behind: list[float] = []
        """Of each proposal: how many results its members had not learnt from."""

    async def setup(self) -> None:
        """Look whether torch is there, and workers for a gang."""
        check_torch()
        workers = self.pools["learn"].at_home
        if not 1 <= self.ranks <= workers:
            raise ValueError(f"ranks are 1 to {workers}, the workers of learn, not {self.ranks}")

    @agent
    async def acquire(self) -> None:
        """Keep the board filled, as little ahead as keeps workers busy."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.sources):
                group.create_task(self.todo.fill_from(self.proposals(), keep=self.keep))

    async def proposals(self) -> AsyncIterator[tuple[Point]]:
        """Yield points: random ones, until a member has been trained."""
        while True:
            if not self.newest:
                yield (tuple(self.chance.random(DIMENSIONS).round(4).tolist()),)
                continue
            self.asked += 1
            members, seed = list(self.newest), self.first_seed + self.asked
            newest = list(self.newest.values())
            asked = self.submit(propose, self.versions("known").latest, newest, seed, self.batch)
            proposal = await asked
            self.used(members, await asked.result(), proposal)
            for point in proposal["points"]:
                yield (point,)

    @on_success(simulate, every=4, coalesce=True)
    async def learn(self, results: list[Succeeded]) -> None:
        """Publish all that is known; results that come meanwhile are one call."""
        self.points += [result.args[0] for result in results]
        self.values += [result.value for result in results]
        self.note(best=max(self.values))
        known = Known(points=np.array(self.points), values=np.array(self.values))
        await self.versions("known").publish(known)
        if len(self.values) >= self.budget:
            self.stop(cancel=True, reason="all simulations have been made")

    @agent(concurrent=MEMBERS)
    async def train(self, member: int) -> None:
        """Train a member whenever it is due, on what is known when its gang begins."""
        versions, trained = self.versions(f"member-{member}"), self.trained[member]
        while len(trained) < self.most:
            await self.until(lambda: self.is_due(member))
            asked = self.options(gang=self.ranks).submit(
                fit, self.versions("known").latest, self.first_seed + member
            )
            model = await asked
            trained[model["rows"]] = (await asked.result()).timings.ended or 0.0
            await versions.publish(model)
            self.newest[member] = versions.latest

    def is_due(self, member: int) -> bool:
        """Say whether so many more results have come than a member was trained on."""
        newest = max(self.trained[member], default=self.first - self.every)
        return len(self.values) >= newest + self.every

    def used(self, members: list[int], result: Any, proposal: Proposal) -> None:
        """Note how old the versions of a proposal are."""
        for member, rows in zip(members, proposal["rows"], strict=True):
            since = result.timings.started - self.trained[member][rows]
            self.lags.setdefault((member, rows), since)
        self.behind.append(len(self.values) - mean(proposal["rows"]))
        self.note(results_behind=self.behind[-1], seconds_to_first_use=max(self.lags.values()))

    async def finish(self) -> None:
        """Say what was found, and how old the models were."""
        if not self.values:
            return
        best = int(np.argmax(self.values))
        settings = setting(self.points[best])
        found = ", ".join(f"{n} {s:.2f}" for n, s in zip(NAMES, settings, strict=True))
        print(f"best of {len(self.values)}: {self.values[best]:.3f} ({found})")
        if self.behind:
            print(
                f"{sum(map(len, self.trained))} versions of {MEMBERS} members, {len(self.lags)} "
                f"used; {mean(self.behind):.0f} results behind, "
                f"{mean(self.lags.values()):.2f} s from trained to first used"
            )
