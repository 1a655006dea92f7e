"""Workers that move between the stages, against static splits of the same workers, on a recording.

    python examples/materials/compare.py --quick
    python examples/materials/compare.py             ten seeds, some minutes
    python examples/materials/compare.py --picture stages.png

The policy is that of ``search.py``; workers are simulated. Outcomes and costs are those of real
candidates (``record.py``), so the table is the same on a noisy machine.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from linkers import FIRST, LinkerModel, train
from recorded import Recording
from search import Materials

from steerio.testing import SimulatedRun, simulate

WORKERS, SECONDS, QUICK_S, SEEDS = 8, 120.0, 30.0, 10
AT_SCALE_S = 10.0
BUDGET = 10**9
MOVING, STATIC, UNTAUGHT = "workers move", "best static split", "workers move, no retraining"
METHODS = (
    "workers __init__ setup write hungry collect probe_pores admit judge fail rank "
    "count end learn fit time allocate share"
)
POLICY = (
    *(f"search.py:{name}" for name in ("STAGES", "ALIKE", "KINDS")),
    *(f"search.py:Materials.{name}" for name in METHODS.split()),
    "candidates.py:Candidate",
)


class Replayed(Materials):
    """The campaign without a word at its end."""

    async def finish(self) -> None:
        """Say nothing."""


class Static(Replayed):
    """The same with pools that stay as they are."""

    async def fit(self, worth: dict[str, float]) -> LinkerModel:
        """Train on the pool's own worker."""
        return await self.run(train, worth)

    async def allocate(self) -> None:
        """Move no workers."""


class Untaught(Replayed):
    """The same with a generator that learns nothing."""

    async def fit(self, worth: dict[str, float]) -> LinkerModel:
        """Keep the first model."""
        await super().fit(worth)
        return FIRST


class Outcome(NamedTuple):
    """The outcome of a run.

    Attributes:
        busy: the share of their time in which workers were busy.
        dynamics: ends of molecular dynamics.
        measured: frameworks whose uptake was measured, at least once.
        computed: by a long run.
        score: the mean of the five highest uptakes of long runs.
        worker_s: seconds of workers in tasks.
        moves: of workers.
    """

    busy: float
    dynamics: int
    measured: int
    computed: int
    score: float
    worker_s: float
    moves: int


def splits(workers: int) -> list[dict[str, int]]:
    """Return the ways to share workers out to the stages, none of them empty."""
    left = workers - 2
    return [
        {"generate": 1, "assemble": a, "dynamics": d, "adsorb": left - a - d, "learn": 1}
        for a in range(1, left - 1)
        for d in range(1, left - a)
    ]


def run(
    kind: type[Replayed], workers: dict[str, int], seed: int, until_s: float, **options: Any
) -> SimulatedRun[Any]:
    """Return a campaign that was simulated."""
    # seeds of a run are apart, as those of its batches are counted on from it
    campaign = kind(budget=BUDGET, seed=1_000_000 * seed, **options)
    models = Recording().models
    return simulate(campaign, model=models, workers=workers, seed=seed, until_s=until_s)


