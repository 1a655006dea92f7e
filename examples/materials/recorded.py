"""The stages as they were recorded, for a simulated cluster: what became of real candidates."""

from __future__ import annotations

import json
import random
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from adsorption import Uptake, adsorb
from dynamics import Dynamics, relax
from frameworks import Framework, Pores, assemble, check_packages, pores
from linkers import LinkerModel, generate, train
from search import LONG

from steerio.testing import Course, Model

FILE = Path(__file__).with_name("recorded.json")
WRITE_S, TRAIN_S = 0.0001, 0.001
"""Of a linker, and of an outcome that is learned from, rounded up."""


class Recording:
    """The stages of recorded candidates.

    A linker that was not recorded goes as one that was, drawn from those which have most of its
    fragments: always the same one for a linker, whatever the seed and the policy.
    """

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = json.loads(FILE.read_text())
        self.fragments = [Counter(entry["linker"].split(" ")) for entry in self.entries]
        self.like = cache(self._like)

    def _like(self, linker: str) -> dict[str, Any]:
        asked = Counter(linker.split(" "))
        alike = [2 * (asked & each).total() - each.total() for each in self.fragments]
        most = max(alike)
        best = [entry for entry, each in zip(self.entries, alike, strict=True) if each == most]
        return random.Random(linker).choice(best)

    @property
    def models(self) -> dict[Any, Any]:
        """The models of the tasks."""
        return {
            check_packages: Model(0.0),
            generate: self.written,
            train: self.trained,
            assemble: self.assembled,
            pores: self.probed,
            relax: self.moved,
            adsorb: self.measured,
        }

    def written(self, rng: random.Random, model: LinkerModel, count: int, seed: int) -> Course:
        """Draw the course of a generator: it is called, as it takes no time."""
        linkers = enumerate(generate.function(model, count, seed), 1)
        items = [(WRITE_S * index, each) for index, each in linkers]
        return Course(WRITE_S * (count + 1), items=items)

    def trained(self, rng: random.Random, worth: dict[str, float]) -> Course:
        """Draw the course of a training."""
        return Course(TRAIN_S * (1 + len(worth)), value=train.function(worth))

    def assembled(self, rng: random.Random, linker: str) -> Course:
        """Draw the course of an assembly."""
        seconds, good = self.like(linker)["assemble"]
        return Course(seconds, value=Framework(linker), fails=not good)

    def probed(self, rng: random.Random, framework: Framework) -> Course:
        """Draw the course of a measurement of pores."""
        seconds, free = self.like(framework.linker)["pores"]
        return Course(seconds, value=Pores(free or 0.0, 0.0), fails=free is None)

    def moved(
        self, rng: random.Random, framework: Framework, picoseconds: float, seed: int
    ) -> Course:
        """Draw the course of molecular dynamics."""
        seconds, strain = self.like(framework.linker)["dynamics"]
        return Course(seconds, value=Dynamics(framework, strain or 0.0), fails=strain is None)

    def measured(
        self, rng: random.Random, framework: Framework, cycles: int, seed: int, _: bool
    ) -> Course:
        """Draw the course of a run of adsorption: a recorded one of that length, by its seed."""
        entry = self.like(framework.linker)
        runs = entry["long" if cycles == LONG else "short"]
        told = runs[(seed - 1) % len(runs)]
        return Course(told[0], value=Uptake(told[1], 0.0))
