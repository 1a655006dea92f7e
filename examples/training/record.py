"""Records simulations, trainings and proposals, and how long they take, for ``compare.py``.

    python examples/training/record.py --quick         durations of little, and writes no file
    python examples/training/record.py --durations     a minute: writes durations.json
    python examples/training/record.py                 some minutes of two cores: recorded.npz

Each way of working is run in virtual time with networks that are really trained, by one process:
gangs come to the same weights. Durations are those of the processor, so that they do not depend on
how busy the machine was; of a gang, of its slowest rank. Values are those of a grid of `COARSE`
cells, which differ by about 0.005 from those of `reactor.CELLS`; durations are of the latter.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import reactor
from compare import SEEDS, WAYS, ranks_of, run
from members import Known, Member, check_torch, propose
from reactor import DIMENSIONS, Point
from recorded import DURATIONS, FILE, SCALE, Durations, Seen, Source
from search import MEMBERS

import steerio
from steerio import Gang, task

COARSE = 60
ROWS, QUICK_ROWS = (32, 128, 512, 2048), (32, 128)
RANKS = (1, 2, 4)
ALONE = Gang(0, 1, "127.0.0.1", 0)
REPEATS = 3


class Real(Source):
    """Simulations, trainings and proposals that are really computed, and kept."""

    def __init__(self, ranks: int) -> None:
        super().__init__(ranks)
        self.known: dict[Point, Seen] = {}
        self.points: list[Point] = []
        self.members: dict[tuple[int, int], Member] = {}

    def value(self, point: Point) -> Seen:
        """Simulate on a coarse grid."""
        if point not in self.known:
            value, steps = reactor.profit(point)
            self.known[point] = Seen(round(value, 4), steps)
        return self.known[point]

    def member(self, known: Known, seed: int) -> Member:
        """Train a member, once for all workers of its gang."""
        key = len(known["values"]), seed
        if key not in self.members:
            self.members = {key: member(known, seed)}
        return self.members[key]

    def proposal(self, known: Known, members: list[Member], seed: int, count: int) -> list[Point]:
        """Propose points."""
        points = propose.function(known, members, seed, count)["points"]
        self.points += points
        return points


def member(known: Known, seed: int) -> Member:
    """Train a member in this process."""
    from network import trained

    state = trained(known["points"], known["values"], seed, ALONE)
    return Member(rows=len(known["values"]), state=state)


def recorded(way: str, seed: int) -> dict[str, Any]:
    """Run a way, and return what is to be kept of it."""
    reactor.CELLS = COARSE
    source = Real(ranks_of(way))
    run(way, seed, source)
    first = [point for point in source.known if point not in set(source.points)]
    points = first + source.points
    seen = [source.value(point) for point in points]
    return {
        "points": np.rint(np.array(points) * SCALE).astype(np.uint16),
        "values": np.rint(np.array([each.value for each in seen]) * SCALE).astype(np.int16),
        "steps": np.array([each.steps for each in seen], np.uint8),
        "proposed": np.arange(len(points)) >= len(first),
        "way": np.full(len(points), list(WAYS).index(way), np.uint8),
        "seed": np.full(len(points), seed, np.uint8),
    }


@task(pool="learn", preload=["torch"])
def timed(rows: int, repeats: int) -> float:
    """Train on random values; return the seconds of the slowest rank's processor (median)."""
    import torch
    import torch.distributed as dist
    from network import joined, trained

    chance = np.random.default_rng(rows)
    points, values = chance.random((rows, DIMENSIONS)), chance.random(rows)
    gang = steerio.gang()
    found: list[float] = []
    with joined(gang):
        for _ in range(repeats):
            began = time.process_time()
            trained(points, values, 0, gang)
            took = torch.tensor([time.process_time() - began])
            if gang.size > 1:
                dist.all_reduce(took, op=dist.ReduceOp.MAX)
            found.append(float(took))
    return float(np.median(found))


async def trainings(
    rows: tuple[int, ...], sizes: tuple[int, ...], repeats: int
) -> dict[str, list[float]]:
    """Return how long trainings take, by the size of the gang, for some numbers of rows."""
    async with steerio.open_session(workers={"learn": max(sizes)}, pin=False) as session:
        return {
            str(ranks): [
                round(await session.options(gang=ranks).run(timed, each, repeats), 4)
                for each in rows
            ]
            for ranks in sizes
        }


def step_s() -> float:
    """Return the seconds of one step of a simulation."""
    took: list[float] = []
    for point in np.random.default_rng(0).random((12, DIMENSIONS)).tolist():
        began = time.process_time()
        _, steps = reactor.profit(tuple(point))
        took.append((time.process_time() - began) / steps)
    return float(np.median(took))


def point_s() -> float:
    """Return the seconds of one point of a proposal."""
    chance = np.random.default_rng(0)
    known = Known(points=chance.random((128, DIMENSIONS)), values=chance.random(128))
    members = [member(known, seed) for seed in range(MEMBERS)]
    took: list[float] = []
    for seed in range(5):
        began = time.process_time()
        propose.function(known, members, seed, 4)
        took.append((time.process_time() - began) / 4)
    return float(np.median(took))


def measure(quick: bool) -> Durations:
    """Return the durations of tasks; if that has to be quick, of gangs of one and two alone."""
    rows, sizes, repeats = (QUICK_ROWS, RANKS[:2], 1) if quick else (ROWS, RANKS, REPEATS)
    fit_s = asyncio.run(trainings(rows, sizes, repeats))
    return Durations(round(step_s(), 5), round(point_s(), 5), list(rows), fit_s)


def main() -> None:
    """Measure durations, or run all ways with all seeds, and write the file."""
    parser = argparse.ArgumentParser(description="Record trainings and simulations.")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="durations of little, and no file")
    parser.add_argument("--durations", action="store_true", help="durations alone")
    asked = parser.parse_args()
    check_torch()
    if asked.quick or asked.durations:
        found = measure(asked.quick)
        print(found)
        if asked.durations:
            DURATIONS.write_text(json.dumps(found._asdict()) + "\n")
        return
    parts: list[dict[str, Any]] = []
    jobs = [(way, seed) for seed in range(1, SEEDS + 1) for way in WAYS]
    with ProcessPoolExecutor(asked.processes) as processes:
        for (way, seed), part in zip(
            jobs, processes.map(recorded, *zip(*jobs, strict=True)), strict=True
        ):
            parts.append(part)
            print(f"{way}, seed {seed}: {part['values'].max() / SCALE:.3f}", flush=True)
            kept: dict[str, Any] = {
                name: np.concatenate([each[name] for each in parts]) for name in part
            }
            np.savez_compressed(FILE, ways=np.array(list(WAYS)), **kept)
    print(f"{FILE.name}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
