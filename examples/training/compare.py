"""Training beside simulations against other ways of working, at equal worker-seconds.

    python examples/training/compare.py --quick
    python examples/training/compare.py            ten seeds
    python examples/training/compare.py --scale    on 64 and 1,024 workers

Workers are simulated: values, proposals and durations are those that `record.py` has recorded, so
torch is not needed. ``rounds`` simulates a batch, waits for all of it, trains all members and waits
for these, on all of the workers each time.
"""

from __future__ import annotations

import argparse
from statistics import mean, stdev
from typing import Any, ClassVar

import numpy as np
from members import Known, fit, propose
from reactor import DIMENSIONS, Point, simulate
from recorded import Recorded, Source, durations
from search import MEMBERS, Training

from steerio import agent, task
from steerio.testing import SimulatedRun
from steerio.testing import simulate as simulated_run

SEEDS = 10
WORKERS, LEARN = 16, 4
SECONDS = 2.0
ROUND = 16
KEEP = 8
PER_WORKER = 12
POLICY = (
    "search.py:Training.workers",
    *(f"search.py:Training.{name}" for name in ("__init__", "acquire", "proposals", "learn")),
    *(f"search.py:Training.{name}" for name in ("train", "is_due", "used")),
)
WAYS = {
    "alone": "trained meanwhile, each on one worker",
    "steered": "trained meanwhile, by gangs of 2",
    "rounds": f"stop and retrain, rounds of {ROUND}",
    "fixed": "trained once",
    "random": "random points",
}


class Meanwhile(Training):
    """The search, until its time is over, without a word at its end."""

    async def setup(self) -> None:
        """Need no torch."""

    async def finish(self) -> None:
        """Say nothing."""


class Unlearning(Meanwhile):
    """The search with the versions that it may train, after which all workers simulate."""

    @agent
    async def give_workers(self) -> None:
        """Move the workers of training once it is over."""
        await self.until(lambda: all(len(trained) == self.most for trained in self.trained))
        await self.pools.move("learn", "simulate", LEARN)


@task(pool="simulate", gang=2)
def fit_here(known: Known, seed: int) -> Any:
    """Train a member on workers that also simulate."""
    return fit.function(known, seed)


class Rounds(Meanwhile):
    """Stop and retrain: a batch of simulations, then a training of all members, and so on."""

    workers: ClassVar = {"simulate": 2}

    async def acquire(self) -> None:
        """Go from round to round."""
        points: list[Point] = [
            tuple(self.chance.random(DIMENSIONS).round(4).tolist()) for _ in range(self.first)
        ]
        number = 0
        while len(self.values) < self.budget:
            values = await self.gather(*(self.submit(simulate, point) for point in points))
            self.points += points
            self.values += values
            known = Known(points=np.array(self.points), values=np.array(self.values))
            gangs = self.options(gang=self.ranks)
            seeds = [self.first_seed + member for member in range(MEMBERS)]
            members = await self.gather(*(gangs.submit(fit_here, known, seed) for seed in seeds))
            for trained, member in zip(self.trained, members, strict=True):
                trained[member["rows"]] = 0.0
            number += 1
            proposal = await self.run(propose, known, members, self.first_seed + number, ROUND)
            points = proposal["points"]

    async def learn(self, results: Any) -> None:
        """Leave it to the rounds."""

    async def train(self, member: int) -> None:
        """Leave it to the rounds."""


def planned(way: str, seed: int) -> tuple[Training, dict[str, int]]:
    """Return the campaign of a way, and its workers."""
    both = {"simulate": WORKERS - LEARN, "learn": LEARN}
    many = 1_000_000
    match way:
        case "rounds":
            return Rounds(many, seed=seed, ranks=ranks_of(way)), {"simulate": WORKERS}
        case "fixed":
            return Unlearning(many, seed=seed, keep=KEEP, versions=1, ranks=1), both
        case "random":
            return Unlearning(many, seed=seed, keep=KEEP, versions=0), both
        case _:
            return Meanwhile(many, seed=seed, keep=KEEP, ranks=ranks_of(way)), both


def ranks_of(way: str) -> int:
    """Return how many workers train a member together."""
    return 2 if way == "steered" else 1


def run(way: str, seed: int, source: Source, seconds: float = SECONDS) -> SimulatedRun[Training]:
    """Simulate a way of working for some virtual seconds."""
    campaign, workers = planned(way, seed)
    models = source.models()
    models[fit_here] = models[fit]
    return simulated_run(
        campaign, model=models, workers=workers, until_s=seconds, wall_limit_s=3600
    )


def measured(seeds: int) -> dict[str, list[SimulatedRun[Training]]]:
    """Return the runs of each way."""
    return {
        way: [run(way, seed, Recorded(way, seed, ranks_of(way))) for seed in range(1, seeds + 1)]
        for way in WAYS
    }


