"""A value that was put once and is no array, made by a worker once and given again."""

from __future__ import annotations

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.pairs import spread

CLAIMS = (
    Claim(
        "a value put once, given to a worker again: the slowest of five kinds",
        0.1,
        0.01,
        "lower",
        "ms",
    ),
)


def measure(effort: Effort) -> list[Measurement]:
    """Ask a worker for each kind twice, within one task; the first time makes it."""
    first: dict[str, list[float]] = {}
    again: dict[str, list[float]] = {}
    with Contestant("bench.ours.storing") as side:
        for _ in range(effort.of(8, 3)):
            figures = side.ask(Round("made_twice"))
            for name, (first_s, again_s) in figures.items():
                first.setdefault(name, []).append(first_s * 1e3)
                again.setdefault(name, []).append(again_s * 1e3)
    slowest = max(again, key=lambda name: spread(again[name]).median)
    detail = ", ".join(
        f"{name} {amount(spread(first[name]).median)} ms at first, then "
        f"{amount(spread(again[name]).median)}"
        for name in first
    )
    return [CLAIMS[0].measured(spread(again[slowest]), f"{slowest} is the slowest: {detail}")]
