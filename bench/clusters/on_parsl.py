"""No-op tasks per second of a pool that Parsl serves, submitted at once."""

from __future__ import annotations

import importlib.util
from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate
from bench.rivals.parsl_pool import START_S
from bench.spine.throughput import tasks_per_s

CLAIMS = (Claim("no-op tasks/s on Parsl against Parsl by itself", 0.9, 1.0, "higher", "x"),)


def measure(effort: Effort) -> list[Measurement]:
    """The same function on the same two processes of Parsl's, with steerio and without."""
    if importlib.util.find_spec("parsl") is None:
        return [CLAIMS[0].not_measured("parsl is not installed")]
    tasks, rounds = effort.of(2000, 500), effort.of(16, 6)
    with (
        Contestant("bench.rivals.parsl_pool") as alone,
        Contestant("bench.ours.parsl_pool") as ours,
    ):
        for side in (alone, ours):
            side.ask(Round("at_once", 10), START_S)
        pairs = alternate(
            partial(tasks_per_s, alone, tasks), partial(tasks_per_s, ours, tasks), rounds
        )
    return [CLAIMS[0].against_floor(pairs, "tasks/s")]
