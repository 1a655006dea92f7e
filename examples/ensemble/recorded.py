"""Proposals of ensembles that were trained once, and the times of tasks; and the script for both.

    python examples/ensemble/recorded.py           trains and proposes anew: some minutes
    python examples/ensemble/recorded.py --more    only with seeds that the file has not

``recorded.json`` has, for each of ten seeds, every point that was proposed in a search of 192
evaluations, and how long training takes by what is known.  Times are those of the processor, so
that they do not depend on how busy the machine was.
"""

from __future__ import annotations

import argparse
import json
import time
from bisect import bisect_left
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from search import DIMENSIONS, PER_SEED, Array, Ensemble, Surrogate, hartmann, propose, train

from steerio.testing import Model, SimulatedRun, simulate

FILE = Path(__file__).parent / "recorded.json"
SEEDS = 10
BUDGET = 192
WORKERS = {"simulate": 6, "learn": 1, "infer": 1}
KNOWN = (32, 128, 512, 2_048)
EVALUATION_S = 2.0
"""An evaluation stands for a simulation, and is taken to last as long as this: it takes no time."""


class Quiet(Ensemble):
    """The search, without a word at its end."""

    async def finish(self) -> None:
        """Say nothing."""


class Recorded:
    """The proposals of the file by seed and number, and the times of tasks."""

    def __init__(self) -> None:
        content = json.loads(FILE.read_text())
        self.proposals: dict[str, list[list[float]]] = content["proposals"]
        self.train_s: list[tuple[int, float]] = [tuple(each) for each in content["train_s"]]
        self.propose_s: float = content["propose_s"]

    def proposal(self, members: Any, seed: int, candidates: int) -> tuple[list[float], float]:
        """Return what was proposed; beyond what is recorded, what another proposal was."""
        known = self.proposals[str(seed // PER_SEED % len(self.proposals))]
        return known[(seed % PER_SEED - 1) % len(known)], 0.0

    def training_s(self, _: Any, points: Array, values: Array, seed: int) -> float:
        """Return the seconds of a training by what is known; beyond the file, by its square."""
        if len(points) >= self.train_s[-1][0]:
            most, most_s = self.train_s[-1]
            return most_s * (len(points) / most) ** 2
        place = max(1, bisect_left(self.train_s, (len(points), 0.0)))
        (less, less_s), (more, more_s) = self.train_s[place - 1 : place + 1]
        return max(0.0, less_s + (more_s - less_s) * (len(points) - less) / (more - less))

    def search(self, seed: int, workers: dict[str, int], **options: Any) -> SimulatedRun[Ensemble]:
        """Replay a search on a simulated cluster."""
        models = {
            hartmann: Model(EVALUATION_S),
            train: Model(self.training_s, value=lambda points, values, seed: no_model()),
            propose: Model(self.propose_s, value=self.proposal),
        }
        return simulate(Quiet(seed=seed, **options), model=models, workers=workers)


def no_model() -> Surrogate:
    """Return a model without any feature, which stands for one in a replay."""
    nothing = np.zeros(0)
    return Surrogate(frequencies=nothing, phases=nothing, weights=nothing, factor=nothing)


def searched(seed: int) -> tuple[list[list[float]], list[float]]:
    """Search with a seed; return all proposals in the order of their numbers, and their times."""
    proposals: dict[int, list[float]] = {}
    times: list[float] = []

    def proposed(members: Any, seed: int, candidates: int) -> tuple[list[float], float]:
        began_s = time.process_time()
        point, bound = propose.function(members, seed, candidates)
        times.append(time.process_time() - began_s)
        proposals[seed] = [round(part, 4) for part in point]
        return proposals[seed], bound

    models = {hartmann: Model(EVALUATION_S), train: Model(0.5), propose: Model(0.1, value=proposed)}
    search = Quiet(BUDGET, seed=seed)
    simulate(search, model=models, workers=WORKERS, wall_limit_s=3600)
    return [proposals[number] for number in sorted(proposals)], times


def trainings() -> list[tuple[int, float]]:
    """Time trainings by how much is known."""
    chance = np.random.default_rng(0)
    found: list[tuple[int, float]] = []
    for count in KNOWN:
        points = chance.random((count, DIMENSIONS))
        began_s = time.process_time()
        train.function(points, points.sum(axis=1), 0)
        found.append((count, round(time.process_time() - began_s, 4)))
    return found


def main() -> None:
    """Time trainings, search with each seed, on two cores, and write the file."""
    parser = argparse.ArgumentParser(description="Train and propose once.")
    parser.add_argument("--more", action="store_true", help="keep the seeds that the file has")
    known = Recorded() if parser.parse_args().more else None
    train_s = trainings() if known is None else known.train_s
    found = {} if known is None else known.proposals
    times: list[float] = []
    missing = [seed for seed in range(SEEDS) if str(seed) not in found]
    with ProcessPoolExecutor(2) as pool:
        for seed, (proposals, took_s) in zip(missing, pool.map(searched, missing), strict=True):
            found[str(seed)] = proposals
            times += took_s
            propose_s = sorted(times)[len(times) // 2] if known is None else known.propose_s
            rows = [f'"{n}":' + json.dumps(p, separators=(",", ":")) for n, p in found.items()]
            shown = ",\n".join(rows)
            FILE.write_text(
                f'{{"proposals":{{\n{shown}\n}},\n"train_s":{json.dumps(train_s)},\n'
                f'"propose_s":{propose_s:.4f}}}\n'
            )
            print(f"seed {seed}", flush=True)


if __name__ == "__main__":
    main()
