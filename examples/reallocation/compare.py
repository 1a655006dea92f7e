"""Workers that move, against the best static split of the same workers, on the same tasks.

    python examples/reallocation/compare.py --quick

Runs the screening with pools that lend workers and with static ones, both for real, on four
workers; prints how busy these were, and leaves a picture of both in the run directory.  Which
static split is best, and what would be possible at best, is found on a simulated cluster,
where nothing but the tasks takes time.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from picture import course_of, draw
from screening import EVERY, MODELS, WORKERS, Anywhere, Screening, Static

import steerio
from steerio.testing import SimulatedRun, simulate

SEEDS, MOLECULES, QUICK_MOLECULES = 10, 240, 48
POLICY = (
    "screening.py:Screening.workers",
    "screening.py:Screening.__init__",
    "screening.py:Screening.work_on",
    "screening.py:Screening.record",
    "screening.py:Screening.relearn",
)


def splits() -> list[dict[str, int]]:
    """Return every way to share the workers out to three pools, none of them empty."""
    return [
        {"simulate": first, "learn": second, "infer": WORKERS - first - second}
        for first in range(1, WORKERS)
        for second in range(1, WORKERS - first)
    ]


def best_split(molecules: int) -> dict[str, int]:
    """Return the static split with which the screening would be over soonest."""
    return min(
        splits(),
        key=lambda split: simulate(Static(molecules), model=MODELS, workers=split).duration_s,
    )


def best_possible(molecules: int) -> float:
    """Return how busy the workers were if any of them could do anything, in no time."""
    return simulate(Anywhere(molecules), model=MODELS).utilisation("any")


def compare(quick: bool = False) -> dict[str, Any]:
    """Return the table for `python -m bench science`: see its README.

    Seeds are ranges of molecules.
    """
    molecules = QUICK_MOLECULES if quick else MOLECULES
    split = best_split(molecules)
    shown = ", ".join(f"{count} {pool}" for pool, count in split.items())
    firsts = [seed * molecules for seed in range(2 if quick else SEEDS)]
    ways: dict[str, list[SimulatedRun[Any]]] = {
        "lending": [simulate(Screening(molecules, first), model=MODELS) for first in firsts],
        f"best static ({shown})": [
            simulate(Static(molecules, first), model=MODELS, workers=split) for first in firsts
        ],
        "at best: any worker, any task": [
            simulate(Anywhere(molecules, first), model=MODELS) for first in firsts
        ],
    }
    until_s = [run.duration_s for run in ways["lending"]]
    work_s = [run.worker_seconds()[0] for run in ways["lending"]]
    done_s = {
        name: [worked_s(run, end_s) for run, end_s in zip(runs, until_s, strict=True)]
        for name, runs in ways.items()
    }
    return {
        "setting": f"{molecules} molecules, a model for every {EVERY}, {WORKERS} workers",
        "cost": "worker seconds held",
        "score": "of the work done when lending ends, %",
        "better": "higher",
        "ways": [
            {
                "way": name,
                "cost": [WORKERS * end_s for end_s in until_s],
                "score": [100 * d / w for d, w in zip(done, work_s, strict=True)],
                "busy": [d / (WORKERS * end_s) for d, end_s in zip(done, until_s, strict=True)],
            }
            for name, done in done_s.items()
        ],
        "does_not_pay": "(the tasks are synthetic) nothing is to be gained if one stage has nearly "
        f"all the work, and little with more workers than {EVERY} simulations keep busy",
    }


def worked_s(run: SimulatedRun[Any], until_s: float) -> float:
    """Return the seconds that workers had spent in tasks by some time."""
    spans = [(each.started, each.ended) for each in run.records]
    return sum(
        max(0.0, min(until_s, ended) - started)
        for started, ended in spans
        if started is not None and ended is not None
    )


def at_scale(workers: int) -> SimulatedRun[Any]:
    """Return a screening of eight molecules for each worker, simulated."""
    pools = {"simulate": workers, "learn": 0, "infer": 0}
    return simulate(Screening(8 * workers), model=MODELS, workers=pools)


def main() -> None:
    """Run both and say what came of it."""
    parser = argparse.ArgumentParser(description="Pools that lend workers, against static ones.")
    parser.add_argument("--quick", action="store_true", help="only 48 molecules, not 240")
    parser.add_argument("--run-dir", type=Path, help="where to leave the records and the picture")
    asked = parser.parse_args()
    molecules = QUICK_MOLECULES if asked.quick else MOLECULES
    folder = asked.run_dir or Path("runs") / f"reallocation-{time.strftime('%Y%m%d-%H%M%S')}"
    split = best_split(molecules)
    possible = best_possible(molecules)
    steerio.run(Screening(molecules), run_dir=folder / "lending", progress="off")
    steerio.run(Static(molecules), workers=split, run_dir=folder / "static", progress="off")
    lending, static = course_of(folder / "lending"), course_of(folder / "static")
    shown = ", ".join(f"{count} {pool}" for pool, count in split.items())
    print(f"static, {shown}: {static.busy_share:.1%} busy, {static.duration_s:.1f} s")
    print(f"lending:  {lending.busy_share:.1%} busy, {lending.duration_s:.1f} s")
    print(
        f"at best:  {possible:.1%} busy; lending comes to {lending.busy_share / possible:.1%} of it"
    )
    shares = {"lending": lending.busy_share, "static": static.busy_share, "possible": possible}
    (folder / "figures.json").write_text(json.dumps(shares))
    draw([("workers lent", lending), (f"static ({shown})", static)], folder / "pools.png")
    print(f"picture: {folder / 'pools.png'}")


if __name__ == "__main__":
    main()
