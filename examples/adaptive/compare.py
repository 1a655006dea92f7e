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
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
from dipeptide import FRAMES, Array, Frames, Start, replica
from sampler import BEYOND, BINS, ITEMS, Way, places_of
from search import MORE, Adaptive

from steerio import Published
from steerio.testing import Course, SimulatedRun, simulate

WAYS: tuple[Way, ...] = ("steered", "whole", "random", "long")
BLOCKS, OF_BLOCKS = 10, 2.26
"""Of one trajectory; and the half-width of the 95 % interval of their mean, in standard errors."""
WORKERS = 8
PER_WORKER_NS = 0.02
SEEDS, NANOSECONDS, QUICK_NS, WITHIN = 10, 10.0, 2.0, 0.1
ONE = "one trajectory"
NAMES: dict[Way, str] = {
    "steered": "steered",
    "whole": "begun as steered, halted never",
    "random": "begun in any bin that was seen",
    "long": "going on and on",
}
POLICY = (
    *(f"search.py:Adaptive.{name}" for name in ("workers", "__init__", "explore", "follow")),
    "search.py:Adaptive.judge",
    *(f"sampler.py:{name}" for name in ("Walk", "Team", "share_of", "reached", "agreement")),
)
NO_ATOMS = np.empty((FRAMES, 0), np.float32)


class Recording:
    """Moves from frame to frame of short real replicas, by the bin in which they begin."""

    def __init__(self) -> None:
        with np.load(Path(__file__).with_name("segments.npz")) as file:
            torsions = file["torsions"].astype(np.float32) * (360 / 256)
            self.frame_s, self.begin_s = file["seconds"].tolist()
        self.slower = 1
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

    def draw(self, rng: random.Random, start: Start, number: int, way: Way = "steered") -> Course:
        """Draw the course of a replica, with one item more than are asked of any.

        As in reality its number is the seed, so an attempt that was lost is repeated exactly.
        """
        walk = self.walk(random.Random(number), int(places_of(np.array([start[:2]]))[0]))
        item_s = self.slower * FRAMES * self.frame_s
        items = [
            (
                self.begin_s + (index + 1) * item_s,
                Frames(np.array(list(islice(walk, FRAMES))), NO_ATOMS),
            )
            for index in range(ITEMS[way] + 1)
        ]
        return Course(items[-1][0] + item_s, items=items)

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


class Outcome(NamedTuple):
    """What a way came to.

    Attributes:
        share: of time beyond the barrier, in the end.
        around: the half-width of its 95 % interval.
        said: nanoseconds, share and half-width when the latter was small enough first.
        replicas: how many were begun.
        bins: that were seen.
        busy: the share of their time in which workers were busy.
        worker_s: seconds of workers in tasks.
    """

    share: float
    around: float
    said: tuple[float, float, float] | None
    replicas: int = 0
    bins: int = 0
    busy: float = 0.0
    worker_s: float = 0.0


def run(
    recording: Recording,
    workers: int,
    seed: int,
    cost: Any = None,
    way: Way = "steered",
    **options: Any,
) -> SimulatedRun[Replayed]:
    """Return a campaign that was simulated."""
    return simulate(
        Replayed(seed=seed, way=way, **options),
        model={replica: partial(recording.draw, way=way)},
        workers={"dynamics": workers},
        seed=seed,
        handler_cost=cost,
    )


def of_seed(seed: int, nanoseconds: float, within: float) -> dict[str, Outcome]:
    """Return what each way, and one trajectory, come to with a seed."""
    recording = Recording()
    found = {ONE: one_trajectory(recording, seed, within)}
    for way in WAYS:
        ran = run(recording, WORKERS, seed, way=way, nanoseconds=nanoseconds, within=0.0)
        notes = [
            (each["frames"] / 1000, each["share"], each["around"])
            for event in ran.events
            if isinstance(event, Published) and event.topic == "note"
            for each in [event.value]
        ]
        said = next((note for note in notes if note[2] < within), None)
        _, share, around = notes[-1]
        busy, (worker_s, _) = ran.utilisation(), ran.worker_seconds()
        replicas, bins = len(ran.campaign.walks), ran.campaign.bins
        found[way] = Outcome(share, around, said, replicas, bins, busy, worker_s)
    return found


def one_trajectory(recording: Recording, seed: int, within: float) -> Outcome:
    """Go on with one trajectory until its block standard error is small."""
    walk = recording.walk(random.Random(seed), int(places_of(np.array([[-80.0, 70.0]]))[0]))
    torsions = np.empty((0, 2))
    while True:
        due = max(1000, math.ceil(MORE * len(torsions)))
        torsions = np.concatenate([torsions, np.array(list(islice(walk, due - len(torsions))))])
        beyond = BEYOND[places_of(torsions)]
        blocks = [block.mean() for block in np.array_split(beyond, BLOCKS)]
        around = OF_BLOCKS * stdev(blocks) / BLOCKS**0.5
        if around < within:
            said = len(torsions) / 1000, float(beyond.mean()), around
            return Outcome(*said[1:], said)


