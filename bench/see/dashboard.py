"""A dashboard whose page is open, against none: tasks a second of sessions that keep a record.

Both sides write a record; the dashboard of one of them is read all the time, by its own process's
thread. The floor is the one without.
"""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate

CLAIMS = (
    Claim("no-op tasks/s with a page open against none", 0.95, 0.99, "higher", "x"),
    Claim("decisions/s with a page open against none", 0.95, 0.99, "higher", "x"),
)
ROUNDS = ("at_once", "decisions")


def measure(effort: Effort) -> list[Measurement]:
    """Both sides in turn."""
    tasks, rounds = effort.of(2000, 1000), effort.of(24, 8)
    measurements: list[Measurement] = []
    with Contestant("bench.ours.seen") as plain, Contestant("bench.ours.seen", "shown") as shown:
        for claim, name in zip(CLAIMS, ROUNDS, strict=True):
            pairs = alternate(
                partial(tasks_per_s, plain, name, tasks),
                partial(tasks_per_s, shown, name, tasks),
                rounds,
            )
            measurements.append(claim.against_floor(pairs, "tasks/s"))
    return measurements


def tasks_per_s(side: Contestant, name: str, tasks: int) -> float:
    """One round of one side."""
    return side.ask(Round(name, tasks))["tasks_per_s"][0]