def moving(workers: int) -> dict[str, int]:
    """Return the sizes with which pools begin whose workers move: training borrows its worker."""
    sizes = {"generate": 1, "assemble": workers // 4, "adsorb": workers // 4, "learn": 0}
    return sizes | {"dynamics": workers - sum(sizes.values())}


def at_scale(workers: int) -> SimulatedRun[Any]:
    """Return the policy's run for some seconds, with stacks as long as the work of a second."""
    options = {"stack": 2 * workers, "leaders": workers // 8, "retrain": workers}
    return run(Replayed, moving(workers), 1, AT_SCALE_S, keep=workers // 64, **options)


def outcome(ran: SimulatedRun[Any]) -> Outcome:
    """Return the outcome of a run."""
    campaign: Materials = ran.campaign
    uptakes = sorted((each.long for each in campaign.computed), reverse=True)
    measured = sum(bool(each.short) for each in campaign.candidates.values())
    return Outcome(
        ran.utilisation(),
        campaign.ends,
        measured,
        len(uptakes),
        sum(uptakes[:5]) / 5,
        ran.worker_seconds()[0],
        ran.moves,
    )


def best_split(workers: int, until_s: float) -> dict[str, int]:
    """Return the static split with which most frameworks are measured, with a seed of its own."""
    return max(splits(workers), key=lambda split: outcome(run(Static, split, 99, until_s)).measured)


def of_seed(seed: int, split: dict[str, int], until_s: float) -> dict[str, Outcome]:
    """Return what each way comes to with a seed."""
    workers = sum(split.values())
    return {
        MOVING: outcome(run(Replayed, moving(workers), seed, until_s)),
        STATIC: outcome(run(Static, split, seed, until_s)),
        UNTAUGHT: outcome(run(Untaught, moving(workers), seed, until_s)),
    }


def table(seeds: int, split: dict[str, int], until_s: float) -> dict[str, list[Outcome]]:
    """Return what each way came to, with each seed."""
    found: dict[str, list[Outcome]] = {MOVING: [], STATIC: [], UNTAUGHT: []}
    with ProcessPoolExecutor(2) as pool:
        for told in pool.map(partial(of_seed, split=split, until_s=until_s), range(1, seeds + 1)):
            for way, each in told.items():
                found[way].append(each)
    return found


def named(split: dict[str, int]) -> str:
    """Return a split in words."""
    return ", ".join(f"{count} {pool}" for pool, count in split.items())


def compare(quick: bool = False) -> dict[str, Any]:
    """Return the table for `python -m bench science`: see its README."""
    seeds, until_s = (2, QUICK_S) if quick else (SEEDS, SECONDS)
    split = best_split(WORKERS, until_s)
    found = table(seeds, split, until_s)
    names = {STATIC: f"{STATIC} ({named(split)})"}
    return {
        "setting": f"{until_s:g} s of {WORKERS} workers, costs and outcomes of real candidates",
        "cost": "worker seconds held",
        "score": "frameworks whose uptake was measured",
        "better": "higher",
        "ways": [
            {
                "way": names.get(way, way),
                "cost": [WORKERS * until_s for _ in outcomes],
                "score": [each.measured for each in outcomes],
                "busy": [each.busy for each in outcomes],
            }
            for way, outcomes in found.items()
        ],
        "does_not_pay": "moving workers, if a split fits and stays right; and retraining: the "
        "five best uptakes are as high without it",
    }


def show(found: dict[str, list[Outcome]]) -> None:
    """Print the table."""
    for way, outcomes in found.items():
        print(way)
        for name in ("busy", "dynamics", "measured", "computed", "score", "moves"):
            scale = 100 if name == "busy" else 1
            values = [scale * getattr(each, name) for each in outcomes]
            around = stdev(values) if len(values) > 1 else 0.0
            print(f"  {name:10}{mean(values):8.2f} +- {around:.2f}{' %' * (name == 'busy')}")


def main() -> None:
    """Print the table, or draw the picture."""
    parser = argparse.ArgumentParser(description="Workers that move, against static splits.")
    parser.add_argument("--quick", action="store_true", help="one seed, and less time")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--picture", type=Path, help="draw the stages over time to this file")
    asked = parser.parse_args()
    seeds, until_s = (1, QUICK_S) if asked.quick else (asked.seeds, asked.seconds)
    split = best_split(WORKERS, until_s)
    counted = f"{seeds} seed{'s' * (seeds != 1)}"
    print(f"{counted}, {until_s:g} s of {WORKERS} workers; best static split: {named(split)}")
    if asked.picture:
        from picture import draw

        runs = [
            (MOVING, run(Replayed, moving(WORKERS), 1, until_s)),
            (f"{STATIC}: {named(split)}", run(Static, split, 1, until_s)),
        ]
        draw(runs, asked.picture)
    show(table(seeds, split, until_s))


if __name__ == "__main__":
    main()
