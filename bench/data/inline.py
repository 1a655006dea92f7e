"""Arguments that travel with the task, against the raw pyzmq queue with frames as long."""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate

SIZES = {"1 kB": 1_000, "10 kB": 10_000, "100 kB": 100_000, "1 MB": 1_000_000}
CLAIMS = tuple(
    Claim(f"tasks/s with {words} inline against the raw pyzmq queue", 0.7, 1.0, "higher", "x")
    for words in SIZES
)
LONG_BYTES = 8_192
"""From here on the floor is faster if it does not copy frames."""
MOST_BYTES = 100_000_000
"""A round has fewer tasks where they are longer."""


def measure(effort: Effort) -> list[Measurement]:
    """Each size in turn, all tasks of a round submitted at once."""
    rows: list[Measurement] = []
    with (
        Contestant("bench.ours.storing") as ours,
        Contestant("bench.floors.queue_client", "queue") as short,
        Contestant("bench.floors.queue_client", "long") as long,
    ):
        for claim, size in zip(CLAIMS, SIZES.values(), strict=True):
            tasks = min(effort.of(2000, 1000), MOST_BYTES // size)
            floor = short if size < LONG_BYTES else long
            pairs = alternate(
                partial(tasks_per_s, floor, Round("sized", tasks, size)),
                partial(tasks_per_s, ours, Round("inline", tasks, size)),
                effort.of(16, 6),
            )
            rows.append(claim.against_floor(pairs, f"tasks/s ({tasks:,} at once)"))
    return rows


def tasks_per_s(side: Contestant, order: Round) -> float:
    """One round of one side."""
    return side.ask(order)["tasks_per_s"][0]
