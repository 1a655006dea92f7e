"""The same search with its models by reference and by value: bytes moved, and time taken.

python examples/ensemble/compare.py --quick
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from search import Ensemble

import steerio
from steerio import StoreSetting


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


if __name__ == "__main__":
    main()
