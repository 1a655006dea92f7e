"""Is steering worth it on more workers? Replay a finished search on imagined ones.

    python examples/molecules/replay.py RUN_DIR/molecules.csv --workers 2 8

Takes the energies and times of a run that computed every molecule (`--reference 10000`) and
plays two policies against them on an imagined clock, with rankings that are really learned:

- *steered*: each worker takes the best of what waits as soon as it is free, while one more
  worker ranks anew whatever waits;
- *batches*: all wait until a batch is done and ranked, then the next one goes out.

The two find nearly the same molecules with the same number of tasks. What differs is how long
the workers are held, idle ones included, and a machine bills that.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from surrogate import rank

RELEARN_EVERY = 8
BATCHES_PER_WORKER = 4
TOP_SHARE = 0.05


@dataclass
class Replayed:
    """What a policy chose, and when each molecule was done, in seconds from the start."""

    chosen: list[str] = field(default_factory=list)
    done_s: list[float] = field(default_factory=list)

    def ended(self, smiles: str, now_s: float) -> None:
        """Note the end of one task."""
        self.chosen.append(smiles)
        self.done_s.append(now_s)

    def found_by(self, now_s: float, top: set[str]) -> int:
        """Return how many of the top were done by then."""
        ends = zip(self.chosen, self.done_s, strict=True)
        return sum(smiles in top for smiles, done_s in ends if done_s <= now_s)


@dataclass(frozen=True)
class Table:
    """The energy, in eV, and the time, in seconds, of every molecule."""

    energies: dict[str, float]
    seconds: dict[str, float]
    ranking_s: Callable[[int], float] | None = None
    """The seconds of a ranking by how many energies are known; without it they are measured."""

    @classmethod
    def read(
        cls, path: Path, slower: float, ranking_s: Callable[[int], float] | None = None
    ) -> Table:
        """Read what a run wrote; each molecule takes `slower` times as long."""
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return cls(
            {row["smiles"]: float(row["ionization_energy_ev"]) for row in rows},
            {row["smiles"]: float(row["seconds"]) * slower for row in rows},
            ranking_s,
        )

    def top(self) -> set[str]:
        """Return the twentieth with the highest energies."""
        count = round(TOP_SHARE * len(self.energies))
        return set(heapq.nlargest(count, self.energies, key=self.energies.__getitem__))

    def timed_rank(self, known: list[str], waiting: list[str]) -> tuple[dict[str, float], float]:
        """Return the scores of what waits, and the processor seconds they took."""
        started_s = time.process_time()
        scores = rank({smiles: self.energies[smiles] for smiles in known}, waiting)
        if self.ranking_s is not None:
            return scores, self.ranking_s(len(known))
        return scores, time.process_time() - started_s


def steered(table: Table, order: list[str], workers: int, budget: int) -> Replayed:
    """Play the policy that never waits."""
    run = Replayed()
    waiting = order[::-1]  # the best is last
    running: list[tuple[float, str]] = []  # a heap of ends
    ranking: tuple[float, dict[str, float]] | None = None  # its end, and what comes out
    learned_from, now_s = 0, 0.0
    while len(run.chosen) < budget:
        while len(running) < workers and len(run.chosen) + len(running) < budget:
            smiles = waiting.pop()
            heapq.heappush(running, (now_s + table.seconds[smiles], smiles))
        if ranking is not None and ranking[0] <= running[0][0]:
            now_s, scores = ranking
            waiting.sort(key=scores.__getitem__)
            ranking = None
        else:
            now_s, smiles = heapq.heappop(running)
            run.ended(smiles, now_s)
        if ranking is None and len(run.chosen) - learned_from >= RELEARN_EVERY:
            learned_from = len(run.chosen)
            scores, took_s = table.timed_rank(run.chosen, waiting)
            ranking = (now_s + took_s, scores)
    return run


def in_batches(table: Table, order: list[str], workers: int, budget: int, batch: int) -> Replayed:
    """Play the policy that waits for each batch."""
    run = Replayed()
    now_s, picks, waiting = 0.0, order[:batch], order[batch:]
    while True:
        free = [now_s] * workers  # a heap of when each worker is free again
        for smiles in picks:
            run.ended(smiles, heapq.heappop(free) + table.seconds[smiles])
            heapq.heappush(free, run.done_s[-1])
        if len(run.chosen) >= budget:
            return run
        scores, took_s = table.timed_rank(run.chosen, waiting)
        now_s = max(free) + took_s
        waiting.sort(key=scores.__getitem__, reverse=True)
        size = min(batch, budget - len(run.chosen))
        picks, waiting = waiting[:size], waiting[size:]


def rows(table: Table, workers: int, budget: int, seed: int) -> dict[str, tuple[float, ...]]:
    """Return for each policy what main() prints as a row."""
    order = [str(s) for s in np.random.default_rng(seed).permutation(list(table.energies))]
    runs = {"steered": steered(table, order, workers, budget)}
    end_s = runs["steered"].done_s[-1]
    for size in sorted({RELEARN_EVERY, BATCHES_PER_WORKER * workers}):
        runs[f"batches of {size}"] = in_batches(table, order, workers, budget, size)
    top = table.top()
    found: dict[str, tuple[float, ...]] = {}
    for name, run in runs.items():
        last_s = max(run.done_s)
        busy = sum(table.seconds[smiles] for smiles in run.chosen) / (workers * last_s)
        hits = run.found_by(last_s, top)
        found[name] = (len(run.chosen), hits, last_s, busy, run.found_by(end_s, top))
    return found


def main(arguments: list[str]) -> None:
    """Print the mean of each policy's repeats for each number of workers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("table", type=Path, help="molecules.csv of a run")
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--budget", type=int, default=1000, help="tasks (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="with other orders (%(default)s)")
    parser.add_argument("--slower", type=float, default=1.0, help="make each molecule dearer")
    given = parser.parse_args(arguments)
    table = Table.read(given.table, given.slower)
    given.budget = min(given.budget, len(table.energies))
    rank({}, list(table.energies))  # reads all molecules, which is not to be timed
    print("workers  policy          tasks  top found   seconds   busy  found when steering ends")
    for workers in given.workers:
        repeats = [rows(table, workers, given.budget, seed) for seed in range(given.repeats)]
        for name in repeats[0]:
            tasks, hits, last_s, busy, by_then = np.mean([run[name] for run in repeats], axis=0)
            print(
                f"{workers:7}  {name:<14}{tasks:7.0f}{hits:11.0f}{last_s:10.1f}{busy:7.0%}"
                f"{by_then:26.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
