"""To submit a task with an array that may be changed, which is copied before `submit` returns."""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.data.put import KEPT
from bench.data.used import NBYTES
from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.pairs import Pair, alternate, spread

CLAIMS = (
    Claim("submit of 100 MB that may be changed, freed memory, against memcpy", 3, 2, "lower", "x"),
    Claim(
        "submit of 100 MB that may be changed, all new memory, against memcpy", 6, 4, "lower", "x"
    ),
)
INLINE = (10_000, 100_000)
"""So many bytes go with the task; more go into the store."""
STORED = (1_000_000, 8_000_000, NBYTES)


def measure(effort: Effort) -> list[Measurement]:
    """Each size in turn with the copy, in one process; the shorter ones in the detail."""
    with Contestant("bench.ours.storing") as side:

        def pairs(name: str, nbytes: int, rounds: int) -> list[Pair]:
            def seconds(name: str) -> float:
                return side.ask(Round(name, nbytes))["seconds"][0]

            return alternate(partial(seconds, "copy"), partial(seconds, name), rounds)

        inline = {nbytes: pairs("submit", nbytes, effort.of(30, 8)) for nbytes in INLINE}
        freed = {nbytes: pairs("submit", nbytes, effort.of(20, 6)) for nbytes in STORED}
        new = {nbytes: pairs("submit_queued", nbytes, effort.of(KEPT, 6)) for nbytes in STORED}
        side.ask(Round("drop"))
    rows = [
        claim.against_floor(sizes[NBYTES], "ms", 1e3)
        for claim, sizes in zip(CLAIMS, (freed, new), strict=True)
    ]
    return [rows[0].beside(_in_words({**inline, **freed})), rows[1].beside(_in_words(new))]


def _in_words(sizes: dict[int, list[Pair]]) -> str:
    return ", ".join(
        f"{nbytes / 1000:,.0f} kB {amount(spread([pair.ours * 1e3 for pair in pairs]).median)} ms "
        f"(copied in {amount(spread([pair.floor * 1e3 for pair in pairs]).median)})"
        for nbytes, pairs in sizes.items()
        if nbytes != NBYTES
    )
