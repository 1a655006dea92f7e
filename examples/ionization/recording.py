"""The recorded values and costs of all molecules, and models of tasks that replay them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from delta import Estimates, predict, train
from levels import Relaxed
from search import Next, adiabatic, density, estimated, learned, vertical

from steerio.testing import Course, Model

FILE = Path(__file__).with_name("recorded.csv")
MODELS = Path(__file__).with_name("models.csv")
DEAR = Path(__file__).with_name("dear.csv")
LEVELS = ("vertical", "adiabatic", "density")


@dataclass(frozen=True)
class Row:
    """A molecule: its value, in eV, and its cost, in seconds, at each level that it has come to.

    Attributes:
        values: fewer than costs if the last one has failed.
        costs: seconds of processor time.
        failure: why it failed, if so.
    """

    values: list[float]
    costs: list[float]
    failure: str


class Recording:
    """All rows of the file. A name's first word is the molecule; there may be copies of it.

    Args:
        dear: have the last level cost what it costs in a larger basis, by the sample in `dear.csv`:
            all its costs times the same factor, and its values as they are.
    """

    def __init__(self, dear: bool = False) -> None:
        self.rows: dict[str, Row] = {}
        with FILE.open(newline="") as file:
            for row in csv.DictReader(file):
                values = [float(row[f"{level}_ev"]) for level in LEVELS if row[f"{level}_ev"]]
                costs = [float(row[f"{level}_s"]) for level in LEVELS if row[f"{level}_s"]]
                self.rows[row["smiles"]] = Row(values, costs, row["failure"])
        if dear:
            factor = Sample(self.rows).times_as_dear
            for row in self.rows.values():
                row.costs[2:] = [factor * cost for cost in row.costs[2:]]
        with MODELS.open(newline="") as file:
            rows = [[float(value) for value in row] for row in list(csv.reader(file))[1:]]
        self.known, self.train_s, self.infer_s = np.array(rows).T

    @property
    def last(self) -> dict[str, float]:
        """The values of the last level."""
        return {name: row.values[2] for name, row in self.rows.items() if len(row.values) == 3}

    @property
    def whole_s(self) -> float:
        """Seconds of all molecules at the last level, relaxation included."""
        return sum(sum(row.costs[1:]) for row in self.rows.values())

    def models(self) -> dict[Any, Any]:
        """Return how each task type behaves; models are really learned."""
        return {
            vertical: self.step,
            adiabatic: self.step,
            density: self.step,
            learned: Model(self.training_s, value=self.train),
            estimated: Model(self.inference_s, value=self.infer),
        }

    def step(self, _: Any, step: Next) -> Course:
        """Return how the step of a molecule went."""
        row = self.rows[step.smiles.split()[0]]
        if len(row.values) <= step.level:
            return Course(row.costs[step.level], fails=row.failure)
        value = row.values[step.level]
        relaxed = Relaxed(value, (), (), ())
        return Course(row.costs[step.level], value=relaxed if step.level == 1 else value)

    def training_s(self, _: Any, known: list[dict[str, float]]) -> float:
        """Return the seconds of a training, by the number of molecules that are known."""
        return float(np.interp(len(known[0]), self.known, self.train_s))

    def inference_s(
        self, _: Any, model: Any, known: list[dict[str, float]], molecules: list[str]
    ) -> float:
        """Return the seconds of an inference."""
        each_s = float(np.interp(len(known[0]), self.known, self.infer_s))
        return each_s * len(molecules)

    def train(self, known: list[dict[str, float]]) -> Any:
        """Train really: copies of a molecule are one."""
        return train([bare(values) for values in known])

    def infer(self, model: Any, known: list[dict[str, float]], molecules: list[str]) -> Any:
        """Infer really, and the same for copies of a molecule."""
        kinds = list(dict.fromkeys(name.split()[0] for name in molecules))
        found = predict(model, [bare(values) for values in known], kinds)
        place = {kind: number for number, kind in enumerate(kinds)}
        places = [place[name.split()[0]] for name in molecules]
        return Estimates(*(column[..., places] for column in found))


class Sample:
    """Some molecules in a larger basis on a finer grid, beside their rows.

    Attributes:
        seconds: of a molecule, in the mean.
        times_as_dear: as the last level, for the same molecules.
        correlation: of the ranks by both.
        count: of the molecules.
    """

    def __init__(self, rows: dict[str, Row]) -> None:
        with DEAR.open(newline="") as file:
            found = [
                (float(each["density_ev"]), float(each["density_s"]), rows[each["smiles"]])
                for each in csv.DictReader(file)
            ]
        self.count = len(found)
        self.seconds = sum(took_s for _, took_s, _ in found) / len(found)
        self.times_as_dear = self.seconds * len(found) / sum(row.costs[2] for *_, row in found)
        ranks = [np.argsort(np.argsort([value for value, *_ in found]))]
        ranks += [np.argsort(np.argsort([row.values[2] for *_, row in found]))]
        both: Any = np.corrcoef(ranks)
        self.correlation = float(both[0, 1])


def bare(values: dict[str, float]) -> dict[str, float]:
    """Return values by molecule, one for all of its copies."""
    return {name.split()[0]: value for name, value in values.items()}
