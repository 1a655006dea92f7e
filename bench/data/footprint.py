"""A large value through one node: the most memory that is in use beyond the value itself."""

from __future__ import annotations

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement, amount
from bench.pairs import spread

CLAIMS = (
    Claim(
        "1 GB through one node, peak memory beyond the value, over the value",
        1.2,
        1.05,
        "lower",
        "x",
    ),
)
WAYS = {"argument": "client to task", "value": "task to client", "chain": "task to client to task"}
ROUND_S = 120.0


def measure(effort: Effort) -> list[Measurement]:
    """Each way in turn; the worst counts.  A quick look takes a fifth."""
    nbytes = effort.of(1_000_000_000, 200_000_000)
    beyond: dict[str, list[float]] = {way: [] for way in WAYS}
    with Contestant("bench.ours.storing") as side:
        for _ in range(effort.of(3, 2)):
            for way, values in beyond.items():
                peak = side.ask(Round(f"peak_{way}", nbytes), ROUND_S)["peak_bytes"][0]
                values.append(peak / nbytes - 1)
    figures = {way: spread(values) for way, values in beyond.items()}
    ways = ", ".join(f"{said} {amount(figures[way].median)}" for way, said in WAYS.items())
    worst = max(figures.values(), key=lambda figure: figure.median)
    return [CLAIMS[0].measured(worst, f"with {nbytes / 1e9:g} GB: {ways}")]