def best(run: SimulatedRun[Training]) -> float:
    """Return the highest value that a run has found."""
    return max(run.campaign.values)


def compare(quick: bool = False) -> dict[str, Any]:
    """Return the table for `python -m bench science`: see its README."""
    seeds = 2 if quick else SEEDS
    table = measured(seeds)
    sizes = {
        way: mean(len(each.campaign.values) for each in table[way]) for way in ("alone", "rounds")
    }
    pairs = zip(map(best, table["alone"]), map(best, table["rounds"]), strict=True)
    better = sum(one > other for one, other in pairs)
    known = durations()
    two, one = (known.training_s(known.rows[1], ranks) for ranks in (2, 1))
    return {
        "setting": f"{SECONDS:g} s, {WORKERS} workers",
        "cost": "worker seconds held",
        "score": "best profit found",
        "better": "higher",
        "ways": [
            {
                "way": WAYS[way],
                "cost": [WORKERS * each.duration_s for each in runs],
                "score": [best(each) for each in runs],
                "busy": [each.utilisation() for each in runs],
            }
            for way, runs in table.items()
        ],
        "does_not_pay": f"to train networks as small as these by gangs ({two:.2f} s by two, "
        f"{one:.2f} s by one, with {known.rows[1]} results); and if results are dear beside "
        f"workers: rounds make {sizes['rounds']:.0f} simulations and training meanwhile "
        f"{sizes['alone']:.0f}, whose best is better with {better} of {seeds} seeds",
    }


def at_scale(workers: int) -> SimulatedRun[Any]:
    """Return the search with so many simulations for each worker, simulated."""
    ranks = 2 if workers < 256 else 4
    learn = MEMBERS * ranks
    campaign = Meanwhile(
        PER_WORKER * workers,
        first=workers,
        every=workers // 2,
        batch=16,
        keep=workers // 4,
        sources=max(1, workers // 16),
        ranks=ranks,
    )
    return simulated_run(
        campaign,
        model=Recorded("steered", 1, ranks).models(),
        workers={"simulate": workers - learn, "learn": learn},
        wall_limit_s=600,
    )


def show(table: dict[str, list[SimulatedRun[Training]]]) -> None:
    """Print the table."""
    print(f"{'':40}{'best':>15}{'simulations':>15}{'versions':>10}{'busy':>7}", end="")
    print(f"{'behind':>12}{'s to first use':>20}")
    for way, runs in table.items():
        campaigns = [each.campaign for each in runs]
        print(f"{WAYS[way]:40}{spread([best(each) for each in runs], 3):>15}", end="")
        print(f"{spread([len(each.values) for each in campaigns], 0):>15}", end="")
        versions = mean(sum(map(len, each.trained)) for each in campaigns)
        print(f"{versions:>10.0f}{mean(each.utilisation() for each in runs):>7.0%}", end="")
        lags = [mean(each.lags.values()) for each in campaigns if each.lags]
        behind = [mean(each.behind) for each in campaigns if each.behind]
        print(f"{spread(behind, 0):>12}{spread(lags, 3):>20}" if lags else "")


def spread(values: list[float] | list[int], digits: int) -> str:
    """Return mean and standard deviation."""
    around = stdev(values) if len(values) > 1 else 0.0
    return f"{mean(values):.{digits}f} +- {around:.{digits}f}"


def show_durations() -> None:
    """Print how long a training takes by the size of its gang."""
    known = durations()
    print("seconds of a training, of the slowest rank's processor:")
    for ranks, row in known.fit_s.items():
        shown = ", ".join(f"{s:.2f} ({n:,} rows)" for n, s in zip(known.rows, row, strict=True))
        print(f"  {ranks} ranks: {shown}")


def scale() -> None:
    """Print how busy many workers are."""
    for workers in (64, 1024):
        ran = at_scale(workers)
        behind, lag = mean(ran.campaign.behind), mean(ran.campaign.lags.values())
        print(
            f"{workers:>6,} workers: simulate {ran.utilisation('simulate'):.0%} busy, learn "
            f"{ran.utilisation('learn'):.0%}, {ran.duration_s:.1f} s, {behind:.0f} results behind, "
            f"{lag:.2f} s from trained to first used"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Training meanwhile, against other ways.")
    parser.add_argument("--quick", action="store_true", help="two seeds")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--scale", action="store_true", help="64 and 1,024 workers instead")
    asked = parser.parse_args()
    if asked.scale:
        return scale()
    if not 1 <= asked.seeds <= SEEDS:
        parser.error(f"--seeds is from 1 to {SEEDS}, the seeds that were recorded")
    show_durations()
    print(f"{WORKERS} simulated workers for {SECONDS:g} s:")
    return show(measured(2 if asked.quick else asked.seeds))


if __name__ == "__main__":
    main()
