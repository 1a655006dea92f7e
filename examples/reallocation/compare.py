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

from picture import course_of, draw
from screening import MODELS, WORKERS, Anywhere, Screening, Static

import steerio
from steerio.testing import simulate


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


def main() -> None:
    """Run both and say what came of it."""
    parser = argparse.ArgumentParser(description="Pools that lend workers, against static ones.")
    parser.add_argument("--quick", action="store_true", help="only 48 molecules, not 240")
    parser.add_argument("--run-dir", type=Path, help="where to leave the records and the picture")
    asked = parser.parse_args()
    molecules = 48 if asked.quick else 240
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
