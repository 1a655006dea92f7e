"""The same search with its models by reference and by value: bytes moved, and time taken.

    python examples/ensemble/compare.py --quick

And, of recorded proposals, the search against random points on as many workers for as long.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from recorded import BUDGET, EVALUATION_S, SEEDS, WORKERS, Recorded
from search import DIMENSIONS, LOWEST, Ensemble, hartmann

import steerio
from steerio import StoreSetting
from steerio.testing import SimulatedRun

ALL = sum(WORKERS.values())
POLICY = (
    "search.py:Ensemble.workers",
    "search.py:Ensemble.__init__",
    "search.py:Ensemble.setup",
    "search.py:Ensemble.learn",
    "search.py:Ensemble.evaluate",
)


def lowest_at_random(seed: int, count: int) -> float:
    """Return the lowest of some random points."""
    points = np.random.default_rng([seed, 1]).random((count, DIMENSIONS))
    return min(hartmann.function(point) for point in points.tolist())


def compare(quick: bool = False) -> dict[str, Any]:
    """Return the table for `python -m bench science`: see its README."""
    recorded = Recorded()
    seeds = range(2 if quick else SEEDS)
    runs = [recorded.search(seed, WORKERS, budget=BUDGET) for seed in seeds]
    counts = [math.floor(ALL * run.duration_s / EVALUATION_S) for run in runs]
    costs = [ALL * run.duration_s for run in runs]
    spent_s = mean(run.worker_seconds("learn")[0] + run.worker_seconds("infer")[0] for run in runs)
    return {
        "setting": f"{BUDGET} evaluations, {ALL} workers",
        "cost": "worker seconds held",
        "score": "above the minimum",
        "better": "lower",
        "ways": [
            {
                "way": "steered",
                "cost": costs,
                "score": [min(run.campaign.values) - LOWEST for run in runs],
                "busy": [run.utilisation() for run in runs],
            },
            {
                "way": "random",
                "cost": costs,
                "score": [
                    lowest_at_random(seed, count) - LOWEST
                    for seed, count in zip(seeds, counts, strict=True)
                ],
                "busy": [1.0] * len(runs),
            },
        ],
        "does_not_pay": f"if an evaluation is cheap: training and proposing take "
        f"{spent_s / BUDGET:.2f} worker seconds for each (taken to last {EVALUATION_S:g} s here), "
        "and workers of each stage wait for the others at every retraining",
    }


def at_scale(workers: int) -> SimulatedRun[Any]:
    """Return a search of eight evaluations for each worker, retrained three times, simulated."""
    learn, infer = 4, workers // 8
    pools = {"simulate": workers - learn - infer, "learn": learn, "infer": infer}
    every = 2 * workers  # of which each retraining waits for all
    return Recorded().search(0, pools, budget=4 * every, every=every)


def main() -> None:
    """Run both and say what came of it."""
    parser = argparse.ArgumentParser(description="Models by reference, against by value.")
    parser.add_argument("--quick", action="store_true", help="96 evaluations, not 320")
    parser.add_argument("--run-dir", type=Path, help="where to leave the records")
    asked = parser.parse_args()
    folder = asked.run_dir or Path("runs") / f"ensemble-{time.strftime('%Y%m%d-%H%M%S')}"
    seconds: dict[str, float] = {}
    moved: dict[str, int] = {}
    for how in ("by reference", "by value"):
        by_value = how == "by value"
        campaign = Ensemble(quick=asked.quick, by_value=by_value)
        setting = StoreSetting(threshold_bytes=None) if by_value else None
        began = time.monotonic()
        steerio.run(campaign, run_dir=folder / how.replace(" ", "-"), progress="off", store=setting)
        seconds[how] = time.monotonic() - began
        moved[how] = campaign.sent_bytes + (0 if by_value else campaign.model_bytes)
        print(f"{how}: {seconds[how]:.1f} s, {moved[how] / 1e6:,.0f} MB to inference tasks")
    print(
        f"by reference: {moved['by value'] / moved['by reference']:.0f} times fewer bytes, "
        f"{seconds['by value'] / seconds['by reference']:.1f} times as fast"
    )
    compared = compare(asked.quick)
    print(f"{compared['setting']}, recorded; {compared['score']}:")
    for way in compared["ways"]:
        score = way["score"]
        print(f"{way['way']}: {mean(score):.3f} +- {stdev(score):.3f}")


if __name__ == "__main__":
    main()
