"""Adaptive sampling of alanine dipeptide: where replicas begin, and which of them are halted.

    steerio run examples/adaptive/search.py --quick
    steerio run examples/adaptive/search.py --way long     replicas that go on and on

Replicas stream their frames while they run. Four teams learn from theirs, each for itself: the
next replica begins where a team knows least, and one that teaches less than others of late is
halted. The campaign ends once the teams agree, or when it has its frames.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from dipeptide import FRAME_PS, check_openmm, replica
from sampler import Team, Walk, Way, agreement

from steerio import Campaign, StreamedItem, TaskCancelled, TaskLost, agent, on_item

TEAMS = 4
MORE = 1.1
"""The teams are compared each time that there are so many times more frames."""


class Adaptive(Campaign):
    """Find the share of time that a molecule spends beyond a barrier.

    Args:
        nanoseconds: to sample at most, in all.
        within: the half-width of the 95 % interval between teams at which it has converged.
        way: steered; whole: halt none; random: and begin anywhere; long: go on and on.
        seed: of all random numbers.
        quick: sample at most a nanosecond.
    """

    workers: ClassVar = {"dynamics": 2}

    def __init__(
        self,
        nanoseconds: float = 50.0,
        within: float = 0.1,
        way: Way = "steered",
        seed: int = 1,
        quick: bool = False,
    ) -> None:
        self.budget = (1.0 if quick else nanoseconds) * 1000 / FRAME_PS
        self.within = within
        quota = math.ceil(self.budget / TEAMS)
        self.teams = [Team(index, TEAMS, seed, way, quota) for index in range(TEAMS)]
        self.walks: dict[int, Walk] = {}
        self.frames = 0
        self.agreed = False

    async def setup(self) -> None:
        """Look whether OpenMM is there."""
        check_openmm()

    @agent(per_worker="dynamics", concurrent=2)
    async def explore(self, index: int) -> None:
        """Run one replica of a team after the other."""
        team = self.teams[index % TEAMS]
        while not team.done:
            await self.checkpoint()
            walk = team.begin()
            self.walks[walk.number] = walk
            try:
                await self.run(replica, walk.start, walk.number)
            except TaskCancelled:
                if not walk.halted:  # the campaign is stopped
                    raise
            except TaskLost:  # it has lost three workers
                pass

    @on_item(replica)
    async def follow(self, item: StreamedItem) -> None:
        """Learn from an item of a replica, and halt it if that is little."""
        _, number = item.task.args
        walk = self.walks[number]
        if item.index < walk.items:
            return  # its worker was lost, and it repeats what is known
        self.frames += len(item.value.torsions)
        if not self.teams[number % TEAMS].learn(walk, item.value):
            walk.halted = True
            item.task.cancel("it teaches little")

    @agent
    async def judge(self) -> None:
        """Compare the teams now and then; stop once they agree."""
        while not self.agreed and self.frames < self.budget:
            due = min(self.budget, max(1000, MORE * self.frames))
            await self.until(lambda due=due: self.frames >= due)
            share, around = agreement(self.teams)
            self.note(share=share, around=around, frames=self.frames)
            self.agreed = around < self.within
        if self.agreed:
            self.stop(cancel=True, reason="the teams agree")

    @property
    def bins(self) -> int:
        """How many bins were seen, by any team."""
        return int(np.any([team.counts > 0 for team in self.teams], axis=0).sum())

    async def finish(self) -> None:
        """Say what was found."""
        if not self.frames:
            return
        share, around = agreement(self.teams)
        length = self.frames * FRAME_PS / 1000
        print(f"{len(self.walks)} replicas, {length:.1f} ns, {self.bins} bins")
        print(
            f"{share:.1%} +- {around:.1%} of the time beyond the barrier: "
            f"the teams {'agree' if self.agreed else 'do not agree yet'}"
        )
