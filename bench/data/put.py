"""A put of 100 MB against one copy of it in memory."""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.data.used import NBYTES
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate
from bench.rivals.beside import rivals_beside

CLAIMS = (
    Claim("put of 100 MB where as much was freed before, against memcpy", 2, 1.2, "lower", "x"),
    Claim("put of 100 MB into memory that is all new, against memcpy", 2, 1.2, "lower", "x"),
)
KEPT = 10
"""Puts into new memory before what they have put is dropped."""


def measure(effort: Effort) -> list[Measurement]:
    """Ours and the copy in turn, in one process; the rivals beside."""
    with Contestant("bench.ours.storing") as side, rivals_beside() as rivals:

        def seconds(name: str) -> float:
            return side.ask(Round(name, NBYTES))["seconds"][0]

        order = Round("put", NBYTES)
        rivals.ask(order)
        rivals.forget()
        freed = alternate(partial(seconds, "copy"), partial(seconds, "put"), effort.of(20, 6))
        for _ in range(effort.of(10, 3)):
            rivals.ask(order)
        side.ask(Round("drop"))
        new = alternate(partial(seconds, "copy"), partial(seconds, "put_fresh"), effort.of(KEPT, 6))
        side.ask(Round("drop"))
    rows = [CLAIMS[0].against_floor(freed, "ms", 1e3), CLAIMS[1].against_floor(new, "ms", 1e3)]
    return [row.beside(rivals.words("seconds")) for row in rows]
