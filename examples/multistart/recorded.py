"""Fits that were computed once, with the time of each round; and the script that computed them.

    python examples/multistart/recorded.py       computes them all anew: some minutes

For each of ten seeds the first 24 starts, each to its end. A round's time is that of the processor,
so that it does not depend on how busy the machine was.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any, NamedTuple

from oscillator import rounds
from search import Halving

from steerio.testing import Course

FILE = Path(__file__).parent / "recorded.json"
SEEDS, STARTS = 10, 24


class Fit(NamedTuple):
    """A fit to its end: misfit and seconds of each round, and the parameters at the end."""

    misfits: list[float]
    seconds: list[float]
    point: list[float]

    @property
    def course(self) -> Course:
        """The course of its task in a simulation."""
        at_s, items = 0.0, list[tuple[float, Any]]()
        for number, (misfit, took_s) in enumerate(zip(self.misfits, self.seconds, strict=True)):
            at_s += took_s
            items.append((at_s, (number, misfit)))
        return Course(at_s, items=items, value=[self.misfits[-1], *self.point])


class Recorded:
    """The fits of the file, by seed and start; any other start is taken for one of them."""

    def __init__(self) -> None:
        fits = [Fit(*each) for each in json.loads(FILE.read_text())]
        calls = [_call(seed, number) for seed in range(1, SEEDS + 1) for number in range(STARTS)]
        self.fits = dict(zip(calls, fits, strict=True))

    def course(self, chance: random.Random, start: tuple[float, ...], seed: int) -> Course:
        """Return the course of a fit: a model of the task."""
        fit = self.fits.get((tuple(start), seed))
        return (fit or chance.choice(list(self.fits.values()))).course


def _call(seed: int, number: int) -> tuple[tuple[float, ...], int]:
    return Halving(seed, 1.0).ask(number)["start"], seed


def compute(start: tuple[float, ...], seed: int) -> Fit:
    """Compute a fit."""
    misfits, seconds = list[float](), list[float]()
    end: list[float] = []
    began_s = time.process_time()
    for misfit, point in rounds(start, seed):
        end = point
        misfits.append(round(misfit, 5))
        seconds.append(round(time.process_time() - began_s, 4))
        began_s = time.process_time()
    return Fit(misfits, seconds, [round(value, 5) for value in end])


def main() -> None:
    """Compute all fits, and write the file."""
    lines: list[str] = []
    for seed in range(1, SEEDS + 1):
        for number in range(STARTS):
            lines.append(json.dumps(compute(*_call(seed, number)), separators=(",", ":")))
        print(f"seed {seed}: {STARTS} fits", flush=True)
    FILE.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
