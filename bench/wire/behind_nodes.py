"""Workers of a standing broker on its own host: by way of their node, as a rule, or directly.

By way of the node their words outlive a broker that dies; `steerio worker --direct` saves the step.
Both sides have a broker, a node with two workers and a client, and take turns.
"""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.ours.standing import BY_NODE, DIRECT
from bench.pairs import alternate
from bench.spine.decisions import figure
from bench.spine.round_trip import trip_s

CLAIMS = (
    Claim(
        "standing broker: round trip by way of the node, against --direct", 1.6, 1.3, "lower", "x"
    ),
    Claim(
        "standing broker: decisions/s by way of the node, against --direct", 0.6, 0.8, "higher", "x"
    ),
)


def measure(effort: Effort) -> list[Measurement]:
    """A session's trips and decisions, each side with workers of its own."""
    tasks, rounds = effort.of(300, 200), effort.of(40, 10)
    decided = Round("decisions", effort.of(1000, 500))
    with (
        Contestant("bench.ours.standing", BY_NODE) as ours,
        Contestant("bench.ours.standing", DIRECT) as floor,
    ):
        trips = alternate(
            partial(trip_s, floor, tasks), partial(trip_s, ours, tasks), rounds, warm_up=2
        )
        decisions = alternate(
            partial(figure, floor, decided), partial(figure, ours, decided), effort.of(30, 8)
        )
    return [
        CLAIMS[0].against_floor(trips, "µs", scale=1e6),
        CLAIMS[1].against_floor(decisions, "decisions/s"),
    ]
