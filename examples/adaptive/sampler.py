"""The model: where a team of replicas begins, which of them it halts, and how much it knows.

The plane of the torsions phi and psi is divided into bins. A team counts its frames in each, and
how often a replica came from one bin to another between frames: a Markov model, whose stationary
distribution does not depend on where replicas were begun or halted.
"""

from __future__ import annotations

from statistics import mean, stdev
from typing import Literal

import numpy as np
from dipeptide import Array, Frames, Start

Way = Literal["steered", "whole", "random", "long"]

BINS = 18
"""Along each torsion, of 20 degrees."""
MEMORY = 0.95
"""The weight of what was learned before, in the mean of a team's gain from an item."""
WORTH = 0.5
"""The share of that mean with which a replica may go on."""
ITEMS: dict[Way, int] = {"steered": 10, "whole": 25, "random": 25, "long": 40}
"""Of a replica, at most."""
STUDENT = 3.18
"""Half-width of a 95 % interval of the mean of four values, in standard errors."""


def places_of(torsions: Array) -> Array:
    """Return the bins of frames."""
    phi, psi = (np.floor((torsions + 180.0) * (BINS / 360.0)).astype(int) % BINS).T
    return phi * BINS + psi


def center(place: int) -> tuple[float, float]:
    """Return phi and psi in the middle of a bin."""
    phi, psi = divmod(place, BINS)
    return (phi + 0.5) * 360.0 / BINS - 180.0, (psi + 0.5) * 360.0 / BINS - 180.0


BEYOND = np.array([0 < center(place)[0] < 130 for place in range(BINS * BINS)])
"""The bins of the basin (C7ax) that is rarely come to: phi from 0 to 120 degrees."""


class Walk:
    """One replica, as its team sees it.

    Attributes:
        start: the place where it began.
        number: the seed of its random numbers.
        places: the bins of its start and its frames.
        items: how many have come.
        halted: whether it was told to end.
    """

    def __init__(self, start: Start, number: int) -> None:
        self.start, self.number = start, number
        self.places: list[int] = places_of(np.array([start[:2]])).tolist()
        self.items = 0
        self.halted = False


class Team:
    """Replicas that share what they learn; other teams know nothing of it.

    Args:
        index: of the team, which decides where its first replica begins.
        of: how many teams there are.
        seed: of its draws and its replicas.
        way: "steered"; "whole", which halts no replica; "random", which also begins them in any bin
            that was seen; "long", which goes on where a replica ended.
        quota: frames that are enough.
    """

    def __init__(self, index: int, of: int, seed: int, way: Way, quota: int) -> None:
        self.way: Way = way
        self.quota = quota
        self.corner = Start(*((-90.0, 90.0), (90.0, -90.0), (-90.0, -90.0), (90.0, 90.0))[index])
        self.chance = np.random.default_rng([seed, index])
        self.number, self.of = seed * 100_000 + index, of
        self.counts = np.zeros(BINS * BINS, int)
        self.begun = np.zeros(BINS * BINS, int)
        self.moved = np.zeros((BINS * BINS, BINS * BINS), np.int32)
        self.seen: dict[int, Start] = {}
        """By bin, the newest frame in it."""
        self.ends: list[Start] = []
        self.gain = 0.0
        """The mean of what an item teaches, of late."""

    @property
    def done(self) -> bool:
        """Whether it has its frames."""
        return int(self.counts.sum()) >= self.quota

    def begin(self) -> Walk:
        """Choose where the next replica begins: in the bin with the fewest frames and begins."""
        start = self.corner
        if self.way == "long":
            start = self.ends.pop() if self.ends else start
        elif self.seen:
            bins = np.array(list(self.seen))
            known = self.counts[bins] + self.begun[bins]
            if self.way != "random":
                bins = bins[known == known.min()]
            place = int(self.chance.choice(bins))
            self.begun[place] += 1
            start = self.seen[place]
        self.number += self.of
        return Walk(start, self.number)

    def learn(self, walk: Walk, frames: Frames) -> bool:
        """Take in an item of a replica; return whether the replica is to go on."""
        places = places_of(frames.torsions)
        new = places.tolist()
        np.add.at(self.moved, ([walk.places[-1], *new[:-1]], new), 1)
        np.add.at(self.counts, places, 1)
        walk.places += new
        walk.items += 1
        for place, torsions, atoms in zip(new, *frames, strict=True):
            self.seen[place] = Start(float(torsions[0]), float(torsions[1]), atoms.tobytes())
        gain = float(np.mean(1.0 / self.counts[places]))
        self.gain = MEMORY * (self.gain or gain) + (1 - MEMORY) * gain
        if walk.items >= ITEMS[self.way] or self.done:
            self.ends.append(self.seen[walk.places[-1]])
            return False
        return self.way != "steered" or gain >= WORTH * self.gain

    def linked(self) -> Array:
        """Return which bins lead to one another, of those that its replicas have gone through."""
        moved = (self.moved > 0).astype(np.float32)
        usual = int(self.counts.argmax())
        return reached(moved, usual) & reached(moved.T, usual)


def share_of(moved: Array, linked: Array) -> float:
    """Return the share of time beyond the barrier, by the stationary distribution of moves."""
    moves = moved[np.ix_(linked, linked)].astype(float)
    chances = moves / np.maximum(moves.sum(1, keepdims=True), 1)
    equations = np.vstack([(chances.T - np.eye(len(moves)))[:-1], np.ones(len(moves))])
    stationary = np.linalg.solve(equations, np.eye(len(moves))[-1])
    return float(stationary @ BEYOND[linked])


def reached(linked: Array, first: int) -> Array:
    """Return which bins can be reached from one."""
    found = np.zeros(len(linked), bool)
    found[first] = True
    while True:
        more = found | (found.astype(np.float32) @ linked > 0)
        if (more == found).all():
            return found
        found = more


def agreement(teams: list[Team]) -> tuple[float, float]:
    """Return the share of time beyond the barrier, and a half-width that teams agree within.

    It is that of the 95 % interval between teams, and in addition the part of all frames that are
    in bins which one of the teams has not come to, or has not come back from. So teams do not
    agree as long as one knows a place that another does not know, however alike their figures are.
    """
    links = [team.linked() for team in teams]
    shares = [share_of(team.moved, each) for team, each in zip(teams, links, strict=True)]
    frames = np.sum([team.counts for team in teams], axis=0)
    unknown = max(float(frames[~linked].sum() / max(frames.sum(), 1)) for linked in links)
    return mean(shares), STUDENT * stdev(shares) / len(shares) ** 0.5 + unknown