def measured(
    seeds: int, nanoseconds: float, within: float, processes: int = 2
) -> dict[str, list[Outcome]]:
    """Return what each way came to, with each seed."""
    found: dict[str, list[Outcome]] = {}
    each = partial(of_seed, nanoseconds=nanoseconds, within=within)
    with ProcessPoolExecutor(processes) as pool:
        for outcomes in pool.map(each, range(1, seeds + 1)):
            for name, outcome in outcomes.items():
                found.setdefault(name, []).append(outcome)
    return found


def compare(quick: bool = False) -> dict[str, Any]:
    """Return the table for `python -m bench science`: see its README."""
    seeds, nanoseconds = (2, QUICK_NS) if quick else (SEEDS, NANOSECONDS)
    truth, _ = Recording().truth()
    table = measured(seeds, nanoseconds, WITHIN)
    bins = ", ".join(f"{mean(each.bins for each in table[way]):.0f}" for way in WAYS)
    agreed = sum(each.around < WITHIN for way in WAYS for each in table[way])
    return {
        "setting": f"{nanoseconds:g} ns of frames, {WORKERS} workers",
        "cost": "worker seconds in tasks",
        "score": f"error of the share ({truth:.1%}), percentage points",
        "better": "lower",
        "ways": [
            {
                "way": NAMES[way],
                "cost": [each.worker_s for each in table[way]],
                "score": [100 * abs(each.share - truth) for each in table[way]],
                "busy": [each.busy for each in table[way]],
            }
            for way in WAYS
        ],
        "does_not_pay": f"to find the wells themselves: the ways see about as many bins ({bins}); "
        f"and if no more can be sampled: no way knows the share yet, and says so, as the teams "
        f"agree in {agreed} of {len(WAYS) * seeds} runs",
    }


def at_scale(workers: int) -> SimulatedRun[Any]:
    """Return the policy's run with about ten items of replicas for each worker, simulated."""
    return run(Recording(), workers, 1, nanoseconds=workers * PER_WORKER_NS, within=0.0)


def show(found: dict[str, list[Outcome]], truth: float) -> None:
    """Print the table."""
    print(f"{'':16}{'replicas':>9}{'bins':>6}{'busy':>7}{'error':>9}{'half-width':>18}", end="")
    print(f"{'said so':>10}{'after':>18}{'falsely':>9}")
    for name, outcomes in found.items():
        seeds = len(outcomes)
        print(f"{name:16}", end="")
        if name in WAYS:
            replicas, bins = mean(o.replicas for o in outcomes), mean(o.bins for o in outcomes)
            error = mean((o.share - truth) ** 2 for o in outcomes) ** 0.5
            print(f"{replicas:>9.0f}{bins:>6.0f}{mean(o.busy for o in outcomes):>7.1%}", end="")
            print(f"{error:>9.1%}{spread([100 * o.around for o in outcomes], '%'):>18}", end="")
        else:
            print(f"{'':49}", end="")
        said = [o.said for o in outcomes if o.said]
        false = sum(abs(share - truth) > around for _, share, around in said)
        after = spread([each[0] for each in said], "ns") if said else ""
        print(f"{len(said):>4} of {seeds:<2}{after:>18}{false if said else '':>9}")


def scale(recording: Recording) -> None:
    """Print how busy many workers are, with the measured durations and a policy that takes time."""
    print("replicas as measured, and a molecule whose frames take 100 times as long")
    for workers in (64, 1024):
        for slower in (1, 100):
            recording.slower = slower
            for cost in (None, "measured"):
                began = time.perf_counter()
                ns = workers * PER_WORKER_NS
                ran = run(recording, workers, 1, cost, nanoseconds=ns, within=0.0)
                print(
                    f"{workers:>6,} workers, {slower:>3} times, "
                    f"policy {'takes its time' if cost else 'takes none'}: "
                    f"{ran.utilisation('dynamics'):.1%} busy, {ran.duration_s:.1f} s, "
                    f"{len(ran.campaign.walks):,} replicas; "
                    f"simulated in {time.perf_counter() - began:.0f} s",
                    flush=True,
                )


def spread(values: list[float], unit: str) -> str:
    """Return mean and standard deviation."""
    around = stdev(values) if len(values) > 1 else 0.0
    return f"{mean(values):.1f} +- {around:.1f} {unit}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Steered replicas, against others.")
    parser.add_argument("--quick", action="store_true", help="one seed, and fewer frames")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--nanoseconds", type=float, default=NANOSECONDS)
    parser.add_argument("--within", type=float, default=WITHIN, help="half-width to be reached")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--scale", action="store_true", help="64 and 1,024 workers instead")
    asked = parser.parse_args()
    if asked.scale:
        return scale(Recording())
    seeds, nanoseconds = (1, QUICK_NS) if asked.quick else (asked.seeds, asked.nanoseconds)
    truth, bins = Recording().truth()
    counted = f"{seeds} seed{'s' * (seeds != 1)}"
    print(f"{counted}, {nanoseconds:g} ns on {WORKERS} simulated workers", end="; ")
    print(f"the recording has {bins} bins, and {truth:.2%} of the time beyond the barrier")
    return show(measured(seeds, nanoseconds, asked.within, asked.processes), truth)


if __name__ == "__main__":
    main()
