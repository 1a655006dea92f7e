"""A campaign whose results are recorded at each level, against the same without a journal.

No-op tasks a second of one `map`, decisions a second, and the reaction: from a result in the
policy's hands to the next task sent. The recording of the first is before the policy has it, so
decisions show it too. Both sides write their run directory to the folder of temporary files.

The sides take turns of some tenths of a second. Two things would be in every such pair of rounds
if it stayed at that, and say nothing about the journal. A campaign that waits looks 50 times a
second whether its loop still turns; so all processes of the side that waits are stopped. And two
processes of the very same code differ by some per cent for as long as they live, as their memory
lies differently; so there are new ones every few rounds.
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
from bench.pairs import Pair, alternate

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
        mapped, decisions, reacted = list[Pair](), list[Pair](), list[Pair]()
        for _ in range(effort.of(8, 2)):
            with (
                Contestant("bench.ours.campaign", level) as ours,
                Contestant("bench.ours.campaign", "none") as floor,
            ):
                for order, pairs, rounds in (
                    (Round("mapped", effort.of(5_000, 3_000)), mapped, effort.of(8, 4)),
                    (Round("decisions", effort.of(1_000, 500)), decisions, effort.of(8, 4)),
                ):
                    pairs += alternate(
                        partial(rate, floor, order), partial(rate, ours, order), rounds
                    )
                order = Round("reactions", effort.of(400, 200), 0.001)
                reacted += alternate(
                    partial(reaction, floor, order),
                    partial(reaction, ours, order),
                    effort.of(5, 3),
                )
        rows.append(next(claims).against_floor(mapped, "tasks/s"))
        rows.append(next(claims).against_floor(decisions, "decisions/s"))
        last.append(next(reactions).against_floor(reacted, "us", 1e6))
    with tempfile.TemporaryDirectory(prefix="steerio-bench-") as folder:
        sync = sync_in_words(Path(folder), effort.of(300, 60))
    return [row.beside(sync) if "strict" in row.claim else row for row in rows + last]


def rate(side: Contestant, order: Round) -> float:
    """Tasks a second of one round."""
    with side.alone():
        return side.ask(order)["tasks_per_s"][0]


def reaction(side: Contestant, order: Round) -> float:
    """The median reaction of one round, in seconds."""
    with side.alone():
        return statistics.median(side.ask(order)["seconds"])
