"""Steered replicas against others at equal cost, on recorded dynamics.

    python examples/adaptive/compare.py --quick
    python examples/adaptive/compare.py              ten seeds, some minutes
    python examples/adaptive/compare.py --scale      on 64 and 1,024 workers

The replicas are put together from the short real ones of ``segments.npz``: each goes on with a
segment, drawn at random, that began in the bin in which the last one ended. So the share of time
beyond the barrier is known exactly, by linear algebra, and each way can be judged by it. The policy
is that of ``search.py``; workers are simulated, with the measured durations.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from dipeptide import FRAMES, Array, Frames, Start, replica
from sampler import BEYOND, BINS, LONGEST, Way, agreement, places_of
from search import MORE, Adaptive

from steerio.testing import Course, SimulatedRun, simulate

WAYS: tuple[Way, ...] = ("steered", "whole", "random", "long")
BLOCKS, OF_BLOCKS = 10, 2.26
"""Of one trajectory; and the half-width of the 95 % interval of their mean, in standard errors."""
WORKERS = 8
MOST = 100.0
NO_ATOMS = np.empty((FRAMES, 0), np.float32)


class Recording:
    """Moves from frame to frame of short real replicas, by the bin in which they begin."""

    def __init__(self) -> None:
        with np.load(Path(__file__).with_name("segments.npz")) as file:
            torsions = file["torsions"].astype(np.float32) * (360 / 256)
            self.frame_s, self.begin_s = file["seconds"].tolist()
        moves: list[list[Array]] = [[] for _ in torsions]
        for segment in torsions.reshape(-1, torsions.shape[2], 2):
            for place, end in zip(places_of(segment[:-1]).tolist(), segment[1:], strict=True):
                moves[place].append(end)
        for found, segments in zip(moves, torsions, strict=True):
            if len(found) < len(segments):  # hardly ever come to
                found += list(segments[:, 0])
        self.moves = moves
        self.places = [places_of(np.array(each)).tolist() for each in moves]

    def walk(self, rng: random.Random, place: int) -> Iterator[Array]:
        """Yield torsions without end, from a bin on."""
        while True:
            chosen = rng.randrange(len(self.moves[place]))
            yield self.moves[place][chosen]
            place = self.places[place][chosen]

    def draw(self, rng: random.Random, start: Start, number: int) -> Course:
        """Draw the course of a replica, with one item more than are asked of any.

        As in reality its number is the seed, so an attempt that was lost is repeated exactly.
        """
        walk = self.walk(random.Random(number), int(places_of(np.array([start[:2]]))[0]))
        items = [
            (
                self.begin_s + (index + 1) * FRAMES * self.frame_s,
                Frames(np.array(list(islice(walk, FRAMES))), NO_ATOMS),
            )
            for index in range(LONGEST + 1)
        ]
        return Course(items[-1][0] + self.frame_s, items=items)

    def truth(self) -> tuple[float, int]:
        """Return the share of frames beyond the barrier, of a replica without end; and its bins."""
        size = BINS * BINS
        moves = np.array([np.bincount(each, minlength=size) for each in self.places])
        chances = moves / moves.sum(1, keepdims=True)
        share = np.linalg.matrix_power(chances, 2**30)[0]
        return float(share @ BEYOND), int((share > 1e-12).sum())


class Replayed(Adaptive):
    """The campaign without OpenMM, and without a word at its end."""

    async def setup(self) -> None:
        """Need nothing."""

    async def finish(self) -> None:
        """Say nothing."""


def run(recording: Recording, workers: int, seed: int, **options: Any) -> SimulatedRun[Replayed]:
    """Return a campaign that was simulated."""
    campaign = Replayed(seed=seed, **options)
    model = {replica: recording.draw}
    return simulate(campaign, model=model, workers={"dynamics": workers}, seed=seed)


def one_trajectory(recording: Recording, seed: int, within: float) -> tuple[float, float, float]:
    """Go on with one trajectory until its block standard error is small.

    Returns:
        Its frames in ns, the share beyond the barrier, and the half-width.
    """
    rng = random.Random(seed)
    walk = recording.walk(rng, int(places_of(np.array([[-80.0, 70.0]]))[0]))
    torsions, due = np.empty((0, 2)), 1000
    while True:
        torsions = np.concatenate([torsions, np.array(list(islice(walk, due - len(torsions))))])
        beyond = BEYOND[places_of(torsions)]
        blocks = [block.mean() for block in np.array_split(beyond, BLOCKS)]
        around = OF_BLOCKS * stdev(blocks) / BLOCKS**0.5
        if around < within:
            return len(torsions) / 1000, float(beyond.mean()), around
        due = math.ceil(MORE * len(torsions))


def equal_cost(recording: Recording, seeds: range, nanoseconds: float) -> None:
    """Print what each way has found after as many frames."""
    truth, bins = recording.truth()
    print(f"after {nanoseconds:g} ns; the recording has {bins} bins, and {truth:.2%} is beyond")
    print(f"{'':10}{'replicas':>10}{'bins seen':>14}{'share':>18}{'error':>10}{'busy':>8}")
    for way in WAYS:
        found: list[tuple[float, ...]] = []
        for seed in seeds:
            ran = run(recording, WORKERS, seed, way=way, nanoseconds=nanoseconds, within=0.0)
            campaign = ran.campaign
            share, _ = agreement(campaign.teams)
            found.append((len(campaign.walks), campaign.bins, share, ran.utilisation("dynamics")))
        replicas, seen, shares, busy = zip(*found, strict=True)
        error = mean((share - truth) ** 2 for share in shares) ** 0.5
        print(
            f"{way:10}{mean(replicas):>10.0f}{spread(seen, ''):>14}{spread(shares):>18}"
            f"{error:>10.1%}{mean(busy):>8.1%}",
            flush=True,
        )


def rules(recording: Recording, seeds: range, within: float) -> None:
    """Print when each rule says that the share is known, and how often that is false."""
    truth, _ = recording.truth()
    print(f"until the half-width of a 95 % interval is below {within:.1%}")
    print(f"{'':34}{'said so after':>18}{'falsely':>12}{'not at all':>12}")
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in seeds:
        name = "one trajectory, by blocks"
        found.setdefault(name, []).append(one_trajectory(recording, seed, within))
        for way in ("long", "steered"):
            campaign = run(recording, WORKERS, seed, way=way, nanoseconds=MOST, within=within)
            each = (campaign.campaign.frames / 1000, *agreement(campaign.campaign.teams))
            found.setdefault(f"between four teams, {way}", []).append(each)
    for name, ends in found.items():
        times, shares, arounds = zip(*ends, strict=True)
        false = sum(abs(a - truth) > max(b, within) for a, b in zip(shares, arounds, strict=True))
        late = sum(around >= within for around in arounds)
        print(
            f"{name:34}{spread(times, ' ns'):>18}{false:>6} of {len(ends)}  {late} not in {MOST} ns"
        )


def scale(recording: Recording) -> None:
    """Print how busy many workers are, with the measured durations and a policy that takes time."""
    for workers in (64, 1024):
        for handler_cost in (0.0, "measured"):
            began = time.perf_counter()
            ns = workers * 0.2
            ran = run(recording, workers, 1, nanoseconds=ns, within=0.0, handler_cost=handler_cost)
            print(workers, handler_cost, ran.utilisation("dynamics"), time.perf_counter() - began)


def spread(values: Any, unit: str = "%") -> str:
    """Return mean and standard deviation."""
    values = [100 * value for value in values] if unit == "%" else list(values)
    around = stdev(values) if len(values) > 1 else 0.0
    return f"{mean(values):.1f} +- {around:.1f}{' ' * (unit == '%')}{unit}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Steered replicas, against others.")
    parser.add_argument("--quick", action="store_true", help="one seed, and fewer frames")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--nanoseconds", type=float, default=10.0, help="for the first table")
    parser.add_argument("--within", type=float, default=0.03, help="for the second table")
    parser.add_argument("--scale", action="store_true", help="64 and 1,024 workers instead")
    asked = parser.parse_args()
    recording = Recording()
    if asked.scale:
        return scale(recording)
    seeds = range(1, 2 if asked.quick else asked.seeds + 1)
    equal_cost(recording, seeds, 2.0 if asked.quick else asked.nanoseconds)
    return rules(recording, seeds, 0.1 if asked.quick else asked.within)


if __name__ == "__main__":
    main()
