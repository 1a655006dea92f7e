"""A campaign whose results are recorded at each level, against the same without a journal.

No-op tasks a second of one `map`, decisions a second, and the reaction: from a result in the
policy's hands to the next task sent. The recording of the first is before the policy has it, so
decisions show it too. Both sides write their run directory to the folder of temporary files.
"""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path

from bench.contestant import Contestant, Round
from bench.durable.append import sync_in_words
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate

LEVELS = {"process": (0.9, 0.95), "machine": (0.85, 0.95), "strict": (0.0, 0.5)}
"""The bar and the aim of each; that of `strict` depends on the disk."""
CLAIMS = tuple(
    Claim(f"{what}, {level}, against no journal", *bounds, "higher", "x")
    for level, bounds in LEVELS.items()
    for what in ("no-op tasks/s", "decisions/s")
) + tuple(
    Claim(f"reaction, {level}, against no journal", 1 / bar if bar else 100, 1.1, "lower", "x")
    for level, (bar, _) in LEVELS.items()
)


def measure(effort: Effort) -> list[Measurement]:
    """Each level in turn with the side that has no journal."""
    rows: list[Measurement] = []
    claims = iter(CLAIMS[: 2 * len(LEVELS)])
    reactions = iter(CLAIMS[2 * len(LEVELS) :])
    last: list[Measurement] = []
    for level in LEVELS:
        with (
            Contestant("bench.ours.campaign", level) as ours,
            Contestant("bench.ours.campaign", "none") as floor,
        ):
            for order, rounds, side_unit in (
                (Round("mapped", effort.of(5_000, 3_000)), effort.of(40, 8), "tasks/s"),
                (Round("decisions", effort.of(1_000, 500)), effort.of(40, 8), "decisions/s"),
            ):
                pairs = alternate(partial(rate, floor, order), partial(rate, ours, order), rounds)
                rows.append(next(claims).against_floor(pairs, side_unit))
            order = Round("reactions", effort.of(400, 200), 0.001)
            pairs = alternate(
                partial(reaction, floor, order), partial(reaction, ours, order), effort.of(30, 6)
            )
            last.append(next(reactions).against_floor(pairs, "us", 1e6))
    with tempfile.TemporaryDirectory(prefix="steerio-bench-") as folder:
        sync = sync_in_words(Path(folder), effort.of(300, 60))
    return [row.beside(sync) if "strict" in row.claim else row for row in rows + last]


def rate(side: Contestant, order: Round) -> float:
    """Tasks a second of one round."""
    return side.ask(order)["tasks_per_s"][0]


def reaction(side: Contestant, order: Round) -> float:
    """The median reaction of one round, in seconds."""
    return statistics.median(side.ask(order)["seconds"])
