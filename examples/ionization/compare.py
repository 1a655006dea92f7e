"""The cascade against other ways to spend the same worker seconds, on recorded values and costs.

    python examples/ionization/compare.py --quick
    python examples/ionization/compare.py               ten seeds
    python examples/ionization/compare.py --dear        with a last level of a larger basis
    python examples/ionization/compare.py --scale       on 64 and 1,024 workers
    python examples/ionization/compare.py --picture levels.png
    python examples/ionization/compare.py --live 60     for real: so many worker seconds each

Values and costs are those of `record.py`, the models are really learned, and the workers are
simulated. A seed stands for an order of the molecules. All ways have the same workers for the same
time.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
from itertools import pairwise
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
from delta import Array, Estimates, chances
from recording import Recording, Sample
from search import STEPS, TOP_SHARE, Ionization, Next, estimated, learned

import steerio
from steerio import agent
from steerio.testing import SimulatedRun, simulate

SEEDS, WORKERS, SHARE, SHARES = 10, 8, 0.1, (0.05, 0.1, 0.2, 0.4)
"""Shares are of the seconds that all molecules take at the last level."""
STAGES = {
    "vertical": "GFN1-xTB, vertical",
    "adiabatic": "GFN2-xTB, adiabatic",
    "density": "B3LYP, adiabatic",
}
COLORS = {
    "vertical": "#9ecae1",
    "adiabatic": "#4292c6",
    "density": "#08519c",
    "learned": "#d95f02",
    "estimated": "#d95f02",
}
BEGUN = 1e6
"""More than any chance."""
KEPT = 1 / 3
"""Of all molecules, by `Static` after the first level."""
POLICY = (
    *(f"search.py:{name}" for name in ("Next", "vertical", "adiabatic", "density")),
    *(f"search.py:{name}" for name in ("learned", "estimated")),
    *(
        f"search.py:Ionization.{name}"
        for name in (
            "workers", "first", "taught", "__init__", "setup", "go_on", "take", "drop", "learn",
            "has_news", "rank", "estimates", "worths", "is_stale", "lower", "end", "through",
        )
    ),
    *(f"delta.py:{name}" for name in ("worths", "_threshold", "_above")),
)  # fmt: skip


USED = (learned, estimated)
"""Task types of the ways, in whose pools no worker begins: steerio looks for them here."""


class Quiet(Ionization):
    """The cascade, without a word at its end, and without the need of codes."""

    async def setup(self) -> None:
        """Need nothing."""

    async def finish(self) -> None:
        """Say nothing."""


class FromRelaxed(Quiet):
    """The cascade without its first level."""

    first = taught = 1


class LastOnly(Quiet):
    """A model of the last level alone says which molecule is relaxed and computed next."""

    first, taught = 1, 2

    def go_on(self, step: Next, worth: float = 0.0) -> None:
        """Finish what is begun; the model ranks the rest."""
        super().go_on(step, BEGUN if step.level > self.first else worth)

    def worths(self, following: dict[str, int], found: Estimates) -> Array:
        """Return the chance of each molecule, as all cost the same."""
        begun = np.array(list(following.values())) > self.first
        return chances(found, self.top) + BEGUN * begun


class AtRandom(LastOnly):
    """Molecules go through relaxation and the last level as they come."""

    async def learn(self) -> None:
        """Learn nothing."""


class Static(AtRandom):
    """A third goes on from the first level, by the values alone; each level waits for the last."""

    first = 0

    def __init__(self, **options: Any) -> None:
        self.held: list[Next] = []
        super().__init__(**options)

    def go_on(self, step: Next, worth: float = 0.0) -> None:
        """Have a step wait until all of the level before have ended."""
        if step.level == 0:
            super().go_on(step, worth)
        else:
            self.held.append(step)

    def before(self, step: Next) -> float:
        """Return the value of the level before."""
        return self.known[step.level - 1][step.smiles]

    @agent
    async def advance(self) -> None:
        """Begin a level when the one before has ended."""
        goal, failed = len(self.molecules), 0
        for level, share in ((1, KEPT), (2, 1.0)):
            await self.until(
                lambda goal=goal, failed=failed: (
                    len(self.held) + len(self.failures) - failed == goal
                )
            )
            best = sorted(self.held, key=self.before, reverse=True)[: round(share * goal)]
            self.held, goal, failed = [], len(best), len(self.failures)
            for step in best:
                self.board.add(step, self.before(step), task_type=STEPS[level])


class Found(NamedTuple):
    """The outcome of a way.

    Attributes:
        top: the share found of the best twentieth.
        ended: how many molecules have a value at each level.
        held_s: seconds of workers, idle ones included.
        busy: the share of them in tasks.
        moves: of workers.
    """

    top: float
    ended: tuple[int, ...]
    held_s: float
    busy: float
    moves: int


WAYS: dict[str, type[Quiet]] = {
    "cascade": Quiet,
    "cascade from GFN2-xTB": FromRelaxed,
    "fixed shares": Static,
    "last stage only": LastOnly,
    "at random": AtRandom,
}


def run(
    way: type[Quiet], recording: Recording, workers: int, worker_s: float, molecules: list[str]
) -> SimulatedRun[Quiet]:
    """Simulate a way."""
    campaign = way(worker_s=worker_s, molecules=molecules)
    return simulate(campaign, model=recording.models(), workers={"simulate": workers})


def found(ran: SimulatedRun[Quiet], recording: Recording) -> Found:
    """Say what came of a way."""
    last = recording.last
    best = sorted(last, key=last.__getitem__)[-round(TOP_SHARE * len(recording.rows)) :]
    known = ran.campaign.known
    top = sum(smiles in known[-1] for smiles in best) / len(best)
    _, held_s = ran.worker_seconds()
    ended = tuple(len(values) for values in known)
    return Found(top, ended, held_s, ran.utilisation(), ran.moves)


def measured(share: float, seeds: int, recording: Recording) -> dict[str, list[Found]]:
    """Return for each way what was found with each seed, at a share of the whole cost."""
    ways: dict[str, list[Found]] = {name: [] for name in WAYS}
    for seed in range(1, seeds + 1):
        order = list(recording.rows)
        random.Random(seed).shuffle(order)
        for name, way in WAYS.items():
            ran = run(way, recording, WORKERS, share * recording.whole_s, order)
            ways[name].append(found(ran, recording))
    return ways


def compare(quick: bool = False) -> dict[str, Any]:
    """Return the table for `python -m bench science`: see its README."""
    recording = Recording()
    ways = measured(SHARE, 2 if quick else SEEDS, recording)
    twice = run(Static, recording, WORKERS, 2 * SHARE * recording.whole_s, list(recording.rows))
    fixed = found(twice, recording).top
    later = mean(each.top for each in ways["cascade from GFN2-xTB"])
    return {
        "setting": f"{len(recording.rows)} molecules, {WORKERS} workers, {SHARE:.0%} of the cost "
        "of all",
        "cost": "worker seconds held",
        "score": "of the top 5 % found, %",
        "better": "higher",
        "ways": [
            {
                "way": name,
                "cost": [each.held_s for each in way],
                "score": [100 * each.top for each in way],
                "busy": [each.busy for each in way],
            }
            for name, way in ways.items()
        ],
        "does_not_pay": f"with twice the time: fixed shares find {fixed:.0%}, too, with no model; "
        f"and the cheapest level brings little: begun with GFN2-xTB it finds {later:.0%}",
    }


def at_scale(workers: int) -> SimulatedRun[Any]:
    """Return a cascade with eight molecules for each worker, simulated, on a tenth of the cost."""
    recording = Recording()
    names = list(recording.rows)
    copies = range(math.ceil(8 * workers / len(names)))
    molecules = [f"{name} {copy}" for copy in copies for name in names]
    worker_s = SHARE * recording.whole_s * len(copies)
    return run(Quiet, recording, workers, worker_s, molecules)


def draw(path: str) -> None:
    """Draw how many molecules came how far in time, and the work that workers did meanwhile."""
    from matplotlib.figure import Figure

    recording = Recording()
    order = list(recording.rows)
    random.Random(1).shuffle(order)
    ran = run(Quiet, recording, WORKERS, SHARE * recording.whole_s, order)
    done = [each for each in ran.records if each.ended_as == "succeeded"]
    began_s = min(each.started or math.inf for each in done)
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    ends, works = figure.subplots(1, 2)
    edges = np.linspace(0.0, ran.duration_s, 31)
    below = np.zeros(len(edges) - 1)
    for name, color in COLORS.items():
        spans = np.array(
            [
                ((each.started or 0.0) - began_s, (each.ended or 0.0) - began_s)
                for each in done
                if each.task_type.rpartition(":")[2] == name
            ]
        )
        if name in STAGES:
            times = np.append(np.sort(spans[:, 1]), ran.duration_s)
            counts = np.minimum(np.arange(1, len(times) + 1), len(spans))
            ends.step(times, counts, where="post", color=color, label=STAGES[name])
        busy = [
            np.clip(np.minimum(spans[:, 1], high) - np.maximum(spans[:, 0], low), 0, None).sum()
            / (high - low)
            for low, high in pairwise(edges)
        ]
        works.bar(edges[:-1], busy, np.diff(edges), below, align="edge", color=color)
        below += busy
    ends.set_yscale("log")
    ends.set_title("molecules that have come so far", loc="left")
    works.set_title("workers by kind of work that is done", loc="left")
    works.bar(0, 0, color=COLORS["learned"], label="training and inference")
    for axes in (ends, works):
        axes.set_xlabel("seconds")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=90)


def show(ways: dict[str, list[Found]]) -> None:
    """Print a table."""
    print(f"{'':24}{'top 5 % found':>15}{'GFN1':>8}{'GFN2':>6}{'DFT':>6}{'busy':>7}{'moves':>7}")
    for name, way in ways.items():
        tops = [100 * each.top for each in way]
        around = stdev(tops) if len(tops) > 1 else 0.0
        ended = [mean(each.ended[level] for each in way) for level in range(3)]
        print(f"{name:24}{mean(tops):>7.0f} +- {around:>2.0f} %", end="")
        print(f"{ended[0]:>8.0f}{ended[1]:>6.0f}{ended[2]:>6.0f}", end="")
        print(f"{mean(each.busy for each in way):>7.0%}{mean(each.moves for each in way):>7.0f}")


def main() -> None:
    """Run all ways with all seeds, and print the tables."""
    parser = argparse.ArgumentParser(description="The cascade, against other ways.")
    parser.add_argument("--quick", action="store_true", help="one seed, one share")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--dear", action="store_true", help="a last level of a larger basis")
    parser.add_argument("--scale", action="store_true", help="64 and 1,024 workers")
    parser.add_argument("--picture", metavar="FILE", help="draw a cascade")
    parser.add_argument("--live", type=float, metavar="SECONDS", help="of workers, for each way")
    asked = parser.parse_args()
    if asked.live:
        live(asked.live)
    elif asked.picture:
        draw(asked.picture)
    elif asked.scale:
        for workers in (64, 1024):
            ran = at_scale(workers)
            print(f"{workers} workers, {ran.moves} moves, {ran.campaign.models} models: {ran!r}")
    else:
        recording = Recording(dear=asked.dear)
        print(f"{len(recording.rows)} molecules, {recording.whole_s:.0f} s of last stages")
        if asked.dear:
            sample = Sample(Recording().rows)
            print(
                f"the last level as by {sample.count} molecules in a larger basis: "
                f"{sample.seconds:.1f} s each, {sample.times_as_dear:.1f} times as dear; "
                f"rank correlation of both {sample.correlation:.3f}"
            )
        for share in (SHARE,) if asked.quick else SHARES:
            print(f"\n{share:.0%} of the cost of all, {WORKERS} workers")
            show(measured(share, 1 if asked.quick else asked.seeds, recording))


def live(worker_s: float) -> None:
    """Run ways on this machine, with few molecules and a tiny basis, and say what they found."""
    found: dict[str, Quiet] = {}
    for name in ("cascade", "last stage only", "at random"):
        found[name] = campaign = WAYS[name](quick=True)
        campaign.worker_s = worker_s
        with tempfile.TemporaryDirectory(prefix="ionization-") as folder:
            steerio.run(campaign, progress="off", run_dir=folder)
    values = {smiles: value for each in found.values() for smiles, value in each.known[-1].items()}
    best = sorted(values, key=values.__getitem__)[-5:]
    for name, campaign in found.items():
        ended = ", ".join(f"{len(each)}" for each in campaign.known)
        top = sum(smiles in campaign.known[-1] for smiles in best)
        print(f"{name:16} values by level: {ended}; of the best five that any found: {top}")


if __name__ == "__main__":
    main()
