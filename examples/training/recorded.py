"""The recording for `compare.py`: values of simulations, proposals, and measured durations.

``recorded.npz`` has, for each way of working and each seed, the points that were proposed by
networks that were really trained, and the value of each point; ``durations.json`` how long tasks
took. The replay in virtual time asks for the same in the same order: nothing in it depends on the
machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from members import Known, Member, Proposal, fit, propose
from reactor import Point, simulate
from search import PER_SEED

from steerio.testing import Course, Model

FILE = Path(__file__).with_name("recorded.npz")
DURATIONS = Path(__file__).with_name("durations.json")
SCALE = 10_000
"""Points and values are whole numbers of so many parts."""


class Seen(NamedTuple):
    """The value of a point, and the steps that its simulation took."""

    value: float
    steps: int


class Durations(NamedTuple):
    """Seconds of a processor that tasks took.

    Attributes:
        step_s: of one step of a simulation, on the grid of `reactor.CELLS`.
        point_s: of one point of a proposal.
        rows: numbers of results that a member was trained on.
        fit_s: by the size of the gang, for each of these numbers: of its slowest rank.
    """

    step_s: float
    point_s: float
    rows: list[int]
    fit_s: dict[str, list[float]]

    def training_s(self, rows: int, ranks: int) -> float:
        """Return the seconds of a training; beyond what was measured, in proportion to the rows."""
        known = float(np.interp(rows, self.rows, self.fit_s[str(ranks)]))
        return known * max(1.0, rows / self.rows[-1])


def durations() -> Durations:
    """Return the durations that were measured."""
    return Durations(**json.loads(DURATIONS.read_text()))


class Source:
    """The models of tasks in virtual time; values come from its methods.

    Args:
        ranks: the size of the gangs that train.
    """

    def __init__(self, ranks: int) -> None:
        self.durations = durations()
        self.ranks = ranks

    def value(self, point: Point) -> Seen:
        """Return what a simulation of a point tells."""
        raise NotImplementedError

    def proposal(self, known: Known, members: list[Member], seed: int, count: int) -> list[Point]:
        """Return the points of a proposal."""
        raise NotImplementedError

    def member(self, known: Known, seed: int) -> Member:
        """Return a trained member: in a replay one without weights."""
        return Member(rows=len(known["values"]), state={})

    def models(self) -> dict[Any, Any]:
        """Return the models of the example's tasks."""
        return {
            simulate: self.simulated,
            fit: Model(
                lambda rng, known, seed: self.durations.training_s(
                    len(known["values"]), self.ranks
                ),
                value=self.member,
            ),
            propose: Model(
                lambda rng, known, members, seed, count: self.durations.point_s * count,
                value=self.proposed,
            ),
        }

    def simulated(self, rng: Any, point: Point) -> Course:
        """Return the course of a simulation."""
        seen = self.value(point)
        return Course(seen.steps * self.durations.step_s, value=seen.value)

    def proposed(self, known: Known, members: list[Member], seed: int, count: int) -> Proposal:
        """Return a proposal, with the ages of its members."""
        points = self.proposal(known, members, seed, count)
        return Proposal(points=points, rows=[each["rows"] for each in members])


class Recorded(Source):
    """Values and proposals of one recorded run.

    Args:
        way: how the run worked.
        seed: of the run.
        ranks: the size of its gangs.
    """

    def __init__(self, way: str, seed: int, ranks: int) -> None:
        super().__init__(ranks)
        with np.load(FILE) as file:
            names = [str(name) for name in file["ways"]]
            of_run = (file["way"] == names.index(way)) & (file["seed"] == seed)
            points = (file["points"][of_run] / SCALE).round(4)
            values = (file["values"][of_run] / SCALE).round(4)
            self.known = {
                tuple(point): Seen(value, steps)
                for point, value, steps in zip(
                    points.tolist(), values.tolist(), file["steps"][of_run].tolist(), strict=True
                )
            }
            proposed = file["proposed"][of_run]
            self.points: list[Point] = [tuple(each) for each in points[proposed].tolist()]
        self.every = list(self.known.values())

    def value(self, point: Point) -> Seen:
        """Return what is recorded; of a point that is not, what another one told."""
        found = self.known.get(point)
        return found or self.every[round(sum(point) * SCALE) % len(self.every)]

    def proposal(self, known: Known, members: list[Member], seed: int, count: int) -> list[Point]:
        """Return the points with the numbers of this proposal; beyond the file, others near."""
        first = (seed % PER_SEED - 1) * count
        found: list[Point] = []
        for number in range(first, first + count):
            lap, place = divmod(number, len(self.points))
            found.append(tuple(round(abs(x - lap / SCALE), 4) for x in self.points[place]))
        return found
