"""Workers behind a link of 50 ms: how much of their time they spend in queued 10 ms tasks."""

from __future__ import annotations

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import spread

CLAIMS = (
    Claim("link of 50 ms, 1,000 queued 10 ms tasks on 2 workers: busy", 0.9, 0.98, "higher", ""),
)


def measure(effort: Effort) -> list[Measurement]:
    """The share is taken by the bodies themselves, from their own clocks."""
    order = Round("queued", 1_000, 0.01)
    with Contestant("bench.ours.far") as ours:
        shares = [ours.ask(order, 240.0)["busy_share"][0] for _ in range(effort.of(6, 2))]
    return [CLAIMS[0].measured(spread(shares))]
